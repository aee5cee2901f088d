package sensing

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// Saved is a series as a snapshot keeps it.
type Saved struct {
	Points  []SavedPoint  `json:"points,omitempty"` // by time, oldest first
	Sources []SavedSource `json:"sources,omitempty"`
	Fault   string        `json:"fault,omitempty"`
}

// SavedPoint is one reading of a Saved.
type SavedPoint struct {
	Nano    int64   `json:"t"` // unix time
	Value   float64 `json:"v"`
	Unknown bool    `json:"u,omitempty"`
	Warming bool    `json:"w,omitempty"`
}

// SavedSource is a name that the series knows.
type SavedSource struct {
	Name string `json:"name"`
	Warm int64  `json:"warm"` // unix time in nanoseconds until which it warms up
	Down bool   `json:"down,omitempty"`
}

// Save gives the newest n readings, or all when n is negative, and what else must outlast a restart.
// The last reading with a value is among them even if it is older.
func (s Series) Save(n int) Saved {
	points := s.points
	if n >= 0 && n < len(points) {
		points = points[len(points)-n:]
	}
	var saved Saved
	if s.hasGood && (len(points) == 0 || s.good.at < points[0].at) {
		saved.Points = append(saved.Points, s.save(s.good))
	}
	for _, p := range points {
		saved.Points = append(saved.Points, s.save(p))
	}
	for _, o := range s.sources {
		saved.Sources = append(saved.Sources, SavedSource{Name: o.name, Warm: s.opened.Add(o.warm).UnixNano(), Down: o.down})
	}
	saved.Fault = s.fault
	return saved
}

func (s Series) save(p point) SavedPoint {
	return SavedPoint{Nano: s.time(p).UnixNano(), Value: p.value, Unknown: p.unknown, Warming: p.warming}
}

// Restore is the series that was saved, listening again since now. Ages count on by the wall clock, for
// nothing else knows how long nobody listened; what would lie in the future is from now. What no Save
// writes is left out.
func Restore(name string, spec epu.SensorSpec, saved Saved, now time.Time) Series {
	s := New(name, spec, now)
	points := make([]point, 0, len(saved.Points))
	for _, o := range saved.Points {
		if math.IsNaN(o.Value) || math.IsInf(o.Value, 0) {
			continue
		}
		p := point{at: min(0, s.past(o.Nano)), value: o.Value, unknown: o.Unknown, warming: o.Warming && !o.Unknown}
		if p.unknown {
			p.value = 0
		}
		points = append(points, p)
	}
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	for i, p := range points { // of equal times the last one counts
		if i+1 < len(points) && points[i+1].at == p.at {
			continue
		}
		s.insert(p)
	}
	for _, o := range saved.Sources[max(0, len(saved.Sources)-sourcesMax):] {
		if s.sourceAt(o.Name) >= 0 {
			continue
		}
		warm := min(s.past(o.Warm), s.rules.warmUp) // a clock that was set back makes nobody warm up longer
		s.sources = append(s.sources, source{name: o.Name, warm: warm, down: o.Down})
	}
	if newest, some := s.newest(); some && newest.unknown {
		s.fault = saved.Fault
	}
	s.forget(0)
	return s
}

// past is a unix time as the points count it. Nonsense from long ago is cut, so that sums stay in range.
func (s *Series) past(nano int64) time.Duration {
	return max(s.since(time.Unix(0, nano)), -longAgo)
}

const longAgo = time.Duration(1 << 61)
