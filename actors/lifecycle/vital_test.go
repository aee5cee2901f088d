package lifecycle_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func spec() epu.HealthSpec {
	return epu.HealthSpec{
		Source: epu.HealthAgent, Heartbeat: 10 * time.Second, BootGrace: 5 * time.Minute, MissingAfter: 2 * time.Minute,
		SecondChance: 15 * time.Second, ZombieAfter: 2 * time.Minute,
	}
}

// step is one thing that happens to a worker at a time after start, and the verdict after it.
type step struct {
	at     time.Duration
	do     func(v *lifecycle.Vital, now time.Time)
	health epu.Health
	silent bool
}

func running(v *lifecycle.Vital, now time.Time) { v.Running(now) }
func ok(v *lifecycle.Vital, now time.Time)      { v.Beat(now, epu.HealthOK) }
func failed(v *lifecycle.Vital, now time.Time)  { v.Beat(now, epu.ProcessError) }
func end(v *lifecycle.Vital, now time.Time)     { v.End(now) }
func recount(v *lifecycle.Vital, now time.Time) { v.Recount(now) }
func nothing(*lifecycle.Vital, time.Time)       {}
func old(v *lifecycle.Vital, now time.Time)     { v.Beat(now.Add(-time.Minute), epu.ProcessError) }
func deaf(d time.Duration) func(*lifecycle.Vital, time.Time) {
	return func(v *lifecycle.Vital, now time.Time) { v.Shift(d, now) }
}

// Goal: every threshold is strict (exactly the limit is still in time), and every span begins where it
// should. Method: stories of one worker, told as steps.
func TestVital(t *testing.T) {
	const m, s = time.Minute, time.Second
	for _, c := range []struct {
		name  string
		known bool
		spec  func(*epu.HealthSpec)
		steps []step
	}{
		{"boot grace begins with RUNNING, not with the launch", false, nil, []step{
			{20 * m, nothing, epu.HealthUnknown, false},
			{20 * m, running, epu.HealthUnknown, false},
			{25 * m, nothing, epu.HealthUnknown, false},
			{25*m + 1, nothing, epu.OutOfContact, false},
			{25*m + 1 + 15*s, nothing, epu.OutOfContact, false},
			{25*m + 2 + 15*s, nothing, epu.Missing, false},
		}},
		{"silence after a beat", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{m, ok, epu.HealthOK, false},
			{m + 30*s, nothing, epu.HealthOK, false},
			{m + 30*s + 1, nothing, epu.HealthOK, true},
			{3 * m, nothing, epu.HealthOK, true},
			{3*m + 1, nothing, epu.OutOfContact, true},
			{3*m + 10*s, ok, epu.HealthOK, false},
			{5*m + 10*s + 1, nothing, epu.OutOfContact, true},
		}},
		{"one that checked in before has no boot grace", true, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{30*s + 1, nothing, epu.HealthUnknown, true},
			{2 * m, nothing, epu.HealthUnknown, true},
			{2*m + 1, nothing, epu.OutOfContact, true},
		}},
		{"a verdict of its own outlasts nothing but the next beat", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{s, failed, epu.ProcessError, false},
			{2 * s, ok, epu.HealthOK, false},
		}},
		{"a late beat of before a newer one says nothing", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{2 * m, ok, epu.HealthOK, false},
			{2*m + s, old, epu.HealthOK, false},
		}},
		{"a zombie is heard longer than ZombieAfter after its end, and forgotten as late", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{s, failed, epu.ProcessError, false},
			{m, end, epu.HealthUnknown, false},
			{3 * m, ok, epu.HealthUnknown, false},
			{3*m + 1, ok, epu.Zombie, false},
			{5*m + 1, nothing, epu.Zombie, false},
			{5*m + 2, nothing, epu.HealthUnknown, false},
		}},
		{"deaf time is forgiven, also in the second chance, and never beyond now", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{m, ok, epu.HealthOK, false},
			{11 * m, nothing, epu.OutOfContact, true}, // whoever looks first does not know yet
			{11 * m, deaf(10 * m), epu.HealthUnknown, false},
			{13*m + 1, nothing, epu.OutOfContact, true},
			{14 * m, deaf(59*s - 1), epu.OutOfContact, true},
			{14*m + 14*s, nothing, epu.OutOfContact, true},
			{14*m + 15*s + 1, nothing, epu.Missing, true},
			{15 * m, ok, epu.HealthOK, false},
			{15 * m, deaf(time.Hour), epu.HealthOK, false},
			{17*m + 1, nothing, epu.OutOfContact, true},
		}},
		{"a recount gives everybody all the time again", false, nil, []step{
			{0, running, epu.HealthUnknown, false},
			{s, ok, epu.HealthOK, false},
			{10 * m, nothing, epu.OutOfContact, true},
			{11 * m, nothing, epu.Missing, true},
			{12 * m, recount, epu.HealthUnknown, false},
			{14 * m, nothing, epu.HealthUnknown, true},
			{14*m + 1, nothing, epu.OutOfContact, true},
		}},
		{"without an agent nothing is silent", false, func(h *epu.HealthSpec) { h.Source = epu.HealthProcess }, []step{
			{0, running, epu.HealthUnknown, false},
			{24 * time.Hour, nothing, epu.HealthUnknown, false},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := spec()
			if c.spec != nil {
				c.spec(&h)
			}
			v := lifecycle.NewVital(&h, c.known, start)
			for i, s := range c.steps {
				now := start.Add(s.at)
				s.do(&v, now)
				if got := v.Look(now); got != s.health || v.Health() != got {
					t.Errorf("step %d at %v: got %v, want %v", i, s.at, got, s.health)
				}
				if got := v.Silent(now); got != s.silent {
					t.Errorf("step %d at %v: got silent %v, want %v", i, s.at, got, s.silent)
				}
			}
		})
	}
}

