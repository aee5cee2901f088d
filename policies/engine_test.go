package policies_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// Goal: an evaluation gives a whole decision in every case. Method: small policies, each written for
// one point, evaluated over small snapshots; every good decision is also replayed from its record.

// body wraps the inside of a decide function.
func body(code string) string {
	return "return { params = { n = { type = 'integer', default = 3 }, list = { type = 'list', default = {} } },\n" +
		"decide = function(control, state, conf)\n" + code + "\nend }"
}

// decide evaluates a policy once and, if it succeeds, replays the record.
func decide(t *testing.T, p *policies.Policy, snap *policies.Snapshot, conf map[string]any) epu.Decision {
	t.Helper()
	e := policies.NewEngine(p, policies.Options{})
	defer e.Close()
	d := e.Decide(snap, check(t, p, conf))
	if d.Error == "" {
		replay(t, p, d)
	}
	return d
}

// replay checks that a decision follows from its record after a round through JSON.
func replay(t testing.TB, p *policies.Policy, d epu.Decision) {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	var record epu.Decision
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatalf("record: %v", err)
	}
	again, err := policies.Replay(p, record)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	type outcome struct {
		Wanted  epu.Wish
		Reasons []epu.Reason
		Actions []epu.Action
		Alerts  []string
		Memory  string
		Tick    time.Duration
		Error   string
	}
	of := func(d epu.Decision) outcome {
		return outcome{d.Wanted, d.Reasons, d.Actions, d.Alerts, string(d.MemoryAfter), d.TickEvery, d.Error}
	}
	if diff := cmp.Diff(of(record), of(again)); diff != "" {
		t.Errorf("replay differs (-recorded +replayed):\n%s\nrecord: %s", diff, b)
	}
}

