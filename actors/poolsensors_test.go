package actors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/policies"
)

// These are stories of what pools are told and of the programs that are run around their workers' lives.
// Method: a fleet on a calm cloud, in virtual time.

func loadSensors(p *epu.PoolSpec) {
	spec := epu.SensorSpec{Every: 15 * time.Second, Timeout: time.Second, StaleAfter: time.Minute, Missing: epu.MissingHold, Keep: time.Hour}
	push, pull := spec, spec
	push.Source, pull.Source = epu.SourcePush, epu.SourceHTTP
	p.Sensors = map[string]epu.SensorSpec{"load": push, "depth": pull}
	p.Work = epu.WorkSpec{Left: "depth", Deadline: "2026-01-02T00:00:00Z"}
}

func pushed(v ...*msg.SensorValue) *msg.SensorPush {
	return &msg.SensorPush{Pool: "epu-web", Values: v}
}

// Pushed and fetched readings reach the policy with their quality, windows and the work they tell of.
func TestReadingsReachPolicy(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	f.Sensor = func(string) (sensing.Point, error) { return sensing.Point{Value: 40}, nil }
	var saw *policies.Snapshot
	f.Policy = func(s *policies.Snapshot, _ *epu.Decision) { saw = s }
	done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(3), Age: durationpb.New(10 * time.Second)}))
	f.Run(20 * time.Second)
	if r := saw.Readings["load"]; r.Value != 3 || r.Quality != epu.QualityOK || r.Age < 10*time.Second {
		t.Errorf("load is %+v", r)
	}
	if r := saw.Readings["depth"]; r.Value != 40 || r.Quality != epu.QualityOK || saw.Work.Left == nil || saw.Work.Left.Value != 40 {
		t.Errorf("depth is %+v, work %+v", r, saw.Work)
	}
	if w, ok := saw.Windows("load", 10*time.Second); !ok || w.Mean != 3 || saw.Work.Deadline.IsZero() {
		t.Errorf("got %+v, %v", w, ok)
	}
	f.Redefine(func(d *msg.Define) { // other rules, and one sensor less: the readings stay
		load := d.Spec.Sensors["load"]
		load.StaleAfter = time.Hour
		d.Spec.Sensors = map[string]epu.SensorSpec{"load": load}
	})
	f.Run(2 * time.Minute)
	if r := saw.Readings["load"]; r.Value != 3 || r.Quality != epu.QualityOK || len(saw.Readings) != 1 {
		t.Errorf("after the change there is %+v", saw.Readings)
	}
	f.Sensor = nil
}

// Goal: the audit says who sends the readings that machines follow, without a line for each; one that is too old to
// matter is not said to be new, and one that says two things is refused. Method: an agent, and anna who comes between.
func TestWhoPushesIsInTheAudit(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	load := func(v float64, source string) *msg.SensorValue {
		return &msg.SensorValue{Sensor: "load", Value: proto.Float64(v), Source: source}
	}
	push := func(user, from string, v *msg.SensorValue) {
		f.Tell(msg.Command{Sender: msg.Sender{ID: "c", User: user, From: from}, Body: pushed(v)})
		f.Run(time.Second)
	}
	push("agent", "10.0.0.9:4001", load(3, "broker"))
	push("agent", "10.0.0.9:4002", load(4, "broker")) // another connection
	push("anna", "10.0.0.7:3999", load(0, ""))
	push("agent", "10.0.0.9:4003", load(5, "broker")) // back soon: it was recorded
	push("anna", "10.0.0.7:3998", load(0, ""))
	f.Run(10 * time.Minute)
	push("agent", "10.0.0.9:4003", load(6, "broker"))
	old := load(7, "cron")
	old.Age = durationpb.New(48 * time.Hour)
	push("bob", "10.0.0.8:1", old) // not taken
	var got []string
	for _, r := range f.Records {
		if r.Kind == persistence.KindAudit && r.Name == "sensor_pushed" {
			var d struct {
				User, From, Source string
				Value              float64
			}
			if err := json.Unmarshal(r.Data, &d); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s %s %v", d.User, d.From, d.Source, d.Value))
		}
	}
	want := []string{"agent 10.0.0.9:4001 broker 3", "anna 10.0.0.7:3999  0", "agent 10.0.0.9:4003 broker 6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if text := done(t, f, false, pushed(old)); !strings.Contains(text, "no new reading") || !strings.Contains(text, "dropped") {
		t.Errorf("a reading of two days ago: %s", text)
	}
	both := load(7, "")
	both.Unknown = true
	refused(t, f, epu.Invalid, pushed(both))
}

