package policies_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// around is a pool with sensors, work, prices and places.
func around() *policies.Snapshot {
	s := fleet(4)
	s.Decision = "01JDECISION"
	reading := epu.Reading{Sensor: "queue", Value: 120, Age: 3 * time.Second, Time: s.Now.Add(-3 * time.Second), Quality: epu.QualityOK}
	s.Readings = map[string]epu.Reading{
		"queue": reading,
		"old":   {Value: 7, Age: time.Hour, Time: s.Now.Add(-time.Hour), Quality: epu.QualityStale},
		"gone":  {Value: 7, Quality: epu.QualityUnknown},
		"new":   {Value: 1, Time: s.Now, Quality: epu.QualityWarming},
		"nan":   {Value: math.NaN(), Time: s.Now, Quality: epu.QualityOK},
	}
	s.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		w := epu.Window{Sensor: sensor, Span: span, Mean: 100, Min: 50, Max: 150, Last: 120, Slope: 0.5, Count: 20, Covers: span - time.Second, Quality: epu.QualityOK}
		switch sensor {
		case "queue":
			return w, true
		case "old":
			w.Quality = epu.QualityStale
			return w, true
		case "gone":
			w.Quality = epu.QualityUnknown
			return w, true
		case "nan":
			w.Slope = math.Inf(1)
			return w, true
		}
		return epu.Window{}, false
	}
	s.Changes = []epu.Change{
		{Worker: s.Workers[0].ID, What: "state", From: "PENDING", To: "RUNNING", Time: s.Now.Add(-4 * time.Second)},
		{Worker: "epu-bench-1-9/0", What: "gone", To: "TERMINATED", Time: s.Now.Add(-2 * time.Second)},
	}
	rate := reading
	rate.Value, rate.Quality = 2.5, epu.QualityStale
	s.Work = epu.Work{Left: &reading, Rate: &rate, Deadline: s.Now.Add(10 * time.Minute)}
	s.Offers = []epu.Offer{
		{Site: "east", Allocation: "small", Zone: "a", Market: epu.Spot, USDPerHour: 0.03},
		{Site: "west", Allocation: "small", Market: epu.Reserved, USDPerHour: 0.05, Free: 3},
		{Site: "east", Allocation: "big", Market: epu.OnDemand, USDPerHour: 0.4},
		{Site: "east", Allocation: "odd", Market: epu.OnDemand, USDPerHour: math.NaN()},
	}
	s.Budget = epu.Budget{PerHour: 2, Now: 0.5, Unknown: 1}
	s.Places = []epu.Placement{{Site: "east", Allocation: "small", Market: epu.Spot, Max: 10}, {Site: "west"}}
	s.Backoff = 5 * time.Second
	s.SiteBackoff = map[epu.SiteID]time.Duration{"west": 90 * time.Second}
	one := *s.Workers[1]
	one.ID, one.Price, one.ChargeAt, one.Protected, one.Asked, one.AskedFrom, one.Slot = "epu-bench-1-2/1", 0.25, s.Now.Add(7*time.Minute), true, "01JEARLIER/2", 7, 1
	s.Workers[1] = &one
	return s
}

