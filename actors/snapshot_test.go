package actors_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/policies"
)

// Goal: whatever a policy can ask of its surroundings comes from the real controller, with its true value.
// Method: fleets whose policy keeps the snapshot that it is given; a story for each field.

// watching is a calm fleet whose policy only keeps what it saw.
func watching(t *testing.T, n int, change func(*epu.PoolSpec)) (*actortest.Fleet, func() *policies.Snapshot) {
	t.Helper()
	f := calmFleet(t, n, change)
	var saw *policies.Snapshot
	f.Policy = func(s *policies.Snapshot, _ *epu.Decision) { saw = s }
	return f, func() *policies.Snapshot {
		saw = nil
		if f.Run(2 * f.Pool.Tick); saw == nil {
			t.Fatal("the policy was not asked")
		}
		return saw
	}
}

func seen(t *testing.T, s *policies.Snapshot, id epu.WorkerID) *epu.Worker {
	t.Helper()
	for _, w := range s.Workers {
		if w.ID == id {
			return w
		}
	}
	t.Fatalf("the policy does not see %s", id)
	return nil
}

// Places are the pool's, in its order, and change with it.
func TestPolicySeesPlaces(t *testing.T) {
	f, see := watching(t, 1, func(p *epu.PoolSpec) {
		p.Placement[0] = epu.Placement{Site: "cloud", Allocation: "m", Market: epu.Spot, Max: 7}
	})
	if p := see().Places; len(p) != 2 || p[0] != (epu.Placement{Site: "cloud", Allocation: "m", Market: epu.Spot, Max: 7}) || p[1].Site != "second" {
		t.Errorf("got %v", p)
	}
	f.Redefine(func(d *msg.Define) { d.Spec.Placement = []epu.Placement{{Site: "second"}} })
	f.Run(5 * time.Second)
	if p := see().Places; len(p) != 1 || p[0].Site != "second" {
		t.Errorf("got %v after another apply", p)
	}
}

// The pause of a site where launches fail is seen, and only of that; once it works again it is gone.
func TestPolicySeesSiteBackoff(t *testing.T) {
	f, see := watching(t, 1, func(p *epu.PoolSpec) { p.Limits.FailuresInRow, p.Limits.FailureBackoff = 1, 20*time.Minute })
	f.Sites[0].Cloud.SetCapacity(sim.Place{}, 0)
	f.Scale(3)
	f.Run(2 * time.Minute)
	s := see()
	if wait, far := s.SiteBackoff["cloud"], s.SiteBackoff["second"]; wait <= 0 || wait > 20*time.Minute || far != 0 || s.Backoff != 0 {
		t.Errorf("got %v, in all %v", s.SiteBackoff, s.Backoff)
	}
	f.Sites[1].Cloud.SetCapacity(sim.Place{}, 0)
	f.Scale(6)
	f.Run(10 * time.Minute)
	if s := see(); s.SiteBackoff["second"] <= 0 || s.Backoff <= 0 {
		t.Errorf("got %v, in all %v, while no site launches", s.SiteBackoff, s.Backoff)
	}
	for _, site := range f.Sites {
		site.Cloud.SetCapacity(sim.Place{}, -1)
	}
	f.Run(time.Hour)
	if s := see(); len(s.SiteBackoff) > 0 || s.Backoff != 0 || s.Counts.Running != 6 {
		t.Errorf("got %v, in all %v, with %d workers running", s.SiteBackoff, s.Backoff, s.Counts.Running)
	}
}

// An operator who has mended what failed does not wait for the pause's end, and tells so by thaw.
func TestThawEndsPauses(t *testing.T) {
	f, see := watching(t, 1, func(p *epu.PoolSpec) { p.Limits.FailuresInRow, p.Limits.FailureBackoff = 1, 20*time.Minute })
	for _, site := range f.Sites {
		site.Cloud.SetCapacity(sim.Place{}, 0)
	}
	f.Scale(3)
	f.Run(10 * time.Minute)
	for _, site := range f.Sites {
		site.Cloud.SetCapacity(sim.Place{}, -1)
	}
	if s := see(); s.Backoff < 2*time.Minute {
		t.Fatalf("got a pause of %v, want a long one", s.Backoff)
	}
	f.Command(&msg.Thaw{})
	f.Run(2 * time.Minute)
	if s := see(); s.Backoff != 0 || s.Counts.Running != 3 {
		t.Errorf("got a pause of %v and %d workers running, want none and 3", s.Backoff, s.Counts.Running)
	}
}

