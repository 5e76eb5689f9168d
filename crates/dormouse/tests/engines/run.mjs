// Runs a WASI command in memory, with nothing of the engine's own but WebAssembly: in a page, or elsewhere.
// SHIM is the module of @bjorn3/browser_wasi_shim; DIRS are [guest, tree], a tree names files (bytes) and trees.
export async function run(shim, bytes, dirs, write) {
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
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: host.wasiImport });
  const code = host.start(instance);
  return { code, trees: given.map((dir) => give(dir.dir.contents)) };
}
