package actors_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/policies"
)

// railed is a calm pool whose file allows n ends an hour.
func railed(t *testing.T, workers, n int) *actortest.Fleet {
	return calmFleet(t, workers, func(p *epu.PoolSpec) {
		p.Limits.Terminations = epu.Count{N: n, Window: time.Hour}
		p.Origins = map[string]string{"limits.terminations": "web.yaml:12"}
	})
}

// ends asks for the end of workers, each with a call of its own.
func ends(workers []*epu.Worker) (acts []epu.Action) {
	for _, w := range workers {
		acts = append(acts, epu.Action{Kind: epu.ActTerminate, Workers: []epu.WorkerID{w.ID}, At: "mad.lua:7"})
	}
	return acts
}

// Goal: a policy that ends everything ends nothing. Its pool keeps the last wish, every worker and the policy's
// memory, says where the policy and the rail stand, and goes on as soon as the policy does. Method: a wish for
// none beside the end of all, which as surplus would all be allowed to drain; agents, none, busy ones.
func TestEndsEverything(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*epu.PoolSpec)
	}{
		{"with agents", func(*epu.PoolSpec) {}},
		{"without agents", func(p *epu.PoolSpec) { p.Health.Source = epu.HealthProcess }},
	} {
		f := calmFleet(t, 3, func(p *epu.PoolSpec) {
			p.Limits.Terminations = epu.Count{N: 1, Window: time.Hour}
			p.Origins = map[string]string{"limits.terminations": "web.yaml:12"}
			tt.change(p)
		})
		mad := true
		var memory string
		f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
			memory = string(s.Memory)
			if mad {
				d.Wanted = epu.Wish{}
				d.Actions, d.MemoryAfter = ends(s.Workers), []byte(`{"did":"it"}`)
			}
		}
		for _, w := range f.Workers()[:2] {
			f.Busy(w.Instance, time.Hour)
		}
		f.Run(10 * time.Minute)
		v := f.Ask(msg.PoolQuery{}).(msg.PoolView)
		for _, part := range []string{
			"mad.lua:7: ", "end 3 of 3 workers", "limits.terminations (web.yaml:12) allows 1 in 1h", "control.drain",
		} {
			if !strings.Contains(v.Failure, part) {
				t.Errorf("%s: got the failure %q, want %q in it", tt.name, v.Failure, part)
			}
		}
		if v.Wish.Target != 3 || len(v.Last.MemoryAfter) > 0 || v.Last.Wish.Target != 3 || len(v.Last.Actions) > 0 || v.Last.Error != v.Failure {
			t.Errorf("%s: got %+v, want the last wish and no action", tt.name, v.Last)
		}
		for _, w := range v.Workers {
			if w.Ended || w.Draining {
				t.Errorf("%s: got %+v, want it in service", tt.name, w)
			}
		}
		if len(f.Machines()) != 3 || strings.Contains(memory, "did") {
			t.Errorf("%s: got %d machines and the memory %s", tt.name, len(f.Machines()), memory)
		}
		f.Crash() // nothing of it is durable either
		mad = false
		f.Run(time.Minute)
		settled(t, f, 3, 0)
		if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); v.Failure != "" || len(f.Machines()) != 3 {
			t.Errorf("%s: afterwards %d machines, failure %q", tt.name, len(f.Machines()), v.Failure)
		}
	}
}

// Goal: what a whole window would allow is done as far as the window still has room, and no farther. Method:
// two ends an hour are allowed and taken; two more are asked for again and again, with a wish that has no use for
// them; then three.
func TestEndsWithinTheRail(t *testing.T) {
	f := railed(t, 6, 2)
	var told []epu.Reason
	n, gone := 2, 0
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		told = s.Refused
		d.Wanted.Target = 4 // so that what is asked for is surplus
		var open []*epu.Worker
		for _, w := range s.Workers {
			if w.Open() && !w.Draining {
				open = append(open, w)
			}
		}
		d.Actions = ends(open[:min(n, len(open))])
		gone = 6 - len(open)
	}
	f.Run(30 * time.Second)
	v := f.Ask(msg.PoolQuery{}).(msg.PoolView)
	if gone != 2 || v.Failure != "" || len(told) == 0 || told[0].Rule != "limits.terminations" {
		t.Errorf("%d went, the failure is %q and the policy was told of %v; want 2 and limits.terminations", gone, v.Failure, told)
	}
	n = 3
	f.Run(30 * time.Second)
	if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); !strings.HasPrefix(v.Failure, "mad.lua:7: ") || gone != 2 || v.Wish.Target != 4 {
		t.Errorf("%d went for the wish %d, and the failure is %q", gone, v.Wish.Target, v.Failure)
	}
	n = 0
	f.Run(10 * time.Minute)
	settled(t, f, 4, 0)
}

