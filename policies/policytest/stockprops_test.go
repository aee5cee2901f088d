package policytest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// start makes a world with any good configuration of the policy.
func start(t *rapid.T, p *policies.Policy, s stock) *world {
	conf, problems := p.Check(s.conf(t))
	if problems != nil {
		t.Fatalf("the configuration was refused: %v", problems)
	}
	w := newWorld(p, conf, time.Duration(rapid.IntRange(1, 90).Draw(t, "boot"))*time.Second)
	if rapid.Bool().Draw(t, "limited") {
		w.limits.Min = rapid.IntRange(0, 3).Draw(t, "limits.min")
		w.limits.Max = w.limits.Min + rapid.IntRange(0, 8).Draw(t, "limits.max - limits.min")
	}
	return w
}

// anyReadings draws what the policy's sensors say at one tick; blind says that it must not shrink by them.
func anyReadings(t *rapid.T, w *world, s stock) (blind bool) {
	blind = len(s.sensors) > 0 || s.work
	bad := false
	if s.work {
		q := rapid.SampledFrom([]epu.Quality{epu.QualityOK, epu.QualityOK, epu.QualityStale, epu.QualityUnknown}).Draw(t, "work quality")
		blind = q != epu.QualityOK
		left := float64(rapid.IntRange(0, 500).Draw(t, "left"))
		w.work = epu.Work{Left: &epu.Reading{Value: left, Time: w.now, Quality: q}, Deadline: w.now.Add(time.Duration(rapid.IntRange(-60, 900).Draw(t, "due")) * time.Second)}
	}
	for _, id := range s.sensors {
		q := rapid.SampledFrom([]epu.Quality{
			epu.QualityOK, epu.QualityOK, epu.QualityOK, epu.QualityStale, epu.QualityUnknown, epu.QualityWarming, "",
		}).Draw(t, id+" quality")
		bad = bad || q != epu.QualityOK
		if q == "" {
			delete(w.readings, id)
			continue
		}
		blind = blind && q != epu.QualityOK
		w.read(id, float64(rapid.IntRange(-1, 120).Draw(t, id)), q)
	}
	return blind || s.every && bad
}

// Goal: whatever the sensors say, a stock policy asks for no number outside its bounds, the pool's own limits
// hold on top of them, it never shrinks a pool while it is blind, leaves its least alone when it drains,
// keeps little memory, and decides the same from the record of each decision. Method: any configuration, any
// readings, any limits, a pool that does what it is told.
func TestStockWithinLimits(t *testing.T) {
	each(t, func(t *rapid.T, p *policies.Policy, s stock) {
		w := start(t, p, s)
		w.replays = true
		bounds := s.bounds
		if bounds == nil {
			bounds = limits
		}
		least, most := bounds(w.conf)
		tick := time.Duration(rapid.SampledFrom([]int{5, 5, 60, 600}).Draw(t, "tick")) * time.Second
		for range rapid.IntRange(1, 25).Draw(t, "ticks") {
			blind := anyReadings(t, w, s)
			before, open := w.wish.Target, len(w.workers)
			d := w.decide(t)
			if got := d.Wanted.Target; got < least || got > most {
				t.Fatalf("got target %d, want one from %d to %d\nreasons %v", got, least, most, d.Reasons)
			}
			if got := d.Wanted.Target; blind && got < before && got < most {
				t.Fatalf("got target %d after %d without a good reading\nreasons %v", got, before, d.Reasons)
			}
			within(t, w, d)
			for _, a := range d.Actions {
				if a.Kind == epu.ActLaunch || open-len(a.Workers) < min(open, least) {
					t.Fatalf("got %s of %d of %d workers, want at least %d left, and launches by the wish alone", a.Kind, len(a.Workers), open, least)
				}
			}
			if len(d.Reasons) == 0 {
				t.Fatalf("got no reason for target %d", d.Wanted.Target)
			}
			if !s.work && len(s.sensors) == 0 {
				sightless(t, d)
			}
			w.pass(tick)
		}
	})
}

// within checks what is in force against the pool's limits, and that each name is held once.
func within(t *rapid.T, w *world, d epu.Decision) {
	if got := w.wish.Target; got < w.limits.Min || w.limits.Max >= 0 && got > w.limits.Max {
		t.Fatalf("got a target of %d in force, want one within %+v", got, w.limits)
	}
	held := map[string]bool{}
	for _, one := range w.workers {
		if one.Name != "" && held[one.Name] {
			t.Fatalf("got two workers named %s", one.Name)
		}
		held[one.Name] = true
	}
	if key, _ := w.conf["unique_key"].(string); key != "" {
		if got := len(d.Wanted.Uniques); got != d.Wanted.Target {
			t.Fatalf("got %d names for %d workers, want one each", got, d.Wanted.Target)
		}
		for name, u := range d.Wanted.Uniques {
			if u.Vars[key] != name || !slices.Contains(w.conf["unique_values"].([]any), any(name)) {
				t.Fatalf("got %s = %q for worker %s, want its name, one of %v", key, u.Vars[key], name, w.conf["unique_values"])
			}
		}
	}
}

// sightless checks that a policy without sensors looks at none, so that no missing reading can shrink its pool.
func sightless(t *rapid.T, d epu.Decision) {
	for _, in := range d.Inputs {
		if kind, _, _ := strings.Cut(in.Name, " "); kind == "sensor" || kind == "window" || kind == "work" {
			t.Fatalf("got %s among what was read, want no sensor", in.Name)
		}
	}
}

// Goal: a stock policy does not flap. Method: after any past, readings and pool stay as they are for
// long; from some moment on so does the target, and nobody is launched or ended any more. Those that follow the clock,
// schedule and finish_by, need not settle: TestTimelyPoliciesDoNotFlap is about them.
func TestStockSettles(t *testing.T) {
	those(t, func(s stock) bool { return !s.timely }, func(t *rapid.T, p *policies.Policy, s stock) {
		w := start(t, p, s)
		for range rapid.IntRange(0, 5).Draw(t, "past") {
			anyReadings(t, w, s)
			w.decide(t)
			w.pass(5 * time.Second)
		}
		values := map[string]float64{}
		for _, id := range s.sensors {
			values[id] = float64(rapid.IntRange(0, 120).Draw(t, "constant "+id))
		}
		if s.idle {
			w.idle = func(int) time.Duration { return time.Hour }
		}
		const settling, after = 45, 12
		var want, launched int
		for i := range settling + after {
			for id, v := range values {
				w.read(id, v, epu.QualityOK)
			}
			d := w.decide(t)
			if i == settling {
				want, launched = w.wish.Target, int(w.seq)
			}
			if i > settling && w.wish.Target != want {
				t.Fatalf("got target %d after %d at constant readings %v\nreasons %v", w.wish.Target, want, values, d.Reasons)
			}
			if i > settling && int(w.seq) != launched {
				t.Fatalf("got %d launches at a constant target of %d and readings %v\nactions %v\nreasons %v\nconf %v, limits %+v", int(w.seq)-launched, want, values, d.Actions, d.Reasons, w.conf, w.limits)
			}
			w.pass(40 * time.Second)
		}
	})
}
