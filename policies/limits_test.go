package policies_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nimbus-epu/epu/policies"
)

// Goal: no policy can block, crash, exhaust or change its host, and each limit says what it was. Method:
// one policy per attack. The engine has no clock, so that only the budgets that are the same on every
// machine can stop it; afterwards the same engine must decide well with the configuration n = 1.
func TestLimits(t *testing.T) {
	for _, c := range []struct{ name, code, want string }{
		{"loop", `while true do end`, "p.lua:4: stopped after 500000 steps"},
		{"loop with goto", `::again:: goto again`, "stopped after"},
		{"loop in pcall", `while true do pcall(function() while true do end end) end`, "stopped after"},
		{"loop in xpcall's handler", `xpcall(error, function() while true do end end)`, "stopped after"},
		{"loop in a comparison", `table.sort({3, 1, 2}, function() while true do end end)`, "stopped after"},
		{"loop in a metamethod", `local t = setmetatable({}, { __index = function() while true do end end }) local x = t.x`, "stopped after"},
		{"loop in tostring", `tostring(setmetatable({}, { __tostring = function() while true do end end }))`, "stopped after"},
		{"recursion", `local function f() return 1 + f() end f()`, "stack overflow"},
		{"tail recursion", `local function f() return f() end f()`, "stopped"},
		{"recursion of metamethods", `local t = {} setmetatable(t, { __index = function(_, k) return t[k] end }) local x = t.x`, "stack overflow"},
		{"recursion through pcall", `local function f() pcall(f) return f() end f()`, "stopped after"},
		{"doubling text", `local s = "x" while true do s = s .. s end`, "p.lua:4: a text of 131072 bytes is too long: at most 65536"},
		{"doubling text, caught", `local s = "x" while true do pcall(function() s = s .. s end) end`, "stopped after"},
		{"much text", `local s = ("x"):rep(60000) while true do local t = s .. "y" end`, "stopped after making 8 MiB of text"},
		{"upper", `local s = ("x"):rep(60000) while true do s:upper() end`, "stopped after making 8 MiB of text"},
		{"rep", `return ("x"):rep(1e9)`, "string.rep: 1e+09 times 1 bytes is too long"},
		{"rep of rep", `return ("xx"):rep(65536)`, "too long"},
		{"rep of nan", `control.scale_to(#("x"):rep(0/0)) error("was fine")`, "was fine"},
		{"concat", `local t = {} for i = 1, 70 do t[i] = ("x"):rep(1000) end table.concat(t)`, "too long"},
		{"format width", `string.format("%999999d", 1)`, "width or precision above 99"},
		{"format repeated", `string.format(("%99d"):rep(2000), unpack({}, 1, 900))`, "bad argument"},
		{"unpack", `unpack({}, 1, 1e8)`, "at most 1000"},
		{"table", `local t = {} while true do t[#t + 1] = {} end`, "stopped"},
		{"named entries", `local t, i = {}, 0 while true do i = i + 1 t["k" .. i % 1000] = i end`, "stopped"},
		{"sparse arrays", `local a = {} while true do local t = {} t[65000] = 1 a[#a + 1] = t end`, "its tables and functions take more than 64 MiB"},
		{"far index", `local t = {} t[67108863] = 1 t[1e15] = 1 t[-1] = 1 error("was fine")`, "was fine"},
		{"backtracking", `control.scale_to(1) text.match(("a"):rep(40), ("a*"):rep(20) .. "b") error("was fine")`, "was fine"},
		{"long subject", `text.match(("a"):rep(60000), ("a*"):rep(20) .. "b")`, "too long for this pattern"},
		{"long pattern", `text.match("a", ("a*"):rep(200))`, "a pattern of 400 bytes is too long"},
		{"bad pattern", `text.match("a", "(")`, "missing closing )"},
		{"patterns for ever", `local i = 0 while true do i = i + 1 text.match("a", "a{" .. i % 900 .. "}") end`, "stopped"},
		{"gsub bomb", `text.gsub(("a"):rep(4000), "a", ("b"):rep(4000))`, "too long"},
		{"gsub captures", `text.gsub(("a"):rep(3000), "(a*)", "$1$1$1$1")`, "too long"},
		{"split", `text.split(("a"):rep(60000), "")`, "too long for this pattern"},
		{"compare for ever", `local s = ("x"):rep(60000) while s == ("x"):rep(60000) do end`, "stopped after"},
		{"insert at the front", `local t = {} while true do table.insert(t, 1, 0) end`, "stopped after"},
		{"count for ever", `while true do state.count{ stage = "running" } end`, "stopped"},
		{"visit for ever", `while true do for w in state.workers() do local x = w.id end end`, "stopped"},
		{"panic in pairs", `for k in pairs(nil) do end`, "pairs wants a table, got nil"},
		{"nan key", `local t = {} t[0/0] = 1 for k in pairs(t) do end error("was fine")`, "was fine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compile(t, "p", body("if conf.n == 1 then control.scale_to(1) return end\n"+c.code))
			e := policies.NewEngine(p, policies.Options{Heap: 64 << 20, Steps: 500_000})
			defer e.Close()
			snap := fleet(20)
			d := e.Decide(snap, check(t, p, nil))
			if !strings.Contains(d.Error, c.want) {
				t.Errorf("got error %q, want %q", d.Error, c.want)
			}
			if d.Wanted.Target != 20 {
				t.Errorf("got target %d, want the last wish, 20", d.Wanted.Target)
			}
			if d = e.Decide(snap, check(t, p, map[string]any{"n": 1})); d.Error != "" || d.Wanted.Target != 1 {
				t.Errorf("afterwards: got target %d, error %q; want 1", d.Wanted.Target, d.Error)
			}
		})
	}
}

