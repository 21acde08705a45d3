// Bundles one script per page into dist/, from where Django serves it.
import { cp, rm } from "node:fs/promises";
import { build } from "esbuild";

await rm("dist", { recursive: true, force: true });
await build({
  entryPoints: {
    base: "src/shared/base.css",
    chat: "src/chat/main.tsx",
  },
  bundle: true,
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  outdir: "dist",
  sourcemap: true,
  target: "es2022",
  logLevel: "warning",
});
await cp("src/shared/icon.svg", "dist/icon.svg");
