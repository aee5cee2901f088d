package policies_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// attacks are statements that would take for ever or everything, and the limit that each meets.
var attacks = []struct{ name, code, want string }{
	{"loop", `while true do end`, "stopped after"},
	{"loop that catches", `while true do pcall(error, "x") end`, "stopped after"},
	{"recursion", `local function f() return 1 + f() end f()`, "stack overflow"},
	{"recursion through a metamethod", `local t = setmetatable({}, { __index = function(t, k) return t[k .. "x"] end }) local x = t.a`, "stack overflow"},
	{"recursion through comparison", `local mt = {} mt.__lt = function(a, b) return a < b end local x = setmetatable({}, mt) < setmetatable({}, mt)`, "stack overflow"},
	{"recursion through sort", `local function f() table.sort({ 2, 1 }, function(a, b) f() return a < b end) end f()`, "stack overflow"},
	{"tables", `local t = {} while true do t[#t + 1] = { t } end`, "stopped"},
	{"sparse tables", `local a = {} while true do local t = {} t[65000] = 1 a[#a + 1] = t end`, "its tables and functions take more than"},
	{"named keys", `local t, i = {}, 0 while true do i = i + 1 t["k" .. i] = i end`, "stopped"},
	{"doubling text", `local s = "x" while true do s = s .. s end`, "too long"},
	{"text upon text", `local s = ("x"):rep(60000) while true do local t = s .. "y" end`, "making 8 MiB of text"},
	{"concat", `local t = {} for i = 1, 2000 do t[i] = ("x"):rep(100) end table.concat(t)`, "too long"},
	{"concat of nothing", `local t = {} for i = 1, 20000 do t[i] = "" end while true do table.concat(t) end`, "stopped"},
	{"format width", `string.format("%100000d", 1)`, "width or precision above 99"},
	{"formats", `local s = ("x"):rep(60000) while true do string.format("%s", s) end`, "making 8 MiB of text"},
	{"rep", `("x"):rep(1e12)`, "too long"},
	{"bytes", `string.byte(("x"):rep(60000), 1, -1)`, "60000 values at once: at most 1000"},
	{"backtracking", `text.match(("a"):rep(60000), ("a*"):rep(30) .. "b")`, "too long for this pattern"},
	{"cron for ever", `while true do cron.next("0 0 30 2 *", "UTC", 0) end`, "stopped after"},
	{"unpack", `unpack({}, 1, 1e9)`, "at most 1000"},
	{"error within error", `local function f() error(setmetatable({}, { __tostring = function() while true do end end })) end f()`, "table"},
	{"a very long error", `error(("x"):rep(60000))`, "xxx"},
	{"coroutines by another name", `local c = pcall and select and math.coroutine`, "'math.coroutine' does not exist"},
}

// Goal: wherever a policy's code runs, no attack does more than fail with its file and line, and the pool
// keeps its wish. Method: each attack in each place; afterwards the heap has not grown beyond bounds.
func TestAttacksEverywhere(t *testing.T) {
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	opts := policies.Options{Steps: 400_000, Heap: 64 << 20}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			for _, hook := range []string{"initialize", "decide", "reconfigure"} {
				src := "return {\nparams = { n = { type = 'integer', default = 1 } },\ndecide = function(control) control.scale_to(1) end,\n" + hook + " = function(control, state, conf)\n" + a.code + "\nend,\n}"
				p := compile(t, "p", src)
				e := policies.NewEngine(p, opts)
				defer e.Close()
				snap := fleet(7)
				if hook == "reconfigure" {
					if d := e.Decide(snap, check(t, p, nil)); d.Error != "" || d.Wanted.Target != 1 {
						t.Fatalf("before: %s", d.Error)
					}
				}
				again := 2 // the engine is made anew and meets the same again
				if slow[a.name] {
					again = 1
				}
				for range again {
					d := e.Decide(snap, check(t, p, map[string]any{"n": 2}))
					if !strings.Contains(d.Error, a.want) || !atLine(d.Error, a.name, "p.lua:5: ") || d.Wanted.Target != 7 || d.Actions != nil {
						t.Errorf("%s: got error %.200q and target %d, want %q with p.lua:5 and the last wish", hook, d.Error, d.Wanted.Target, a.want)
					}
				}
			}
		})
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 700<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// atLine reports that an error names its line; an error value that is no text has none.
func atLine(text, attack, at string) bool {
	return strings.Contains(text, at) || attack == "error within error"
}

// slow are attacks that take seconds with the limits that every policy has.
var slow = map[string]bool{"sparse tables": true, "named keys": true, "concat of nothing": true, "cron for ever": true}

