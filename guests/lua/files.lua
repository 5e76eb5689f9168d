-- Files from Lua: files.lua PATH LINES. Writes, seeks, reads back by lines and by numbers.
local path, lines = arg[1], tonumber(arg[2]) or 100
local file <close> = assert(io.open(path, "w+"))
file:setvbuf("full", 300)
local sum = 0
for i = 1, lines do
  local x = 0
  for k = 1, 2000 do x = (x * 31 + k * i) & 0xffff end
  file:write(i, " ", x, "\n")
  sum = sum + x
  if i % 25 == 0 then
    local at = file:seek()
    file:seek("set", 0)
    local first = file:read("n")
    assert(first == 1)
    file:seek("set", at)
    print("wrote", i, at)
  end
end
file:seek("set")
local check = 0
for line in file:lines() do check = check + tonumber(line:match(" (%d+)$")) end
print(check == sum, check, file:seek("end"))