// A reading that says something new is unseen until the policy has decided about it; who waits relies on that.
func TestNewsIsUnseenUntilDecided(t *testing.T) {
	f := calmFleet(t, 1, func(p *epu.PoolSpec) {
		loadSensors(p)
		p.Tick = 40 * time.Second
	})
	unseen := func() time.Time { return f.Ask(msg.PoolQuery{}).(msg.PoolView).UnseenSince }
	push := func(v float64) { done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(v)})) }
	f.Run(time.Minute)
	if at := unseen(); !at.IsZero() {
		t.Fatalf("with no news there is some since %v", at)
	}
	var asked []float64
	f.Policy = func(s *policies.Snapshot, _ *epu.Decision) { asked = append(asked, s.Readings["load"].Value) }
	push(3)
	first := unseen()
	if first.IsZero() || len(asked) > 0 {
		t.Fatalf("a reading came: unseen since %v, the policy was asked about %v", first, asked)
	}
	push(4)
	if at := unseen(); !at.Equal(first) {
		t.Errorf("with a second reading the oldest is of %v, want %v", at, first)
	}
	f.Run(50 * time.Second) // the reading is not stale yet
	if at := unseen(); !at.IsZero() || len(asked) == 0 || asked[0] != 4 {
		t.Errorf("the policy was asked about %v, and news is unseen since %v", asked, at)
	}
	push(4)
	if at := unseen(); !at.IsZero() {
		t.Errorf("the same value again is news, unseen since %v", at)
	}
}

// Goal: news that came while the policy was at work on older news, or that it failed on, stays unseen. Method: a
// slow evaluation with a push in its midst, and a policy that fails for a while.
func TestNewsStaysUnseenOfTheSlowAndTheFailing(t *testing.T) {
	f := calmFleet(t, 1, func(p *epu.PoolSpec) {
		loadSensors(p)
		p.Tick = 10 * time.Second
	})
	view := func() msg.PoolView { return f.Ask(msg.PoolQuery{}).(msg.PoolView) }
	push := func(v float64) time.Time {
		done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(v)}))
		return view().UnseenNewest
	}
	f.Run(time.Minute)
	var asked []float64
	fails := ""
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		asked = append(asked, s.Readings["load"].Value)
		d.Error = fails
	}
	f.DecideSlow = 8 * time.Second
	first := push(3)
	for i := 0; len(asked) == 0 || asked[len(asked)-1] != 3; i++ {
		if f.Run(10 * time.Millisecond); i > 3000 {
			t.Fatal("the policy is never asked about the first reading")
		}
	}
	asked = nil
	second := push(4)
	if v := view(); first.IsZero() || !v.UnseenSince.Equal(first) || !second.After(first) {
		t.Fatalf("while the first is decided about: unseen since %v until %v, want since %v until later", v.UnseenSince, second, first)
	}
	between := false
	for v := view(); !v.UnseenSince.IsZero(); v = view() {
		between = between || v.UnseenSince.Equal(second)
		if !v.UnseenNewest.Equal(second) {
			t.Fatalf("the newest is of %v, want %v", v.UnseenNewest, second)
		}
		f.Run(10 * time.Millisecond)
	}
	if !between || len(asked) == 0 || asked[0] != 4 {
		t.Errorf("the second was the oldest for a while: %v; then the policy was asked about %v", between, asked)
	}
	f.DecideSlow, fails = 0, "boom"
	since := push(5)
	f.Run(30 * time.Second)
	if v := view(); v.Failure != "boom" || !v.UnseenSince.Equal(since) {
		t.Errorf("of a policy that fails with %q: unseen since %v, want %v", v.Failure, v.UnseenSince, since)
	}
	fails = ""
	f.Run(15 * time.Second)
	if v := view(); v.Failure != "" || !v.UnseenSince.IsZero() {
		t.Errorf("the policy works again (%q): unseen since %v", v.Failure, v.UnseenSince)
	}
}

