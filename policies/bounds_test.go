package policies_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// made is how many bytes the process allocates while f runs.
func made(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Goal: what a policy leaves to be written down takes no more memory than the bounds say, before anybody writes it.
// Method: values that are small in Lua, because they hold the same text or table many times, and large as JSON.
func TestWhatIsLeftIsBounded(t *testing.T) {
	const text = `local s = ("x"):rep(65536) `
	for _, c := range []struct{ code, want string }{
		{text + `local t = {} for i = 1, 8000 do t[i] = s end state.memory.t = t`, "state.memory holds more than 65536 bytes"},
		{text + `local t = {} for i = 1, 8000 do t[i] = { [s] = i } end state.memory.t = t`, "state.memory holds more than 65536 bytes"},
		{`local t = {} for d = 1, 12 do t = { t, t, t, t } end state.memory.t = t`, "state.memory holds more than 65536 bytes"},
		{`local e = {} e[60000] = 1 e[60000] = nil local t = {} for i = 1, 9000 do t[i] = e end state.memory.t = t`, "state.memory: its tables have had more than 1048576 entries"},
		{`local t = { ok = { [("k"):rep(60000)] = { 0/0 } } } state.memory.t = t`, "state.memory: t.ok." + strings.Repeat("k", 80) + "....1 is not a finite number"},
		{text + `control.scale_to(1, { vars = { a = s } })`, "p.lua:3: control.scale_to: the variable a takes 65537 bytes: at most 4096"},
		{text + `control.want("db", { vars = { [s] = 1 } })`, "takes 65537 bytes: at most 4096"},
		{`local v = {} for i = 1, 20 do v["k" .. i] = ("x"):rep(4000) end
		for i = 1, 300 do control.want("n" .. i, { vars = v }) end`, "p.lua:4: control.want: the wish with its actions takes more than 256 KiB"},
		{`local v = {} for i = 1, 90 do v["k" .. i] = ("x"):rep(4000) end control.scale_to(1, { vars = v })`, "p.lua:3: control.scale_to: the wish with its actions takes more than 256 KiB"},
		{`local v = {} for i = 1, 20 do v["k" .. i] = ("x"):rep(4000) end
		for i = 1, 1000 do control.launch{ vars = v } end`, "p.lua:4: control.launch: the wish with its actions takes more than 256 KiB"},
		{`local t = {} for i = 1, 5000 do t[i] = "epu-bench-1-" .. i .. "/0" end
		for i = 1, 1000 do control.drain(t) end`, "p.lua:4: control.drain: the wish with its actions takes more than 256 KiB"},
		{`for i = 1, 1100 do control.place(("s"):rep(240) .. i, 1) end`, "p.lua:3: control.place: more than 1000 sites"},
		{`local s = {} for i = 1, 999 do s[("s"):rep(253) .. i] = 1 end for i = 1, 3 do control.place(("p"):rep(200) .. i, 1) end control.scale_to(1, { sites = s }) `, "p.lua:3: control.scale_to: the wish with its actions takes more than 256 KiB"},
	} {
		p := compile(t, "p", body(c.code))
		e := policies.NewEngine(p, policies.Options{})
		var d epu.Decision
		grown := made(func() { d = e.Decide(fleet(20), check(t, p, nil)) })
		if !strings.Contains(d.Error, c.want) || d.Wanted.Target != 20 || len(d.Actions) > 0 {
			t.Errorf("%s:\ngot error %.200q, target %d and %d actions, want %q and the last wish", c.code, d.Error, d.Wanted.Target, len(d.Actions), c.want)
		}
		if grown > 64<<20 {
			t.Errorf("%s: %d MiB were allocated", c.code, grown>>20)
		}
	}
}

// Goal: the bound of a wish is about the wish, not about the calls that it took. Method: wishes that are replaced
// many times, and as much as is allowed.
func TestWishesThatFit(t *testing.T) {
	for _, code := range []string{
		`local v = { a = ("x"):rep(4000) } for i = 1, 500 do control.scale_to(20, { vars = v }) end`,
		`local v = { a = ("x"):rep(4000) } for i = 1, 500 do control.want("db", { vars = v }) end control.scale_to(20)`,
		`for i = 1, 5000 do control.place("east", 20) end`,
		`for i = 1, 10000 do control.want("worker-" .. i) end control.scale_to(10000)`,
		`local t = {} for i = 1, 9000 do t[i] = "epu-bench-1-" .. i .. "/0" end control.drain(t) control.scale_to(20)`,
	} {
		if d := decide(t, compile(t, "p", body(code)), fleet(2), nil); d.Error != "" || d.Wanted.Target < 20 {
			t.Errorf("%s: got target %d, error %q", code, d.Wanted.Target, d.Error)
		}
	}
}

// Goal: what a policy hoards where it may keep nothing does not stay from decision to decision, compiled patterns
// included. Method: forty megabytes a decision in a variable of its file, then the size of the heap.
func TestHoardsAreGivenUp(t *testing.T) {
	p := compile(t, "p", "local kept = {}\n"+body(`
		for i = 1, 40 do local t = {} t[65000] = i kept[#kept + 1] = t end
		for i = 1, 20 do text.match("a", "(b|c|d" .. i .. "){90}" .. state.now) end
		control.scale_to(#kept)`))
	e := policies.NewEngine(p, policies.Options{})
	conf := check(t, p, nil)
	for range 3 {
		if d := e.Decide(fleet(1), conf); d.Error != "" || d.Wanted.Target != 40 {
			t.Fatalf("got target %d, error %q; want 40 each time", d.Wanted.Target, d.Error)
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first leaves what pools of memory hold
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 30<<20 {
		t.Errorf("the heap holds %d MiB", m.HeapAlloc>>20)
	}
	runtime.KeepAlive(e)
}

// Goal: a state that hoards little by little is made anew some time. Method: count the decisions of one state.
func TestStateIsMadeAnewNowAndThen(t *testing.T) {
	p := compile(t, "p", "local calls = 0\n"+body(`calls = calls + 1 control.scale_to(calls)`))
	e := policies.NewEngine(p, policies.Options{})
	conf, snap, most := check(t, p, nil), fleet(1), 0
	for range 2500 {
		most = max(most, e.Decide(snap, conf).Wanted.Target)
	}
	if most < 100 || most > 1000 {
		t.Errorf("one state made %d decisions, want at least 100 and at most 1000", most)
	}
}

// Goal: on a busy node a state is not made anew for what others allocate. Method: sixteen megabytes beside each decision
// of a policy that keeps little, and decisions of policies that hoard a little each, in each kind of value.
func TestStateOutlivesWhatOthersAllocate(t *testing.T) {
	beside := func(code string) (most int) {
		p := compile(t, "p", "local calls, kept = 0, {}\n"+body(`calls = calls + 1 `+code+` control.scale_to(calls)`))
		e := policies.NewEngine(p, policies.Options{Print: func(string) { runtime.KeepAlive(make([]byte, 16<<20)) }})
		defer e.Close()
		conf, snap := check(t, p, nil), fleet(40)
		for range 100 {
			d := e.Decide(snap, conf)
			if d.Error != "" {
				t.Fatalf("%s: %s", code, d.Error)
			}
			most = max(most, d.Wanted.Target)
		}
		return most
	}
	if got := beside(`print("x")`); got != 100 {
		t.Errorf("one state made %d of 100 decisions, want all", got)
	}
	for _, code := range []string{
		`print("x") for i = 1, 10 do kept[#kept + 1] = ("x"):rep(60000) .. calls .. i end`,
		`print("x") for i = 1, 10 do kept[("x"):rep(60000) .. calls .. i] = 1 end`,
		`print("x") local t = {} t[20000] = 1 kept[#kept + 1] = t`,
		`print("x") for w in state.workers() do for i = 1, 10 do kept[#kept + 1] = w end end`,
	} {
		if got := beside(code); got > 40 {
			t.Errorf("%s: one state made %d decisions, want it to be made anew before", code, got)
		}
	}
}

// Goal: a policy is not blamed for what others allocate, and is for its own, wherever it holds it. Method: a gigabyte
// that is allocated beside a loop that makes nothing; then hoards in each place that a state has.
func TestMemoryIsThePolicysOwn(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.KeepAlive(make([]byte, 8<<20))
			}
		}
	}()
	opts := policies.Options{Heap: 16 << 20}
	p := compile(t, "p", body(`local t = {} for i = 1, 300000 do t[i % 100 + 1] = i end control.scale_to(3)`))
	if d := policies.NewEngine(p, opts).Decide(fleet(1), check(t, p, nil)); d.Error != "" || d.Wanted.Target != 3 {
		t.Errorf("a loop: got target %d, error %q", d.Wanted.Target, d.Error)
	}
	close(stop)
	<-stopped
	const big = `local function big() local t = {} t[65000] = 1 return t end `
	for name, code := range map[string]string{
		"a table":             big + `local a = {} while true do a[#a + 1] = big() end`,
		"keys of a table":     big + `local a = {} while true do a[big()] = 1 end`,
		"upvalues":            big + `local f while true do local t, g = big(), f f = function() return t, g end end`,
		"metatables":          big + `local a while true do a = setmetatable({}, { __index = big(), a }) end`,
		"the stack":           big + `local function down(n) local t = big() if n > 0 then down(n - 1) end return t[1] end while true do pcall(down, 100) end`,
		"behind a tail call":  big + `local function tail(n) if n == 0 then while true do end end return tail(n - 1) end local a = {} for i = 1, 60 do a[i] = big() end for i = 1, 10 do pcall(tail, 100) end local b = a`,
		"state.memory":        big + `local i = 0 while true do i = i + 1 state.memory["k" .. i] = big() end`,
		"small tables":        `local a while true do a = { a } end`,
		"small tables, names": `local a while true do a = { a = a } end`,
		"closures":            `local f while true do local g = f f = function() return g end end`,
	} {
		p := compile(t, "p", body(code))
		d := policies.NewEngine(p, opts).Decide(fleet(1), check(t, p, nil))
		if !strings.Contains(d.Error, "stopped because its tables and functions take more than 16 MiB") {
			t.Errorf("%s: got %q", name, d.Error)
		}
	}
}

