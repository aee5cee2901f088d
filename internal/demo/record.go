//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nimbus-epu/epu/policies/simulate"
)

// moment is what the node told of the pool and its queue at one time.
type moment struct {
	at         time.Time
	want, have int
	why        string  // the newest decision
	waiting    float64 // messages on the queue, as last known
	known      bool    // the reading can be trusted
}

// record keeps what was told, in order. The mutex is between those who read from epumgmt and the story.
type record struct {
	mu      sync.Mutex
	moments []moment      // the first is the beginning
	changed chan struct{} // closed with the next moment
}

func newRecord(now time.Time) *record {
	return &record{moments: []moment{{at: now}}, changed: make(chan struct{})}
}

func (r *record) note(at time.Time, change func(*moment)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.moments[len(r.moments)-1]
	m.at = at
	change(&m)
	r.moments = append(r.moments, m)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *record) last() (moment, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moments[len(r.moments)-1], r.changed
}

// from gives the moments since a time, the one in force then among them.
func (r *record) from(since time.Time) []moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.moments) - 1; i >= 0; i-- {
		if !r.moments[i].at.After(since) {
			return append([]moment(nil), r.moments[i:]...)
		}
	}
	return append([]moment(nil), r.moments...)
}

// await waits until what is told is so.
func (r *record) await(ctx context.Context, limit time.Duration, what string, so func(moment) bool) (moment, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		m, changed := r.last()
		if so(m) {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m, failure{"waited for " + what, "within " + limit.String(), m.String()}
		}
	}
}

func (m moment) String() string {
	queue := "unknown"
	if m.known {
		queue = fmt.Sprint(m.waiting)
	}
	return fmt.Sprintf("queue %s, wants %d, has %d (%s)", queue, m.want, m.have, m.why)
}

// watch records what epumgmt tells until it is stopped or ends with its node.
func (r *record) watch(ctx context.Context, s *stage) (stop func(), err error) {
	pools, err := s.follow(ctx, "status", s.pool, "-w")
	if err != nil {
		return nil, err
	}
	sensors, err := s.follow(ctx, "sensor", "list", s.pool, "-w")
	if err != nil {
		pools.stop()
		return nil, err
	}
	for _, f := range []*follower{pools, sensors} {
		go func() {
			for line := range f.lines {
				r.read(s.now(), line)
			}
		}()
	}
	return func() { pools.stop(); sensors.stop() }, nil
}

func (r *record) read(now time.Time, line []byte) {
	var l struct {
		Type         string
		Want, Have   int
		LastDecision struct{ Text string } `json:"last_decision"`
		Quality      string
		Value        float64
	}
	if json.Unmarshal(line, &l) != nil {
		return // nothing is told by it, and whoever waits for something says so
	}
	switch l.Type {
	case "pool-status":
		r.note(now, func(m *moment) { m.want, m.have, m.why = l.Want, l.Have, l.LastDecision.Text })
	case "sensor-status":
		r.note(now, func(m *moment) {
			if m.known = l.Quality == "ok"; m.known {
				m.waiting = l.Value
			}
		})
	}
}

// unknown says when the length of the queue was not known, in seconds since the beginning.
func (r *record) unknown() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var spans []string
	begin, since, ever := r.moments[0].at, time.Time{}, false
	for _, m := range r.moments {
		switch {
		case m.known && !since.IsZero():
			spans = append(spans, fmt.Sprintf("%.0f-%.0f s", since.Sub(begin).Seconds(), m.at.Sub(begin).Seconds()))
			since = time.Time{}
		case !m.known && ever && since.IsZero():
			since = m.at
		}
		ever = ever || m.known
	}
	return strings.Join(spans, " and ")
}

// drawnEvery is the distance of the points of the drawing.
const drawnEvery = 500 * time.Millisecond

// result is the record in the form that is drawn.
func (r *record) result(now time.Time) *simulate.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &simulate.Result{Label: "epu-queue"}
	begin, next := r.moments[0].at, 0
	for at := begin; !at.After(now); at = at.Add(drawnEvery) {
		for next+1 < len(r.moments) && !r.moments[next+1].at.After(at) {
			next++
		}
		m := r.moments[next]
		p := simulate.Point{At: at.Sub(begin).Seconds(), Wish: m.want, Running: m.have, Waiting: m.waiting}
		if p.Waiting > 0 {
			p.Demand = p.Waiting + float64(p.Running) // each waiting job could use a worker, and the workers have theirs
		}
		out.Series = append(out.Series, p)
	}
	out.Totals.Length = now.Sub(begin).Seconds()
	return out
}
