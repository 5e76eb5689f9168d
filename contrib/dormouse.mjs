// Stops a program in any JavaScript engine, and takes a checkpoint of it there.
//
//   dormouse export heat --wasm heat.wasm --checkpointable
//
//   const program = new Program(await WebAssembly.compile(bytes));
//   const wasi = ...;                                              // any WASI preview 1: a shim in a page, node:wasi
//   const instance = await program.instantiate({ wasi_snapshot_preview1: wasi.wasiImport });
//   program.stopWhen(() => performance.now() > end);               // asked at each call that the program makes
//   wasi.start(instance);
//   if (program.stopped) save(program.checkpoint());               // a Blob, a file: a tar
//
//   dormouse import heat.tar --name heat && dormouse resume heat --dir data
//
// Nothing is needed but this file. It watches which files the program opens, since a WASI does not say that. An embedder that is
// not in JavaScript does the same: docs/export.md says what is in the tar.

const WASI = "wasi_snapshot_preview1";
const NOT_CHECKPOINTABLE = "this module was not made by `dormouse export --wasm --checkpointable`";

export class Program {
  #module;
  #wasi;
  #exports;
  #files;
  #when = () => false;

  constructor(module) {
    if (WebAssembly.Module.customSections(module, "dormouse.original").length !== 1) throw new Error(NOT_CHECKPOINTABLE);
    this.#module = module;
  }

