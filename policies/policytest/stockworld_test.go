package policytest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/policies"
)

// world is a pool in which everything that a wish asks for happens, after a while: the plainest model
// of a controller that a policy can be run against.
type world struct {
	policy   *policies.Policy
	engine   *policies.Engine
	conf     map[string]any
	now      time.Time
	boot     time.Duration
	readings map[string]epu.Reading
	work     epu.Work
	room     map[epu.SiteID]int        // workers that a site takes; absent = any number
	failed   map[epu.SiteID]time.Time  // until when launches there back off
	replays  bool                      // every record is evaluated again
	limits   epu.Limits                // of the pool: Min and Max
	idle     func(i int) time.Duration // how long the i-th running worker has been idle; nil = busy

	workers []*epu.Worker
	wish    epu.Wish
	memory  json.RawMessage
	seq     uint64
}

func newWorld(policy *policies.Policy, conf map[string]any, boot time.Duration) *world {
	return &world{
		policy: policy, engine: policies.NewEngine(policy, policies.Options{}), conf: conf, boot: boot,
		now: time.Date(2026, 3, 2, 7, 0, 0, 0, time.UTC), readings: map[string]epu.Reading{}, failed: map[epu.SiteID]time.Time{},
		limits: epu.Limits{Max: -1},
	}
}

// read sets the newest reading of a sensor.
func (w *world) read(sensor string, value float64, quality epu.Quality) {
	w.readings[sensor] = epu.Reading{Sensor: sensor, Value: value, Time: w.now, Quality: quality}
}

// window says that a reading has been what it is for as long as anybody asks.
func (w *world) window(sensor string, span time.Duration) (epu.Window, bool) {
	r, ok := w.readings[sensor]
	return epu.Window{
		Sensor: sensor, Span: span, Mean: r.Value, Min: r.Value, Max: r.Value, Last: r.Value,
		Count: 10, Covers: span, Quality: r.Quality,
	}, ok
}

func (w *world) snapshot() *policies.Snapshot {
	s := &policies.Snapshot{
		Now: w.now, Pool: "epu-test", Owner: epu.DefaultOwner, Decision: epu.DecisionID(fmt.Sprintf("at-%d", w.now.Unix())),
		Seed: uint64(w.now.Unix()), Wish: w.wish, Memory: w.memory, MinMax: [2]int{w.limits.Min, w.limits.Max},
		Readings: map[string]epu.Reading{}, Windows: w.window, Work: w.work,
		Places: []epu.Placement{{Site: "east"}, {Site: "west"}, {Site: "north"}},
	}
	s.SiteBackoff = map[epu.SiteID]time.Duration{}
	for site, until := range w.failed {
		s.SiteBackoff[site] = max(0, until.Sub(w.now))
	}
	if w.work.Left != nil {
		left := *w.work.Left
		left.Age = w.now.Sub(left.Time)
		s.Work.Left = &left
	}
	running := 0
	for _, one := range w.workers {
		one := *one
		if one.State < epu.Running {
			s.Counts.Starting++
		} else {
			s.Counts.Running++
			if w.idle != nil {
				if d := w.idle(running); d > 0 {
					one.IdleSince = w.now.Add(-d)
				}
			}
			running++
		}
		if one.Draining {
			s.Counts.Draining++
		}
		if one.Unhealthy() {
			s.Counts.Unhealthy++
			s.Bad = append(s.Bad, &one)
		}
		s.Workers = append(s.Workers, &one)
	}
	for id, r := range w.readings {
		r.Age = w.now.Sub(r.Time)
		s.Readings[id] = r
	}
	return s
}

// decide evaluates the policy once, perhaps again from the record as history keeps it, and carries the wish
// out.
func (w *world) decide(t fataler) epu.Decision {
	t.Helper()
	d := w.engine.Decide(w.snapshot(), w.conf)
	if d.Error != "" {
		t.Fatalf("the policy failed: %s\nconf %v", d.Error, w.conf)
	}
	if len(d.MemoryAfter) > 16<<10 {
		t.Fatalf("got %d bytes of memory, want little: %s", len(d.MemoryAfter), d.MemoryAfter)
	}
	if w.replays {
		w.replay(t, d)
	}
	w.wish, _ = reconcile.Clamp(d.Wanted, w.wish.Target, w.limits, true, func(string) string { return "" })
	w.memory = d.MemoryAfter
	w.carryOut(d.Actions, w.wish)
	return d
}