// A source that fails makes its sensor unknown, with the reason, and the next answer mends it.
func TestFailingSourceIsUnknown(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	why := errors.New("connection refused")
	f.Sensor = func(string) (sensing.Point, error) { return sensing.Point{Value: 7}, why }
	f.Run(time.Minute)
	depth := func() *msg.SensorStatus {
		for _, s := range f.Ask(msg.PoolSensorsQuery{}).(*msg.Sensors).GetSensors() {
			if s.GetSensor() == "depth" {
				return s
			}
		}
		return nil
	}
	if s := depth(); s.GetQuality() != "unknown" || !strings.Contains(s.GetError(), "connection refused") {
		t.Errorf("got %v", s)
	}
	why = nil
	f.Run(20 * time.Second)
	if s := depth(); s.GetQuality() != "ok" || s.GetValue() != 7 || s.GetError() != "" || len(s.GetRecent()) == 0 {
		t.Errorf("got %v", s)
	}
}

// A push is taken whole or not at all, and what is wrong with it is said at once.
func TestPushIsAllOrNone(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	no, ok := f.Order(pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(1)}, &msg.SensorValue{Sensor: "laod", Value: proto.Float64(1)},
		&msg.SensorValue{Sensor: "load"},
		&msg.SensorValue{Sensor: "depth", Value: proto.Float64(1)})).(msg.Refused)
	if !ok || len(no.Problems) != 3 || !strings.Contains(no.Problems[0], "depth, load") {
		t.Fatalf("got %+v", no)
	}
	refused(t, f, epu.Invalid, pushed())
	refused(t, f, epu.Invalid, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(1), Source: strings.Repeat("x", 513)}))
	for _, s := range f.Ask(msg.PoolSensorsQuery{}).(*msg.Sensors).GetSensors() {
		if s.GetSensor() == "load" && s.GetTime() != nil {
			t.Errorf("a reading was taken: %v", s)
		}
	}
}

// A decision that read what is unknown or stale never makes the pool smaller; it may make it larger.
func TestNoShrinkOnUnknownReadings(t *testing.T) {
	f := calmFleet(t, 3, loadSensors)
	target, last := 1, (*epu.Decision)(nil)
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		d.Wanted.Target = target
		d.Inputs = []epu.Input{{Name: "sensor load", Value: s.Readings["load"]}}
	}
	f.Run(10 * time.Minute)
	last = f.Ask(msg.PoolQuery{}).(msg.PoolView).Last
	if len(f.Workers()) != 3 || len(last.Clamps) == 0 || last.Clamps[0].Rule != "unknown reading" {
		t.Errorf("%d workers, clamps %v", len(f.Workers()), last.Clamps)
	}
	target = 4
	f.Run(10 * time.Minute)
	settled(t, f, 4, 0)
	target = 2
	for range 80 {
		done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(1)}))
		f.Run(15 * time.Second)
	}
	settled(t, f, 2, 0)
}

func hooks(tries int) func(*epu.PoolSpec) {
	return func(p *epu.PoolSpec) {
		h := &epu.HookSpec{Run: []string{"register"}, Timeout: 10 * time.Second, Tries: tries}
		p.Hooks = epu.HooksSpec{Running: h, Ending: h}
	}
}

