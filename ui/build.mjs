// Bundles the page into three files: index.html, app.js, app.css. The folder is the first
// argument, or dist.
import { build } from "esbuild";
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";

const out = process.argv[2] ?? "dist";
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: "src/main.ts" },
  bundle: true,
  minify: true,
  target: "es2022",
  format: "esm",
  legalComments: "none",
  outdir: out,
  logLevel: "warning",
});
await build({
  entryPoints: { app: "src/style.css" },
  minify: true,
  target: "es2022",
  outdir: out,
  logLevel: "warning",
});
await cp("src/index.html", join(out, "index.html"));
