package actors_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/policies"
)

// These are stories of single workers: what operators and policies do to one by its name. Method: a
// fleet on a calm cloud, in virtual time.

// done gives an order that must be carried out, and its text.
func done(t *testing.T, f *actortest.Fleet, changed bool, body any) string {
	t.Helper()
	d, ok := f.Order(body).(*msg.Done)
	if !ok || d.GetChanged() != changed {
		t.Fatalf("%T: got %v, want it done, changed %v\n%s", body, d, changed, f.Describe())
	}
	return d.GetText()
}

// refused gives an order that must not be carried out.
func refused(t *testing.T, f *actortest.Fleet, kind epu.Kind, body any) {
	t.Helper()
	r, ok := f.Order(body).(msg.Refused)
	if !ok || epu.KindOf(r.Err) != kind {
		t.Fatalf("%T: got %v, want it refused as %v", body, r, kind)
	}
}

func worker(f *actortest.Fleet, id epu.WorkerID) *epu.Worker {
	for _, w := range f.Workers() {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// A worker that is drained is replaced at once, is not called back, and ends when it has no work.
func TestDrainTakesOut(t *testing.T) {
	f := calmFleet(t, 3, nil)
	w := f.Workers()[1]
	text := done(t, f, true, &msg.Drain{Instance: string(w.ID), Reason: "disk"})
	if !strings.Contains(text, "will be replaced if it is still wanted") {
		t.Errorf("got %q", text)
	}
	if now := worker(f, w.ID); !now.Draining || !now.Leaving || len(f.Machines()) != 4 {
		t.Errorf("got %+v and %d machines", now, len(f.Machines()))
	}
	done(t, f, false, &msg.Drain{Instance: string(w.Instance)}) // repeatable, and the machine's ID names it too
	f.Crash()
	f.Run(10 * time.Minute)
	if m := machineOf(f, w.Instance); m.Alive() {
		t.Errorf("%+v did not end", m)
	}
	settled(t, f, 3, 0)
}

// The reason of a drain is the reason of the end that it leads to.
func TestDrainSaysWhy(t *testing.T) {
	f := calmFleet(t, 1, nil)
	w := f.Workers()[0]
	done(t, f, true, &msg.Drain{Instance: string(w.ID), Reason: "disk"})
	f.Run(10 * time.Minute)
	if why := endReason(f, w.ID); why != "drained by anna: disk" {
		t.Errorf("got %q", why)
	}
}

// A drain can be taken back until its end is durable; the replacement is surplus then.
func TestResumeTakesDrainBack(t *testing.T) {
	f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Drain.Timeout = time.Hour })
	w := f.Workers()[0]
	f.Mute(w.Instance) // its agent never says that it has drained
	done(t, f, true, &msg.Drain{Instance: string(w.ID)})
	f.Run(20 * time.Second)
	f.Unmute(w.Instance)
	done(t, f, true, &msg.Resume{Instance: string(w.ID)})
	done(t, f, false, &msg.Resume{Instance: string(w.ID)})
	f.Run(20 * time.Minute)
	if now := worker(f, w.ID); now == nil || now.Draining || now.Ended {
		t.Errorf("got %+v, want it in service", now)
	}
	settled(t, f, 2, 0)
	other := f.Workers()[1]
	done(t, f, true, &msg.Kill{Instance: string(other.ID)})
	refused(t, f, epu.Conflict, &msg.Resume{Instance: string(other.ID)})
	refused(t, f, epu.NotFound, &msg.Resume{Instance: "nobody"})
}

// A protected worker is no victim of a smaller wish, across restarts; failures and orders do reach it.
func TestProtectedIsNoVictim(t *testing.T) {
	f := calmFleet(t, 4, nil)
	kept := f.Workers()[3] // the newest would go first
	done(t, f, true, &msg.Protect{Instance: string(kept.ID), Reason: "being looked at"})
	done(t, f, false, &msg.Protect{Instance: string(kept.ID)})
	f.Crash()
	f.Run(time.Minute)
	f.Scale(1)
	f.Run(20 * time.Minute)
	if ws := f.Workers(); len(ws) != 1 || ws[0].ID != kept.ID {
		t.Fatalf("another one stayed:\n%s", f.Describe())
	}
	f.Scale(0)
	f.Run(20 * time.Minute)
	settled(t, f, 1, 0)
	done(t, f, true, &msg.Unprotect{Instance: string(kept.ID)})
	f.Run(20 * time.Minute)
	settled(t, f, 0, 0)
}

