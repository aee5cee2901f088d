package policies_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// examined is what an examination finds, without a clock.
func examined(t *testing.T, name string, src []byte, lib fs.FS) policies.Report {
	t.Helper()
	r, err := policies.NewLibrary(lib).Examine(t.Context(), name, src)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Goal: the policies that we ship are sound and have all their words. Method: examine every one.
func TestStockPoliciesAreSound(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		src, err := lib.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		r := examined(t, name, src, lib.FS())
		if !r.Sound() || len(r.Warnings) > 0 || r.Policy == nil {
			t.Errorf("%s:\n%v\nwarnings:\n%v", name, r.Problems, r.Warnings)
		}
	}
}

// sound wraps the inside of a decide function in a policy that nothing is wrong with.
func sound(code string) string {
	return "return {\n  doc = 'Try.',\n  params = { n = { type = 'integer', default = 3, doc = 'workers' }, q = { type = 'sensor', default = 'queue', doc = 'a queue' } },\n" +
		"  decide = function(control, state, conf)\n" + code + "\n    control.scale_to(conf.n)\n    control.because('n')\n  end,\n}"
}

// Goal: what is wrong is said once, with file and line and what is meant; what is right is left alone.
// Method: one mistake each, on line 5 of a policy that is sound otherwise.
func TestExamine(t *testing.T) {
	for _, c := range []struct{ name, code, want string }{
		{"sound", ``, ""},
		{"unknown function in a branch that is never taken", `if conf.n == 99 then control.scale(4) end`, "p.lua:5: 'control.scale' does not exist; did you mean 'control.scale_to'?"},
		{"unknown field of state", `if conf.n == 99 then local x = state.runing() end`, "p.lua:5: 'state.runing' does not exist; did you mean 'state.running'?"},
		{"of a library", `if conf.n == 99 then local x = math.flor(1) end`, "p.lua:5: 'math.flor' does not exist; did you mean 'math.floor'?"},
		{"absent on purpose", `if conf.n == 99 then local x = string.find("a", "b") end`, "p.lua:5: 'string.find' does not exist here: use text.find"},
		{"unknown field of a worker", `for w in state.workers() do if w.idle == 5 then break end end`, "p.lua:5: 'worker.idle' does not exist; did you mean 'worker.idle_since'?"},
		{"of a reading", `local r = state.sensor(conf.q) if r and r.val then return end`, "p.lua:5: 'reading.val' does not exist; did you mean 'reading.value'?"},
		{"of an entry of a list", `for _, o in ipairs(state.offers()) do if o.cost == 1 then return end end`, "p.lua:5: 'offer.cost' does not exist"},
		{"undeclared parameter", `if conf.n == 99 then local x = conf.m end`, "p.lua:5: conf.m is not a declared parameter"},
		{"unknown option", `if conf.n == 99 then control.scale_to(1, { victim = "oldest" }) end`, "p.lua:5: control.scale_to: unknown option 'victim'; did you mean 'victims'?"},
		{"colon", `if conf.n == 99 then control:scale_to(1) end`, "p.lua:5: call control.scale_to with a dot, not with a colon"},
		{"too few arguments", `if conf.n == 99 then control.want() end`, "p.lua:5: control.want(name, spec?) is missing its name"},
		{"too many arguments", `if conf.n == 99 then state.running(1) end`, "p.lua:5: state.running() takes nothing, but is given 1"},
		{"writes to state", `if conf.n == 99 then state.now = 1 end`, "p.lua:5: can't set a field of state: it is read-only"},
		{"writes to conf", `if conf.n == 99 then conf.n = 1 end`, "p.lua:5: can't set a key of conf"},
		{"through a local name", `local s = state if conf.n == 99 then local x = s.nou end`, "p.lua:5: 'state.nou' does not exist; did you mean 'state.now'?"},
		{"in a helper", `local function f(control) control.scal(1) end if conf.n == 99 then f(control) end`, "p.lua:5: 'control.scal' does not exist; did you mean 'control.scale_to'?"},
		{"a global", `if conf.n == 99 then local x = nonsense end`, "p.lua:5: 'nonsense' does not exist"},
		{"a name of its own", `do local state = { foo = 1 } local control = state local x = control.foo + state.foo end`, ""},
		{"a name that is set again", `local w = state.worker("a") w = { foo = 1 } local x = w.foo`, ""},
		{"any number of arguments", `local function two() return 3, {} end control.scale_to(two())`, ""},
		{"compares nil when nothing is known", `if state.sensor(conf.q).quality == "?" then return end`, "p.lua:5: attempt to use 'quality' of nil"},
		{"compares nil for an unknown reading", `local r = state.sensor(conf.q) if r and r.value > 3 then return end`, "p.lua:5: attempt to compare"},
		{"fails in a crowd", `for w in state.workers() do assert(w.zone, "no zone") end`, "p.lua:5: no zone"},
		{"never ends", `while state.running() > 100 do end`, "p.lua:5: stopped after 5000000 steps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := examined(t, "p", []byte(sound("    "+c.code)), nil)
			if c.want == "" && (!r.Sound() || len(r.Warnings) > 0) || c.want != "" && (len(r.Problems) != 1 || !strings.HasPrefix(r.Problems.Error(), c.want)) {
				t.Errorf("got problems\n%v\nwarnings\n%v\nwant %q", r.Problems, r.Warnings, c.want)
			}
		})
	}
}

