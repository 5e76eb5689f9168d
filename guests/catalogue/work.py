"""Generators, classes, exceptions, big integers, decimals, regular expressions, sorting, zlib, hashing, files."""
import collections, dataclasses, decimal, functools, hashlib, heapq, itertools, json, re, textwrap

@dataclasses.dataclass(order=True)
class Job:
    due: int
    name: str = dataclasses.field(compare=False)

def jobs(n, seed=42):
    for i in range(n):
        seed = (seed * 1103515245 + 12345) % 2**31
        yield Job(seed % 1000, f"job{i}")

heap = []
for job in jobs(20000):
    heapq.heappush(heap, job)
order = [heapq.heappop(heap).due for _ in range(len(heap))]
print("heap", order == sorted(order), sum(order))

@functools.lru_cache(None)
def paths(x, y):
    return 1 if x == 0 or y == 0 else paths(x - 1, y) + paths(x, y - 1)
print("paths", paths(30, 25) % 10**12)

decimal.getcontext().prec = 120
two = decimal.Decimal(2).sqrt()
print("root", str(two)[-20:])

text = "In the wood the dormouse sleeps; nobody wakes the dormouse before April. " * 1500
count = collections.Counter(w.lower() for w in re.findall(r"\w+", text))
print(json.dumps(count.most_common(5)))
print(textwrap.fill(text[:300], 60))

def queens(n, row=0, cols=0, left=0, right=0):
    if row == n:
        return 1
    free = ~(cols | left | right) & ((1 << n) - 1)
    found = 0
    while free:
        bit = free & -free
        free ^= bit
        found += queens(n, row + 1, cols | bit, (left | bit) << 1, (right | bit) >> 1)
    return found
print("queens", queens(8))

caught = 0
for i in range(20000):
    try:
        {}[i]
    except KeyError as e:
        caught += e.args[0] == i
print("caught", caught)
with open("/work/out.txt", "w") as out:
    for i, perm in enumerate(itertools.permutations("dormou", 5)):
        out.write(f"{i} {''.join(perm)} {hashlib.sha256(bytes(perm[0] * i, 'ascii')).hexdigest()[:12]}\n")
print("written", sum(1 for _ in open("/work/out.txt")))
