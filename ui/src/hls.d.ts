// The smaller build of hls.js brings no types; they are those of the whole.
declare module "hls.js/light" {
  export { default } from "hls.js";
}
