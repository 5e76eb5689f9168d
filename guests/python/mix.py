"""A mix of what Python programs do: mix.py DIRECTORY SCALE. Writes DIRECTORY/mix.json and prints digests that are the same
everywhere (nothing that depends on hash seeds, addresses or the clock)."""
import hashlib
import json
import math
import os
import re
import sys
import zlib
from collections import Counter, defaultdict, deque
from functools import lru_cache, reduce
from itertools import combinations, islice

directory = sys.argv[1] if len(sys.argv) > 1 else "."
scale = int(sys.argv[2]) if len(sys.argv) > 2 else 40
digest = hashlib.sha256()
results = {}


def done(name, value):
    text = json.dumps(value, sort_keys=True)
    digest.update(text.encode())
    results[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    print(f"{name:12} {results[name]}", flush=True)


class Random:
    """Our own, so that nothing depends on the library's."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n


random = Random(7)


def dictionaries():
    table = {}
    for i in range(4000 * scale):
        key = f"k{random.below(3000)}"
        table[key] = table.get(key, 0) + i
        if i % 5 == 0:
            table.pop(f"k{random.below(3000)}", None)
    groups = defaultdict(list)
    for key, value in table.items():
        groups[value % 17].append(key)
    return [len(table), {k: len(v) for k, v in groups.items()}, Counter(k[1] for k in table).most_common(3)]


def recursion():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def hanoi(n, a, b, c):
        return 0 if n == 0 else hanoi(n - 1, a, c, b) + 1 + hanoi(n - 1, c, b, a)

    @lru_cache(None)
    def ways(total, coins):
        if total == 0:
            return 1
        if total < 0 or not coins:
            return 0
        return ways(total - coins[0], coins) + ways(total, coins[1:])

    def depth(n):
        return 0 if n == 0 else 1 + depth(n - 1)

    return [sum(fib(15) for _ in range(scale)), hanoi(10, "a", "b", "c"), ways(120, (50, 20, 10, 5, 2, 1)), depth(150)]


def floats():
    x, total = 0.5, 0.0
    for i in range(1, 6000 * scale):
        x = 3.9 * x * (1 - x)
        total += math.sqrt(x) / i
    return [repr(x), repr(total), math.fsum([0.1] * 10), f"{total:.3e}"]


def sorting():
    rows = [(random.below(50), random.below(10**6), str(i)) for i in range(1500 * scale)]
    rows.sort(key=lambda r: (r[0], -r[1]))
    return [rows[::97], sorted(rows, key=lambda r: r[2])[: 20]]


def jsons():
    out = 0
    for i in range(4 * scale):
        thing = {"id": i, "tags": [f"t{k}" for k in range(30)], "nested": [{"x": k / 3, "y": None, "z": "é\"\n"} for k in range(40)]}
        text = json.dumps(thing, indent=1)
        assert json.loads(text) == thing
        out = zlib.crc32(text.encode(), out)
    return out


def regexes():
    text = " ".join(f"user{random.below(999)}@host{random.below(99)}.example [{random.below(31)}/{random.below(12)}]" for _ in range(300))
    found = 0
    for i in range(scale):
        found += len(re.findall(r"(\w+)@(\w+)\.example \[(\d+)/(\d+)\]", text))
        text = re.sub(r"user(\d)(\d*)", lambda m: f"user{m[2]}{m[1]}", text)
    return [found, hashlib.md5(text.encode()).hexdigest()]


def hashing():
    block = b"dormouse"
    for _ in range(500 * scale):
        block = hashlib.sha256(block).digest() + hashlib.blake2b(block, digest_size=8).digest()
    return [block.hex(), zlib.adler32(zlib.compress(block * 500))]


class Shape:
    def area(self):
        raise NotImplementedError


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


class Circle(Square):
    def area(self):
        return 3 * super().area()


def objects():
    shapes = deque(maxlen=100)
    total, errors = 0, 0
    for i in range(1500 * scale):
        shapes.append((Square, Circle, Shape)[i % 3](*([i % 10] if i % 3 < 2 else [])))
        try:
            total += shapes[-1].area()
        except NotImplementedError:
            errors += 1
        finally:
            total ^= 1
    return [total, errors]


def generators():
    def primes():
        seen = []
        for n in range(2, 10**9):
            if all(n % p for p in islice(seen, 0, int(math.sqrt(len(seen))) + 8) if p * p <= n):
                seen.append(n)
                yield n

    return [list(islice(primes(), 100 * scale))[-1], sum(a * b % 7 for a, b in combinations(range(20 + scale), 2))]


def big_integers():
    return [str(reduce(lambda a, b: a * b % (2**521 - 1), range(1, 800 * scale), 1))[:40], str(pow(3, 2000 + scale))[-30:]]


def files():
    path = os.path.join(directory, "lines.txt")
    with open(path, "w") as f:
        for i in range(200 * scale):
            f.write(f"{i} {random.below(1000)}\n")
    total = 0
    with open(path) as f:
        for line in f:
            total += int(line.split()[1])
    size = os.stat(path).st_size
    os.rename(path, path + ".old")
    os.remove(path + ".old")
    return [total, size, "lines.txt" in os.listdir(directory)]


for part in (dictionaries, recursion, floats, sorting, jsons, regexes, hashing, objects, generators, big_integers, files):
    done(part.__name__, part())
with open(os.path.join(directory, "mix.json"), "w") as out:
    json.dump(results, out, indent=1)
with open(os.path.join(directory, "mix.json")) as back:
    assert json.load(back) == results
print("digest", digest.hexdigest())
