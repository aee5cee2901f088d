package actors

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// Goal: the roster's slices and sums are what one would count, and what it handed out never changes.
// Method: random puts, against a map that is sorted and counted anew each time.
func TestRosterAgainstMap(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		var r roster
		model := map[epu.WorkerID]*epu.Worker{}
		var shared, copied []*epu.Worker
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if rapid.IntRange(0, 4).Draw(rt, "share") == 0 {
				shared, _ = r.share()
				copied = slices.Clone(shared)
			}
			n := rapid.IntRange(0, 12).Draw(rt, "worker")
			launch := epu.NewLaunchID("web", 1, uint64(n/3))
			w := &epu.Worker{
				ID: epu.NewWorkerID(launch, n%3), Launch: launch, Slot: n % 3, Created: start.Add(time.Duration(n/6) * time.Minute),
				State:  rapid.SampledFrom(epu.States()).Draw(rt, "state"),
				Health: epu.Health(rapid.IntRange(0, int(epu.Zombie)).Draw(rt, "health")),
				Ended:  rapid.IntRange(0, 4).Draw(rt, "ended") == 0, Draining: rapid.Bool().Draw(rt, "draining"),
			}
			r.put(w)
			if model[w.ID] = w; w.State.Gone() {
				delete(model, w.ID)
			}
			compare(rt, &r, model)
			if !slices.Equal(shared, copied) {
				rt.Fatal("slices that were handed out have changed")
			}
		}
	})
}

func compare(rt *rapid.T, r *roster, model map[epu.WorkerID]*epu.Worker) {
	var all, bad []*epu.Worker
	var n policies.Counts
	for _, w := range model {
		all = append(all, w)
		if r.get(&epu.Worker{Launch: w.Launch, Slot: w.Slot, Created: w.Created}) != w {
			rt.Fatalf("worker %s is not found", w.ID)
		}
		switch {
		case !w.Open():
			n.Ending++
			continue
		case w.State >= epu.Running:
			n.Running++
		default:
			n.Starting++
		}
		if w.Draining {
			n.Draining++
		}
		if w.Unhealthy() {
			n.Unhealthy++
			bad = append(bad, w)
		}
	}
	slices.SortFunc(all, compareWorkers)
	slices.SortFunc(bad, compareWorkers)
	if !slices.Equal(all, r.all) || !slices.Equal(bad, r.bad) {
		rt.Fatalf("got %d workers and %d bad ones, want %d and %d in their order", len(r.all), len(r.bad), len(all), len(bad))
	}
	if diff := cmp.Diff(n, r.counts); diff != "" {
		rt.Fatal(diff)
	}
}

// Goal: a launch set is a sorted set. Method: random adds and deletes, against a map.
func TestLaunchSet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s launchSet
		model := map[epu.LaunchID]bool{}
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			id := epu.NewLaunchID("web", 1, uint64(rapid.IntRange(0, 9).Draw(rt, "id")))
			if rapid.Bool().Draw(rt, "add") {
				s.add(id)
				model[id] = true
			} else {
				s.del(id)
				delete(model, id)
			}
			if !slices.IsSorted(s.ids) || len(s.ids) != len(model) {
				rt.Fatalf("got %v, want the sorted keys of %v", s.ids, model)
			}
			for _, id := range s.all() {
				if !model[id] {
					rt.Fatalf("%s is in %v", id, s.ids)
				}
			}
		}
	})
}

// Goal: a pool in whose decisions nothing changes but numbers in words writes one record in ten minutes.
// Method: pairs of decisions.
func TestSameDecision(t *testing.T) {
	d := func(n int, rule, text string) *epu.Decision {
		return &epu.Decision{Wish: epu.Wish{Target: n}, Reasons: []epu.Reason{{Rule: rule, Text: text}}}
	}
	stale := d(5, "no data", "its last reading is 10s old")
	if !sameDecision(stale, d(5, "no data", "its last reading is 15s old")) {
		t.Error("an age alone makes another decision")
	}
	clamped, failed, acts := d(5, "no data", ""), d(5, "no data", ""), d(5, "no data", "")
	clamped.Clamps, failed.Error = []epu.Reason{{Rule: "limits.max"}}, "q.lua:3: no"
	acts.Actions = []epu.Action{{Kind: epu.ActDrain}}
	sees := func(v float64, q epu.Quality) *epu.Decision {
		s := d(5, "no data", "")
		s.Inputs = []epu.Input{{Name: "workers", Value: int(v)}, {Name: "sensor queue", Value: epu.Reading{Value: v, Quality: q}}}
		return s
	}
	if !sameDecision(sees(1, epu.QualityOK), sees(2, epu.QualityOK)) {
		t.Error("a number alone makes another decision")
	}
	if sameDecision(sees(1, epu.QualityOK), sees(1, epu.QualityUnknown)) {
		t.Error("a policy that has become blind is not seen")
	}
	fails := func(text string) *epu.Decision {
		f := d(5, "no data", "")
		f.Error = text
		return f
	}
	loop := ": a loop that never ends, or too much work for one tick"
	for _, text := range []string{"q.lua:3: stopped after 5000000 steps", "q.lua:3: stopped after 5001667 steps", "q.lua:4: stopped after 50ms"} {
		text := text + loop + "\n    4 | n = n + 1\nread: workers 3"
		if !sameDecision(fails("q.lua:3: stopped after 50ms"+loop), fails(text)) {
			t.Errorf("a loop that was stopped elsewhere makes another decision: %s", text)
		}
	}
	for _, text := range []string{"other.lua:3: stopped after 50ms" + loop, "q.lua:3: attempt to index nil", "q.lua:3: stopped after making 8 MiB of text"} {
		if sameDecision(fails("q.lua:3: stopped after 50ms"+loop), fails(text)) {
			t.Errorf("another failure is not seen: %s", text)
		}
	}
	if sameDecision(fails("q.lua:3: attempt to index nil"), fails("q.lua:4: attempt to index nil")) {
		t.Error("a failure in another line is not seen")
	}
	for name, other := range map[string]*epu.Decision{
		"wish": d(4, "no data", ""), "rule": d(5, "low_water", ""), "clamps": clamped, "error": failed, "actions": acts,
	} {
		if sameDecision(stale, other) {
			t.Errorf("another %s is not seen", name)
		}
	}
}