// nonsense is what policies do wrong, and what they are told.
type nonsense []struct{ code, want string }

// Goal: nonsense is refused with the line and what was expected. Method: one call each.
func TestNonsense(t *testing.T) {
	nonsense{
		{`return 5`, "p.lua:2: decide returned a number; wishes go through control"},
		{`return nil, 5`, ""},
		{`control.scale_to()`, "p.lua:3: control.scale_to wants a whole number, got nil"},
		{`control.scale_to("4")`, "wants a whole number, got a string"},
		{`control.scale_to(-1)`, "from 0 to 100000, got -1"},
		{`control.scale_to(1.5)`, "got 1.5: use math.ceil or math.floor"},
		{`control.scale_to(0/0)`, "wants a whole number, got NaN"},
		{`control.scale_to(math.huge)`, "wants a whole number"},
		{`control.scale_to(1e9)`, "from 0 to 100000, got 1e+09"},
		{`control.scale_to(1, 2)`, "options are a table"},
		{`control.scale_to(1, { victim = "oldest" })`, "unknown option 'victim'; did you mean 'victims'?"},
		{`control.scale_to(1, { victims = "fattest" })`, "victims is one of oldest, newest"},
		{`control.scale_to(1, { heal = "no" })`, "heal is true or false, got a string"},
		{`control.scale_to(1, { market = "black" })`, "market is one of on-demand, reserved, spot; got 'black'"},
		{`control.scale_to(1, { vars = { a = {} } })`, "vars holds names with texts, but a is a table"},
		{`control.scale_to(1, { site = ("x"):rep(300) })`, "site is 300 bytes long: at most 256"},
		{`control:scale_to(1)`, "call control.scale_to with a dot, not with a colon"},
		{`state:running()`, "call state.running with a dot"},
		{`control.want("")`, "needs a name"},
		{`control.want(nil)`, "needs a name"},
		{`control.because()`, "wants a text"},
		{`control.configure{ tick = 0 }`, "tick is 0 s, but lies from 0.1 to 86400 s"},
		{`control.terminate("i-07ab")`, "'i-07ab' is not the ID of a worker"},
		{`control.terminate({ 1 })`, "wants workers or their IDs, got a number"},
		{`control.launch{ count = 2, name = "a" }`, "a name belongs to one worker"},
		{`control.scale(3)`, "'control.scale' does not exist; did you mean 'control.scale_to'?"},
		{`control.scale_to = nil`, "can't set 'scale_to': control is read-only"},
		{`state.now = 1`, "can't set 'now': state is read-only"},
		{`local n = state.runing()`, "did you mean 'state.running'?"},
		{`state.count{ state = "RUNING" }`, "state is one of REQUESTING"},
		{`state.workers{ stat = "RUNNING" }`, "unknown option 'stat'; did you mean 'state'?"},
		{`for w in state.workers() do local x = w.helth end`, "'worker.helth' does not exist; did you mean 'worker.health'?"},
		{`for w in state.workers() do w.health = "OK" end`, "can't set 'health': worker is read-only"},
		{`state.time{ zone = "Mars/Olympus" }`, "no time zone 'Mars/Olympus'"},
		{`local x = conf.m`, "conf.m is not a declared parameter"},
		{`conf.n = 4`, "can't set 'n': the table is read-only"},
		{`conf.list[1] = 4`, "can't set '1': the table is read-only"},
		{`rawset(conf, "n", 4)`, "this table belongs to the host"},
		{`table.insert(conf.list, 4)`, "this table belongs to the host"},
		{`setmetatable(conf, nil)`, "this table belongs to the host"},
		{`local s = "a" .. nil`, "p.lua:3: attempt to concatenate nil"},
		{`local s = "a" .. {} .. "b"`, "attempt to concatenate a table"},
		{`return control.scale_to(1e6)`, "p.lua:3: control.scale_to wants a number from 0 to 100000, got 1e+06"},
		{`control.scale_to(100000) control.scale_to(100001)`, "p.lua:3: control.scale_to wants a number from 0 to 100000, got 100001"},
		{`control.place("east", 100001)`, "p.lua:3: control.place: east wants a number from 0 to 100000, got 100001"},
		{`control.place("east", 60000) control.place("west", 60000)`, "p.lua:3: control.place: 120000 workers at all sites together: at most 100000"},
		{`control.place("east", 1e5) control.place("east", 1e5) control.place("east", 0) control.place("west", 1e5)`, ""},
		{`control.place("west", 60000) control.scale_to(1, { sites = { east = 60000 } })`, "p.lua:3: control.scale_to: sites: 120000 workers at all sites together"},
		{`control.scale_to(1, { sites = { east = 60000 } }) control.place("west", 60000)`, "p.lua:3: control.place: 120000 workers at all sites together"},
		{`control.scale_to(1, { sites = { east = 60000 } }) control.place("east", 60000)`, ""},
	}.run(t)
}

