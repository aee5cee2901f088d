package simulate

import (
	"cmp"
	"math"
	"slices"
)

// Point is one moment of a run, at a decision. Field names are a contract.
type Point struct {
	At       float64 `json:"at_seconds"`
	Demand   float64 `json:"demand"` // workers that would keep anything from waiting, whatever the policy
	Wish     int     `json:"wish"`   // in force, after the guard rails
	Running  int     `json:"running"`
	Starting int     `json:"starting"`
	Draining int     `json:"draining"` // of the running
	Waiting  float64 `json:"waiting"`  // jobs
	Busy     float64 `json:"busy"`     // workers
}

// Totals sums a run up. Field names are a contract.
type Totals struct {
	Length      float64 `json:"length_seconds"`
	Jobs        float64 `json:"jobs"`      // that came
	Done        float64 `json:"jobs_done"` // by the end
	WaitMean    float64 `json:"wait_mean_seconds"`
	WaitP50     float64 `json:"wait_p50_seconds"`
	WaitP90     float64 `json:"wait_p90_seconds"`
	WaitP99     float64 `json:"wait_p99_seconds"`
	WaitMax     float64 `json:"wait_max_seconds"`
	WaitingMax  float64 `json:"waiting_max"`  // longest queue
	WorkerHours float64 `json:"worker_hours"` // from launch to end
	BusyShare   float64 `json:"busy_share"`   // of the worker hours
	WorkersMax  int     `json:"workers_max"`  // running and starting
	USD         float64 `json:"usd"`
	Decisions   int     `json:"decisions"`
	Changes     int     `json:"wish_changes"`
	Alerts      int     `json:"alerts"`
	Clamped     int     `json:"clamped"` // decisions that the guard rails changed
	Errors      int     `json:"errors"`  // evaluations that failed
	Tally
}

// Result is what became of a run.
type Result struct {
	Label    string   `json:"label"` // how it is called beside others
	Policy   string   `json:"policy"`
	Hash     string   `json:"policy_hash"`
	Workload string   `json:"workload"`
	Seed     uint64   `json:"seed,string"`
	Totals   Totals   `json:"totals"`
	Errors   []string `json:"errors,omitempty"` // of the policy, the first few different ones
	Series   []Point  `json:"series,omitempty"`

	// Unmeasured are sensors that the policy asked for and that nothing here measures.
	Unmeasured []string `json:"unmeasured,omitempty"`
}

// finish fills in what is known only at the end.
func (r *Result) finish(s *simulation) {
	t := &r.Totals
	g, bill := s.work.measure(), s.pool.Bill(s.clock())
	if last := r.Series[len(r.Series)-1]; s.now.Seconds() > last.At {
		r.Series = append(r.Series, s.point())
	}
	t.Length, t.Jobs, t.Done = s.now.Seconds(), g.arrived, g.done
	t.WorkerHours, t.USD, t.Tally = bill.Worked.Hours(), bill.USD, s.pool.Tally()
	busy := 0.0
	for i, p := range r.Series {
		t.WorkersMax = max(t.WorkersMax, p.Running+p.Starting)
		t.WaitingMax = max(t.WaitingMax, p.Waiting)
		if i > 0 {
			busy += p.Busy * (p.At - r.Series[i-1].At)
			if p.Wish != r.Series[i-1].Wish {
				t.Changes++
			}
		}
	}
	if t.WorkerHours > 0 {
		t.BusyShare = min(1, busy/3600/t.WorkerHours)
	}
	t.waits(s.work.waits())
	t.round()
}

// waits fills in how long work waited; each piece counts, also those that still wait.
func (t *Totals) waits(all []wait) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b wait) int { return cmp.Compare(a.seconds, b.seconds) })
	pieces, sum := 0.0, 0.0
	for _, w := range all {
		pieces += w.pieces
		sum += w.pieces * w.seconds
	}
	if pieces == 0 {
		return
	}
	t.WaitMean, t.WaitMax = sum/pieces, all[len(all)-1].seconds
	marks := []struct {
		share float64
		into  *float64
	}{{0.5, &t.WaitP50}, {0.9, &t.WaitP90}, {0.99, &t.WaitP99}}
	seen := 0.0
	for _, w := range all {
		seen += w.pieces
		for len(marks) > 0 && seen >= marks[0].share*pieces-1e-9 {
			*marks[0].into = w.seconds
			marks = marks[1:]
		}
	}
}

// round cuts off what is finer than the model, so that results can be compared as text.
func (t *Totals) round() {
	for _, v := range []*float64{
		&t.Length, &t.Jobs, &t.Done, &t.WaitMean, &t.WaitP50, &t.WaitP90, &t.WaitP99, &t.WaitMax, &t.WaitingMax,
		&t.WorkerHours, &t.BusyShare, &t.USD,
	} {
		*v = math.Round(*v*1000) / 1000
	}
}

// Thin gives at most n points of a series, evenly in time: of the moments that one stands for, the one with
// the longest queue.
func Thin(series []Point, n int) []Point {
	if len(series) <= n || n < 1 {
		return series
	}
	out := make([]Point, 0, n)
	for i := range n {
		share := series[i*len(series)/n : (i+1)*len(series)/n]
		worst := share[0]
		for _, p := range share {
			if p.Waiting > worst.Waiting {
				worst = p
			}
		}
		out = append(out, worst)
	}
	return out
}
