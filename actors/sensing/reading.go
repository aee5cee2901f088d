package sensing

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// Sample is one point of a sparkline.
type Sample struct {
	Time    time.Time
	Value   float64
	Unknown bool
}

// recentSpan is how far back Recent looks.
const recentSpan = time.Hour

// Reading is the sensor's value at now as policies see it: what the sensor's missing-data rule says
// stands in the place of a reading that is stale or unknown. While the quality is unknown, value and
// age are those of the last reading that had a value, if any.
func (s Series) Reading(now time.Time) epu.Reading {
	r := s.Raw(now)
	if r.Quality != epu.QualityStale && r.Quality != epu.QualityUnknown {
		return r
	}
	switch s.rules.missing {
	case epu.MissingLast:
		if s.hasGood && r.Age <= s.rules.maxAge {
			r.Quality, r.StandIn = epu.QualityOK, epu.MissingLast
			if s.good.warming {
				r.Quality = epu.QualityWarming
			}
		}
	case epu.MissingFallback:
		// Not before the source had the time to say something: a node that has just started, or one
		// reading that went wrong, is no reason to act on a made-up value.
		if s.silence(now) > s.rules.stale {
			return epu.Reading{Sensor: s.name, Value: s.rules.value, Time: now, Quality: epu.QualityOK, StandIn: epu.MissingFallback}
		}
	}
	return r
}

// Raw is the sensor's value at now with its true quality: nothing takes the place of missing data.
func (s Series) Raw(now time.Time) epu.Reading {
	r := epu.Reading{Sensor: s.name, Quality: epu.QualityUnknown}
	if s.hasGood {
		r.Value, r.Time = s.good.value, s.time(s.good)
		r.Age = max(0, s.since(now)-s.good.at)
	}
	newest, some := s.newest()
	switch {
	case !some || newest.unknown:
	case r.Age > s.rules.stale:
		r.Quality = epu.QualityStale
	case s.good.warming:
		r.Quality = epu.QualityWarming
	default:
		r.Quality = epu.QualityOK
	}
	return r
}

// silence is how long no value has come while the series listened.
func (s Series) silence(now time.Time) time.Duration {
	heard := time.Duration(0)
	if s.hasGood {
		heard = max(0, s.good.at)
	}
	return s.since(now) - heard
}

// Fault is why the newest reading is unknown, or "".
func (s Series) Fault() string { return s.fault }

// Len is the number of readings that are kept.
func (s Series) Len() int { return len(s.points) }

// Recent is at most n readings of the last hour, oldest first, for a sparkline. Of more readings each
// stands for an equal share of them, with the last value in it.
func (s Series) Recent(now time.Time, n int) []Sample {
	from := s.after(s.since(now) - recentSpan)
	points := s.points[from:]
	if n <= 0 || len(points) == 0 {
		return nil
	}
	n = min(n, len(points))
	samples := make([]Sample, n)
	for i := range samples {
		share := points[i*len(points)/n : (i+1)*len(points)/n]
		p := share[len(share)-1]
		for j := len(share) - 1; j >= 0 && p.unknown; j-- {
			p = share[j]
		}
		if p.unknown {
			p = share[len(share)-1]
		}
		samples[i] = Sample{Time: s.time(p), Value: p.value, Unknown: p.unknown}
	}
	return samples
}

// after is the index of the first point later than at.
func (s Series) after(at time.Duration) int {
	low, high := 0, len(s.points)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s.points[mid].at > at {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
