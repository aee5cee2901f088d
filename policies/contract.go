package policies

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/nimbus-epu/epu"
)

// Snapshot is what a controller knows at one moment. It is immutable: slices and the workers behind
// them are shared with the controller, which replaces rather than changes them. A tick when nothing
// changed hands over the same slices again and costs nothing per worker.
type Snapshot struct {
	Now      time.Time
	Pool     epu.PoolID
	Owner    epu.Owner
	Decision epu.DecisionID // of the evaluation to come; seeds its randomness
	Seed     uint64
	Wish     epu.Wish        // in force, after the guard rails; the first one is empty
	Memory   json.RawMessage // what the policy kept; nil at first
	Counts   Counts
	Workers  []*epu.Worker // every worker that is not gone, sorted by Created then ID
	Bad      []*epu.Worker // those of Workers that are Unhealthy, in the same order
	Readings map[string]epu.Reading
	Refused  []epu.Reason  // what the guard rails refused of the last decision
	Backoff  time.Duration // until launches may be tried again; 0 = now
	MinMax   [2]int        // the pool's limits.min and limits.max (-1 = none)

	// What follows is empty where a pool has no sensors, prices or deadline.
	Windows func(sensor string, span time.Duration) (epu.Window, bool) `json:"-"` // over the readings behind Readings; nil = no sensors
	Changes []epu.Change                                               // since the decision before, oldest first; at most ChangesMax
	Work    epu.Work
	Offers  []epu.Offer // of the sites of the pool's placement, cheapest first
	Budget  epu.Budget
	Places  []epu.Placement // the pool's placement, in its order
	// SiteBackoff is until when launches at a site of the placement wait after failures there.
	SiteBackoff map[epu.SiteID]time.Duration

	past *past // of a recorded decision; nil = everything can be read
}

// Imagined is a reading that was never taken, for asking what would be. A value that is no number is unknown.
func Imagined(sensor string, value float64, now time.Time) epu.Reading {
	return tame(epu.Reading{Sensor: sensor, Value: value, Time: now, Quality: epu.QualityOK})
}

// With is the snapshot with another reading of a sensor, as if its value had been that all along: windows over the
// sensor and the work that it tells of say the same.
func (s *Snapshot) With(r epu.Reading) *Snapshot {
	next := *s
	next.Readings = maps.Clone(s.Readings)
	if next.Readings == nil {
		next.Readings = map[string]epu.Reading{}
	}
	next.Readings[r.Sensor] = r
	before := s.Windows
	next.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		switch {
		case sensor == r.Sensor:
			return epu.Window{
				Sensor: sensor, Span: span, Mean: r.Value, Min: r.Value, Max: r.Value, Last: r.Value, Count: 1, Covers: span, Quality: r.Quality,
			}, true
		case before == nil:
			return epu.Window{}, false
		}
		return before(sensor, span)
	}
	for _, w := range []**epu.Reading{&next.Work.Left, &next.Work.Rate} {
		if *w != nil && (*w).Sensor == r.Sensor {
			*w = &r
		}
	}
	if s.past != nil {
		past := *s.past
		past.given = maps.Clone(past.given)
		if past.given == nil {
			past.given = map[string]bool{}
		}
		past.given[r.Sensor] = true
		next.past = &past
	}
	return &next
}

// ChangesMax bounds Snapshot.Changes: of more, the newest are kept.
const ChangesMax = 1000

// Counts sums up the workers of a snapshot. An ended or gone worker is in Ending or nowhere.
type Counts struct {
	Starting  int // open, not yet Running: everything requested
	Running   int // open, Running
	Unhealthy int // open and unhealthy; also counted in Starting or Running
	Draining  int // open and draining; also counted in Running
	Ending    int // ended, machine not yet confirmed gone
}

// Open is the supply: Starting plus Running.
func (c Counts) Open() int { return c.Starting + c.Running }

// Add counts a worker n times, or takes it out again with n below 0.
func (c *Counts) Add(w *epu.Worker, n int) {
	switch {
	case !w.Open():
		c.Ending += n
		return
	case w.State >= epu.Running:
		c.Running += n
	default:
		c.Starting += n
	}
	if w.Draining {
		c.Draining += n
	}
	if w.Unhealthy() {
		c.Unhealthy += n
	}
}

// Sum counts workers that are not gone, and picks the open and unhealthy ones in their order.
func Sum(workers []*epu.Worker) (c Counts, bad []*epu.Worker) {
	for _, w := range workers {
		c.Add(w, 1)
		if w.Open() && w.Unhealthy() {
			bad = append(bad, w)
		}
	}
	return c, bad
}
