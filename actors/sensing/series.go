package sensing

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// PointsMax bounds the readings that one series keeps: of more, the oldest go first, however short the
// sensor's period is. It is a whole day at one reading in about ten seconds, and 200 KB.
const PointsMax = 8192

// sourcesMax bounds the names of sources that a series remembers. A source that comes back after so
// many others have started counts as new.
const sourcesMax = 8

// Point is one reading as it arrives.
type Point struct {
	Value   float64
	Unknown bool          // the source can't know the value now; Value means nothing
	Age     time.Duration // at arrival, by the sender's monotonic clock
	Source  string        // who measured; a name that is new to the series begins a warm-up
	Fault   string        // why the value is unknown
}

// Series holds one sensor's readings. It is a value that never changes: Add gives the next one, which
// shares what is common, so readers keep what they have at no cost. One goroutine at a time may Add to
// series of one descent; readers may be anywhere.
type Series struct {
	name    string
	rules   rules
	opened  time.Time // the points' times count from here, so a step of the wall clock moves none
	points  []point   // sorted by time, no two alike
	free    *int      // places left behind points in its array; nil = none
	good    point     // the newest reading with a value
	hasGood bool
	sources []source
	fault   string // of the newest reading, while it is unknown
}

// point is a reading in its place.
type point struct {
	at      time.Duration // since opened; negative for readings older than the series
	value   float64
	unknown bool
	warming bool
}

// source is somebody who sent readings.
type source struct {
	name string
	warm time.Duration // readings taken before this are warming
	down bool          // its newest reading was unknown
}

// rules are what a series needs of its sensor's specification.
type rules struct {
	stale, keep, maxAge, warmUp time.Duration
	missing                     epu.MissingData
	value                       float64
	least, most                 *float64 // nil = no bound
}

// outside says why a value can't be one of the sensor's, or "".
func (r rules) outside(value float64) string {
	return (&epu.SensorSpec{Min: r.least, Max: r.most}).Outside(value)
}

// New is the empty series of a sensor. now is when it begins to listen: silence counts from there.
func New(name string, spec epu.SensorSpec, now time.Time) Series {
	return Series{name: name, rules: rulesOf(spec), opened: now}
}

// Under is the same series under another specification of the same source. Readings keep the warm-up
// that they arrived in.
func (s Series) Under(spec epu.SensorSpec) Series {
	s.rules = rulesOf(spec)
	return s
}

func rulesOf(spec epu.SensorSpec) rules {
	r := rules{
		stale: spec.StaleAfter, maxAge: spec.MaxAge, warmUp: spec.WarmUp,
		missing: spec.Missing, value: spec.Value, least: spec.Least(), most: spec.Max,
	}
	// A reading that still counts is never too old to be kept.
	r.keep = max(spec.Keep, spec.StaleAfter, spec.MaxAge)
	if r.missing == epu.MissingLast {
		r.keep += max(r.stale, r.maxAge) // what bridges the beginning of a window lies before it
	}
	return r
}

// ErrTooOld refuses a reading that is older than what is kept: it could not matter.
var ErrTooOld = errors.New("dropped")