// However many sensors and hooks a pool has, few of them are out at once, and all have their turn.
func TestFewAreOutAtOnce(t *testing.T) {
	const most = 8
	f := calmFleet(t, 20, func(p *epu.PoolSpec) {
		hooks(5)(p)
		p.Sensors = map[string]epu.SensorSpec{}
		for i := range 20 {
			p.Sensors[fmt.Sprint("s", i)] = epu.SensorSpec{Source: epu.SourceHTTP, Every: 15 * time.Second, StaleAfter: time.Minute, Missing: epu.MissingHold}
		}
	})
	f.Run(time.Minute)
	asked := map[string]int{}
	f.Sensor = func(name string) (sensing.Point, error) { asked[name]++; return sensing.Point{Value: 1}, nil }
	f.SensorSlow, f.HookSlow = 10*time.Minute, 10*time.Minute
	for _, w := range f.Workers() {
		done(t, f, true, &msg.Kill{Instance: string(w.ID)})
	}
	ending := func() (n int) {
		for _, runs := range f.Hooked {
			n += runs.Ending
		}
		return n
	}
	f.Run(5 * time.Minute)
	if len(asked) != most || ending() != most {
		t.Errorf("%d sensors are being read and %d hooks run, want %d of each", len(asked), ending(), most)
	}
	f.SensorSlow, f.HookSlow = time.Second, time.Second
	f.Run(20 * time.Minute)
	if len(asked) != 20 || ending() < 20 {
		t.Errorf("%d sensors were read, and %d hooks run, want 20 of each", len(asked), ending())
	}
}

// One program runs for each worker that became RUNNING, another before it is ended: a kill waits for it.
func TestHooksRunAroundLives(t *testing.T) {
	f := calmFleet(t, 2, hooks(5))
	w := f.Workers()[0]
	if runs := f.Hooked[w.ID]; runs == nil || runs.Running != 1 || runs.Ending != 0 {
		t.Fatalf("got %+v", runs)
	}
	f.HookFails = 1
	done(t, f, true, &msg.Kill{Instance: string(w.ID)})
	f.Run(5 * time.Second)
	if m := machineOf(f, w.Instance); !m.Asked.IsZero() || f.Hooked[w.ID].Failed == 0 {
		t.Fatalf("%+v is being ended, after %+v", m, f.Hooked[w.ID])
	}
	f.Crash() // in the middle: it is begun again
	f.HookFails = 0
	f.Run(10 * time.Minute)
	if runs := f.Hooked[w.ID]; runs.Ending == 0 || runs.Ending > 2 { // one may have been on its way
		t.Errorf("got %+v", runs)
	}
	settled(t, f, 2, 0)
}

// Of two workers of one launch that end, each waits for its own program.
func TestEachEndWaitsForItsHook(t *testing.T) {
	f := calmFleet(t, 2, hooks(20))
	a, b := f.Workers()[0], f.Workers()[1]
	if a.Launch != b.Launch {
		t.Fatal("they are of two launches")
	}
	f.HookFails = 1
	done(t, f, true, &msg.Kill{Instance: string(a.ID)})
	f.Run(20 * time.Second) // the pauses between its tries are long by now
	f.HookFails = 0
	done(t, f, true, &msg.Kill{Instance: string(b.ID)})
	for machineOf(f, b.Instance).Asked.IsZero() {
		f.Run(time.Second)
	}
	if f.Hooked[a.ID].Ending > 0 || !machineOf(f, a.Instance).Asked.IsZero() {
		t.Errorf("the first one's program ran %d times, and its machine was asked to end at %v", f.Hooked[a.ID].Ending, machineOf(f, a.Instance).Asked)
	}
	f.Run(20 * time.Minute)
	settled(t, f, 2, 0)
}