// Goal: a policy that wants more than any pool can have, or ends more than the default guard rails allow at once,
// is told so by a check, with its line and the situation. Method: one such line each, and one that is within.
func TestExamineFindsOverreach(t *testing.T) {
	for _, c := range []struct{ code, problem, warning string }{
		{`if state.running() > 100 then return control.scale_to(state.running() * 1000) end`, "p.lua:5: control.scale_to wants a number from 0 to 100000, got 300000 (when tried with: a crowd at work", ""},
		{`for w in state.workers() do control.terminate(w) end`, "", "p.lua:5: control.terminate was asked to end 3 of 3 workers in service at once, more than half, but limits.terminations (its default) allows 20% of the workers, here 1, in 10m"},
		{`for w in state.workers() do return control.terminate(w) and nil end`, "", ""},
		{`local i = 0 for w in state.workers() do i = i + 1 if i % 2 == 0 then control.terminate(w) end end`, "", ""},
		{`for w in state.workers() do control.drain(w) end`, "", ""},
	} {
		r := examined(t, "p", []byte(sound("    "+c.code)), nil)
		for _, x := range []struct {
			got  policies.Problems
			want string
		}{{r.Problems, c.problem}, {r.Warnings, c.warning}} {
			if !strings.HasPrefix(x.got.Error(), x.want) || x.want == "" && len(x.got) > 0 || len(x.got) > 1 {
				t.Errorf("%s: got\n%v\nwant %q", c.code, x.got, x.want)
			}
		}
	}
}

// Goal: all that is wrong is said in one go, in required files too.
func TestExamineSaysAllAtOnce(t *testing.T) {
	lib := fstest.MapFS{
		"lib/a.lua": {Data: []byte("local b = require 'lib.b'\nlocal function f(state)\n  return state.nou\nend\nreturn { f = f, x = os }")},
		"lib/b.lua": {Data: []byte("local x =\nif")},
	}
	r := examined(t, "p", []byte(`local a = require "lib.a"
local b = require "lib.b"
local c = require "lib.c"
return {
  params = { n = { type = "integr" } },
  decide = function(control, state, conf)
    control.scale(1)
    local x = nonsense
    y = 1
  end,
}`), lib)
	for _, want := range []string{
		"lib/a.lua:3: 'state.nou' does not exist", "lib/a.lua:5: 'os' does not exist here", "lib/b.lua:2: syntax error near 'if'",
		"p.lua:7: 'control.scale' does not exist", "p.lua:8: 'nonsense' does not exist", "p.lua:9: sets the global 'y'",
	} {
		if strings.Count(r.Problems.Error(), want) != 1 {
			t.Errorf("got\n%v\nwant in it once %q", r.Problems, want)
		}
	}
	if r.Sound() || r.Policy != nil {
		t.Errorf("got a policy from what can't be loaded")
	}
	for code, want := range map[string]string{
		`return { params = { n = { type = "integr" } }, decide = function() end }`: "unknown type 'integr'",
		`local c = require "lib.c"`: "p.lua:1: require 'lib.c': there is no lib/c.lua in the policy folder",
		`return 5`:                  "p.lua: returned a number",
		`error("early")`:            "p.lua:1: early",
		`return {`:                  "syntax error",
	} {
		if r := examined(t, "p", []byte(code), lib); len(r.Problems) != 1 || !strings.Contains(r.Problems.Error(), want) {
			t.Errorf("%s: got %v, want %q", code, r.Problems, want)
		}
	}
}