// Goal: what surrounds a pool comes out of the functions of state as it went in. Method: one line each,
// whose values a policy writes down.
func TestSurroundings(t *testing.T) {
	for _, c := range []struct{ code, want string }{
		{`state.sensor("queue")`, "age=3 quality=ok time=1772366397 value=120"},
		{`state.sensor("old")`, "age=3600 quality=stale time=1772362800 value=7"},
		{`state.sensor("gone")`, "age=0 quality=unknown"},
		{`state.sensor("new")`, "age=0 quality=warming time=1772366400 value=1"},
		{`state.sensor("nan")`, "age=0 quality=unknown time=1772366400"},
		{`state.sensor("none")`, "nil"},
		{`state.window("queue", 300)`, "count=20 covers=299 last=120 max=150 mean=100 min=50 quality=ok slope=0.5"},
		{`state.window("old", 1.5).quality`, "stale"},
		{`state.window("gone", 300)`, "nil"},
		{`state.window("nan", 300)`, "nil"},
		{`state.window("none", 300)`, "nil"},
		{`state.window("queue", 0)`, "!p.lua:3: state.window: the span is a number of seconds, more than 0 and at most 86400; got 0"},
		{`state.window("queue", 86401)`, "!at most 86400"},
		{`state.window("queue", 0/0)`, "!got NaN"},
		{`state.window("queue")`, "!got nil"},
		{`state.changes()`, "[from=PENDING time=1772366396 to=RUNNING what=state worker=epu-bench-1-1/0] [time=1772366398 to=TERMINATED what=gone worker=epu-bench-1-9/0]"},
		{`state.work()`, "age=3 deadline=1772367000 left=120 quality=stale rate=2.5 time_left=600"},
		{`state.offers()`, "[allocation=small free=0 market=spot price=0.03 site=east zone=a] [allocation=small free=3 market=reserved price=0.05 site=west] [allocation=big free=0 market=on-demand price=0.4 site=east]"},
		{`state.offers("big")`, "[allocation=big free=0 market=on-demand price=0.4 site=east]"},
		{`state.offers{ site = "west", market = "reserved" }`, "[allocation=small free=3 market=reserved price=0.05 site=west]"},
		{`state.offers{ zone = "b" }`, ""},
		{`state.offers{ sites = "west" }`, "!unknown option 'sites'; did you mean 'site'?"},
		{`state.budget()`, "left=1.5 limit=2 now=0.5 unknown=1"},
		{`state.places()`, "[allocation=small backoff=0 market=spot max=10 site=east] [backoff=90 site=west]"},
		{`state.backoff()`, "5"},
		{`state.backoff("west")`, "90"},
		{`state.backoff("east")`, "0"},
		{`state.worker("epu-bench-1-2/1").price`, "0.25"},
		{`state.worker("epu-bench-1-2/1").charge_in`, "420"},
		{`state.worker("epu-bench-1-2/1").protected`, "true"},
		{`state.worker("epu-bench-1-2/1").asked`, "01JEARLIER/2/8"},
		{`state.worker("01JEARLIER/2/8").id`, "epu-bench-1-2/1"},
		{`state.worker("01JEARLIER/2/0")`, "nil"},
		{`state.worker("epu-bench-1-1/0").price`, "nil"},
		{`state.worker("epu-bench-1-1/0").charge_in`, "nil"},
		{`state.worker("epu-bench-1-1/0").asked`, "nil"},
		{`state.count{ protected = true }`, "1"},
		{`state.time{ zone = "Europe/Berlin" }`, "day=1 hour=13 min=0 month=3 offset=3600 sec=0 wday=1 yday=60 year=2026"},
		{`state.time{ zone = "Local" }`, "!no time zone 'Local'"},
		{`cron.next("30 8 * * *", "Europe/Berlin")`, "1772436600"},
		{`cron.prev("0 8 * * 1-5", "Europe/Berlin")`, "1772175600"},
		{`cron.next("0 0 * * *", nil, 0)`, "86400"},
		{`cron.next("0 0 30 2 *")`, "nil"},
		{`cron.check("0 0 30 2 *")`, "!p.lua:3: cron.check: '0 0 30 2 *': no year has such a day, so it is never due"},
		{`cron.check("0 0 * *")`, "!p.lua:3: cron.check: '0 0 * *': a cron line has five fields"},
		{`cron.next("0 0 * * *", "Mars/Olympus")`, "!no time zone 'Mars/Olympus'"},
		{`cron.next("0 0 * * *", nil, "x")`, "!the time is a number of unix seconds, got a string"},
		{`cron.next("0 0 * * *", nil, 0/0)`, "!NaN is no time in unix seconds"},
	} {
		t.Run(c.code, func(t *testing.T) {
			p := compile(t, "p", body("local v = "+c.code+shownInLua))
			d := policies.NewEngine(p, policies.Options{}).Decide(around(), map[string]any{"list": []any{}})
			if want, refused := strings.CutPrefix(c.want, "!"); refused {
				if !strings.Contains(d.Error, want) {
					t.Errorf("got error %q, want %q", d.Error, want)
				}
				return
			}
			if d.Error != "" || d.Alerts[0] != "="+c.want {
				t.Errorf("got %q (%s), want %q", d.Alerts, d.Error, c.want)
			}
			replay(t, p, d)
		})
	}
}

