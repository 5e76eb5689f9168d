// Runs a WASI command, with the WASI of Node.js: FILE HOST::GUEST...
import { WASI } from "node:wasi";
import { readFileSync } from "node:fs";

const [file, ...dirs] = process.argv.slice(2);
const preopens = Object.fromEntries(dirs.map((dir) => dir.split("::").reverse()));
const wasi = new WASI({ version: "preview1", args: ["other"], env: {}, preopens, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(file));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
process.exitCode = wasi.start(instance) ?? 0;