// Add is the series with one more reading, which arrived at now. A reading older than the newest takes
// its place among the past and changes what is current in nothing; one of the same time replaces. One whose
// value the sensor can't have is unknown. The note says what was odd about a reading that was taken; an error says why
// one was not.
func (s Series) Add(p Point, now time.Time) (next Series, note string, err error) {
	if !p.Unknown && (math.IsNaN(p.Value) || math.IsInf(p.Value, 0)) {
		return s, "", &epu.Error{
			Kind: epu.Invalid, Op: "take a reading of sensor", On: s.name, Err: errors.New("the value is not a finite number"),
			Try: "send unknown where there is no value",
		}
	}
	if fault := s.rules.outside(p.Value); fault != "" && !p.Unknown {
		// Nobody measured that: what is so can't be known from it, and the value before may be long wrong.
		p.Unknown, p.Fault = true, fault
		note = fault + "; taken as unknown"
	}
	age := p.Age
	switch {
	case age < 0:
		note = joined(note, fmt.Sprintf("the reading says that it is from the future by %v; taken as from now", -age))
		age = 0
	case age > s.rules.keep:
		return s, "", &epu.Error{
			Kind: epu.Invalid, Op: "take a reading of sensor", On: s.name,
			Err: fmt.Errorf("it is %v old, older than what is kept (%v): %w", age, s.rules.keep, ErrTooOld),
		}
	}
	taken := point{at: s.since(now) - age, value: p.Value, unknown: p.Unknown}
	if p.Unknown {
		taken.value = 0
	}
	newest, some := s.newest()
	if !some || taken.at >= newest.at {
		s.fault = ""
		if p.Unknown {
			s.fault = p.Fault
		}
		s.arrive(&taken, p.Source)
	} else if at := s.sourceAt(p.Source); at >= 0 && !p.Unknown {
		warm := s.sources[at].warm
		taken.warming = taken.at < warm && taken.at >= warm-s.rules.warmUp
	}
	s.insert(taken)
	s.forget(s.since(now))
	return s, note, nil
}

// joined is one note of two; either may be empty.
func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// arrive notes who sent the newest reading, and whether it falls into a warm-up. A source warms up when
// its name is new and when it knows a value again: a program that has just started often says 0.
func (s *Series) arrive(p *point, name string) {
	at := s.sourceAt(name)
	was := source{name: name, warm: p.at + s.rules.warmUp}
	if at >= 0 {
		was = s.sources[at]
		if was.down && !p.unknown {
			was.warm = p.at + s.rules.warmUp
		}
	}
	was.down = p.unknown
	switch {
	case at >= 0 && s.sources[at] == was:
	case at >= 0:
		s.sources = slices.Clone(s.sources)
		s.sources[at] = was
	default:
		kept := s.sources[max(0, len(s.sources)-sourcesMax+1):]
		s.sources = append(slices.Clone(kept), was)
	}
	p.warming = !p.unknown && p.at < was.warm
}

func (s *Series) sourceAt(name string) int {
	return slices.IndexFunc(s.sources, func(o source) bool { return o.name == name })
}

// insert puts a reading in its place without touching what readers of older series see.
func (s *Series) insert(p point) {
	at, found := slices.BinarySearchFunc(s.points, p, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	if room := cap(s.points) - len(s.points); at == len(s.points) && room > 0 && room == *s.free {
		s.points = append(s.points, p) // no other series has this place
		*s.free--
	} else {
		tail := at
		if found {
			tail++
		}
		points := make([]point, 0, len(s.points)+4+len(s.points)/2)
		points = append(append(append(points, s.points[:at]...), p), s.points[tail:]...)
		s.hold(points)
	}
	switch {
	case !p.unknown && (!s.hasGood || p.at >= s.good.at):
		s.good, s.hasGood = p, true
	case p.unknown && s.hasGood && p.at == s.good.at:
		s.hasGood = false
		for _, o := range slices.Backward(s.points) {
			if !o.unknown {
				s.good, s.hasGood = o, true
				break
			}
		}
	}
}

// hold takes a slice of its own.
func (s *Series) hold(points []point) {
	free := cap(points) - len(points)
	s.points, s.free = points, &free
}

// forget drops what is too old or too much. The last one before the span that is kept stays, because
// its value held on into it; so does the newest.
func (s *Series) forget(now time.Duration) {
	from, _ := slices.BinarySearchFunc(s.points, now-s.rules.keep, func(p point, at time.Duration) int {
		if p.at <= at {
			return -1
		}
		return 1
	})
	from = max(from-1, len(s.points)-PointsMax, 0)
	s.points = s.points[from:]
}

// newest is the reading with the latest time.
func (s *Series) newest() (point, bool) {
	if len(s.points) == 0 {
		return point{}, false
	}
	return s.points[len(s.points)-1], true
}

// since is a time as the points count it.
func (s *Series) since(t time.Time) time.Duration { return t.Sub(s.opened) }

// time is the time of a point.
func (s *Series) time(p point) time.Time { return s.opened.Add(p.at) }