// Goal: the same where code runs without a pool: when the file is loaded, in files that it requires, in
// validate. Method: as above; there the limits are those that every policy has.
func TestAttacksAtLoad(t *testing.T) {
	for _, a := range attacks {
		if slow[a.name] { // nothing but the budget stops them, and that is shown once, where a pool runs them
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			lib := fstest.MapFS{"lib/bad.lua": {Data: []byte("\n" + a.code)}}
			_, err := policies.Compile("p", []byte(a.code+"\nreturn { decide = function() end }"), nil)
			if err == nil || !strings.Contains(err.Error(), a.want) || !atLine(err.Error(), a.name, "p.lua:1: ") {
				t.Errorf("top: got %.200v, want %q with its line", err, a.want)
			}
			_, err = policies.Compile("p", []byte("require 'lib.bad'\nreturn { decide = function() end }"), lib)
			if err == nil || !strings.Contains(err.Error(), a.want) || !atLine(err.Error(), a.name, "lib/bad.lua:2: ") {
				t.Errorf("required: got %.200v, want %q with its line", err, a.want)
			}
			p := compile(t, "p", "return { decide = function() end, params = { n = { type = 'integer', default = 1 } },\nvalidate = function(conf)\nif conf.n == 2 then\n"+a.code+"\nend end }")
			old := check(t, p, nil)
			_, problems := p.Check(map[string]any{"n": 2})
			merged, _, refused := p.Reconfigure(old, map[string]any{"n": 2})
			for _, got := range []policies.Problems{problems, refused} {
				if len(got) != 1 || !strings.Contains(got.Error(), a.want) || !atLine(got.Error(), a.name, "p.lua:4: ") || merged != nil {
					t.Errorf("validate: got %.200v, want %q with its line", got, a.want)
				}
			}
			if again, _, problems := p.Reconfigure(old, map[string]any{"n": 3}); problems != nil || again["n"] != 3 {
				t.Errorf("afterwards: got %v, %v", again, problems)
			}
		})
	}
}

// Goal: a policy that wants to end everything, or everything at once, states it within bounds; what may
// be done about it is for the guard rails. Method: what the decision holds.
func TestEndingEverything(t *testing.T) {
	p := compile(t, "p", body(`
		local all = {}
		for w in state.workers() do all[#all + 1] = w end
		assert(control.terminate(all) == #all)
		control.scale_to(0)`))
	d := decide(t, p, fleet(2000), nil)
	if d.Error != "" || len(d.Actions) != 1 || len(d.Actions[0].Workers) != 2000 || d.Wanted.Target != 0 {
		t.Errorf("got %d actions, target %d, %s; want one that names all", len(d.Actions), d.Wanted.Target, d.Error)
	}
}

// Goal: changes of configuration from outside, in any form, either change nothing or run the policy's
// reconfigure, whose decision replays. Method: the policy mixes all it is given into its wish.
func FuzzReconfigure(f *testing.F) {
	for _, change := range []string{
		`{"i":5}`, `{"q":"b","d":"90s"}`, `{"m":{"a":1},"l":["1m"]}`, `{"i":null}`, `{"any":{"x":[1,{"y":"z"}]}}`, `{"e":"b","n":0.75,"s":"x"}`, `{"not_b":"True"}`,
	} {
		f.Add(change, `{"i":2}`)
	}
	src := strings.Replace(allTypes, "  decide =", `  reconfigure = function(control, state, conf, old, changed)
    for _, key in ipairs(changed) do state.memory[key] = tostring(old[key]) .. ">" .. tostring(conf[key]) end
  end,
  decide =`, 1)
	p := compile(f, "all", src)
	f.Fuzz(func(t *testing.T, first, second string) {
		conf := check(t, p, map[string]any{"q": "depth"})
		e := policies.NewEngine(p, policies.Options{})
		defer e.Close()
		var memory json.RawMessage
		for _, text := range []string{first, second, first} {
			var change map[string]any
			if json.Unmarshal([]byte(text), &change) != nil {
				continue
			}
			merged, changed, problems := p.Reconfigure(conf, change)
			if problems != nil {
				if merged != nil || changed != nil {
					t.Fatalf("got %v with %v", merged, problems)
				}
				continue
			}
			conf = merged
			snap := fleet(1)
			snap.Memory = memory
			d := e.Decide(snap, conf)
			if d.Error != "" || d.Wanted.Target != conf["i"] {
				if strings.Contains(d.Error, "state.memory") {
					continue // more than it may keep
				}
				t.Fatalf("got %+v (%s) for %v", d.Wanted, d.Error, conf)
			}
			memory = d.MemoryAfter
			replay(t, p, d)
		}
	})
}

// Goal: any text in a required file does no more than refuse the policy, or run.
func FuzzRequire(f *testing.F) {
	for _, src := range []string{"return { n = 1 }", "return 5", "local a <const> = 1", "return require 'lib.x'", "while true do end", "return { n = control }", "("} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		lib := fstest.MapFS{"lib/x.lua": {Data: []byte(src)}}
		p, err := policies.Compile("p", []byte("local x = require 'lib.x'\nreturn { decide = function(control) control.scale_to(type(x) == 'table' and x.n or 0) end }"), policies.NewLibrary(lib, scripts.Policies()).FS())
		if err != nil {
			return
		}
		if d := policies.NewEngine(p, policies.Options{Steps: 10_000}).Decide(fleet(2), map[string]any{}); d.Error != "" && d.Wanted.Target != 2 {
			t.Fatal(fmt.Sprint(d.Wanted, d.Error))
		}
	})
}