// A replacement runs before the old worker goes; if it fails, the old one stays.
func TestReplaceLaunchesFirst(t *testing.T) {
	f := calmFleet(t, 2, nil)
	old := f.Workers()[0]
	for _, s := range f.Sites {
		s.Cloud.Outage(true)
	}
	done(t, f, true, &msg.Replace{Instance: string(old.ID)})
	done(t, f, false, &msg.Replace{Instance: string(old.ID)})
	f.Run(30 * time.Minute) // launches fail or hang meanwhile
	f.Crash()
	f.Run(time.Minute)
	if w := worker(f, old.ID); w == nil || w.Draining || w.Ended || !w.Replacing {
		t.Fatalf("got %+v, want it to work on", w)
	}
	for _, s := range f.Sites {
		s.Cloud.Outage(false)
	}
	for w := worker(f, old.ID); w != nil; w = worker(f, old.ID) {
		serving := 0
		for _, x := range f.Workers() {
			if x.State == epu.Running && x.Open() && !x.Draining {
				serving++
			}
		}
		if serving < 2 {
			t.Fatalf("only %d serve\n%s", serving, f.Describe())
		}
		f.Run(5 * time.Second)
		if f.Now().Sub(w.Created) > 3*time.Hour {
			t.Fatalf("it was never replaced\n%s", f.Describe())
		}
	}
	f.Run(20 * time.Minute)
	settled(t, f, 2, 0)
}

// A worker in whose place another comes, and that other is to be replaced as well: the first one works on
// until somebody else really does.
func TestReplacementIsReplacedToo(t *testing.T) {
	f := calmFleet(t, 1, nil)
	old := f.Workers()[0]
	done(t, f, true, &msg.Replace{Instance: string(old.ID)})
	for range 3 { // one starting worker after the other
		ws := f.Workers()
		if newest := ws[len(ws)-1]; newest.State < epu.Running {
			done(t, f, true, &msg.Replace{Instance: string(newest.ID)})
		}
		if w := worker(f, old.ID); w == nil || w.Draining || w.Ended {
			t.Fatalf("it went before another ran\n%s", f.Describe())
		}
	}
	f.Run(20 * time.Minute)
	if worker(f, old.ID) != nil {
		t.Errorf("it was never replaced\n%s", f.Describe())
	}
	settled(t, f, 1, 0)
}

// A replacement that is taken back is no replacement, whether the worker still worked or already drained.
func TestResumeTakesReplacementBack(t *testing.T) {
	for _, draining := range []bool{false, true} {
		f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Drain.Timeout = time.Hour })
		old := f.Workers()[0]
		done(t, f, true, &msg.Replace{Instance: string(old.ID)})
		for draining && !worker(f, old.ID).Draining {
			if f.Run(time.Second); f.Now().Sub(old.Created) > time.Hour {
				t.Fatal("it was never replaced")
			}
		}
		done(t, f, true, &msg.Resume{Instance: string(old.ID)})
		done(t, f, true, &msg.Protect{Instance: string(old.ID)}) // one of the others is surplus now
		f.Run(20 * time.Minute)
		if w := worker(f, old.ID); w == nil || w.Replacing || w.Draining || w.Leaving {
			t.Errorf("draining %v: got %+v, want it in service", draining, w)
		}
		settled(t, f, 2, 0)
	}
}

// A unique worker's name belongs to one worker: it can't be replaced by launching first, and after a
// drain its name gets another when it is gone.
func TestUniqueIsDrainedNotReplaced(t *testing.T) {
	f := calmFleet(t, 1, nil)
	f.Command(&msg.Reconfigure{Conf: must(structpb.NewStruct(map[string]any{"names": 1}))})
	f.Run(20 * time.Minute)
	settled(t, f, 1, 1)
	w := f.Workers()[0]
	refused(t, f, epu.Invalid, &msg.Replace{Instance: string(w.ID)})
	done(t, f, true, &msg.Drain{Instance: string(w.ID)})
	f.Run(20 * time.Minute)
	if worker(f, w.ID) != nil {
		t.Error("it did not go")
	}
	settled(t, f, 1, 1)
}