// A worker's next charge is seen where machines are charged for whole periods, moves on when it begins, and
// a surplus worker of a wish that does not hurry is kept until shortly before it.
func TestPolicySeesCharges(t *testing.T) {
	pool, site := campaignPool(), campaignSite("cloud")
	pool.Policy.Conf, pool.Placement = map[string]any{"preserve_n": 2}, []epu.Placement{{Site: "cloud", Allocation: "m"}}
	site.ChargeEvery = time.Hour
	f := actortest.NewFleet(1, sim.Options{
		Boot: sim.Range{Min: 5 * time.Second, Max: 30 * time.Second}, Offers: []epu.Offer{{Allocation: "m", Market: epu.OnDemand, USDPerHour: 1}},
	}, pool, site)
	var saw *policies.Snapshot
	urgency := epu.UrgencyNormal
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) { saw, d.Wanted.Urgency = s, urgency }
	f.Run(10 * time.Minute)
	for hour := range 3 {
		for _, w := range saw.Workers {
			if want := w.Created.Add(time.Duration(hour+1) * time.Hour); !w.ChargeAt.Equal(want) {
				t.Errorf("after %d hours %s has its next charge at %v, want %v", hour, w.ID, w.ChargeAt, want)
			}
		}
		if f.Run(time.Hour); hour == 1 {
			f.OnCrash = func() { f.After(time.Second, f.Start) }
			f.Crash()
			f.Run(time.Minute)
		}
	}
	urgency = epu.UrgencyLow
	f.Scale(1)
	f.Run(30 * time.Minute) // 41 minutes of the hour are over
	if n := ended(f); n != 0 {
		t.Errorf("%d machines were ended in the middle of an hour that is paid for", n)
	}
	f.Run(18 * time.Minute)
	if n := ended(f); n != 1 {
		t.Errorf("%d machines were ended before their next charge, want 1", n)
	}
	f.Redefine(func(*msg.Define) { f.Sites[0].Spec.ChargeEvery = time.Second })
	f.Run(3 * time.Minute)
	if at := saw.Workers[0].ChargeAt; !at.IsZero() {
		t.Errorf("charged by the second, a worker has its next charge at %v", at)
	}
}

// Marks that operators and programs put on workers are seen: protected, busy until, idle since.
func TestPolicySeesMarks(t *testing.T) {
	f, see := watching(t, 2, nil)
	a, b := f.Workers()[0], f.Workers()[1]
	done(t, f, true, &msg.Protect{Instance: string(a.ID)})
	lease := f.Now().Add(5 * time.Minute)
	f.Busy(b.Instance, 5*time.Minute)
	f.Run(20 * time.Second)
	s := see()
	if w := seen(t, s, a.ID); !w.Protected || !w.BusyUntil.IsZero() {
		t.Errorf("got %+v, want it protected", w)
	}
	if w := seen(t, s, b.ID); w.Protected || w.BusyUntil.Sub(lease).Abs() > time.Second || !w.IdleSince.IsZero() {
		t.Errorf("got protected %v, busy until %v, idle since %v, want a lease until %v", w.Protected, w.BusyUntil, w.IdleSince, lease)
	}
	f.Run(6 * time.Minute)
	if w := seen(t, see(), b.ID); w.BusyUntil.After(s.Now) && w.BusyUntil.After(f.Now()) || w.IdleSince.Sub(lease).Abs() > time.Second {
		t.Errorf("got busy until %v, idle since %v, want it idle since %v", w.BusyUntil, w.IdleSince, lease)
	}
	done(t, f, true, &msg.Unprotect{Instance: string(a.ID)})
	if w := seen(t, see(), a.ID); w.Protected {
		t.Errorf("got %+v, want it as any other", w)
	}
}