// Goal: an error that a policy raises itself is told by its text and place, whatever was raised.
func TestErrorsOfPolicies(t *testing.T) {
	nonsense{
		{`error({ code = 1 })`, "p.lua:3: error was called with a table, not with a text"},
		{`local function f() error(4 > 3) end f()`, "p.lua:3: error was called with a boolean, not with a text"},
		{`error(nil)`, "p.lua:3: error was called with nil, not with a text"},
		{`error("mine")`, "p.lua:3: mine"},
		{`error(5)`, "p.lua:3: error was called with the number 5, not with a text"},
		{`return error(5)`, "p.lua:3: error was called with the number 5, not with a text"},
		{`return error({})`, "p.lua:3: error was called with a table, not with a text"},
		{`local ok, e = pcall(error, {}) error(e)`, "p.lua:3: error was called with a table, not with a text"},
		{`error("mine", 0)`, "p.lua:3: mine"},
		{`return error("mine", 0)`, "p.lua:3: mine"},
		{`assert(false, "mine")`, "p.lua:3: mine"},
		{`error()`, "value expected"},
	}.run(t)
}

// run expects an error of each code that has the words; none where there are none.
func (list nonsense) run(t *testing.T) {
	t.Helper()
	for _, c := range list {
		t.Run(c.code, func(t *testing.T) {
			d := decide(t, compile(t, "p", body(c.code)), fleet(2), nil)
			if !strings.Contains(d.Error, c.want) || c.want == "" && d.Error != "" {
				t.Errorf("got error %q, want %q", d.Error, c.want)
			}
		})
	}
}