func TestWishAndReasons(t *testing.T) {
	p := compile(t, "p", body(`
		control.want("db", { vars = { ROLE = "db", PORT = 5432 }, market = "on-demand" })
		control.scale_to(conf.n + state.running(), { site = "east", victims = "oldest", heal = false, vars = { A = "1" } })
		control.because("three more than run", "more")
		control.because { text = "and a database" }
		control.alert("hello")
		control.configure { tick = 2.5 }
		control.drain({ "p-1-1/0", "p-1-1/0" }, { reason = "old" })
		control.launch { count = 2, site = "west" }`))
	got := decide(t, p, fleet(4), nil)
	want := epu.Wish{
		Target: 7, Site: "east", Victims: epu.Oldest, NoHeal: true, Vars: map[string]string{"A": "1"},
		Uniques: map[string]epu.Unique{"db": {Vars: map[string]string{"ROLE": "db", "PORT": "5432"}, Market: epu.OnDemand}},
	}
	if diff := cmp.Diff(want, got.Wanted); diff != "" {
		t.Errorf("wish (-want +got):\n%s", diff)
	}
	if got.TickEvery != 2500*time.Millisecond || len(got.Alerts) != 1 || got.Before != 4 {
		t.Errorf("got tick %v, alerts %v, before %d; want 2.5s, one alert, 4", got.TickEvery, got.Alerts, got.Before)
	}
	reasons := []epu.Reason{{Rule: "more", Text: "three more than run"}, {Text: "and a database"}}
	actions := []epu.Action{
		{Kind: epu.ActDrain, Workers: []epu.WorkerID{"p-1-1/0"}, Reason: "old", At: "p.lua:10"},
		{Kind: epu.ActLaunch, Count: 2, Site: "west", At: "p.lua:11"},
	}
	if diff := cmp.Diff(reasons, got.Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(actions, got.Actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func TestWishWithoutTarget(t *testing.T) {
	for _, c := range []struct {
		name, code string
		target     int
		uniques    int
		reason     string
	}{
		{"nothing asked holds", ``, 4, 1, "the wish for 4 stands"},
		{"names alone keep the target", `control.want("a")`, 4, 1, "gives no reason"},
		{"more names than workers raise it", `for i = 1, 6 do control.want("u" .. i) end`, 6, 6, "6 named workers are wanted, so the target is 6 and not 4"},
		{"a number alone ends the names", `control.scale_to(2)`, 2, 0, "wants 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			snap := fleet(4)
			snap.Wish.Uniques = map[string]epu.Unique{"old": {}}
			d := decide(t, compile(t, "p", body(c.code)), snap, nil)
			if d.Error != "" || d.Wanted.Target != c.target || len(d.Wanted.Uniques) != c.uniques {
				t.Errorf("got %+v (error %q), want target %d and %d names", d.Wanted, d.Error, c.target, c.uniques)
			}
			if !strings.Contains(fmt.Sprint(d.Reasons), c.reason) {
				t.Errorf("got reasons %v, want %q", d.Reasons, c.reason)
			}
		})
	}
}

func TestErrorKeepsWishAndExplains(t *testing.T) {
	p := compile(t, "queue", `return {
  decide = function(control, state, conf)
    local q = state.sensor("queue")
    control.scale_to(0)
    state.memory.seen = true
    control.terminate("p-1-1/0")
    if q.value > 3 then
      control.scale_to(9)
    end
  end,
}`)
	snap := fleet(4)
	snap.Memory = json.RawMessage(`{"n":1}`)
	e := policies.NewEngine(p, policies.Options{})
	d := e.Decide(snap, check(t, p, nil))
	want := "queue.lua:7: attempt to use 'value' of nil\n    7 | if q.value > 3 then\nread: sensor queue was nil: there is no reading"
	if d.Error != want {
		t.Errorf("got error\n%s\nwant\n%s", d.Error, want)
	}
	if d.Wanted.Target != 4 || string(d.MemoryAfter) != `{"n":1}` || d.Actions != nil {
		t.Errorf("got wish %d, memory %s, actions %v; want the last wish 4, the memory as it was, no actions", d.Wanted.Target, d.MemoryAfter, d.Actions)
	}
	replay(t, p, d)

	// The engine recovers by itself as soon as the cause is gone.
	snap.Readings = map[string]epu.Reading{"queue": {Sensor: "queue", Value: 5, Quality: epu.QualityOK, Age: time.Second, Time: snap.Now}}
	if d = e.Decide(snap, check(t, p, nil)); d.Error != "" || d.Wanted.Target != 9 || string(d.MemoryAfter) != `{"n":1,"seen":true}` {
		t.Errorf("got target %d, memory %s, error %q; want 9 after the reading came", d.Wanted.Target, d.MemoryAfter, d.Error)
	}
	replay(t, p, d)
}

func TestHooks(t *testing.T) {
	p := compile(t, "hooks", `
local function log(state, word) state.memory.log = (state.memory.log or "") .. word .. " " end
return {
  params = { n = { type = "integer", default = 1 }, pause = { type = "duration", default = "90s" } },
  initialize = function(control, state, conf) log(state, "init" .. conf.pause) end,
  reconfigure = function(control, state, conf, old, changed)
    log(state, old.n .. "->" .. conf.n .. ":" .. table.concat(changed, ","))
  end,
  decide = function(control, state, conf) log(state, "decide"); control.scale_to(conf.n) end,
}`)
	e := policies.NewEngine(p, policies.Options{})
	conf := check(t, p, nil)
	var memory json.RawMessage
	tick := func(conf map[string]any, want string) {
		t.Helper()
		snap := fleet(1)
		snap.Memory = memory
		d := e.Decide(snap, conf)
		memory = d.MemoryAfter
		var got struct{ Log string }
		if err := json.Unmarshal(memory, &got); err != nil || strings.TrimSpace(got.Log) != want || d.Error != "" {
			t.Errorf("got %q (error %q, %v), want %q", got.Log, d.Error, err, want)
		}
		replay(t, p, d)
	}
	tick(conf, "init90 decide")
	tick(conf, "init90 decide decide")
	merged, changed, problems := p.Reconfigure(conf, map[string]any{"n": 5})
	if problems != nil || len(changed) != 1 {
		t.Fatalf("got changed %v, problems %v; want n alone", changed, problems)
	}
	tick(merged, "init90 decide decide 1->5:n decide")
	tick(merged, "init90 decide decide 1->5:n decide decide")
}

// Goal: initialize must succeed before decide is called, is tried again at the next tick, and runs once
// only, also after decide has failed.
func TestInitializeIsTriedAgain(t *testing.T) {
	p := compile(t, "p", `return {
  initialize = function(control, state) state.memory.runs = (state.memory.runs or 0) + 1; assert(state.running() > 1, "too few") end,
  decide = function(control, state, conf) control.scale_to(state.running() + 1); assert(state.running() ~= 4, "four") end,
}`)
	e := policies.NewEngine(p, policies.Options{})
	var memory json.RawMessage
	for i, c := range []struct {
		running, target int
		err, memory     string
	}{
		{1, 1, "p.lua:2: too few", ""},
		{2, 3, "", `{"runs":1}`},
		{4, 4, "p.lua:3: four", `{"runs":1}`},
		{5, 6, "", `{"runs":1}`},
	} {
		snap := fleet(c.running)
		snap.Memory = memory
		d := e.Decide(snap, map[string]any{})
		memory = d.MemoryAfter
		if !strings.HasPrefix(d.Error, c.err) || (c.err == "") != (d.Error == "") || d.Wanted.Target != c.target || string(memory) != c.memory {
			t.Errorf("tick %d: got target %d, memory %s, error %q; want %d, %s, %q", i, d.Wanted.Target, memory, d.Error, c.target, c.memory, c.err)
		}
		replay(t, p, d)
	}
}

// Goal: what a hook puts into memory is not lost with a decision that fails or is refused: the hook comes again until it is
// kept, and then not any more. Method: initialize and reconfigure, each with an error of the same evaluation and with a
// guard that throws its memory away, and each record replayed.
func TestHooksComeAgain(t *testing.T) {
	const source = `
local function ran(state, n) state.memory.base, state.memory.runs = n, (state.memory.runs or 0) + 1 end
return {
  params = { n = { type = "integer", default = 1 } },
  initialize = function(control, state, conf) ran(state, conf.n) end,
  reconfigure = function(control, state, conf, old) ran(state, old.n * 100 + conf.n) end,
  decide = function(control, state, conf)
    if state.running() == 4 then error("four") end
    if state.running() == 5 then state.memory.large = ("x"):rep(70000) end
    control.scale_to(state.memory.base + 1)
  end,
}`
	for _, c := range []struct {
		name    string
		running int  // that make decide fail
		refused bool // by the caller
	}{{"an error", 4, false}, {"too much memory", 5, false}, {"a guard rail", 3, true}} {
		p := compile(t, "p", source)
		e := policies.NewEngine(p, policies.Options{})
		var memory json.RawMessage
		tick := func(running int, conf map[string]any, refused bool, target int, want string) {
			t.Helper()
			snap := fleet(running)
			snap.Memory = memory
			d := e.Decide(snap, conf)
			if !refused {
				memory = d.MemoryAfter
			}
			if (d.Error != "") != (running > 3) || d.Wanted.Target != target || string(memory) != want {
				t.Errorf("%s: got target %d, memory %s, error %.80q; want %d and %s", c.name, d.Wanted.Target, memory, d.Error, target, want)
			}
			replay(t, p, d)
		}
		fail := func(conf map[string]any, target int) {
			t.Helper()
			if !c.refused {
				target = c.running
			}
			tick(c.running, conf, c.refused, target, string(memory))
		}
		one, two, three := check(t, p, nil), check(t, p, map[string]any{"n": 2}), check(t, p, map[string]any{"n": 3})
		fail(one, 2)
		fail(one, 2)
		fail(three, 4) // another one before initialize is done
		tick(1, one, false, 2, `{"base":1,"runs":1}`)
		tick(1, one, false, 2, `{"base":1,"runs":1}`)
		fail(two, 103)
		fail(two, 103)
		fail(three, 104)
		tick(1, two, false, 103, `{"base":102,"runs":2}`)
		tick(1, two, false, 103, `{"base":102,"runs":2}`)
		fail(one, 202)
		tick(1, two, false, 103, `{"base":102,"runs":2}`) // as it was: nothing has changed
		e.Close()
	}
}

// Goal: engines of one policy share what never changes and nothing else. Method: many at once, each with
// its own pool, under the race detector.
func TestEnginesSideBySide(t *testing.T) {
	p := compile(t, "p", body(`
		local names = {}
		for w in state.workers() do names[#names + 1] = w.id:upper() end
		table.sort(names)
		state.memory.n = (state.memory.n or 0) + #names
		if state.memory.n > 40 then error("enough") end
		for k, v in pairs(conf.list) do control.because(k .. v) end
		control.scale_to(#names)`))
	conf := check(t, p, map[string]any{"list": []any{"a", "b"}})
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			e := policies.NewEngine(p, policies.Options{})
			defer e.Close()
			var memory json.RawMessage
			for tick := range 30 {
				snap := fleet(n)
				snap.Memory = memory
				d := e.Decide(snap, conf)
				memory = d.MemoryAfter
				if fails := n*(tick+1) > 40; fails != (d.Error != "") || d.Wanted.Target != n {
					t.Errorf("pool %d, tick %d: got target %d, error %q", n, tick, d.Wanted.Target, d.Error)
					return
				}
			}
		})
	}
	group.Wait()
}