// What a policy launched by itself is known to it by the ID that it was given, also after a restart.
func TestPolicySeesWhatItAskedFor(t *testing.T) {
	f := calmFleet(t, 1, nil)
	var asked string
	var saw *policies.Snapshot
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		saw, d.Wanted.Target = s, 3
		if asked == "" {
			asked = epu.Asked(d.ID, 1)
			d.Actions = []epu.Action{{Kind: epu.ActResume, Workers: []epu.WorkerID{s.Workers[0].ID}}, {Kind: epu.ActLaunch, Count: 2, Vars: map[string]string{"A": "1"}}}
		}
	}
	f.Run(time.Minute)
	f.Crash()
	f.Run(time.Minute)
	var got []epu.WorkerID
	for _, w := range saw.Workers {
		if w.Asked == asked && w.Vars["A"] == "1" {
			got = append(got, epu.Provisional(w.Asked, int(w.AskedFrom)+w.Slot))
		}
	}
	if len(got) != 2 || got[0] != epu.Provisional(asked, 0) || got[1] != epu.Provisional(asked, 1) {
		t.Errorf("got %v of the action %s", got, asked)
	}
}

// The work left, its rate and its deadline come from the sensors that the pool's file names.
func TestPolicySeesWork(t *testing.T) {
	sensor := epu.SensorSpec{Source: epu.SourcePush, Every: 15 * time.Second, StaleAfter: time.Minute, Keep: time.Hour}
	f, see := watching(t, 1, func(p *epu.PoolSpec) {
		p.Sensors = map[string]epu.SensorSpec{"left": sensor, "rate": sensor, "until": sensor}
		p.Work = epu.WorkSpec{Left: "left", Rate: "rate", Deadline: "until"}
	})
	if w := see().Work; w.Left == nil || w.Left.Quality == epu.QualityOK || !w.Deadline.IsZero() {
		t.Errorf("got %+v before any reading", w)
	}
	until := f.Now().Add(2 * time.Hour).Truncate(time.Second)
	done(t, f, true, pushed(&msg.SensorValue{Sensor: "left", Value: proto.Float64(120)}, &msg.SensorValue{Sensor: "rate", Value: proto.Float64(2.5)},
		&msg.SensorValue{Sensor: "until", Value: proto.Float64(float64(until.Unix()))}))
	if w := see().Work; w.Left.Value != 120 || w.Left.Quality != epu.QualityOK || w.Rate.Value != 2.5 || !w.Deadline.Equal(until) {
		t.Errorf("got %+v", w)
	}
	f.Run(5 * time.Minute)
	if w := see().Work; w.Left.Quality != epu.QualityStale || w.Rate.Quality != epu.QualityStale {
		t.Errorf("got %+v long after the readings", w)
	}
}

// A pool without prices says of how many workers it does not know what they cost; its limit is there.
func TestPolicySeesUnknownCosts(t *testing.T) {
	_, see := watching(t, 3, func(p *epu.PoolSpec) { p.Limits.Spend = 5 })
	if s := see(); s.Budget != (epu.Budget{PerHour: 5, Unknown: 3}) || len(s.Offers) != 0 || s.Workers[0].Price != 0 {
		t.Errorf("got %+v and the offers %v", s.Budget, s.Offers)
	}
}

// Changes of health and drains are told once, and those that a failed evaluation was to hear come again.
func TestPolicySeesChangesAgain(t *testing.T) {
	f := calmFleet(t, 2, nil)
	w := f.Workers()[1]
	told, fails := map[string]int{}, true
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		if d.Error = "p.lua:3: no"; !fails {
			d.Error = ""
			for _, c := range s.Changes {
				told[string(c.Worker)+" "+c.What+" "+c.To]++
			}
		}
	}
	f.Fail(w.Instance)
	f.Run(30 * time.Second)
	fails = false
	f.Run(10 * time.Minute)
	for _, want := range []string{" health PROCESS_ERROR", " state 700-TERMINATING", " gone 800-TERMINATED"} {
		if told[string(w.ID)+want] != 1 {
			t.Errorf("%s%s was told %d times: %v", w.ID, want, told[string(w.ID)+want], told)
		}
	}
	x := f.Workers()[0]
	f.Busy(x.Instance, 2*time.Minute)
	f.Run(20 * time.Second)
	done(t, f, true, &msg.Drain{Instance: string(x.ID)})
	f.Run(10 * time.Second)
	done(t, f, true, &msg.Resume{Instance: string(x.ID)})
	f.Run(10 * time.Second)
	if told[string(x.ID)+" draining true"] != 1 || told[string(x.ID)+" draining false"] != 1 {
		t.Errorf("got %v", told)
	}
}