// A busy worker is no victim of a smaller wish until its lease is over, and an order's drain waits for it.
func TestBusyIsWaitedFor(t *testing.T) {
	f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Drain.ProtectBusy = true })
	busy, idle := f.Workers()[1], f.Workers()[0]
	f.Busy(busy.Instance, 30*time.Minute)
	f.Run(30 * time.Second)
	f.Scale(1)
	f.Run(5 * time.Minute)
	if worker(f, idle.ID) != nil || worker(f, busy.ID) == nil {
		t.Fatalf("the busy one went first\n%s", f.Describe())
	}
	f.Scale(0)
	f.Run(10 * time.Minute)
	if w := worker(f, busy.ID); w == nil || w.Draining || w.Ended {
		t.Fatalf("got %+v, want it at work", w)
	}
	f.Run(30 * time.Minute) // its lease is over
	settled(t, f, 0, 0)
}

// A policy's actions are done once, within the limits, and what is refused is told next time.
func TestPolicyActions(t *testing.T) {
	var told, first []epu.Reason
	var victim epu.WorkerID
	f := calmFleet(t, 3, func(p *epu.PoolSpec) { p.Limits.Terminations = epu.Count{N: 1, Window: time.Hour} })
	ws := f.Workers()
	victim, second := ws[0].ID, ws[1].ID
	acts := []epu.Action{
		{Kind: epu.ActLaunch, Count: 5, Reason: "more"},
		{Kind: epu.ActTerminate, Workers: []epu.WorkerID{victim}, Reason: "too hot"},
		{Kind: epu.ActDrain, Workers: []epu.WorkerID{second}, Reason: "rather warm"},
	}
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		if told = s.Refused; len(acts) > 0 && len(s.Workers) == 3 {
			d.Actions, acts = acts, nil
			told = nil
		} else if first == nil {
			first = told
		}
		if acts == nil {
			d.Wanted.Target = 4
		}
	}
	f.Run(7 * time.Second)
	if why := endReason(f, victim); why != "too hot" {
		t.Errorf("%s ended because of %q", victim, why)
	}
	if w := worker(f, second); w == nil || w.Ended || w.Draining {
		t.Error("a second one goes, beyond the limit")
	}
	asked := 0
	for _, w := range f.Workers() {
		if w.Asked != "" {
			asked++
		}
	}
	if asked != 2 { // the target has room for two beside the two that stay
		t.Errorf("%d workers were launched by the action, want 2", asked)
	}
	f.Run(5 * time.Second)
	rules := map[string]bool{}
	for _, r := range first {
		rules[r.Rule] = true
	}
	if !rules["limits.terminations"] || !rules["target"] {
		t.Errorf("the policy was told of %v", first)
	}
	f.Run(20 * time.Minute)
	settled(t, f, 4, 0)
	if len(f.Machines()) != 5 {
		t.Errorf("%d machines, want 5", len(f.Machines()))
	}
}

// The workers of one action are numbered through, however many launches and sites they are spread over, and
// the number is the one that control.launch gave. They are as many as were asked for; what a limit keeps
// back is refused with its reason.
func TestActionIsNumberedThrough(t *testing.T) {
	for _, tt := range []struct{ asked, atFirst, limit, want int }{
		{100, 0, 0, 100}, {101, 0, 0, 101}, {1000, 0, 0, 1000}, {1000, 250, 0, 1000}, {1000, 0, 130, 130},
	} {
		if raced && tt.want > 200 {
			continue
		}
		f := calmFleet(t, 0, func(p *epu.PoolSpec) {
			p.Limits.InFlight, p.Limits.Launches = tt.limit, epu.Count{}
			p.Placement[0].Max = tt.atFirst
		})
		var decision epu.DecisionID
		var told []epu.Reason
		f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
			switch d.Wanted.Target = tt.want; {
			case decision == "":
				decision = d.ID
				d.Wanted.Target = tt.asked
				d.Actions = []epu.Action{{Kind: epu.ActLaunch, Count: tt.asked, Reason: "a batch"}}
			case told == nil:
				told = s.Refused
			}
		}
		f.Run(12 * time.Second)
		numbers, launches := map[int]bool{}, map[epu.LaunchID]bool{}
		for _, w := range f.Workers() {
			if w.Asked != epu.Asked(decision, 0) {
				t.Fatalf("%+v: %s comes of %q", tt, w.ID, w.Asked)
			}
			numbers[int(w.AskedFrom)+w.Slot] = true
			launches[w.Launch] = true
		}
		for i := range tt.want {
			if !numbers[i] {
				t.Errorf("%+v: there is no worker %s", tt, epu.Provisional(epu.Asked(decision, 0), i))
			}
		}
		if len(numbers) != tt.want || len(f.Workers()) != tt.want {
			t.Errorf("%+v: %d workers with %d numbers in %d launches, want %d", tt, len(f.Workers()), len(numbers), len(launches), tt.want)
		}
		if refused := len(told) > 0 && told[0].Rule == "limits.in_flight"; refused != (tt.want < tt.asked) {
			t.Errorf("%+v: the policy was told of %v", tt, told)
		}
		f.Crash() // the numbers last
		f.Run(time.Minute)
		for _, w := range f.Workers() {
			delete(numbers, int(w.AskedFrom)+w.Slot)
		}
		if len(numbers) > 0 {
			t.Errorf("%+v: %d workers are not known by their numbers after a restart", tt, len(numbers))
		}
	}
}