// Goal: asking for very much is refused, of workers with the line; it never fills memory. Method: a million
// of everything.
func TestAMillion(t *testing.T) {
	for _, c := range []struct{ code, want string }{
		{`control.scale_to(1e6)`, "p.lua:3: control.scale_to wants a number from 0 to 100000, got 1e+06"},
		{`control.launch{ count = 1e6 }`, "control.launch: count wants a number from 1 to 1000, got 1e+06"},
		{`for i = 1, 1e6 do control.want("u" .. i) end`, "more than 10000 named workers"},
		{`for i = 1, 1e6 do control.launch{} end`, "more than 1000 actions"},
		{`for i = 1, 1e6 do control.because("x") end`, "more than 50 reasons"},
		{`for i = 1, 1e6 do control.alert("x") end`, "more than 20 alerts"},
		{`for i = 1, 1e6 do state.sensor("s" .. i) end`, "read more than 200 different things"},
		{`local t = {} for i = 1, 1e6 do t[i] = "p-1-1/0" end control.drain(t)`, "65535 workers at once"},
		{`local t = {} for i = 1, 1e4 do t["v" .. i] = 1 end control.want("a", { vars = t })`, "control.want: more than 200 variables"},
		{`local t = {} for i = 1, 3e4 do t[i] = i end state.memory.t = t`, "state.memory holds more than 65536 bytes; keep sums"},
	} {
		t.Run(c.code, func(t *testing.T) {
			d := policies.NewEngine(compile(t, "p", body(c.code)), policies.Options{Steps: 1 << 30}).Decide(fleet(1), map[string]any{})
			if !strings.Contains(d.Error, c.want) || c.want == "" && d.Error != "" {
				t.Errorf("got error %q, want %q", d.Error, c.want)
			}
		})
	}
}