// Goal: one run tells mistakes of every kind: what a file declares, what it names and what it does. Method: each on a
// line of its own, and nothing that is not in the list.
func TestExamineTellsEveryKindAtOnce(t *testing.T) {
	const src = `local n = 0
return {
  doc = 5,
  docs = "x",
  params = { k = { type = "%s", default = 1, doc = "x" } },
  decide = function(control, state, conf)
    n = n + 1
    if n == 1000 then local x = nonsense y = 1 end
    if n == 1001 then control.scal(1) end
    if n == 1002 then control.scale_to(conf.j) end
    control.scale_to(n + conf.k)
    control.because("n")
  end,
}`
	always := []string{
		"p.lua:3: doc is a number", "p.lua:4: returned the unknown key 'docs'", "p.lua:8: 'nonsense' does not exist", "p.lua:8: sets the global 'y'",
		"p.lua:9: 'control.scal' does not exist", "p.lua:10: conf.j is not a declared parameter",
	}
	for kind, also := range map[string]string{
		"integer": "p.lua: hides state between decisions",
		"integr":  "p.lua:5: parameter 'k': unknown type 'integr'", // with which nothing can be tried out
	} {
		r := examined(t, "p", fmt.Appendf(nil, src, kind), nil)
		for _, want := range append(always, also) {
			if strings.Count(r.Problems.Error(), want) != 1 {
				t.Errorf("%s: got\n%v\nwant in it once %q", kind, r.Problems, want)
			}
		}
		if len(r.Problems) != len(always)+1 || len(r.Warnings) > 0 || r.Policy != nil {
			t.Errorf("%s: got %d problems and warnings %v, policy %v:\n%v", kind, len(r.Problems), r.Warnings, r.Policy != nil, r.Problems)
		}
	}
	taken := "return {\n  doc = 'x',\n  decide = function(control)\n    y = 1\n    control.scale_to(1)\n    control.because('x')\n  end,\n}"
	if r := examined(t, "p", []byte(taken), nil); len(r.Problems) != 1 || !strings.HasPrefix(r.Problems.Error(), "p.lua:4: sets the global 'y'") {
		t.Errorf("a global that is set each time: got %v", r.Problems)
	}
}

// Goal: state that hides outside state.memory is found, wherever it is kept. Method: policies that pass
// every single call.
func TestExamineFindsHiddenState(t *testing.T) {
	for _, src := range []string{
		"local last = 0\nreturn { doc = 'x', decide = function(control) last = last + 1 control.scale_to(last) control.because('x') end }",
		"local seen = {}\nreturn { doc = 'x', decide = function(control, state) seen[#seen + 1] = state.now control.scale_to(1) control.because('seen ' .. #seen) end }",
		"local n\nreturn { doc = 'x', initialize = function() n = 4 end, decide = function(control) control.scale_to(n) control.because('x') end }",
		"local n = 1\nreturn { doc = 'x', params = { k = { type = 'integer', default = 1, doc = 'x' } }, reconfigure = function(control, state, conf) n = conf.k end, decide = function(control, state, conf) control.scale_to(n) control.because('x') end }",
	} {
		r := examined(t, "p", []byte(src), nil)
		if len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].Text, "hides state between decisions") || !strings.Contains(r.Problems[0].Try, "state.memory") {
			t.Errorf("%s\ngot %v, want the hidden state", src, r.Problems)
		}
	}
	kept := "return { doc = 'x', decide = function(control, state) state.memory.n = (state.memory.n or 0) + 1 control.scale_to(state.memory.n) control.because('x') end }"
	if r := examined(t, "p", []byte(kept), nil); !r.Sound() {
		t.Errorf("got %v for memory", r.Problems)
	}
}