// A policy can't end or drain what an operator protects, and hears of it; what is sick it may.
func TestPolicyLeavesProtected(t *testing.T) {
	for _, kind := range []epu.ActionKind{epu.ActTerminate, epu.ActDrain} {
		f := calmFleet(t, 3, nil)
		w := f.Workers()[1]
		done(t, f, true, &msg.Protect{Instance: string(w.ID)})
		var told []epu.Reason
		f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
			d.Actions, told = []epu.Action{{Kind: kind, Workers: []epu.WorkerID{w.ID}, Reason: "whim"}}, s.Refused
		}
		f.Run(time.Minute)
		if now := worker(f, w.ID); now == nil || now.Ended || now.Draining {
			t.Errorf("%s: got %+v, want it at work", kind, now)
		}
		if len(told) == 0 || told[0].Rule != "protected" {
			t.Errorf("%s: the policy was told of %v", kind, told)
		}
		f.Fail(w.Instance)
		f.Run(20 * time.Minute)
		if worker(f, w.ID) != nil {
			t.Errorf("%s: it failed and is still there", kind)
		}
		settled(t, f, 3, 0)
	}
}

// A policy that fails leaves its pool the last wish, for healing and for whoever asks; what it said before it
// failed is not done.
func TestFailedDecisionKeepsTheWish(t *testing.T) {
	f := calmFleet(t, 3, nil)
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		d.Wanted, d.Wish, d.Error = epu.Wish{}, epu.Wish{Target: 7}, "p.lua:3: no"
		d.Actions = []epu.Action{{Kind: epu.ActTerminate, Workers: []epu.WorkerID{s.Workers[0].ID}}}
	}
	w := f.Workers()[2]
	done(t, f, true, &msg.Kill{Instance: string(w.ID)})
	f.Run(10 * time.Minute)
	settled(t, f, 3, 0)
	if len(f.Machines()) != 4 {
		t.Errorf("%d machines, want the three and one in the place of the killed one", len(f.Machines()))
	}
	v := f.Ask(msg.PoolQuery{}).(msg.PoolView)
	if v.Wish.Target != 3 || v.Last.Wish.Target != 3 || v.Last.Error == "" || !strings.HasPrefix(v.Failure, "p.lua:3") || v.FailingSince.IsZero() {
		t.Errorf("got the wish %+v, the last decision %+v and the failure %q since %v", v.Wish, v.Last, v.Failure, v.FailingSince)
	}
}

// What a policy drains is replaced when the wish demands it, and a policy can take its drain back.
func TestPolicyDrains(t *testing.T) {
	f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Drain.Timeout = time.Hour })
	w := f.Workers()[0]
	f.Mute(w.Instance)
	kind := epu.ActDrain
	f.Policy = func(_ *policies.Snapshot, d *epu.Decision) {
		if kind != "" {
			d.Actions, kind = []epu.Action{{Kind: kind, Workers: []epu.WorkerID{w.ID}}}, ""
		}
	}
	f.Run(20 * time.Second)
	if now := worker(f, w.ID); !now.Draining || !now.Leaving || len(f.Machines()) != 3 {
		t.Fatalf("got %+v and %d machines", now, len(f.Machines()))
	}
	f.Unmute(w.Instance)
	kind = epu.ActResume
	f.Run(20 * time.Minute)
	if now := worker(f, w.ID); now == nil || now.Draining {
		t.Errorf("got %+v, want it in service", now)
	}
	settled(t, f, 2, 0)
}

