// GopherLua, an interpreter in Go running another language's program: closures, string methods, tables, coroutines (each is
// a Go goroutine or a register machine of its own), pcall.
package main

import (
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
)

const program = `
local n = ...
local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end
print("fib", fib(n))
local t = {}
for i = 1, n * 100 do t[i] = (i * 7919) % 10007 end
table.sort(t, function(a, b) return a > b end)
print("sort", t[1], t[#t])
local gen = coroutine.wrap(function() for i = 1, 200 do coroutine.yield(i * i) end return -1 end)
local sum = 0
for i = 1, 200 do sum = sum + gen() end
print("coroutine", sum)
local words = {}
for w in string.gmatch(string.rep("the quick brown fox ", n), "%a+") do words[w] = (words[w] or 0) + 1 end
print("words", words.the, words.fox)
print(pcall(function() error({code = 7}) end))
print(select(2, pcall(error, "message", 0)))
local s = {}
for i = 1, 50 do s[#s + 1] = string.format("%05.2f", math.sin(i)) end
print(table.concat(s, " "))
`

func main() {
	l := lua.NewState()
	defer l.Close()
	fn, err := l.LoadString(program)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	l.SetGlobal("print", l.NewFunction(func(l *lua.LState) int {
		for i := 1; i <= l.GetTop(); i++ {
			v := l.Get(i)
			if v.Type() == lua.LTTable { // a table's address is not the same everywhere
				fmt.Print("table\t")
			} else {
				fmt.Print(v.String(), "\t")
			}
		}
		fmt.Println()
		return 0
	}))
	l.Push(fn)
	l.Push(lua.LNumber(28))
	if err := l.PCall(1, 0, nil); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
