package simulate

import (
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
)

// Sensors are a pool's sensors with the readings so far, kept as the daemon keeps them.
type Sensors struct {
	names  []string
	series map[string]sensing.Series
}

// SensorDefaults fills in what a specification leaves open, for readings that come so often.
func SensorDefaults(s epu.SensorSpec, every time.Duration) epu.SensorSpec {
	if s.Source == "" {
		s.Source = epu.SourcePush
	}
	if s.Every == 0 {
		s.Every = every
	}
	if s.StaleAfter == 0 {
		s.StaleAfter = max(3*s.Every, 30*time.Second)
	}
	if s.Missing == "" {
		s.Missing = epu.MissingHold
	}
	if s.Keep == 0 {
		s.Keep = time.Hour
	}
	return s
}

// NewSensors makes sensors without readings. Silence counts from now.
func NewSensors(specs map[string]epu.SensorSpec, now time.Time) *Sensors {
	s := &Sensors{names: slices.Sorted(maps.Keys(specs)), series: map[string]sensing.Series{}}
	for name, spec := range specs {
		s.series[name] = sensing.New(name, spec, now)
	}
	return s
}

// Add takes a reading of a sensor that was made with the others.
func (s *Sensors) Add(name string, p sensing.Point, now time.Time) error {
	next, _, err := s.series[name].Add(p, now)
	s.series[name] = next
	return err
}

// Senses are all readings at a moment.
func (s *Sensors) Senses(now time.Time) Senses {
	out := Senses{Readings: make(map[string]epu.Reading, len(s.names))}
	kept := maps.Clone(s.series)
	for _, name := range s.names {
		out.Readings[name] = kept[name].Reading(now)
	}
	out.Windows = func(name string, span time.Duration) (epu.Window, bool) {
		series, ok := kept[name]
		if !ok {
			return epu.Window{}, false
		}
		return series.Window(now, span)
	}
	return out
}