// Goal: what is no mistake but deserves a look is a warning, with advice.
func TestExamineWarns(t *testing.T) {
	for src, want := range map[string]string{
		"return { decide = function(control) control.scale_to(1) control.because('x') end }":                                                                          "has no doc",
		"return { doc = 'x', params = { a = { type = 'boolean' } }, decide = function(control) control.scale_to(1) control.because('x') end }":                        "p.lua:1: parameter 'a' has no doc",
		"return { doc = 'x', decide = function(control) end }":                                                                                                        "never wished for anything",
		"return { doc = 'x', decide = function(control) control.scale_to(1) end }":                                                                                    "gives no reason",
		"return { doc = 'x', validate = function() error('no', 0) end, decide = function(control) control.scale_to(1) end }":                                          "a made-up configuration is refused: p.lua: no",
		"return { doc = 'x', decide = function(control, state) for w in state.workers() do for i = 1, 5000 do end end control.scale_to(1) control.because('x') end }": "steps for one decision over 300 workers",
		"return { doc = 'x', params = { s = { type = 'sensor', required = true, doc = 'x' } }, decide = function(control, state, conf) state.sensor(conf.s) end }":    "never wished",
	} {
		r := examined(t, "p", []byte(src), nil)
		if !r.Sound() || len(r.Warnings) != 1 || !strings.Contains(r.Warnings.Error(), want) {
			t.Errorf("%s\ngot problems %v, warnings %v; want the warning %q", src, r.Problems, r.Warnings, want)
		}
	}
}

// ticking is a clock on which each look takes a while: how much a policy does decides how long it takes, on
// every machine.
func ticking(step time.Duration) func() time.Time {
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(step)
		return now
	}
}

// Goal: decisions have the deadline that they have in a pool: what is stopped there is a mistake with its line
// and ends the examination, and what comes near it is a warning. Method: loops of several lengths under a clock on
// which 64 instructions take a fifth of a millisecond.
func TestExamineHasTheDeadlineOfAPool(t *testing.T) {
	const loop = "return {\n  doc = 'x',\n  decide = function(control)\n    for i = 1, %d do local x = i end\n    control.scale_to(1)\n    control.because('x')\n  end,\n}"
	for _, c := range []struct {
		turns         int
		problem, warn string
	}{
		{100, "", ""},
		{6000, "", "for one decision: what takes more than 50ms is stopped (when tried with: nothing runs"},
		{300_000, "p.lua:4: stopped after 50ms", ""},
	} {
		clock, looks := ticking(200*time.Microsecond), 0
		lib := policies.NewLibrary().Timed(func() time.Time { looks++; return clock() })
		r, err := lib.Examine(t.Context(), "p", fmt.Appendf(nil, loop, c.turns))
		if err != nil {
			t.Fatal(err)
		}
		if c.problem == "" != r.Sound() || len(r.Problems) > 1 || !strings.Contains(r.Problems.Error(), c.problem) {
			t.Errorf("%d turns: got problems %v, want %q alone", c.turns, r.Problems, c.problem)
		}
		if c.warn == "" != (len(r.Warnings) == 0) || len(r.Warnings) > 1 || !strings.Contains(r.Warnings.Error(), c.warn) {
			t.Errorf("%d turns: got warnings %v, want %q alone", c.turns, r.Warnings, c.warn)
		}
		if !r.Sound() && looks > 2000 { // three decisions: one, and twice in a fresh state
			t.Errorf("%d turns: the examination went on after a decision was stopped: %d looks at the clock", c.turns, looks)
		}
	}
}