// A machine that is lost gets its program too.
func TestHookAfterLoss(t *testing.T) {
	f := calmFleet(t, 2, hooks(5))
	w := f.Workers()[0]
	machineOf(f, w.Instance).Kill()
	f.Run(15 * time.Minute)
	if runs := f.Hooked[w.ID]; runs.Ending != 1 {
		t.Errorf("got %+v", runs)
	}
	settled(t, f, 2, 0)
}

// What was asked of a source before the sensor's definition changed tells nothing of the source of now.
func TestLateAnswerOfAnotherSource(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	value := 40.0
	f.SensorSlow = 10 * time.Second
	f.Sensor = func(string) (sensing.Point, error) { return sensing.Point{Value: value}, nil }
	f.Run(time.Minute)
	reading := func() *msg.SensorStatus { return f.Ask(msg.PoolSensorsQuery{}).(*msg.Sensors).GetSensors()[0] }
	for s := reading(); s.GetSensor() != "depth" || s.GetValue() != 40 || s.GetAge().AsDuration() > time.Second; s = reading() {
		if f.Run(time.Second / 2); f.Now().Sub(f.Workers()[0].Created) > time.Hour {
			t.Fatalf("it was never read: %v", s)
		}
	}
	f.Run(18 * time.Second) // the next question is out
	value = 7
	f.Redefine(func(d *msg.Define) {
		depth := d.Spec.Sensors["depth"]
		depth.Query.URL = "http://elsewhere"
		d.Spec.Sensors = map[string]epu.SensorSpec{"depth": depth}
	})
	f.Run(2 * time.Second)
	for range 30 {
		if s := reading(); s.GetValue() == 40 {
			t.Fatalf("the new source says what the old one said: %v", s)
		}
		f.Run(time.Second)
	}
	if s := reading(); s.GetValue() != 7 || s.GetQuality() != "ok" {
		t.Errorf("got %v", s)
	}
}

// The program for a worker's end waits for the one that tells of its start: who is taken off a list must
// not be put on it afterwards.
func TestEndingHookWaitsForRunning(t *testing.T) {
	f := calmFleet(t, 1, hooks(5))
	f.HookSlow = 30 * time.Second
	f.Scale(2)
	started := func() (epu.WorkerID, bool) {
		for id, runs := range f.Hooked {
			if worker(f, id) != nil && f.Workers()[0].ID != id && runs.Running == 1 {
				return id, true
			}
		}
		return "", false
	}
	id, ok := started()
	for ; !ok; id, ok = started() {
		if f.Run(time.Second); f.Now().Sub(f.Workers()[0].Created) > time.Hour {
			t.Fatalf("no other worker started\n%s", f.Describe())
		}
	}
	machine := worker(f, id).Instance
	done(t, f, true, &msg.Kill{Instance: string(id)})
	f.Run(20 * time.Second) // its first program goes on
	if runs := f.Hooked[id]; runs.Ending != 0 || !machineOf(f, machine).Asked.IsZero() {
		t.Errorf("got %+v, with the machine asked to end at %v", runs, machineOf(f, machine).Asked)
	}
	f.Run(10 * time.Minute)
	if runs := f.Hooked[id]; runs.Running != 1 || runs.Ending != 1 {
		t.Errorf("got %+v, want one of each", runs)
	}
	settled(t, f, 2, 0)
}

