package sensing

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// Window sums up the span that ends at now; it reports false if there is nothing in it or anything in
// it is unknown. A value holds until the next reading, at most as long as it would be current: beyond
// that the span is not covered and the window is stale. A sensor whose last value counts while data is
// missing is not unknown so long as it does; a fallback value is never averaged in.
func (s Series) Window(now time.Time, span time.Duration) (epu.Window, bool) {
	w := epu.Window{Sensor: s.name, Span: span, Quality: epu.QualityOK}
	if span <= 0 {
		return w, false
	}
	end := s.since(now)
	g := gather{w: &w, start: end - span, end: end, holds: s.rules.stale}
	if s.rules.missing == epu.MissingLast {
		g.holds, g.bridges = max(s.rules.stale, s.rules.maxAge), true
	}
	first, last := s.after(g.start), s.after(end)
	if first > 0 {
		first-- // its value holds on into the span
	}
	// What bridges an unknown stretch at the beginning may lie further back.
	for g.bridges && first > 0 && first < last && s.points[first].unknown {
		first--
	}
	for i := first; i < last; i++ {
		next := end
		if i+1 < last {
			next = s.points[i+1].at
		}
		if !g.add(s.points[i], next) {
			return w, false
		}
	}
	return w, g.finish(s.points[first:last])
}

// gather adds up a window, reading by reading.
type gather struct {
	w          *epu.Window
	start, end time.Duration
	holds      time.Duration // how long a value holds without a next one
	bridges    bool          // unknown readings do not end a value's hold

	has  bool    // held is there
	held point   // the value that holds
	some bool    // something of it is in the span
	area float64 // value times seconds
}

// add takes a reading and the time of the next one; it reports false when the window is unknown.
func (g *gather) add(p point, next time.Duration) bool {
	if p.unknown {
		if !g.bridges || !g.has || next-g.held.at > g.holds {
			return next <= g.start && next < g.end // before the span it does not matter
		}
	} else {
		g.held, g.has = p, true
	}
	from, to := max(p.at, g.start), min(next, g.held.at+g.holds)
	switch {
	case to < next && next > g.start:
		g.w.Quality = worse(g.w.Quality, epu.QualityStale)
	case g.held.warming:
		g.w.Quality = worse(g.w.Quality, epu.QualityWarming)
	}
	inside := !p.unknown && p.at > g.start
	if to <= from && !inside {
		return true
	}
	v := g.held.value
	if !g.some {
		g.w.Min, g.w.Max = v, v
	}
	g.some = true
	g.w.Min, g.w.Max, g.w.Last = min(g.w.Min, v), max(g.w.Max, v), v
	if inside {
		g.w.Count++
	}
	if to > from {
		g.area += v * (to - from).Seconds()
		g.w.Covers += to - from
	}
	return true
}

// finish works out mean and slope.
func (g *gather) finish(points []point) bool {
	if !g.some {
		return false
	}
	g.w.Mean = g.w.Last
	if g.w.Covers > 0 {
		// Rounding must not carry the mean out of what was measured.
		g.w.Mean = min(max(g.area/g.w.Covers.Seconds(), g.w.Min), g.w.Max)
	}
	g.w.Slope = g.slope(points)
	return true
}

// slope is the least-squares slope of the readings taken in the span, per second; 0 for fewer than two.
func (g *gather) slope(points []point) float64 {
	var n, t, v float64
	for _, p := range points {
		if !p.unknown && p.at > g.start {
			n++
			t += ((p.at - g.end).Seconds() - t) / n
			v += (p.value - v) / n
		}
	}
	var tt, tv float64
	for _, p := range points {
		if !p.unknown && p.at > g.start {
			dt := (p.at - g.end).Seconds() - t
			tt += dt * dt
			tv += dt * (p.value - v)
		}
	}
	if n < 2 || tt == 0 {
		return 0
	}
	return tv / tt
}

func worse(a, b epu.Quality) epu.Quality {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// rank sorts the qualities, best first.
func rank(q epu.Quality) int {
	switch q {
	case epu.QualityOK:
		return 0
	case epu.QualityWarming:
		return 1
	case epu.QualityStale:
		return 2
	}
	return 3
}