  // The instance, for the WASI to start.
  async instantiate(imports) {
    this.#wasi = imports[WASI];
    const watched = { ...imports, [WASI]: this.#watch(this.#wasi) };
    const instance = await WebAssembly.instantiate(this.#module, watched);
    this.#exports = instance.exports;
    return instance;
  }

  // Asked at each call of WASI; once it says so, the program stops at its next safepoint.
  stopWhen(when) {
    this.#when = when;
  }

  // The program stops at its next safepoint. To be called before it starts, or in one of its calls.
  stop() {
    new DataView(this.#own("control").buffer).setUint32(0, 1, true);
  }

  // Whether it left where it was started because it was to stop, and has more to do.
  get stopped() {
    return this.#own("unwinding").value === 1;
  }

  // The checkpoint of a program that stopped, for `dormouse import`.
  checkpoint() {
    if (!this.stopped) throw new Error("the program was not stopped");
    const exports = this.#exports;
    const list = (prefix) => {
      const found = Object.keys(exports).filter((name) => new RegExp(`^dormouse\\.${prefix}\\d+$`).test(name));
      return found.map((name) => Number(name.slice(10))).sort((a, b) => a - b);
    };
    const known = new Map(list("f").map((index) => [exports[`dormouse.f${index}`], index]));
    const reference = (what) => {
      if (what === null) return null;
      // What an engine calls a function of a module is its index.
      const index = known.get(what) ?? (typeof what === "function" ? Number(what.name) : NaN);
      if (!Number.isInteger(index)) throw new Error("the program holds an object of this host, which cannot travel");
      return index;
    };
    const entries = (table, length) => Array.from({ length }, (_, i) => reference(table.get(i)));
    const functions = entries(this.#own("funcrefs"), this.#own("funcref_sp").value);
    const objects = entries(this.#own("externrefs"), this.#own("externref_sp").value);
    if (exports["dormouse.exnref_sp"]?.value > 0)
      throw new Error("the program holds an exception that it caught, which cannot travel from here");
    const sp = this.#own("sp").value >>> 0;
    const at = exports["dormouse.save_globals"]() >>> 0;
    const memories = list("m").map((index) => exports[`dormouse.m${index}`]);
    // Both are of the mutable and writable ones only; whoever has the original knows which these are.
    const globals = list("g").map((index) => exports[`dormouse.g${index}`]);
    const tables = list("t").map((index) => {
      const table = exports[`dormouse.t${index}`];
      return entries(table, Number(table.length));
    });
    const held = globals.map((global) => {
      try {
        const value = global.value;
        return typeof value === "function" ? reference(value) : null;
      } catch {
        return null; // A vector.
      }
    });
    const said = {
      dormouse: 1,
      functions,
      objects: objects.length,
      globals: held,
      tables,
      memories: memories.map((memory) => memory.buffer.byteLength / 65536),
      wasi: this.#saved(),
    };
    const frames = this.#own("frames").buffer;
    return tar([
      ["dormouse.json", new TextEncoder().encode(JSON.stringify(said))],
      ["original.wasm", new Uint8Array(WebAssembly.Module.customSections(this.#module, "dormouse.original")[0])],
      ["frames", new Uint8Array(frames, 0, sp)],
      ["globals", new Uint8Array(frames, at)],
      ["dropped", new Uint8Array(this.#own("control").buffer, 4096)],
      ...memories.map((memory, i) => [`memory-${i}`, new Uint8Array(memory.buffer)]),
    ]);
  }

  #own(name) {
    return this.#exports[`dormouse.${name}`];
  }

  // Passes calls on, and keeps account of what is open: descriptors, and where they lead.
  #watch(wasi) {
    const after = {
      path_open: ([dir, , at, length, oflags, rights, , flags, opened]) => {
        const place = this.#place(dir, at, length);
        const writable = (BigInt(rights) & 64n) !== 0n;
        const readable = (BigInt(rights) & 2n) !== 0n || !writable;
        const fd = this.#view().getUint32(opened, true);
        this.#files.set(fd, { ...place, read: readable, write: writable || (oflags & 9) !== 0, flags });
      },
      fd_close: ([fd]) => this.#files.delete(fd),
      fd_renumber: ([from, to]) => {
        this.#files.set(to, this.#files.get(from));
        this.#files.delete(from);
      },
      fd_fdstat_set_flags: ([fd, flags]) => (this.#files.get(fd).flags = flags),
      path_rename: ([oldDir, oldAt, oldLength, newDir, newAt, newLength]) => {
        const from = this.#place(oldDir, oldAt, oldLength);
        const to = this.#place(newDir, newAt, newLength);
        for (const file of this.#files.values())
          if (file.dir === from.dir && `${file.path}/`.startsWith(`${from.path}/`)) {
            file.path = to.path + file.path.slice(from.path.length);
            file.dir = to.dir;
          }
      },
    };
    const watch = (name, call) => (...args) => {
      this.#files ??= this.#given();
      if (this.#when()) this.stop();
      const answer = call.apply(wasi, args);
      if (answer === 0) after[name]?.(args);
      return answer;
    };
    return Object.fromEntries(Object.entries(wasi).map(([name, call]) => [name, watch(name, call)]));
  }

  #view() {
    return new DataView(this.#exports.memory.buffer);
  }

  // Asks the WASI something whose answer it writes into the program's memory, which is as before then.
  #ask(bytes, ask) {
    const place = new Uint8Array(this.#exports.memory.buffer, 64, bytes);
    const before = place.slice();
    const errno = ask(64);
    const view = new DataView(place.slice().buffer);
    place.set(before);
    return errno === 0 ? view : undefined;
  }

  // What is open at the beginning.
  #given() {
    const files = new Map([0, 1, 2].map((stdio) => [stdio, { stdio }]));
    for (let fd = 3; ; fd++) {
      const stat = this.#ask(8, (at) => this.#wasi.fd_prestat_get(fd, at));
      if (stat === undefined) return files;
      const length = stat.getUint32(4, true);
      const name = this.#ask(length, (at) => this.#wasi.fd_prestat_dir_name(fd, at, length));
      const guest = new TextDecoder().decode(name.buffer).replace(/\0+$/, "");
      files.set(fd, { preopen: fd - 3, dir: fd - 3, path: "" });
      this.#directories.push(guest);
    }
  }
  #directories = [];

  // Where a path leads from a directory: in none if that cannot be told.
  #place(fd, at, length) {
    const above = this.#files.get(fd);
    const name = new TextDecoder().decode(new Uint8Array(this.#exports.memory.buffer, at, length));
    const parts = above.path === "" ? [] : above.path.split("/");
    for (const part of name.split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "" && part !== ".") parts.push(part);
    }
    return { dir: above.dir, path: parts.join("/") };
  }

  #saved() {
    this.#files ??= this.#given();
    const clock = this.#ask(8, (at) => this.#wasi.clock_time_get(1, 1n, at));
    const fds = [...this.#files].sort(([a], [b]) => a - b).map(([fd, file]) => {
      if (file.stdio !== undefined) return { fd, stdio: file.stdio };
      if (file.preopen !== undefined) return { fd, preopen: file.preopen };
      const stat = this.#ask(64, (at) => this.#wasi.fd_filestat_get(fd, at));
      const kind = stat?.getUint8(16);
      if (kind === 3) return { fd, dir: file.dir, path: file.path, directory: true };
      const offset = this.#ask(8, (at) => this.#wasi.fd_tell(fd, at));
      return {
        fd,
        dir: file.dir,
        path: file.path,
        read: file.read,
        write: file.write,
        append: (file.flags & 1) !== 0,
        nonblock: (file.flags & 4) !== 0,
        offset: String(offset?.getBigUint64(0, true) ?? 0n),
        size: kind === 2 ? undefined : String(stat?.getBigUint64(32, true) ?? 0n),
      };
    });
    return { monotonic: String(clock?.getBigUint64(0, true) ?? 0n), directories: this.#directories, fds };
  }
}

// POSIX ustar; sizes from 8 GiB on as GNU writes them.
function tar(files) {
  const text = new TextEncoder();
  const parts = [];
  for (const [name, bytes] of files) {
    const header = new Uint8Array(512);
    const put = (at, what) => header.set(text.encode(what), at);
    put(0, name);
    put(100, "0000600\0" + "0000000\0" + "0000000\0");
    if (bytes.length < 2 ** 33) put(124, bytes.length.toString(8).padStart(11, "0") + "\0");
    else new DataView(header.buffer).setBigUint64(128, BigInt(bytes.length)), (header[124] = 0x80);
    put(136, "00000000000\0" + "        " + "0");
    put(257, "ustar\0" + "00");
    const sum = header.reduce((sum, byte) => sum + byte, 0);
    put(148, sum.toString(8).padStart(6, "0") + "\0 ");
    parts.push(header, bytes, new Uint8Array(-bytes.length & 511));
  }
  parts.push(new Uint8Array(1024));
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
