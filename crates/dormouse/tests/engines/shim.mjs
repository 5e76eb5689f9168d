// Runs a WASI command without any WASI of the engine's own, as in a browser: SHIM FILE HOST::GUEST...
// SHIM is the folder of @bjorn3/browser_wasi_shim. Directories are read into memory, and written back. With STOP_AFTER calls it is stopped,
// and the checkpoint is in the file CHECKPOINT.
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { read, write } from "./files.mjs";
import { run } from "./run.mjs";

const [shim, file, ...dirs] = process.argv.slice(2);
const given = dirs.map((dir) => dir.split("::"));
const say = (fd, data) => {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
};
const { STOP_AFTER, CHECKPOINT } = process.env;
const stop = STOP_AFTER && { after: Number(STOP_AFTER), dormouse: await import("../../../../contrib/dormouse.mjs") };
const { code, checkpoint, trees } = await run(
  await import(join(shim, "dist/index.js")),
  readFileSync(file),
  given.map(([host, guest]) => [guest, read(host)]),
  say,
  stop,
);
process.exitCode = checkpoint ? 85 : code;
if (checkpoint) writeFileSync(CHECKPOINT, checkpoint);
trees.forEach((tree, i) => write(given[i][0], tree));
