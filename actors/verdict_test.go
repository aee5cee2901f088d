package actors

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// verdictHost counts what a controller does between a verdict and the intents that follow from it.
type verdictHost struct {
	*benchHost
	evaluations int
	events      map[string]int
	sent        []outgoing
}

func (h *verdictHost) Send(to msg.Address, m any) { h.sent = append(h.sent, outgoing{to, m}) }

// watchedController is a controller of n workers on a host that notes what it does.
func watchedController(n int) (*Controller, *Durable, *verdictHost) {
	c, d, h := benchController(n)
	v := &verdictHost{benchHost: h, events: map[string]int{}}
	d.host = v
	limits := &c.st.Define.Spec.Limits
	limits.InFlight, limits.Launches = 50, epu.Count{N: 2 * (n + 1), Window: 10 * time.Minute}
	limits.Terminations = epu.Count{N: 20, Window: 10 * time.Minute}
	return c, d, v
}

func (h *verdictHost) Append(s epu.StreamID, at epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	for _, e := range events {
		h.events[e.Type]++
	}
	h.benchHost.Append(s, at, events, done)
}

func (h *verdictHost) Go(call any, done func(any, error)) {
	h.evaluations++
	h.benchHost.Go(call, done)
}

// verdict gives a controller of n workers a verdict on one of them, and counts the turns and evaluations
// until the end of that worker and the launch of another are durable. Time stands still meanwhile: a
// timer would never come.
func verdict(t testing.TB, n int, health epu.Health) (turns, evaluations int) {
	t.Helper()
	c, d, h := watchedController(n)
	sick := c.Workers()[n/2]
	const turnsMax = 10
	for h.events["worker-ended"] == 0 || h.events["launch-opened"] == 0 {
		if turns++; turns > turnsMax {
			t.Fatalf("%v of %s led to nothing but %v in %d turns", health, sick.ID, h.events, turnsMax)
		}
		switch {
		case turns == 1:
			d.Receive(msg.WorkerFact{Worker: sick.ID, At: h.now, Health: health, Heard: true}, "")
		case h.done != nil:
			done := h.done
			h.done = nil
			done(epu.Decision{Wanted: c.st.Wish}, nil)
		default:
			d.Receive(msg.SyncQuery{}, "") // any message
		}
	}
	return turns, h.evaluations
}

// The budgets of the way from a verdict to a durable intent.
const verdictTurnsMax, verdictEvaluationsMax = 3, 1

// Goal: a bad verdict becomes the durable end of its worker and the durable launch of another within three
// turns of the controller and one evaluation, and no timer. Method: each verdict, time standing still.
func TestVerdictToIntent(t *testing.T) {
	for _, health := range []epu.Health{epu.ProcessError, epu.MonitorError, epu.Missing} {
		for _, n := range []int{1, 100, 10_000} {
			turns, evaluations := verdict(t, n, health)
			if turns > verdictTurnsMax || evaluations > verdictEvaluationsMax {
				t.Errorf("%v among %d: %d turns and %d evaluations, want at most %d and %d",
					health, n, turns, evaluations, verdictTurnsMax, verdictEvaluationsMax)
			}
		}
	}
}