func (w *world) replay(t fataler, d epu.Decision) {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	var record epu.Decision
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatalf("record: %v", err)
	}
	again, err := policies.Replay(w.policy, record)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if diff := cmp.Diff(d.Wanted, again.Wanted); diff != "" {
		t.Fatalf("the wish of the replay (-original +replay):\n%s\n%s", diff, again.Error)
	}
	if diff := cmp.Diff(d.Reasons, again.Reasons); diff != "" {
		t.Fatalf("the reasons of the replay (-original +replay):\n%s", diff)
	}
	if diff := cmp.Diff(d.Actions, again.Actions); diff != "" {
		t.Fatalf("the actions of the replay (-original +replay):\n%s", diff)
	}
	if diff := cmp.Diff(string(d.MemoryAfter), string(again.MemoryAfter)); diff != "" {
		t.Fatalf("the memory after the replay (-original +replay):\n%s", diff)
	}
}

// carryOut does at once what was asked for, as a controller does: actions first, then names, then the
// number; of too many the newest end.
func (w *world) carryOut(actions []epu.Action, wish epu.Wish) {
	for _, a := range actions {
		if a.Kind == epu.ActDrain || a.Kind == epu.ActTerminate {
			w.end(func(one *epu.Worker) bool { return slices.Contains(a.Workers, one.ID) })
		}
	}
	named := map[string]bool{}
	w.end(func(one *epu.Worker) bool {
		_, wanted := wish.Uniques[one.Name]
		surplus := one.Name != "" && (!wanted || named[one.Name])
		named[one.Name] = true
		return surplus
	})
	for _, name := range slices.Sorted(maps.Keys(wish.Uniques)) {
		if u := wish.Uniques[name]; !named[name] {
			w.launch(epu.Worker{Name: name, Vars: u.Vars, Site: u.Site})
		}
	}
	for _, site := range slices.Sorted(maps.Keys(wish.Sites)) {
		n := wish.Sites[site]
		there := 0
		for _, one := range w.workers {
			if one.Site == site {
				there++
			}
		}
		for ; there < n && len(w.workers) < wish.Target && w.takes(site, there); there++ {
			w.launch(epu.Worker{Site: site})
		}
		w.end(func(one *epu.Worker) bool {
			surplus := one.Site == site && there > n
			if surplus {
				there--
			}
			return surplus
		})
	}
	for wish.Sites == nil && len(w.workers) < wish.Target {
		w.launch(epu.Worker{Site: wish.Site})
	}
	for i := len(w.workers) - 1; i >= 0 && len(w.workers) > wish.Target; i-- {
		if w.workers[i].Name == "" {
			w.workers = slices.Delete(w.workers, i, i+1)
		}
	}
}

// takes says whether a site takes one more; if not, launches there back off for a while.
func (w *world) takes(site epu.SiteID, there int) bool {
	room, limited := w.room[site]
	if w.now.Before(w.failed[site]) || limited && there >= room {
		if !w.now.Before(w.failed[site]) {
			w.failed[site] = w.now.Add(90 * time.Second)
		}
		return false
	}
	return true
}

func (w *world) launch(one epu.Worker) {
	w.seq++
	one.Launch = epu.NewLaunchID("epu-test", 1, w.seq)
	one.ID, one.State, one.Created = epu.NewWorkerID(one.Launch, 0), epu.Pending, w.now
	w.workers = append(w.workers, &one)
}

func (w *world) end(which func(*epu.Worker) bool) { w.workers = slices.DeleteFunc(w.workers, which) }

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for i, one := range w.workers {
		if one.State < epu.Running && w.now.Sub(one.Created) >= w.boot {
			up := *one
			up.State, up.Health = epu.Running, epu.HealthOK
			w.workers[i] = &up
		}
	}
}

// fataler is a test or a rapid run of one.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

var _ fataler = (*testing.T)(nil)