// The wish in force, with what it says of sites and names, and the memory come back at the next tick.
func TestPolicySeesItsWish(t *testing.T) {
	f := calmFleet(t, 2, nil)
	var saw *policies.Snapshot
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		saw = s
		d.Wanted.Target, d.Wanted.Sites, d.MemoryAfter = 4, map[epu.SiteID]int{"second": 3}, []byte(`{"n":1}`)
	}
	f.Run(2 * time.Minute)
	f.Crash()
	f.Run(time.Minute)
	if saw.Wish.Target != 4 || saw.Wish.Sites["second"] != 3 || string(saw.Memory) != `{"n":1}` {
		t.Errorf("got %+v and the memory %s", saw.Wish, saw.Memory)
	}
	at := map[epu.SiteID]int{}
	for _, w := range saw.Workers {
		at[w.Site]++
	}
	if at["second"] < 2 || len(saw.Workers) != 4 {
		t.Errorf("got %v", at)
	}
	f.Command(&msg.Reconfigure{Conf: must(structpb.NewStruct(map[string]any{"names": 1}))})
	f.Run(time.Minute)
	if _, ok := saw.Wish.Uniques["unique-0"]; !ok {
		t.Errorf("got %+v", saw.Wish)
	}
}

// Goal: a policy that remembers the time of each look does not have its pool write at each tick, and what it
// remembered with a wish outlives a crash. Method: events counted in the journal of a pool in virtual time.
func TestMemoryAloneIsWrittenNowAndThen(t *testing.T) {
	f := calmFleet(t, 2, nil)
	looks, target := 0, 2
	var saw string
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		looks++
		saw = string(s.Memory)
		d.Wanted.Target = target
		d.MemoryAfter = fmt.Appendf(nil, `{"looks":%d}`, looks)
	}
	written := func() int {
		l, err := f.Journal.Load(t.Context(), epu.PoolStream(epu.DefaultOwner, f.Pool.Name))
		if err != nil {
			t.Fatal(err)
		}
		return int(l.Revision)
	}
	f.Run(time.Minute)
	before, began := looks, written()
	f.Run(10 * time.Minute)
	if n := written() - began; looks-before < 60 || n < 8 || n > 12 {
		t.Errorf("%d looks wrote %d events, want one a minute", looks-before, n)
	}
	if want := fmt.Sprintf(`{"looks":%d}`, looks-1); saw != want {
		t.Errorf("the policy saw %s, want %s", saw, want)
	}
	target = 3
	f.Run(30 * time.Second)
	grown := looks
	f.Crash()
	f.Run(30 * time.Second)
	var first int
	if _, err := fmt.Sscanf(saw, `{"looks":%d}`, &first); err != nil || first < grown-12 {
		t.Errorf("after a crash the policy saw %s, want what it remembered with its wish", saw)
	}
}

// Goal: what a policy's reconfigure leaves in its memory outlives a crash at once, for it would not be run again.
// Method: a decision that says that it ran, with nothing else new about it, and a crash right after it.
func TestMemoryOfHooksIsWritten(t *testing.T) {
	for _, ran := range []bool{true, false} {
		f := calmFleet(t, 2, nil)
		var saw string
		remember := func(text string, ran bool) {
			f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
				saw, d.MemoryAfter = string(s.Memory), s.Memory
				if text != "" {
					d.MemoryAfter, text = []byte(text), ""
					if ran {
						d.Inputs = append(d.Inputs, epu.Input{Name: "hooks", Value: map[string]any{"changed": []string{"n"}}})
					}
				}
			}
		}
		remember(`{"n":1}`, true)
		f.Run(12 * time.Second)
		remember(`{"n":2}`, ran)
		f.Run(12 * time.Second)
		if saw != `{"n":2}` {
			t.Fatalf("before the crash it saw %s", saw)
		}
		f.Crash()
		f.Run(30 * time.Second)
		if want := map[bool]string{true: `{"n":2}`, false: `{"n":1}`}[ran]; saw != want {
			t.Errorf("hooks ran %v: after a crash it saw %s, want %s", ran, saw, want)
		}
	}
}
