// AssemblyScript: its garbage collector, maps, strings, classes and generics at work. Life on a torus, a map of words, a
// sudoku by backtracking, matrices; what was found goes to the console.
class Grid {
  private cells: StaticArray<u8>;
  constructor(private w: i32, private h: i32) { this.cells = new StaticArray<u8>(w * h); }
  get(x: i32, y: i32): u8 { return this.cells[((y + this.h) % this.h) * this.w + (x + this.w) % this.w]; }
  set(x: i32, y: i32, v: u8): void { this.cells[y * this.w + x] = v; }
  step(): Grid { // a new grid each time: work for the collector
    const next = new Grid(this.w, this.h);
    for (let y = 0; y < this.h; y++) for (let x = 0; x < this.w; x++) {
      let n = 0;
      for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) if (dx != 0 || dy != 0) n += this.get(x + dx, y + dy);
      next.set(x, y, n == 3 || (n == 2 && this.get(x, y) == 1) ? 1 : 0);
    }
    return next;
  }
  hash(): u32 { let h: u32 = 0; for (let i = 0; i < this.cells.length; i++) h = h * 31 + this.cells[i]; return h; }
  alive(): i32 { let n = 0; for (let i = 0; i < this.cells.length; i++) n += this.cells[i]; return n; }
}

function solve(board: Array<i32>, tries: Array<i32>): bool {
  let at = board.indexOf(0);
  if (at < 0) return true;
  for (let v = 1; v <= 9; v++) {
    tries[0]++;
    let fits = true;
    for (let i = 0; i < 9 && fits; i++) {
      fits = board[at / 9 * 9 + i] != v && board[i * 9 + at % 9] != v
        && board[(at / 27 * 3 + i / 3) * 9 + at % 9 / 3 * 3 + i % 3] != v;
    }
    if (!fits) continue;
    board[at] = v;
    if (solve(board, tries)) return true;
    board[at] = 0;
  }
  return false;
}

let grid = new Grid(40, 30);
let x: u32 = 1;
for (let i = 0; i < 1200; i++) {
  x = x * 1664525 + 1013904223;
  grid.set(i % 40, i / 40, u8(x >> 24 & 3) == 0 ? 1 : 0);
}
for (let i = 0; i < 6000; i++) grid = grid.step();
console.log("life " + grid.alive().toString() + " " + grid.hash().toString(16));

const words = new Map<string, Array<i32>>();
for (let i = 0; i < 100000; i++) {
  x = x * 1664525 + 1013904223;
  const w = "w" + (x % 500).toString(36);
  if (!words.has(w)) words.set(w, []);
  words.get(w).push(i);
}
const keys = words.keys();
keys.sort();
let most = keys[0];
for (let i = 0; i < keys.length; i++) if (words.get(keys[i]).length > words.get(most).length) most = keys[i];
console.log("words " + keys.length.toString() + " " + most + " " + words.get(most).length.toString() + " " + keys.slice(0, 6).join(","));

const puzzle = "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
const board = new Array<i32>(81);
for (let i = 0; i < 81; i++) board[i] = puzzle.charCodeAt(i) - 48;
const tries = [0];
const solved = solve(board, tries);
console.log("sudoku " + solved.toString() + " " + tries[0].toString() + " " + board.join(""));

let sum: f64 = 0;
const values = new Float64Array(50000);
for (let i = 0; i < values.length; i++) values[i] = Math.sin(i as f64) * Math.exp(-(i as f64) / 10000) + Math.cbrt(i as f64);
values.sort();
for (let i = 0; i < values.length; i++) sum += values[i] * (i % 7);
console.log("floats " + values[0].toString() + " " + values[49999].toString() + " " + sum.toString());

process.exit(3);
