// Bundles the pages, each into three files: index.html, app.js, app.css, and the channel's
// channel.html, channel.js, channel.css. The folder is the first argument, or dist.
import { build } from "esbuild";
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";

const out = process.argv[2] ?? "dist";
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: "src/main.ts", channel: "src/channel.ts" },
  bundle: true,
  minify: true,
  target: "es2022",
  format: "esm",
  legalComments: "none",
  outdir: out,
  logLevel: "warning",
});
await build({
  entryPoints: { app: "src/style.css", channel: "src/channel.css" },
  minify: true,
  target: "es2022",
  outdir: out,
  logLevel: "warning",
});
for (const page of ["index.html", "channel.html"]) await cp(join("src", page), join(out, page));