// shownInLua tells what v holds in an alert, with sorted keys.
const shownInLua = `
local function show(v)
  if type(v) ~= "table" then return tostring(v) end
  local parts = {}
  for i, e in ipairs(v) do parts[i] = "[" .. show(e) .. "]" end
  if #parts == 0 then
    for k, e in pairs(v) do parts[#parts + 1] = k .. "=" .. show(e) end
    table.sort(parts)
  end
  return table.concat(parts, " ")
end
control.alert("=" .. show(v))
control.scale_to(1)`

// Goal: pools without any of this get nil and empty lists, not errors.
func TestNoSurroundings(t *testing.T) {
	p := compile(t, "p", body(`
		assert(state.sensor("q") == nil and state.window("q", 60) == nil and state.work() == nil)
		assert(#state.changes() == 0 and #state.offers() == 0 and #state.places() == 0 and #state.refused() == 0)
		assert(state.backoff() == 0 and state.backoff("east") == 0)
		local b = state.budget()
		assert(b.limit == nil and b.left == nil and b.now == 0 and b.unknown == 0)
		control.scale_to(1)`))
	if d := decide(t, p, fleet(1), nil); d.Error != "" {
		t.Error(d.Error)
	}
}

// Goal: the classes of the reference have the fields that policies get, no more and no less. Method: every
// table that state gives, whole, against its class.
func TestClassesHaveTheFieldsOfTables(t *testing.T) {
	classes := map[string]policies.Class{}
	for _, c := range policies.Classes() {
		classes[c.Name] = c
	}
	whole := around()
	whole.Places[0].Max = 3
	whole.Refused = []epu.Reason{{Rule: "limits.max", Text: "at most 4"}}
	for class, code := range map[string]string{
		"epu.Reading": `state.sensor("queue")`, "epu.Window": `state.window("queue", 60)`, "epu.Change": `state.changes()[1]`,
		"epu.Work": `state.work()`, "epu.Offer": `state.offers()[1]`, "epu.Budget": `state.budget()`, "epu.Place": `state.places()[1]`,
		"epu.Refusal": `state.refused()[1]`, "epu.Time": `state.time()`,
	} {
		d := decide(t, compile(t, "p", body("for k in pairs("+code+") do control.alert(k) end control.scale_to(1)")), whole, nil)
		if diff := cmp.Diff(set(classes[class].Names()), set(d.Alerts)); diff != "" || d.Error != "" {
			t.Errorf("%s (-class +table): %s%s", class, d.Error, diff)
		}
	}
}

func set(words []string) map[string]bool {
	out := map[string]bool{}
	for _, w := range words {
		out[w] = true
	}
	return out
}