// Goal: what Lua has elsewhere is found missing when the policy is loaded, with its line and what to use
// instead; what is reached in other ways fails when it runs.
func TestAbsent(t *testing.T) {
	for _, name := range []string{
		"os", "io", "debug", "coroutine", "package", "load", "loadstring", "loadfile", "dofile", "module",
		"collectgarbage", "newproxy", "setfenv", "getfenv", "_G", "channel", "_printregs", "nonsense",
	} {
		_, err := policies.Compile("p", []byte(body("if false then\nlocal x = "+name+" end")), nil)
		if want := "p.lua:4: '" + name + "' does not exist"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{
		"string.dump", "string.find", "string.match", "string.gmatch", "string.gsub", "string.gfind",
		"math.randomseed", "table.foreach",
	} {
		d := decide(t, compile(t, "p", body("local x = "+name)), fleet(1), nil)
		if want := "p.lua:3: '" + name + "' does not exist here"; !strings.Contains(d.Error, want) {
			t.Errorf("%s: got %q, want %q", name, d.Error, want)
		}
	}
}

// Goal: one policy can't change what another one sees, nor itself between decisions. Method: try, then
// look with a second engine of the same policy.
func TestNothingIsShared(t *testing.T) {
	for _, code := range []string{
		`string.upper = function() return "evil" end`, `getmetatable("").__index = nil`, `rawset(string, "upper", 1)`,
		`setmetatable(string, nil)`, `table.insert(math, 1)`, `table.remove(string)`, `table.sort(text)`, `("x").y = 1`,
		`rawset(getmetatable({}) or string, "x", 1)`, `setmetatable("x", {})`,
	} {
		p := compile(t, "p", body("if conf.n == 3 then\n"+code+"\nend\nif (\"a\"):upper() == 'A' and math.abs(-1) == 1 then control.scale_to(1) end"))
		bad := policies.NewEngine(p, policies.Options{}).Decide(fleet(2), check(t, p, nil))
		if !strings.Contains(bad.Error, "p.lua:4: ") {
			t.Errorf("%s: got error %q, want one at its line", code, bad.Error)
		}
		if d := decide(t, p, fleet(2), map[string]any{"n": 1}); d.Error != "" || d.Wanted.Target != 1 {
			t.Errorf("%s: afterwards got target %d, error %q; want 1", code, d.Wanted.Target, d.Error)
		}
	}
	if _, err := policies.Compile("p", []byte(body("count = (count or 0) + 1")), nil); err == nil ||
		!strings.Contains(err.Error(), "p.lua:3: sets the global 'count': write `local count`, or keep it in state.memory") {
		t.Errorf("got %v, want the global to be refused with its line", err)
	}
}

// Goal: objects of an earlier call are dead and say so. Method: keep one, use it in the next call.
func TestKeptObjectsAreDead(t *testing.T) {
	for _, c := range []struct{ keep, use, want string }{
		{`kept = state`, `kept.running()`, "from an earlier call"},
		{`kept = control`, `kept.scale_to(1)`, "from an earlier call"},
		{`for w in state.workers() do kept = w end`, `local id = kept.id`, "this worker is from an earlier call and no longer valid: keep its id"},
		{`kept = state.worker("epu-bench-1-1/0")`, `control.drain(kept)`, "this worker is from an earlier call"},
		{`kept = state.workers()`, `kept()`, "this iterator is from an earlier call"},
	} {
		p := compile(t, "p", "local kept\n"+body("if not kept then "+c.keep+" control.scale_to(1) return end\n"+c.use))
		e := policies.NewEngine(p, policies.Options{})
		conf := check(t, p, nil)
		if d := e.Decide(fleet(2), conf); d.Error != "" {
			t.Fatalf("%s: %s", c.keep, d.Error)
		}
		if d := e.Decide(fleet(2), conf); !strings.Contains(d.Error, "p.lua:4: "+c.want) && !strings.Contains(d.Error, c.want) {
			t.Errorf("%s: got error %q, want %q", c.use, d.Error, c.want)
		}
	}
}

// Goal: the deadline stops what works too long and spares what was merely starved of the processor.
// Method: clocks that are asked, not waited for.
func TestDeadline(t *testing.T) {
	clock := func(step time.Duration) func() time.Time {
		now := time.Unix(0, 0)
		return func() time.Time { now = now.Add(step); return now }
	}
	loop := compile(t, "loop", body(`while true do end`))
	d := policies.NewEngine(loop, policies.Options{Now: clock(10 * time.Microsecond), Deadline: 20 * time.Millisecond}).Decide(fleet(1), map[string]any{})
	if !strings.Contains(d.Error, "loop.lua:3: stopped after 20ms") || d.Took < 20*time.Millisecond {
		t.Errorf("got %q after %v, want it stopped after 20ms", d.Error, d.Took)
	}
	looks := 0
	slow := func() time.Time { looks++; return time.Unix(0, 0).Add(time.Duration(looks) * 5 * time.Millisecond) }
	d = policies.NewEngine(loop, policies.Options{Now: slow}).Decide(fleet(1), map[string]any{})
	if !strings.Contains(d.Error, "stopped after 50ms") || looks > 60 {
		t.Errorf("got %q after %d looks, want steps that are slow themselves stopped after 50", d.Error, looks)
	}
	now, looks := time.Unix(0, 0), 0
	starved := func() time.Time {
		if looks++; looks%100 == 0 {
			now = now.Add(time.Minute)
		}
		return now.Add(time.Duration(looks) * time.Microsecond)
	}
	long := compile(t, "long", body(`for i = 1, 100000 do end control.scale_to(1)`))
	if d = policies.NewEngine(long, policies.Options{Now: starved}).Decide(fleet(1), map[string]any{}); d.Error != "" || d.Wanted.Target != 1 || looks < 1000 {
		t.Errorf("got %q after %d looks, want a policy that waits for the processor to finish", d.Error, looks)
	}
}

// Goal: what would search or copy much for nothing is paid for in steps, so that it ends where there is no
// clock too. Method: a list with a long end of nils, in each function that meets it; the work done is told by
// how many times a loop went round.
func TestSearchesArePaid(t *testing.T) {
	for _, c := range []struct{ name, once string }{
		{"append", `table.insert(t, 1) t[2] = nil`},
		{"insert", `pcall(table.insert, t, 1, 1)`},
		{"remove", `table.remove(t, 1) t[65000] = nil`},
		{"next", `next(t, 1)`},
		{"maxn", `table.maxn(t)`},
		{"getn", `table.getn(t)`},
		{"sort", `table.sort(t)`},
		{"unpack", `unpack(t, 1, 1000)`},
		{"byte", `s:byte(1, 1000)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compile(t, "p", body(`local s, t, n = ("x"):rep(1000), { 1 }, 0 t[65000] = 1 t[65000] = nil
				while true do `+c.once+` n = n + 1 if n % 50 == 0 then print(n) end end`))
			rounds := 0
			e := policies.NewEngine(p, policies.Options{Steps: 100_000, Print: func(string) { rounds += 50 }})
			defer e.Close()
			if d := e.Decide(fleet(1), map[string]any{}); !strings.Contains(d.Error, "stopped after") || rounds > 1000 {
				t.Errorf("got %q after %d rounds, want it stopped after 1000 at most", d.Error, rounds)
			}
		})
	}
}

// Goal: where no engine has a clock, a library's clock ends what the steps don't pay for. Method: a clock on
// which every look takes a millisecond; the loop stands in each place that runs without an engine of a pool.
func TestLibraryClock(t *testing.T) {
	const forever = "while true do end\n"
	for _, c := range []struct{ name, src string }{
		{"load", forever + body("control.scale_to(1)")},
		{"require", "local l = require 'lib.l'\n" + body("control.scale_to(1)")},
		{"validate", "return { validate = function() " + forever + " end, decide = function(control) control.scale_to(1) end }"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			folder := fstest.MapFS{"p.lua": {Data: []byte(c.src)}, "lib/l.lua": {Data: []byte(forever + "return {}")}}
			lib := policies.NewLibrary(folder).Timed(func() time.Time { now = now.Add(time.Millisecond); return now })
			p, err := lib.Load("p")
			var problems []policies.Problem
			if err == nil {
				_, problems = p.Check(map[string]any{})
			}
			if got := fmt.Sprint(err, problems); !strings.Contains(got, "stopped after 2s") {
				t.Errorf("got %s, want it stopped after 2s", got)
			}
		})
	}
}

// Goal: a source that would exhaust the compiler is refused when it is loaded.
func TestHostileSources(t *testing.T) {
	deep := func(open, mid, shut string, n int) string {
		return "return " + strings.Repeat(open, n) + mid + strings.Repeat(shut, n)
	}
	for _, c := range []struct{ name, src, want string }{
		{"parentheses", deep("(", "1", ")", 100_000), ""},
		{"not", deep("not ", "1", "", 60_000), "p.lua:1: nested more than 200 levels deep"},
		{"tables", deep("{", "1", "}", 60_000), "nested more than 200 levels deep"},
		{"sums", deep("1 + ", "1", "", 60_000), "nested more than 200 levels deep"},
		{"blocks", strings.Repeat("do ", 30_000) + strings.Repeat("end ", 30_000), "nested more than 200 levels deep"},
		{"functions", strings.Repeat("return function() ", 5_000) + strings.Repeat("end ", 5_000), "nested more than 200 levels deep"},
		{"concat", deep("'a' .. ", "'b'", "", 30_000), ""},
		{"locals", strings.Repeat("local a = 1\n", 300), ""},
		{"size", "--" + strings.Repeat("x", 300_000), "is 300002 bytes long: at most 262144"},
		{"loop", "while true do end", "p.lua:1: stopped after"},
		{"returns nothing", "", "returned nil: a policy returns a table with a function decide"},
		{"binary", "\x1bLua\x51\x00", "p.lua"},
		{"syntax", "return {\n  decide = function( control) if\nend }", "p.lua:3: syntax error near 'end'"},
		{"end of file", "return {\n  decide = function() ", "syntax error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := policies.Compile("p", []byte(c.src), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Goal: all that is wrong with a policy is said at once, with file and line.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := policies.Compile("p", []byte(`return {
  doc = 5,
  params = {
    a = { type = "integr" },
    b = { type = "integer", min = 5, max = 1 },
    c = { type = "enum" },
    d = { type = "integer", default = "x" },
    e = { default = 1, colour = "red" },
    f = { type = "boolean", required = true, default = true },
    g = { type = "string", aliases = { "a" } },
    h = 7,
    i = { type = "integer", max = 3, example = 5 },
  },
  validate = true,
  decides = function() end,
}`), nil)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		"p.lua:2: doc is a number, but must be a text",
		"p.lua:4: parameter 'a': unknown type 'integr': one of integer number string boolean duration enum list map sensor",
		"p.lua:5: parameter 'b': min 5 is above max 1",
		"p.lua:6: parameter 'c': an enum needs values",
		`p.lua:7: parameter 'd': default must be a whole number, got "x"`,
		"p.lua:8: parameter 'e': has no type",
		"p.lua:8: parameter 'e': unknown key 'colour'",
		"p.lua:9: parameter 'f': is required, so a default would never be used",
		"p.lua:10: parameter 'g': 'a' is already a name of 'a'",
		"p.lua:11: parameter 'h': is a number, but must be a table",
		"p.lua:12: parameter 'i': example must be at most 3, got 5",
		"p.lua:14: validate is a boolean, but must be a function",
		"p.lua:15: returned the unknown key 'decides'; did you mean 'decide'?",
		"p.lua: has no function decide(control, state, conf)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant in it %q", err, want)
		}
	}
}

// Goal: require finds files of the folder, once, and nothing else.
func TestRequire(t *testing.T) {
	lib := fstest.MapFS{
		"lib/a.lua":      {Data: []byte(`local b = require "lib.b" return { n = b.n + 1, b = b }`)},
		"lib/b.lua":      {Data: []byte(`return { n = 1 }`)},
		"lib/nested.lua": {Data: []byte(`return require "lib.circle"`)},
		"lib/circle.lua": {Data: []byte(`return require "lib.nested"`)},
		"lib/broken.lua": {Data: []byte("local x =\nif")},
		"lib/stray.lua":  {Data: []byte("\nreturn { x = os.time() }")},
	}
	const src = `
local a, b = require "lib.a", require "lib.b"
return { decide = function(control) if a.b == b then control.scale_to(a.n) end end }`
	p, err := policies.Compile("p", []byte(src), lib)
	if err != nil {
		t.Fatal(err)
	}
	if d := decide(t, p, fleet(1), nil); d.Wanted.Target != 2 || d.Error != "" {
		t.Errorf("got %d, %q; want 2", d.Wanted.Target, d.Error)
	}
	lib["lib/b.lua"] = &fstest.MapFile{Data: []byte(`return { n = 2 }`)}
	q, err := policies.Compile("p", []byte(src), lib)
	if err != nil || q.Hash == p.Hash {
		t.Errorf("got hash %s (%v), want another one for another file", q.Hash, err)
	}
	for name, want := range map[string]string{
		"../etc":     "a name is made of words with dots",
		"/etc/x":     "a name is made of words with dots",
		"":           "a name is made of words with dots",
		"lib..a":     "a name is made of words with dots",
		"lib.c":      "p.lua:1: require 'lib.c': there is no lib/c.lua in the policy folder",
		"lib.nested": "goes round in a circle: lib/nested.lua -> lib/circle.lua -> lib/nested.lua",
		"lib.broken": "lib/broken.lua:2: syntax error",
		"lib.stray":  "lib/stray.lua:2: 'os' does not exist here: there is no clock but state.now",
	} {
		_, err := policies.Compile("p", fmt.Appendf(nil, "local x = require %q\nreturn { decide = function() end }", name), lib)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("require %q: got %v, want %q", name, err, want)
		}
	}
	inside := compile(t, "p", body(`require "lib.a"`))
	if d := decide(t, inside, fleet(1), nil); !strings.Contains(d.Error, "belongs at the top of the file") {
		t.Errorf("got %q, want require inside decide to be refused", d.Error)
	}
}

// Goal: memory is kept as it was and nothing else is. Method: through JSON, in both directions.
func TestMemory(t *testing.T) {
	for _, c := range []struct{ code, before, after, want string }{
		{`state.memory.n = (state.memory.n or 0) + 1`, `{"n":4}`, `{"n":5}`, ""},
		{`state.memory.list = { 1, "b", { c = true } }`, ``, `{"list":[1,"b",{"c":true}]}`, ""},
		{`state.memory.conf = conf.list`, ``, `{"conf":{}}`, ""},
		{`local m = state.memory`, `{"z":1,"a":2}`, `{"a":2,"z":1}`, ""},
		{`state.memory.n = nil`, `{"n":4}`, ``, ""},
		{``, `{"n":4}`, `{"n":4}`, ""},
		{`local s = "" for k in pairs(state.memory) do s = s .. k end state.memory.s = s`, `{"e":1,"c":1,"d":1,"f":1,"b":1,"a":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"s":"abcdef"}`, ""},
		{`state.memory.f = function() end`, ``, ``, "state.memory: f is a function, which can't be kept"},
		{`state.memory.a = { b = control }`, ``, `{"a":{"b":{}}}`, ""},
		{`state.memory.x = 0/0`, ``, ``, "x is not a finite number"},
		{`state.memory.x = { 1, k = 2 }`, ``, ``, "x mixes a list with named keys"},
		{`state.memory.x = { [5] = 1 }`, ``, ``, "x has the key 5: keys are texts, or 1, 2, 3 without gaps"},
		{`state.memory.x = state.memory`, ``, ``, "nested more than 16 levels deep (or contains itself)"},
		{`for w in state.workers() do state.memory.w = w end`, ``, ``, "w is worker epu-bench-1-1/0, which can't be kept"},
		{`local m = state.memory`, `[`, `[`, "stored memory is damaged"},
		{`local m = state.memory`, `5`, `5`, "stored memory is no table"},
	} {
		t.Run(c.code, func(t *testing.T) {
			p := compile(t, "p", body(c.code+"\ncontrol.scale_to(1)"))
			snap := fleet(1)
			if c.before != "" {
				snap.Memory = json.RawMessage(c.before)
			}
			d := policies.NewEngine(p, policies.Options{}).Decide(snap, check(t, p, nil))
			if strings.Contains(d.Error, "after decide") != (c.want != "" && c.before == "") || c.before == "" && c.want != "" && !strings.HasPrefix(d.Error, "p.lua:2: after decide, state.memory: ") {
				t.Errorf("got %q, want it to begin with file and line of decide where it left what can't be kept", d.Error)
			}
			if string(d.MemoryAfter) != c.after || !strings.Contains(d.Error, c.want) || c.want == "" && d.Error != "" {
				t.Errorf("got memory %s, error %q; want %s, %q", d.MemoryAfter, d.Error, c.after, c.want)
			}
		})
	}
}

// Goal: chance is fair, within its bounds, and follows from the seed alone.
func TestRandom(t *testing.T) {
	p := compile(t, "p", body(`
		local seen = {}
		for i = 1, 400 do
			local a, b, c, d = math.random(), math.random(3), math.random(-1, 1), math.random(7, 7)
			assert(a >= 0 and a < 1 and b >= 1 and b <= 3 and c >= -1 and c <= 1 and d == 7)
			seen[b], seen["c" .. c] = true, true
		end
		assert(seen[1] and seen[2] and seen[3] and seen["c-1"] and seen.c0 and seen.c1, "a bound is never drawn")
		control.scale_to(math.random(1e5))`))
	draw := func(seed uint64) int {
		snap := fleet(1)
		snap.Seed = seed
		d := decide(t, p, snap, nil)
		if d.Error != "" {
			t.Fatal(d.Error)
		}
		return d.Wanted.Target
	}
	if a, b, c := draw(1), draw(1), draw(2); a != b || a == c {
		t.Errorf("got %d, %d for one seed and %d for another; want the same twice, then another", a, b, c)
	}
	if d := decide(t, compile(t, "p", body("math.random(3, 2)")), fleet(1), nil); !strings.Contains(d.Error, "nothing lies between 3 and 2") {
		t.Errorf("got %q, want an error for an empty range", d.Error)
	}
}
