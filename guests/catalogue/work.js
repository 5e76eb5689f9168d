// Closures, generators, regular expressions, big integers, JSON, sorting, Maps, exceptions, and some arithmetic.
function* primes(limit) {
  const sieve = new Uint8Array(limit + 1);
  for (let i = 2; i <= limit; i++) {
    if (sieve[i]) continue;
    yield i;
    for (let j = i * i; j <= limit; j += i) sieve[j] = 1;
  }
}
let sum = 0;
for (const p of primes(2000000)) sum = (sum + p) % 1000003;
print("primes", sum);

let big = 1n;
for (let i = 1n; i <= 2500n; i++) big *= i;
print("factorial", String(big).length, String(big % 1000000007n));

const words = {};
const text = "the quick brown fox jumps over the lazy dog and the dormouse sleeps ".repeat(6000);
for (const [word] of text.matchAll(/[a-z]+/g)) words[word] = (words[word] ?? 0) + 1;
print(JSON.stringify(Object.entries(words).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))));

const rows = [];
for (let y = -1.2; y <= 1.2; y += 0.12) {
  let row = "";
  for (let x = -2; x <= 0.6; x += 0.05) {
    let [a, b, n] = [0, 0, 0];
    while (a * a + b * b < 4 && n < 200) [a, b, n] = [a * a - b * b + x, 2 * a * b + y, n + 1];
    row += " .:-=+*#%@"[Math.min(9, Math.floor(Math.log2(n + 1)))];
  }
  rows.push(row.trimEnd());
}
print(rows.join("\n"));

class Tree {
  constructor(depth) { if (depth > 0) { this.left = new Tree(depth - 1); this.right = new Tree(depth - 1); } }
  count() { return this.left ? this.left.count() + this.right.count() + 1 : 1; }
}
let nodes = 0;
for (let i = 0; i < 30; i++) nodes += new Tree(13).count();
print("nodes", nodes);

function deep(n) { return n === 0 ? [] : [deep(n - 1)]; }
print("deep", JSON.stringify(deep(60)).length);
let caught = 0;
for (let i = 0; i < 20000; i++) try { null.x; } catch (e) { caught += e instanceof TypeError; }
print("caught", caught);
Promise.resolve(41).then(x => print("promise", x + 1));