// Goal: to name a few more than the rail allows is no mistake: those are ended bit by bit, the policy is told, and the
// pool grows meanwhile. Method: with the default of 20 %, a policy that names two of six at each tick and wants more.
func TestEndsBitByBit(t *testing.T) {
	f := calmFleet(t, 6, func(p *epu.PoolSpec) { p.Limits.Terminations = epu.Count{Window: 10 * time.Minute} })
	var told []epu.Reason
	idle := f.Workers()[:2]
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		told, d.Wanted.Target, d.Actions = s.Refused, 8, ends(idle)
	}
	left := func() (n int) {
		for _, w := range idle {
			if now := worker(f, w.ID); now != nil && now.Open() && !now.Draining {
				n++
			}
		}
		return n
	}
	f.Run(2 * time.Minute)
	if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); v.Failure != "" || v.Wish.Target != 8 || left() != 1 ||
		!slices.ContainsFunc(told, func(r epu.Reason) bool { return r.Rule == "limits.terminations" }) {
		t.Errorf("%d of two are left for the wish %d, the policy was told of %v, and the failure is %q", left(), v.Wish.Target, told, v.Failure)
	}
	f.Run(12 * time.Minute)
	if left() != 0 {
		t.Errorf("%d of two are left when the window is over", left())
	}
	settled(t, f, 8, 0)
}

// Goal: to end busy workers counts even though they drain first and the wish has no use for them: else a wish for
// none would open the rail. Method: as many as the rail allows, at every tick.
func TestEndsOfBusyWorkersCount(t *testing.T) {
	f := railed(t, 4, 1)
	for _, w := range f.Workers() {
		f.Busy(w.Instance, time.Hour)
	}
	f.Run(10 * time.Second)
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		d.Wanted.Target = 4
		for _, w := range s.Workers {
			if w.Open() && !w.Draining {
				d.Actions, d.Wanted.Target = ends([]*epu.Worker{w}), 0
				return
			}
		}
	}
	f.Run(time.Minute)
	draining := 0
	for _, w := range f.Workers() {
		if w.Draining || w.Ended {
			draining++
		}
	}
	if draining != 1 {
		t.Errorf("%d of 4 busy workers go, want 1 an hour\n%s", draining, f.Describe())
	}
}

// Goal: a decision that is refused takes nothing from the ones after it: what initialize or reconfigure put into memory
// comes again until it is kept, and every record says so. Method: a real engine, each hook together with an error, too
// many ends and a wish that no event holds; then the records that were kept are replayed.
func TestRefusedHooksComeAgain(t *testing.T) {
	for why, bad := range map[string]string{
		"bad times":                           `error("bad times")`,
		"limits.terminations (web.yaml:12)":   `for w in state.workers() do control.terminate(w.id) end`,
		"what the policy wants can't be kept": `for i = 1, 45 do control.want("worker-" .. i, { vars = { a = ('"'):rep(4000) } }) end control.scale_to(45)`,
	} {
		p, err := policies.Compile("p", []byte(`return {
			params = { n = { type = "integer", default = 2 }, good = { type = "number", default = 0 } },
			initialize = function(control, state, conf) state.memory.base = conf.n end,
			reconfigure = function(control, state, conf, old) state.memory.base = old.n + conf.n end,
			decide = function(control, state, conf)
				control.scale_to(state.memory.base)
				if state.now < conf.good then `+bad+` end
			end }`), nil)
		if err != nil {
			t.Fatal(err)
		}
		f := railed(t, 3, 1)
		e := policies.NewEngine(p, policies.Options{})
		defer e.Close()
		var conf map[string]any
		kept := 0
		f.Policy = func(s *policies.Snapshot, d *epu.Decision) { *d = e.Decide(s, conf) }
		for _, c := range []struct {
			n      int
			memory string
		}{{2, `{"base":2}`}, {1, `{"base":3}`}} {
			var problems []policies.Problem
			if conf, problems = p.Check(map[string]any{"n": c.n, "good": float64(f.Now().Add(30 * time.Second).Unix())}); problems != nil {
				t.Fatal(problems)
			}
			f.Run(25 * time.Second)
			if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); !strings.Contains(v.Failure, why) || v.Wish.Target == 45 {
				t.Errorf("%s, n = %d: got the failure %q and the wish %d", why, c.n, v.Failure, v.Wish.Target)
			}
			f.Run(time.Minute)
			if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); v.Failure != "" || string(v.Last.MemoryAfter) != c.memory {
				t.Errorf("%s, n = %d: got the memory %s and the failure %q, want %s", why, c.n, v.Last.MemoryAfter, v.Failure, c.memory)
			}
		}
		for _, r := range f.Records {
			var d epu.Decision
			if r.Kind != persistence.KindDecision || json.Unmarshal(r.Data, &d) != nil || d.Policy != p.Name || d.Error != "" {
				continue
			}
			again, err := policies.Replay(p, d)
			if got, want := fmt.Sprint(again.Wanted, string(again.MemoryAfter), again.Error), fmt.Sprint(d.Wanted, string(d.MemoryAfter), ""); err != nil || got != want {
				t.Errorf("%s: decision %s: got %s from its record, want %s (%v)", why, d.ID, got, want, err)
			}
			kept++
		}
		if kept < 2 {
			t.Errorf("%s: got %d records that replay, want one of each hook", why, kept)
		}
	}
}
