// Directories as trees, for run.mjs.
import { readFileSync, writeFileSync, readdirSync, mkdirSync } from "node:fs";
import { join } from "node:path";

export const read = (dir) =>
  Object.fromEntries(
    readdirSync(dir, { withFileTypes: true }).map((entry) => {
      const path = join(dir, entry.name);
      return [entry.name, entry.isDirectory() ? read(path) : new Uint8Array(readFileSync(path))];
    }),
  );

export const write = (dir, tree) => {
  mkdirSync(dir, { recursive: true });
  for (const [name, what] of Object.entries(tree))
    if (what instanceof Uint8Array) writeFileSync(join(dir, name), what);
    else write(join(dir, name), what);
};
