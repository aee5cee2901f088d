package policies_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/nimbus-epu/epu/policies"
)

// grabber is Lua that gathers every table it can get at, by every function that gives one, and writes into
// each by every way there is to write.
const grabber = `
local seen, all = {}, {}
local function take(v)
	if type(v) == "table" and not seen[v] then
		seen[v] = true
		all[#all + 1] = v
	end
end
local function try(f, ...)
	local got = { pcall(f, ...) }
	for i = 2, #got do take(got[i]) end
	return unpack(got, 2)
end
local function open(t)
	take(getmetatable(t))
	for _, how in ipairs({ pairs, ipairs, next, unpack, assert }) do
		local f, inner = try(how, t)
		if type(f) == "function" then
			local k, v = try(f, inner, nil)
			try(f, inner, 0)
			take(k) take(v)
		end
	end
	for _, name in ipairs({ "__index", "__newindex", "__metatable", "__len" }) do take(try(rawget, t, name)) try(function() take(t[name]) end) end
	try(function() for k, v in pairs(t) do take(k) take(v) if type(v) == "function" then try(v, t) try(v, "q", 1) end end end)
	try(function() for i, v in ipairs(t) do take(v) end end)
	try(function() for i, v in ipairs(t.list) do take(v) end end)
	for _, through in ipairs({ { __index = t }, { __index = function(inner, k) take(inner) return t[k] end }, { __index = t, __metatable = false } }) do
		local own = setmetatable({}, through)
		try(function() take(own.floor) take(own.list) take(own.list[1]) end)
		try(function() for k, v in pairs(own) do take(v) end end)
		local _, inner = try(pairs, own)
		take(inner)
	end
	xpcall(function() return t.no_such_name end, take)
	xpcall(function() t.no_such_name = 1 end, take)
	xpcall(function() return t + 1 end, take)
	xpcall(function() return t() end, take)
	xpcall(function() return t < t end, take)
end
local function spoil(t)
	for _, k in ipairs({ "floor", "n", "sub", "__index", 2 }) do
		pcall(function() t[k] = function() return 99 end end)
		pcall(rawset, t, k, 99)
		pcall(table.insert, t, k)
		pcall(table.insert, t, 1, k)
		pcall(setmetatable, t, { __index = function() return 99 end, __newindex = function() end })
		pcall(function() setmetatable({}, { __newindex = t })[k] = 99 end)
	end
	pcall(table.sort, t)
	pcall(table.remove, t)
end
local function grab(...)
	for _, v in ipairs({ ... }) do take(v) end
	local i = 0
	while i < #all and i < 40 do
		i = i + 1
		open(all[i])
	end
	for i = 1, math.min(#all, 40) do spoil(all[i]) end
end
`

// Goal: nothing that one pool's policy does reaches another pool's engine, nor its own next decision. Method:
// a policy that writes to all that it can get at, in several engines at once and under the race detector;
// beside it and after it, the same policy's decisions show what the host's functions do.
func TestNothingIsSharedForWriting(t *testing.T) {
	p := compile(t, "p", grabber+body(`
		local m = math
		if conf.n == 1 then
			grab(control, state, conf, state.params, math, table, string, text, cron, getmetatable(""), state.memory)
			for w in state.workers() do grab(w) grab(w.vars) end
		end
		local f, inner = pairs(m)
		control.scale_to(m.floor(conf.n + 0.5) + #conf.list + conf.list[2] + #(("x"):sub(1)))
		control.because("so")`))
	decides := func(n, ticks int) {
		e := policies.NewEngine(p, policies.Options{Steps: 500_000_000})
		defer e.Close()
		conf := check(t, p, map[string]any{"n": n, "list": []any{3, 4}})
		for range ticks {
			if d := e.Decide(fleet(2), conf); d.Error != "" || d.Wanted.Target != n+2+4+1 {
				t.Errorf("n = %d: got target %d, error %q; want %d", n, d.Wanted.Target, d.Error, n+7)
			}
		}
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { decides(1, 1) })
		all.Go(func() { decides(2, 50) })
	}
	all.Wait()
	decides(2, 1)
}

// Goal: what is behind the tables of the host can't be had from an iterator, and writing to what can be had is
// refused with its line. Method: each kind of table, through each iterator.
func TestIteratorsGiveNothingAway(t *testing.T) {
	for _, c := range []struct{ code, want string }{
		{`local _, m = pairs(math) m.floor = function() return 7 end`, "p.lua:3: can't set math.floor: it belongs to the host"},
		{`local _, m = pairs(string) m.sub = 1`, "can't set string.sub: it belongs to the host"},
		{`local _, m = pairs(control) m.scale_to = function() end`, "can't set 'scale_to': control is read-only"},
		{`local _, m = pairs(state) m.hide = 3`, "can't set 'hide': state is read-only"},
		{`local _, m = pairs(conf) m.n = 99`, "can't set 'n': the table is read-only"},
		{`local _, m = ipairs(conf.list) m[1] = 99`, "can't set '1': the table is read-only"},
		{`local _, m = pairs(conf.list) rawset(m, 1, 99)`, "this table belongs to the host"},
		{`local sum, list = 0, conf.list for _, v in ipairs(list) do sum = sum + v end for _, v in pairs(list) do sum = sum + v end error("sum is " .. sum)`, "sum is 14"},
		{`local f, t = ipairs(conf.list) local i, v = f(t, 1) error(i .. " is " .. v)`, "2 is 4"},
	} {
		d := decide(t, compile(t, "p", body(c.code)), fleet(2), map[string]any{"list": []any{3, 4}})
		if !strings.Contains(d.Error, c.want) {
			t.Errorf("%s: got error %q, want %q", c.code, d.Error, c.want)
		}
	}
}
