// Runs a WASI command in memory, with nothing of the engine's own but WebAssembly: in a page, or elsewhere.
// SHIM is the module of @bjorn3/browser_wasi_shim; DIRS are [guest, tree], a tree names files (bytes) and trees. STOP, if it is given: the
// module contrib/dormouse.mjs, and after how many calls the program is stopped.
export async function run(shim, bytes, dirs, write, stop) {
  const { WASI, File, Directory, OpenFile, PreopenDirectory, Fd, wasi } = shim;

  class Stream extends Fd {
    constructor(fd) {
      super();
      this.fd = fd;
    }
    fd_write(data) {
      write(this.fd, data);
      return { ret: 0, nwritten: data.length };
    }
    fd_fdstat_get() {
      return { ret: 0, fdstat: new wasi.Fdstat(wasi.FILETYPE_CHARACTER_DEVICE, 0) };
    }
  }

  const take = (tree) =>
    new Map(
      Object.entries(tree).map(([name, what]) => [
        name,
        what instanceof Uint8Array ? new File(what) : new Directory(take(what)),
      ]),
    );
  const give = (contents) =>
    Object.fromEntries(
      [...contents].map(([name, what]) => [name, what instanceof Directory ? give(what.contents) : what.data]),
    );

  const given = dirs.map(([guest, tree]) => new PreopenDirectory(guest, take(tree)));
  const fds = [new OpenFile(new File([])), new Stream(1), new Stream(2), ...given];
  const host = new WASI(["other"], [], fds, { debug: false });
  const module = await WebAssembly.compile(bytes);
  const imports = { wasi_snapshot_preview1: host.wasiImport };
  const program = stop && new stop.dormouse.Program(module);
  const instance = await (program ? program.instantiate(imports) : WebAssembly.instantiate(module, imports));
  let calls = 0;
  program?.stopWhen(() => ++calls >= stop.after);
  if (stop?.after === 0) program.stop();
  const code = host.start(instance);
  const checkpoint = program?.stopped ? program.checkpoint() : undefined;
  return { code, checkpoint, trees: given.map((dir) => give(dir.dir.contents)) };
}
