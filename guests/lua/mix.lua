-- A mix of what Lua programs do: closures, coroutines, pcall and error, strings, tables, metatables, garbage collection.
-- mix.lua SCALE; the output is the same everywhere.
local scale = tonumber(arg and arg[1]) or 1

local hash = 0xcbf29ce4
local function fold(value)
  local text = tostring(value)
  for i = 1, #text do hash = ((hash ~ text:byte(i)) * 0x01000193) & 0xffffffff end
end
local function done(name)
  print(string.format("%-12s %08x", name, hash))
end

local seed = 12345
local function random(below)
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return (seed >> 8) % below
end

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
for _ = 1, scale do fold(fib(18)) end
done("fib")

-- closures
local function counter(step)
  local n = 0
  return function(by) n = n + (by or step) return n end, function() return n end
end
for _ = 1, 20 * scale do
  local all = {}
  for i = 1, 50 do
    local up, read = counter(i)
    all[i] = { up = up, read = read }
  end
  for i = 1, 500 do all[i % 50 + 1].up(i % 3 == 0 and i or nil) end
  local sum = 0
  for _, c in ipairs(all) do sum = sum + c.read() end
  fold(sum)
end
done("closures")

-- coroutines: generators through generators, and errors that cross them
local function walk(tree)
  if tree then
    walk(tree.left)
    coroutine.yield(tree.key)
    walk(tree.right)
  end
end
local function insert(tree, key)
  if not tree then return { key = key } end
  if key < tree.key then tree.left = insert(tree.left, key) else tree.right = insert(tree.right, key) end
  return tree
end
local function filter(keep, source)
  return coroutine.wrap(function() for v in source do if keep(v) then coroutine.yield(v) end end end)
end
for round = 1, 5 * scale do
  local tree
  for _ = 1, 200 do tree = insert(tree, random(10000)) end
  local source = coroutine.wrap(function() walk(tree) end)
  for d = 2, 5 do source = filter(function(v) return v % d ~= round % d end, source) end
  for v in source do fold(v) end
  local co = coroutine.create(function(a)
    local ok, e = pcall(function() local b = coroutine.yield(a + 1) error({ code = b }) end)
    coroutine.yield(ok, e.code)
    error("at the end " .. round, 0)
  end)
  fold(select(2, coroutine.resume(co, round)))
  fold(select(3, coroutine.resume(co, round * 2)))
  fold(select(2, coroutine.resume(co)))
  fold(coroutine.status(co))
end
done("coroutines")

-- pcall, error, xpcall, close
local function risky(depth)
  if depth == 0 then error("bottom") end
  local guard <close> = setmetatable({}, { __close = function(_, e) fold(e and "error" or "fine") end })
  if depth % 3 == 0 then
    local ok, message = pcall(risky, depth - 1)
    fold(ok)
    error("again: " .. tostring(message):sub(-12), 0)
  end
  return 1 + risky(depth - 1)
end
for i = 1, 30 * scale do
  fold(select(2, pcall(risky, i % 17 + 1)))
  fold(select(2, xpcall(function() return nil + i end, function(m) return "handled " .. m end)))
end
fold(pcall(string.rep))
local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end
fold(deep(10000))
fold((select(2, pcall(function() local function endless(n) return 1 + endless(n + 1) end return endless(1) end))):find("overflow") ~= nil)
done("errors")

-- strings
for i = 1, 40 * scale do
  local words = {}
  for w = 1, 40 do words[w] = string.format("%s%d:%5.2f", ("dormouse"):sub(1, random(8) + 1), random(1000), random(10000) / 128) end
  local text = table.concat(words, " ")
  text = text:gsub("(%a+)(%d+)", function(a, b) return b .. a:upper():reverse() end)
  for word, number in text:gmatch("(%S+):%s*([%d.]+)") do fold(word) fold(tonumber(number) * 2) end
  fold(string.pack("<i4d", i, i / 3):byte(5, -1))
  fold(#text:rep(3, "-"))
end
done("strings")

-- metatables and arithmetic
local V = {}
V.__index = V
V.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, V) end
V.__mul = function(a, k) return setmetatable({ x = a.x * k, y = a.y * k }, V) end
V.__eq = function(a, b) return a.x == b.x and a.y == b.y end
V.__tostring = function(a) return string.format("(%.6f, %.6f)", a.x, a.y) end
local at = setmetatable({ x = 0, y = 0 }, V)
for i = 1, 3000 * scale do
  at = at * 0.99 + setmetatable({ x = i % 7 / 3, y = i % 11 / 5 }, V)
end
fold(at)
done("metatables")

-- garbage: lists, weak tables, finalizers
local weak = setmetatable({}, { __mode = "v" })
local finalized = 0
for i = 1, 3000 * scale do
  local node = { i, tostring(i), { i } }
  weak[i % 100] = node
  if i % 100 == 0 then setmetatable({}, { __gc = function() finalized = finalized + 1 end }) end
end
collectgarbage() collectgarbage()
local left = 0
for _ in pairs(weak) do left = left + 1 end
fold(finalized) fold(left)
done("garbage")

-- sorting with a comparison in Lua
local list = {}
for i = 1, 2000 * scale do list[i] = random(1 << 20) end
table.sort(list, function(a, b) if a % 16 ~= b % 16 then return a % 16 < b % 16 end return a > b end)
for i = 1, #list, 7 do fold(list[i]) end
done("sort")

-- matrices of floats
local n = 20
for _ = 1, scale do
  local a, b = {}, {}
  for i = 1, n do a[i], b[i] = {}, {} for j = 1, n do a[i][j], b[i][j] = i * j % 7 / 3, (i + j) % 5 / 7 end end
  for i = 1, n do
    for j = 1, n do
      local s = 0.0
      for k = 1, n do s = s + a[i][k] * b[k][j] end
      if i == j then fold(string.format("%.9f", s)) end
    end
  end
end
done("matrices")
