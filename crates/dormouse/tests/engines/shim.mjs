// Runs a WASI command without any WASI of the engine's own, as in a browser: SHIM FILE HOST::GUEST...
// SHIM is the folder of @bjorn3/browser_wasi_shim. Directories are read into memory, and written back.
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { read, write } from "./files.mjs";
import { run } from "./run.mjs";

const [shim, file, ...dirs] = process.argv.slice(2);
const given = dirs.map((dir) => dir.split("::"));
const say = (fd, data) => {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
};
const { code, trees } = await run(
  await import(join(shim, "dist/index.js")),
  readFileSync(file),
  given.map(([host, guest]) => [guest, read(host)]),
  say,
);
process.exitCode = code;
trees.forEach((tree, i) => write(given[i][0], tree));