// A program that always fails is given up after its tries: an alert stands, and the end goes on. Its time and
// its tries are those of the pool's file, or what is documented.
func TestHookIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		tries, wantTries     int
		timeout, wantTimeout time.Duration
	}{{3, 3, 10 * time.Second, 10 * time.Second}, {0, 5, 0, 30 * time.Second}} {
		f := calmFleet(t, 2, func(p *epu.PoolSpec) {
			h := &epu.HookSpec{Run: []string{"register"}, Timeout: c.timeout, Tries: c.tries}
			p.Hooks = epu.HooksSpec{Running: h, Ending: h}
		})
		w := f.Workers()[0]
		f.HookFails = 1
		done(t, f, true, &msg.Kill{Instance: string(w.ID)})
		f.Run(15 * time.Minute)
		if runs := f.Hooked[w.ID]; runs.Failed != c.wantTries || runs.Timeout != c.wantTimeout {
			t.Errorf("got %+v, want %d tries of %v", runs, c.wantTries, c.wantTimeout)
		}
		faults := f.Ask(msg.PoolQuery{}).(msg.PoolView).Faults
		if len(faults) == 0 || faults[0].Worker != w.ID || faults[0].Hook != "ending" {
			t.Errorf("got %v", faults)
		}
		settled(t, f, 2, 0)
		f.Redefine(func(d *msg.Define) { d.Spec.Hooks = epu.HooksSpec{} }) // applied anew: mended
		f.Run(5 * time.Second)
		if faults := f.Ask(msg.PoolQuery{}).(msg.PoolView).Faults; len(faults) != 0 {
			t.Errorf("got %v", faults)
		}
	}
}

// The policy hears of each step in its workers' lives once.
func TestChangesAreToldOnce(t *testing.T) {
	f := calmFleet(t, 1, nil)
	told := map[string]int{}
	f.Policy = func(s *policies.Snapshot, _ *epu.Decision) {
		for _, c := range s.Changes {
			told[string(c.Worker)+" "+c.What+" "+c.To]++
		}
	}
	w := f.Workers()[0]
	done(t, f, true, &msg.Kill{Instance: string(w.ID)})
	f.Run(10 * time.Minute)
	next := f.Workers()[0]
	for _, want := range []string{
		string(w.ID) + " state 700-TERMINATING", string(w.ID) + " gone 800-TERMINATED",
		string(next.ID) + " state 600-RUNNING", string(next.ID) + " health OK",
	} {
		if told[want] != 1 {
			t.Errorf("%s was told %d times: %v", want, told[want], told)
		}
	}
}

// What sites offer reaches the policy, workers have their price, and a pool that costs all that it may does
// not grow.
func TestPricesHoldGrowth(t *testing.T) {
	pool := campaignPool()
	pool.Policy.Conf = map[string]any{"preserve_n": 2}
	pool.Placement = []epu.Placement{{Site: "cloud", Allocation: "m"}}
	pool.Limits.Spend = 1.2
	f := actortest.NewFleet(1, sim.Options{
		Boot: sim.Range{Min: 5 * time.Second, Max: 30 * time.Second}, Visibility: time.Minute,
		Offers: []epu.Offer{{Allocation: "m", Market: epu.OnDemand, USDPerHour: 0.5}, {Allocation: "m", Market: epu.Spot, USDPerHour: 0.2}},
	}, pool, campaignSite("cloud"))
	var saw *policies.Snapshot
	f.Policy = func(s *policies.Snapshot, _ *epu.Decision) { saw = s }
	f.Run(10 * time.Minute)
	if o := saw.Offers; len(o) != 2 || o[0].Market != epu.Spot || o[0].Site != "cloud" {
		t.Errorf("got %v", o)
	}
	if b := saw.Budget; b.PerHour != 1.2 || b.Now != 1 || b.Unknown != 0 || saw.Workers[0].Price != 0.5 {
		t.Errorf("got %+v", b)
	}
	f.Scale(5)
	f.Run(10 * time.Minute)
	settled(t, f, 2, 0)
	last := f.Ask(msg.PoolQuery{}).(msg.PoolView).Last
	if len(last.Clamps) != 1 || last.Clamps[0].Rule != "limits.spend" {
		t.Errorf("got %v", last.Clamps)
	}
	f.Scale(1)
	f.Run(10 * time.Minute)
	settled(t, f, 1, 0)
	f.Scale(9) // not even in one step
	f.Run(10 * time.Minute)
	settled(t, f, 2, 0)
}