// Goal: no work that the host does for a policy escapes the deadline or the steps. Method: each kind of work again and
// again with nothing but steps as a bound, and the time that those steps come to: a second or two at most on a machine
// with nothing else to do.
func TestHostWorkIsCharged(t *testing.T) {
	attacks := []string{
		`local i = 0 while true do i = i + 1 pcall(text.match, "a", "(" .. ("ab"):rep(100) .. i .. "){1000}") end`,
		`local i = 0 while true do i = i + 1 text.match("a", "(a|b|c|" .. i .. "){190}") end`,
		`local p = ("\\pL|"):rep(60) local i = 0 while true do i = i + 1 text.match("a", p .. i) end`,
		`local p = ("[^\\pL]"):rep(40) local i = 0 while true do i = i + 1 text.match("a", p .. i) end`,
		`local p = ("(?i)[b-\\x{10fff0}]"):rep(12) local i = 0 while true do i = i + 1 text.match("a", p .. i) end`,
		`while true do text.match(("a"):rep(2000), "(a?){100}b") end`,
		`while true do text.split(("a"):rep(1200), "a.*b|a") end`,
		`local t = {} for i = 1, 60000 do t[i] = i % 7 end while true do table.sort(t, rawequal) end`,
		`local t = {} for i = 1, 60000 do t["k" .. i] = 1 end for i = 1, 60000 do t["k" .. i] = nil end while true do next(t) end`,
		`local t = {} for i = 1, 60000 do t["k" .. i] = 1 end for i = 1, 60000 do t["k" .. i] = nil end while true do control.because(t) end`,
		`while true do for w in state.workers{ name = "none" } do end end`,
		`while true do state.count{ zone = "a", site = "local", allocation = "small", draining = false, protected = false, unhealthy = true } end`,
		`while true do cron.next("0 0 29 2 1", "Europe/Berlin", 0) end`,
		`while true do state.window("q", 86400) end`,
		`for w in state.workers() do while true do local v = w.vars end end`,
		`local l = {} for i = 1, 9000 do l[i] = "epu-bench-1-" .. i .. "/0" end while true do pcall(control.drain, l) end`,
	}
	if raced {
		attacks = attacks[:2]
	}
	for _, code := range attacks {
		p := compile(t, "p", body(code))
		snap := fleet(5000)
		snap.Workers[0].Vars = map[string]string{}
		for i := range 200 {
			snap.Workers[0].Vars[fmt.Sprint(i)] = "x"
		}
		snap.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
			return epu.Window{Sensor: sensor, Span: span, Count: 8640, Quality: epu.QualityOK}, true
		}
		at := time.Now()
		d := policies.NewEngine(p, policies.Options{}).Decide(snap, check(t, p, nil))
		if took := time.Since(at); took > 20*time.Second || d.Error == "" {
			t.Errorf("%s: took %v, error %.100q; want it to be stopped or refused long before", code, took, d.Error)
		}
	}
}
