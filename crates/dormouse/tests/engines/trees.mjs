// Trees of files as text, which is all that travels to a page and back.
export const toText = (tree) =>
  Object.entries(tree).map(([name, what]) => [name, what instanceof Uint8Array ? what.toBase64() : toText(what)]);

export const fromText = (list) =>
  Object.fromEntries(
    list.map(([name, what]) => [name, typeof what === "string" ? Uint8Array.fromBase64(what) : fromText(what)]),
  );
