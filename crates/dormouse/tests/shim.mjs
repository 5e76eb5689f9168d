// Runs a WASI command without any WASI of the engine's own, as in a browser: FILE SHIM HOST::GUEST...
// SHIM is the folder of @bjorn3/browser_wasi_shim. Directories are read into memory, and written back.
import { readFileSync, writeFileSync, readdirSync, mkdirSync, writeSync } from "node:fs";
import { join } from "node:path";

const [file, shim, ...dirs] = process.argv.slice(2);
const { WASI, File, Directory, OpenFile, PreopenDirectory, Fd, wasi } = await import(join(shim, "dist/index.js"));

class Stream extends Fd {
  constructor(fd) {
    super();
    this.fd = fd;
  }
  fd_write(data) {
    for (let at = 0; at < data.length; ) at += writeSync(this.fd, data, at);
    return { ret: 0, nwritten: data.length };
  }
  fd_fdstat_get() {
    return { ret: 0, fdstat: new wasi.Fdstat(wasi.FILETYPE_CHARACTER_DEVICE, 0) };
  }
}

const read = (dir) =>
  new Map(
    readdirSync(dir, { withFileTypes: true }).map((entry) => {
      const path = join(dir, entry.name);
      return [entry.name, entry.isDirectory() ? new Directory(read(path)) : new File(readFileSync(path))];
    }),
  );
const write = (dir, contents) => {
  mkdirSync(dir, { recursive: true });
  for (const [name, what] of contents)
    if (what instanceof Directory) write(join(dir, name), what.contents);
    else writeFileSync(join(dir, name), what.data);
};

const given = dirs.map((dir) => dir.split("::")).map(([host, guest]) => [host, new PreopenDirectory(guest, read(host))]);
const fds = [new OpenFile(new File([])), new Stream(1), new Stream(2), ...given.map(([, dir]) => dir)];
const host = new WASI(["other"], [], fds, { debug: false });
const module = await WebAssembly.compile(readFileSync(file));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: host.wasiImport });
process.exitCode = host.start(instance);
for (const [path, dir] of given) write(path, dir.dir.contents);