// Goal: changed thresholds hold at once. Method: a worker in time becomes late by them.
func TestRetune(t *testing.T) {
	h := spec()
	v := lifecycle.NewVital(&h, false, start)
	v.Running(start)
	v.Beat(start, epu.HealthOK)
	shorter := spec()
	shorter.MissingAfter = 20 * time.Second
	v.Retune(&shorter)
	if got := v.Look(start.Add(21 * time.Second)); got != epu.OutOfContact {
		t.Errorf("got %v, want OUT_OF_CONTACT by the new threshold", got)
	}
}

// Goal: who looks only at Next misses nothing. Method: two equal workers live through the same random
// events; one is looked at every millisecond, the other only at events and at the times Next gives. Both
// must have told the same changes at the same times.
func TestNextIsEnough(t *testing.T) {
	type change struct {
		at     time.Time
		health epu.Health
		silent bool
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := epu.HealthSpec{
			Source:    rapid.SampledFrom([]epu.HealthSource{epu.HealthAgent, epu.HealthAgent, epu.HealthProcess}).Draw(rt, "source"),
			Heartbeat: ms(rt, "heartbeat", 10), BootGrace: ms(rt, "grace", 60), MissingAfter: ms(rt, "missing", 60),
			SecondChance: ms(rt, "chance", 20), ZombieAfter: ms(rt, "zombie", 30),
		}
		known := rapid.Bool().Draw(rt, "known")
		events := map[time.Duration]func(*lifecycle.Vital, time.Time){}
		for range rapid.IntRange(0, 8).Draw(rt, "events") {
			events[ms(rt, "at", 400)] = rapid.SampledFrom([]func(*lifecycle.Vital, time.Time){
				running, running, ok, ok, ok, failed, end, recount, deaf(20 * time.Millisecond),
			}).Draw(rt, "event")
		}
		// Limits are whole milliseconds and comparisons strict, so that a change shows just after one.
		run := func(when func(v *lifecycle.Vital, now time.Time) bool) []change {
			v := lifecycle.NewVital(&h, known, start)
			var seen []change
			note := func(now time.Time) {
				c := change{now, v.Look(now), v.Silent(now)}
				if n := len(seen); n == 0 || seen[n-1].health != c.health || seen[n-1].silent != c.silent {
					seen = append(seen, c)
				}
			}
			for d := time.Duration(0); d <= 500*time.Millisecond; d += time.Millisecond {
				if do := events[d]; do != nil {
					do(&v, start.Add(d))
					note(start.Add(d))
				}
				if now := start.Add(d + 1); when(&v, now) {
					note(now)
				}
			}
			return seen
		}
		polled := run(func(*lifecycle.Vital, time.Time) bool { return true })
		asked := run(func(v *lifecycle.Vital, now time.Time) bool {
			next := v.Next(now.Add(-1))
			return next != 0 && !v.Time(next).After(now)
		})
		if len(polled) == 0 {
			return
		}
		if polled[0].health == epu.HealthUnknown && !polled[0].silent && (len(asked) == 0 || asked[0] != polled[0]) {
			polled = polled[1:] // the first look of the poller told nothing new
		}
		if len(asked) > 0 && asked[0].health == epu.HealthUnknown && !asked[0].silent {
			asked = asked[1:]
		}
		if len(polled) > 0 && polled[0].health == epu.HealthUnknown && !polled[0].silent {
			polled = polled[1:]
		}
		if len(polled) != len(asked) {
			rt.Fatalf("polling saw %v, asking at Next saw %v", polled, asked)
		}
		for i := range polled {
			if polled[i] != asked[i] {
				rt.Fatalf("polling saw %v, asking at Next saw %v", polled[i], asked[i])
			}
		}
	})
}

func ms(rt *rapid.T, name string, most int) time.Duration {
	return time.Duration(rapid.IntRange(1, most).Draw(rt, name)) * time.Millisecond
}

// Goal: a row that was stored without its beginning gets one that lies in it. Method: rows with and without.
func TestStreakBegins(t *testing.T) {
	later := start.Add(time.Minute)
	for _, c := range []struct {
		row  lifecycle.Streak
		want time.Time
	}{
		{lifecycle.Streak{}, later},
		{lifecycle.Streak{Failures: 3, Last: start}, start},
		{lifecycle.Streak{Failures: 3}, later},
		{lifecycle.Streak{Failures: 3, First: start.Add(-time.Hour), Last: start}, start.Add(-time.Hour)},
	} {
		if got := c.row.Fail(later); !got.First.Equal(c.want) || !got.Last.Equal(later) || got.Failures != c.row.Failures+1 {
			t.Errorf("%+v: got %+v, want one from %v on", c.row, got, c.want)
		}
	}
}

// Goal: failures back off by doubling, and from the limit on for the whole time. Method: a table.
func TestStreak(t *testing.T) {
	var s lifecycle.Streak
	if got := s.Until(start, 5, time.Hour); !got.IsZero() {
		t.Errorf("got %v without a failure, want zero", got)
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, time.Hour, time.Hour} {
		s = s.Fail(start)
		if got := s.Until(start, 5, time.Hour).Sub(start); got != want {
			t.Errorf("after %d failures: got %v, want %v", i+1, got, want)
		}
	}
	if got := s.Until(start, 0, 5*time.Second).Sub(start); got != 5*time.Second {
		t.Errorf("without a limit: got %v, want the cap of 5s", got)
	}
	if got := s.Until(start.Add(-2*time.Hour), 5, time.Hour); !got.IsZero() {
		t.Errorf("of a clock that was two hours ahead: got %v, want zero", got)
	}
}