// Goal: the wish holds what the newer options say.
func TestSitesAndUrgency(t *testing.T) {
	for _, c := range []struct {
		code string
		want epu.Wish
		err  string
	}{
		{`control.scale_to(5, { sites = { east = 3, west = 0 }, urgency = "high" })`, epu.Wish{Target: 5, Urgency: epu.UrgencyHigh, Sites: map[epu.SiteID]int{"east": 3, "west": 0}}, ""},
		{`control.place("east", 3) control.place("west", 2)`, epu.Wish{Target: 5, Sites: map[epu.SiteID]int{"east": 3, "west": 2}}, ""},
		{`control.place("east", 3) control.scale_to(2)`, epu.Wish{Target: 3, Sites: map[epu.SiteID]int{"east": 3}}, ""},
		{`control.scale_to(9, { sites = { east = 9 } }) control.scale_to(2, { sites = { west = 1 } })`, epu.Wish{Target: 2, Sites: map[epu.SiteID]int{"west": 1}}, ""},
		{`control.place("east", 1) control.scale_to(4, { sites = { east = 3, west = 1 } })`, epu.Wish{Target: 4, Sites: map[epu.SiteID]int{"east": 1, "west": 1}}, ""},
		{`control.place("east", 1) control.want("db") control.want("web")`, epu.Wish{Target: 2, Sites: map[epu.SiteID]int{"east": 1}, Uniques: map[string]epu.Unique{"db": {}, "web": {}}}, ""},
		{`control.scale_to(1, { urgency = "hi" })`, epu.Wish{}, "urgency is one of low, normal, high; got 'hi'"},
		{`control.scale_to(1, { sites = { "east" } })`, epu.Wish{}, "site wants a text, got a number"},
		{`control.scale_to(1, { sites = { east = 1.5 } })`, epu.Wish{}, "control.scale_to: sites: east wants a whole number, got 1.5"},
		{`control.scale_to(1, { sites = "east" })`, epu.Wish{}, "sites wants a table"},
		{`control.place("east")`, epu.Wish{}, "control.place: east wants a whole number, got nil"},
		{`control.place(nil, 1)`, epu.Wish{}, "the site needs a name"},
		{`for i = 1, 2000 do control.place("s" .. i, 1) end`, epu.Wish{}, "more than 1000 sites"},
	} {
		d := decide(t, compile(t, "p", body(c.code)), fleet(4), nil)
		if c.err != "" {
			if !strings.Contains(d.Error, c.err) || d.Wanted.Target != 4 {
				t.Errorf("%s: got %q and target %d, want %q and the last wish", c.code, d.Error, d.Wanted.Target, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, d.Wanted); diff != "" || d.Error != "" {
			t.Errorf("%s: %s (-want +got)\n%s", c.code, d.Error, diff)
		}
	}
}

// Goal: a launch gives IDs that later find its workers, and every action takes them.
func TestProvisionalIDs(t *testing.T) {
	p := compile(t, "p", body(`
		local m = state.memory
		if not m.ids then
			control.drain("epu-bench-1-1/0")
			m.ids = control.launch{ count = 2, site = "west", allocation = "big", market = "spot", vars = { A = 1 }, reason = "test" }
			assert(control.terminate(m.ids) == 0, "nothing has come of it yet")
		else
			local w = state.worker(m.ids[2])
			assert(w and w.asked == m.ids[2] and state.worker(m.ids[1]) == nil)
			assert(control.drain(m.ids, { reason = "done" }) == 1)
			assert(control.resume{ w, w.id, w.asked } == 1)
		end`))
	first := around()
	d := decide(t, p, first, nil)
	if d.Error != "" || string(d.MemoryAfter) != `{"ids":["01JDECISION/1/0","01JDECISION/1/1"]}` {
		t.Fatalf("got memory %s (%s)", d.MemoryAfter, d.Error)
	}
	want := []epu.Action{{Kind: epu.ActDrain, Workers: []epu.WorkerID{"epu-bench-1-1/0"}, At: "p.lua:6"}, {
		Kind: epu.ActLaunch, Count: 2, Site: "west", Allocation: "big", Market: epu.Spot, Vars: map[string]string{"A": "1"}, Reason: "test",
		At: "p.lua:7",
	}}
	if diff := cmp.Diff(want, d.Actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	next := around()
	came := *next.Workers[3]
	came.ID, came.Asked, came.AskedFrom, came.Slot = "epu-bench-1-4/0", epu.Asked("01JDECISION", 1), 1, 0
	next.Workers[3], next.Decision, next.Memory = &came, "01JNEXT", d.MemoryAfter
	d = decide(t, p, next, nil)
	want = []epu.Action{
		{Kind: epu.ActDrain, Workers: []epu.WorkerID{came.ID}, Reason: "done", At: "p.lua:12"},
		{Kind: epu.ActResume, Workers: []epu.WorkerID{came.ID}, At: "p.lua:13"},
	}
	if diff := cmp.Diff(want, d.Actions); diff != "" || d.Error != "" {
		t.Errorf("actions: %s (-want +got):\n%s", d.Error, diff)
	}
}

// Goal: whatever a policy reads is in its record, and the record alone gives the same decision again.
// Method: policies made of any readings in any order, over any snapshot, through JSON; each mixes all it
// is told into its wish, reasons and memory.
func TestAnyReadingPolicyReplays(t *testing.T) {
	readings := []string{
		`state.now`, `state.target`, `state.time{ zone = "America/New_York" }`, `state.running()`, `state.starting()`, `state.draining()`,
		`state.unhealthy_count()`, `state.count{ site = "local" }`, `state.count{ protected = true, stage = "running" }`,
		`state.sensor("queue")`, `state.sensor("nan")`, `state.sensor("none")`, `state.window("queue", 60)`, `state.window("queue", 61.5)`,
		`state.window("gone", 60)`, `state.window("nan", 60)`, `state.changes()`, `state.work()`, `state.offers()`, `state.offers("small")`,
		`state.offers{ market = "reserved" }`, `state.budget()`, `state.places()`, `state.backoff()`, `state.backoff("west")`,
		`state.refused()`, `state.worker("epu-bench-1-2/1")`, `state.worker("01JEARLIER/2/8")`, `state.memory.seen`, `math.random(1000)`,
		`cron.prev("*/7 * * * *")`, `cron.next("30 2 * * *", "Europe/Berlin")`, `first(state.workers())`, `first(state.unhealthy())`,
		`all(state.workers{ stage = "running" })`, `conf.n`,
	}
	const head = `
local function mix(v)
  if type(v) == "table" then
    local out = {}
    for k, e in pairs(v) do out[#out + 1] = k .. "=" .. mix(e) end
    return "{" .. table.concat(out, ",") .. "}"
  elseif type(v) == "userdata" then
    return mix{ v.id, v.state, v.health, v.stage, tostring(v.price), tostring(v.charge_in), tostring(v.asked), tostring(v.protected), v.age, tostring(v.idle_since), mix(v.vars) }
  end
  return tostring(v)
end
local function first(it) return (it()) end
local function all(it) local out = {} for w in it do out[#out + 1] = mix(w) end return out end
`
	rapid.Check(t, func(t *rapid.T) {
		var code strings.Builder
		for _, r := range rapid.SliceOfN(rapid.SampledFrom(readings), 1, 12).Draw(t, "readings") {
			fmt.Fprintf(&code, "seen = seen .. mix(%s) .. ';'\n", r)
		}
		src := head + body("local seen = ''\n"+code.String()+
			"state.memory.seen = seen:sub(1, 2000)\ncontrol.because(seen)\ncontrol.scale_to(#seen % 50)\ncontrol.launch{ count = 1 + #seen % 3 }")
		p, err := policies.Compile("p", []byte(src), nil)
		if err != nil {
			t.Fatal(err)
		}
		s := anySnapshot(t)
		full := around()
		keep := func(what string) bool { return rapid.Bool().Draw(t, what) }
		if keep("readings") {
			s.Readings, s.Windows = full.Readings, full.Windows
		}
		if keep("changes") {
			s.Changes = full.Changes
		}
		if keep("work") {
			s.Work = full.Work
		}
		if keep("market") {
			s.Offers, s.Budget = full.Offers, full.Budget
		}
		if keep("places") {
			s.Places, s.Backoff, s.SiteBackoff = full.Places, full.Backoff, full.SiteBackoff
		}
		if keep("asked") && len(s.Workers) > 1 {
			before := s.Workers[1]
			w := *before
			w.ID, w.Asked, w.AskedFrom, w.Slot, w.Price, w.ChargeAt, w.Protected = "epu-bench-1-2/1", "01JEARLIER/2", 7, 1, 0.5, s.Now.Add(time.Minute), true
			s.Workers[1] = &w
			for i, b := range s.Bad {
				if b == before {
					s.Bad[i] = &w
				}
			}
		}
		conf, _ := p.Check(nil)
		d := policies.NewEngine(p, policies.Options{}).Decide(s, conf)
		if d.Error != "" {
			t.Fatal(d.Error)
		}
		again, b := replayed(t, p, d)
		if diff := cmp.Diff([]any{d.Wanted, d.Reasons, d.Actions, string(d.MemoryAfter)}, []any{again.Wanted, again.Reasons, again.Actions, string(again.MemoryAfter)}); diff != "" || again.Error != "" {
			t.Fatalf("replay: %s (-original +replayed):\n%s\n%s", again.Error, diff, b)
		}
	})
}

func replayed(t *rapid.T, p *policies.Policy, d epu.Decision) (epu.Decision, []byte) {
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var record epu.Decision
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatal(err)
	}
	again, err := policies.Replay(p, record)
	if err != nil {
		t.Fatal(err)
	}
	return again, b
}
