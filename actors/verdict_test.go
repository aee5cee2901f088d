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
	c, d, h := benchController(n)
	v := &verdictHost{benchHost: h, events: map[string]int{}}
	d.host = v
	limits := &c.st.Define.Spec.Limits
	limits.InFlight, limits.Launches = 50, epu.Count{N: 2 * (n + 1), Window: 10 * time.Minute}
	limits.Terminations = epu.Count{N: 20, Window: 10 * time.Minute}
	sick := c.Workers()[n/2]
	const turnsMax = 10
	for v.events["worker-ended"] == 0 || v.events["launch-opened"] == 0 {
		if turns++; turns > turnsMax {
			t.Fatalf("%v of %s led to nothing but %v in %d turns", health, sick.ID, v.events, turnsMax)
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
	return turns, v.evaluations
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
