// For the engines that stop at ECMAScript 5 (mujs, duktape).
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
print("fib", fib(26));
function Node(k) { this.key = k; this.left = this.right = null; }
function insert(t, k) {
  if (!t) return new Node(k);
  if (k < t.key) t.left = insert(t.left, k); else if (k > t.key) t.right = insert(t.right, k);
  return t;
}
var tree = null, x = 12345;
for (var i = 0; i < 20000; i++) { x = (x * 1103515245 + 12345) % 2147483648; tree = insert(tree, x % 30000); }
function walk(t, f) { if (t) { walk(t.left, f); f(t.key); walk(t.right, f); } }
var keys = [];
walk(tree, function (k) { keys.push(k); });
print("tree", keys.length, keys[0], keys[keys.length - 1], keys.slice(10, 20).join(","));
var o = JSON.parse('{"a":[1,2,{"b":"\\u00e9"}],"c":null,"d":1e-7}');
print(JSON.stringify(o), JSON.stringify({ k: keys.slice(0, 4) }, null, 1).length);
print("a1b22c333".replace(/([a-z])(\d+)/g, function (m, l, d) { return d + l; }));
print("2026-11-21T08:00".match(/^(\d+)-(\d+)-(\d+)T/).slice(1).join("/"));
function deep(n) { return n === 0 ? 0 : 1 + deep(n - 1); }
print("deep", deep(30));
var caught = 0;
for (i = 0; i < 30000; i++) {
  try {
    try { if (i % 3 === 0) throw new RangeError("r" + i); else if (i % 3 === 1) null.x; } finally { caught += 2; }
  } catch (e) { caught += e instanceof RangeError ? 100 : 10; }
}
print("caught", caught);
var s = "";
for (i = 0; i < 20000; i++) s += String.fromCharCode(97 + (i * 7) % 26);
var count = {};
s.split("").forEach(function (c) { count[c] = (count[c] || 0) + 1; });
print("letters", Object.keys(count).sort().map(function (c) { return c + count[c]; }).join(" "));
print(Math.sqrt(2), 0.1 + 0.2, (1 / 3).toFixed(5), (255).toString(2), parseInt("zz", 36), new Date(0).toISOString());