// Goal: rules over parameters that never end are a mistake, not a configuration that does not fit; and a file that is
// slow to load is one as well, because each decision after an error would load it anew.
func TestExamineFindsWhatIsStoppedElsewhere(t *testing.T) {
	for src, want := range map[string]string{
		"return {\n  doc = 'x',\n  validate = function() while true do end end,\n  decide = function(control) control.scale_to(1) control.because('x') end,\n}": "p.lua:3: stopped after 2s",
		"local sum = 0\nfor i = 1, 300000 do sum = sum + i end\nreturn { doc = 'x', decide = function(control) control.scale_to(1) control.because('x') end }":  "p.lua:2: stopped after 50ms",
		"while true do end": "p.lua:1: stopped after 2s",
		"return {\n  doc = 'x',\n  reconfigure = function() while true do end end,\n  params = { n = { type = 'integer', default = 1, doc = 'x' } },\n  decide = function(control) control.scale_to(1) control.because('x') end,\n}": "p.lua:3: stopped after 50ms",
	} {
		r, err := policies.NewLibrary().Timed(ticking(200*time.Microsecond)).Examine(t.Context(), "p", []byte(src))
		if err != nil || len(r.Problems) != 1 || !strings.HasPrefix(r.Problems.Error(), want) || len(r.Warnings) > 0 {
			t.Errorf("%s\ngot %v, warnings %v, %v; want %q alone", src, r.Problems, r.Warnings, err, want)
		}
	}
}

// Goal: an examination as a whole has an end and says that it is not all. Method: a policy with many parameters,
// each of which is tried, that goes to the edge of what one decision may take.
func TestExamineHasAnEnd(t *testing.T) {
	src := "return {\n  doc = 'x',\n  decide = function(control)\n    for i = 1, 7000 do local x = i end\n    control.scale_to(1)\n    control.because('x')\n  end,\n  params = {\n"
	for i := range 40 {
		src += fmt.Sprintf("    n%d = { type = 'integer', default = 1, doc = 'x' },\n", i)
	}
	clock := ticking(200 * time.Microsecond)
	start := clock()
	r, err := policies.NewLibrary().Timed(clock).Examine(t.Context(), "p", []byte(src+"  },\n}"))
	if err != nil || !r.Sound() || len(r.Warnings) != 2 || !strings.Contains(r.Warnings.Error(), "was tried out in part only") {
		t.Errorf("got %v, warnings %v, %v", r.Problems, r.Warnings, err)
	}
	if took := clock().Sub(start); took > 6*time.Second {
		t.Errorf("took %v", took)
	}
}

// Goal: who no longer waits ends an examination. Method: the clock that the decisions look at ends the context.
func TestExamineEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	clock, looks := ticking(time.Microsecond), 0
	lib := policies.NewLibrary(scripts.Policies()).Timed(func() time.Time {
		if looks++; looks == 100 {
			cancel()
		}
		return clock()
	})
	src, err := lib.Source("queuelen")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := lib.Examine(ctx, "queuelen", src); err != context.Canceled || r.Policy != nil {
		t.Errorf("got %v, %v", r.Policy, err)
	}
	if looks > 1000 {
		t.Errorf("%d looks at the clock", looks)
	}
}

// Goal: nothing makes an examination fail otherwise than with its report.
func FuzzExamine(f *testing.F) {
	for _, src := range []string{
		sound(""), visitRule, allTypes, "return {", "require('lib.pool')", "return { decide = function(c, s) for a, b in s.workers{} do local x = a.id.b end end }",
		"local a = { b = function(control, ...) control.x.y(...) end } return a", "return { decide = function(...) local a = ... a.b.c = 1 end }",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 2000 || strings.Contains(src, "while") || strings.Contains(src, "repeat") || strings.Contains(src, "goto") {
			return // loops take their whole budget in every situation
		}
		r := examined(t, "fuzz", []byte(src), scripts.Policies())
		if (r.Policy == nil) && r.Sound() {
			t.Fatal("got neither a policy nor a problem")
		}
	})
}