// The same as rows of the table of budgets: of three turns, how many were taken. A turn's cost does not
// depend on the pool's size alone, so its time is told too.
func BenchmarkBudgetVerdict(b *testing.B) {
	turns, evaluations := verdict(b, 100, epu.ProcessError)
	b.Run("turns", func(b *testing.B) {
		b.ReportMetric(float64(turns)/verdictTurnsMax, "ratio")
		b.ReportMetric(1, "budget-most")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("evaluations", func(b *testing.B) {
		b.ReportMetric(float64(evaluations)/verdictEvaluationsMax, "ratio")
		b.ReportMetric(1, "budget-most")
		b.ReportMetric(0, "ns/op")
	})
}

// Goal: in recovery a controller ends and launches nothing, whatever it hears; then it does. Method: a bad
// verdict and ticks before the end of recovery, and nothing but that end.
func TestNoIntentInRecovery(t *testing.T) {
	c, d, h := watchedController(5)
	c.id.Recovery = true
	sick := c.Workers()[2]
	d.Receive(msg.WorkerFact{Worker: sick.ID, At: h.now, Health: epu.ProcessError, Heard: true}, "")
	for range 10 {
		h.now = h.now.Add(5 * time.Second)
		d.Receive(Wake{}, "")
	}
	if len(h.events) > 0 || h.evaluations > 0 {
		t.Errorf("got the events %v and %d evaluations in recovery", h.events, h.evaluations)
	}
	d.Receive(msg.Define{Epoch: 2, Gen: c.st.Define.Gen, Spec: c.st.Define.Spec}, "")
	c.syncs["cloud"] = true // the site has been listed in the new epoch
	c.dirty = true
	h.now = h.now.Add(5 * time.Second)
	d.Receive(Wake{}, "")
	if h.events["worker-ended"] != 1 || h.events["launch-opened"] != 1 {
		t.Errorf("got the events %v after recovery, want one end and one launch", h.events)
	}
}

// Goal: a report of another epoch changes nothing and is not noted. Method: one that would end a worker,
// with a higher revision than any, from an older and from a newer epoch, and then one of this epoch.
func TestReportOfAnotherEpoch(t *testing.T) {
	c, d, h := watchedController(1)
	w := c.Workers()[0]
	report := func(epoch epu.Epoch) {
		h.sent = nil
		d.Receive(msg.Report{
			Epoch: epoch, Site: "cloud", Launch: w.Launch, Rev: 99, Closed: true,
			Slots: []msg.Slot{{State: epu.Terminated, Instance: w.Instance}},
		}, "")
	}
	noted := func() (n int) {
		for _, o := range h.sent {
			if _, ok := o.m.(msg.Noted); ok {
				n++
			}
		}
		return n
	}
	for _, epoch := range []epu.Epoch{0, 2} {
		if report(epoch); len(c.Workers()) != 1 || h.events["launch-reported"] > 0 || noted() > 0 {
			t.Errorf("a report of epoch %d left %d workers, the events %v and %d notes", epoch, len(c.Workers()), h.events, noted())
		}
	}
	if report(1); h.events["launch-reported"] != 1 || noted() != 1 {
		t.Errorf("got the events %v and %d notes for a report of this epoch", h.events, noted())
	}
}

// Goal: generations of an older epoch say nothing in a new one: a definition with a lower one is taken.
// Method: the registry's stream is from an earlier moment than the pool's.
func TestNewEpochTakesLowerGeneration(t *testing.T) {
	c, d, _ := watchedController(1)
	spec := c.st.Define.Spec
	d.Receive(msg.Define{Epoch: 1, Gen: 9, Spec: spec}, "")
	spec.Limits.Max = 7
	d.Receive(msg.Define{Epoch: 1, Gen: 3, Spec: spec}, "")
	if c.st.Define.Gen != 9 || c.st.Define.Spec.Limits.Max == 7 {
		t.Fatal("a late definition was taken")
	}
	d.Receive(msg.Define{Epoch: 2, Gen: 3, Spec: spec}, "")
	if c.st.Define.Gen != 3 || c.st.Define.Spec.Limits.Max != 7 {
		t.Errorf("got generation %d in the new epoch, want 3", c.st.Define.Gen)
	}
}

// Goal: a node that was stopped forgives all its workers that span, at once. Method: the controller's
// clock jumps; a gap that a tick may take is no stop.
func TestStoppedNodeForgives(t *testing.T) {
	c, d, h := watchedController(3)
	forgiven := func(gap time.Duration) map[msg.Address]time.Duration {
		h.sent = nil
		h.now = h.now.Add(gap)
		d.Receive(Wake{}, "")
		by := map[msg.Address]time.Duration{}
		for _, o := range h.sent {
			if s, ok := o.m.(msg.ShiftTimes); ok {
				by[o.to] += s.By
			}
		}
		return by
	}
	if by := forgiven(10 * time.Second); len(by) > 0 {
		t.Errorf("got %v after two ticks, want nothing to forgive", by)
	}
	by := forgiven(time.Hour)
	for _, w := range c.Workers() {
		if got := by[msg.WorkerAddress(epu.DefaultOwner, "web", w.ID)]; got != time.Hour {
			t.Errorf("%s is forgiven %v, want an hour", w.ID, got)
		}
	}
}