// Goal: after an error the state is new, so nothing of the failed evaluation lives on. Method: a policy
// that counts its calls where it should not.
func TestStateIsRebuiltAfterAnError(t *testing.T) {
	p := compile(t, "p", "local calls = 0\n"+body(`calls = calls + 1
		control.scale_to(calls)
		if state.running() == 4 then error("four") end`))
	e := policies.NewEngine(p, policies.Options{})
	conf := check(t, p, nil)
	for i, c := range []struct{ running, target int }{{1, 1}, {1, 2}, {4, 4}, {1, 1}} {
		if d := e.Decide(fleet(c.running), conf); d.Wanted.Target != c.target {
			t.Errorf("call %d: got target %d, want %d", i, d.Wanted.Target, c.target)
		}
	}
}

// Goal: views of workers cost nothing until they are visited. Method: allocations of npreserving, and of a policy
// that looks at one running worker, for 5 and for 10 000 workers.
func TestTickDoesNotGrowWithWorkers(t *testing.T) {
	one := compile(t, "p", body("for w in state.workers{ stage = 'running' } do control.scale_to(#w.state) break end control.because('one is seen')"))
	seen := func(n int) float64 {
		e, snap := policies.NewEngine(one, policies.Options{}), fleet(n)
		defer e.Close()
		if d := e.Decide(snap, check(t, one, nil)); d.Wanted.Target != len("RUNNING") {
			t.Fatalf("of %d workers: got %+v", n, d)
		}
		conf := check(t, one, nil)
		e.Decide(snap, conf)
		return testing.AllocsPerRun(20, func() { e.Decide(snap, conf) })
	}
	if few, many := seen(5), seen(10_000); few != many {
		t.Errorf("a policy that visits one worker: got %v allocations for 5 workers and %v for 10 000, want the same", few, many)
	}
	p := load(t, "npreserving")
	conf := check(t, p, map[string]any{"preserve_n": 5})
	allocs := func(n int) float64 {
		e, snap := policies.NewEngine(p, policies.Options{}), fleet(n)
		defer e.Close()
		e.Decide(snap, conf)
		return testing.AllocsPerRun(20, func() { e.Decide(snap, conf) })
	}
	if few, many := allocs(5), allocs(10_000); few != many {
		t.Errorf("got %v allocations for 5 workers and %v for 10 000, want the same", few, many)
	}
}

// Goal: counts by different filters are different inputs, whatever their words are, so that the record replays.
// Method: a name that reads like a name and another filter; what is plain keeps the name that records have.
func TestCountsHaveNamesOfTheirOwn(t *testing.T) {
	p := compile(t, "p", body(`
		local odd = state.count{ name = "a,site=local" }
		local both = state.count{ name = "a", site = "local" }
		local quoted = state.count{ name = "\"a\"" } + state.count{ zone = "" }
		control.scale_to(odd * 10 + both + quoted)`))
	snap := fleet(3)
	snap.Workers[0].Name = "a"
	d := decide(t, p, snap, nil)
	var names []string
	for _, in := range d.Inputs {
		names = append(names, in.Name)
	}
	want := []string{`count{name="a,site=local"}`, `count{name=a,site=local}`, `count{name="\"a\""}`, `count{zone=""}`}
	if diff := cmp.Diff(want, names); diff != "" || d.Wanted.Target != 1 {
		t.Errorf("got target %d, want 1; inputs (-want +got):\n%s", d.Wanted.Target, diff)
	}
}