// Goal: a worker that was put back into service is not ended for the drain that was taken back. Method: a drain that
// becomes overdue while the pool is frozen, then resume and thaw as quickly as a script gives them, before the next
// look at the deadlines.
func TestResumeForgetsLateDrain(t *testing.T) {
	f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Drain.Timeout = time.Minute })
	w := f.Workers()[0]
	f.Mute(w.Instance)
	done(t, f, true, &msg.FreezeCommand{})
	done(t, f, true, &msg.Drain{Instance: string(w.ID)})
	f.Run(70 * time.Second)
	f.Unmute(w.Instance)
	f.Run(20*time.Second + 300*time.Millisecond)
	f.Command(&msg.Resume{Instance: string(w.ID)})
	f.Run(200 * time.Millisecond)
	f.Command(&msg.Thaw{})
	f.Run(2 * time.Second)
	if now := worker(f, w.ID); now == nil || now.Ended || now.Draining {
		t.Errorf("got %+v, want it in service", now)
	}
}

// Goal: orders and readings find their pool through the gateway, and what finds none is told so. Method: a
// node in a bubble.
func TestOrdersThroughTheGateway(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		p := treePool("web", 2)
		p.Sensors = map[string]epu.SensorSpec{"load": {Source: epu.SourcePush, Every: 15 * time.Second, StaleAfter: time.Minute, Keep: time.Hour}}
		o.files.pools = []epu.PoolSpec{p, treePool("db", 1)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 2, "db": 1})
		w := n.pool("web").Workers[1]
		o.says(&msg.Protect{Instance: string(w.Instance)}, "never chosen as surplus")
		o.ask(&msg.Scale{Pool: "web", N: 1})
		n.expect(10*time.Minute, 2, map[epu.PoolID]int{"web": 1, "db": 1})
		if left := n.pool("web").Workers; len(left) != 1 || left[0].ID != w.ID || !left[0].Protected {
			t.Errorf("got %+v", left)
		}
		o.says(&msg.Replace{Instance: string(w.ID)}, "once another runs")
		o.says(&msg.Resume{Instance: string(w.ID)}, "back in service")
		for _, body := range []proto.Message{&msg.Drain{Instance: "nobody"}, &msg.Unprotect{Instance: "nobody"}, &msg.SensorPush{Pool: "nobody"}, &msg.SensorsQuery{Pool: "nobody"}} {
			if _, err := o.try(body); epu.KindOf(err) != epu.NotFound || epu.TryOf(err) == "" {
				t.Errorf("%T: got %v", body, err)
			}
		}
		load := func(v *msg.SensorValue) *msg.SensorStatus {
			if v != nil {
				v.Sensor = "load"
				o.says(&msg.SensorPush{Pool: "web", Values: []*msg.SensorValue{v}}, "a new reading")
			}
			return o.ask(&msg.SensorsQuery{Pool: "web"}).(*msg.Sensors).GetSensors()[0]
		}
		if s := load(nil); s.GetError() != "nothing has been sent to it yet" || s.GetQuality() != "unknown" {
			t.Errorf("got %v", s)
		}
		if s := load(&msg.SensorValue{Unknown: true, Error: "no\nqueue " + strings.Repeat("x", 1000)}); !strings.HasPrefix(s.GetError(), "no queue x") || len(s.GetError()) > 300 {
			t.Errorf("got %v", s)
		}
		if s := load(&msg.SensorValue{Value: proto.Float64(5), Error: "not for a value"}); s.GetError() != "" {
			t.Errorf("got %v", s)
		}
		if s := o.ask(&msg.SensorsQuery{}).(*msg.Sensors).GetSensors(); len(s) != 1 || s[0].GetValue() != 5 || s[0].GetPool() != "web" {
			t.Errorf("got %v", s)
		}
	})
}

func machineOf(f *actortest.Fleet, id epu.InstanceID) actortest.Machine {
	for _, m := range f.Machines() {
		if m.ID == id {
			return m
		}
	}
	return actortest.Machine{}
}

// endReason is why a worker ended, by its record.
func endReason(f *actortest.Fleet, id epu.WorkerID) string {
	for _, r := range f.Records {
		if r.Name == "worker_ended" && strings.Contains(string(r.Data), `"worker":"`+string(id)+`"`) {
			_, rest, _ := strings.Cut(string(r.Data), `"reason":"`)
			why, _, _ := strings.Cut(rest, `"`)
			return why
		}
	}
	return ""
}
