package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/policies"
)

// The names by which a saved document says what it is.
const (
	Schema = "epu/v1"
	Type   = "policy-snapshot"
)

// pointsMax bounds the readings of one sensor in a document: of more the newest are kept.
const pointsMax = 1000

// Document is a snapshot as it is saved: with the policy and the configuration that it was made for.
type Document struct {
	Schema string         `json:"schema"`
	Type   string         `json:"type"`
	Pool   epu.PoolID     `json:"pool"`
	Policy Policy         `json:"policy"`
	Conf   map[string]any `json:"conf"`
	Seen   Seen           `json:"seen"`
}

// Policy is a policy with its sources.
type Policy struct {
	Name  string   `json:"name"`
	Files []Source `json:"files,omitempty"` // the first is the policy, the others what it requires; none = the one of that name
}

// Source is a file of a policy.
type Source struct {
	Path string `json:"path"` // in the policy folder
	Text string `json:"text"`
}

// Seen is what the policy sees: one of the two.
type Seen struct {
	Live   *Live         `json:"live,omitempty"`
	Record *epu.Decision `json:"record,omitempty"` // a decision of the past with the inputs that its policy read
	Given  []epu.Reading `json:"given,omitempty"`  // by hand, in place of others; each counts as if it had been all along
}

// Live is a pool's snapshot. Durations are nanoseconds.
type Live struct {
	Now         time.Time                    `json:"now"`
	Pool        epu.PoolID                   `json:"pool"`
	Owner       epu.Owner                    `json:"owner"`
	Decision    epu.DecisionID               `json:"decision"`
	Seed        uint64                       `json:"seed,string"`
	Wish        epu.Wish                     `json:"wish"` // in force
	Memory      json.RawMessage              `json:"memory,omitempty"`
	Counts      Counts                       `json:"counts"`
	Workers     policies.Visited             `json:"workers"`
	Sensors     map[string]Sensor            `json:"sensors,omitempty"`
	Changes     []epu.Change                 `json:"changes,omitempty"`
	Work        epu.Work                     `json:"work"`
	Offers      []epu.Offer                  `json:"offers,omitempty"`
	Budget      epu.Budget                   `json:"budget"`
	Places      []epu.Placement              `json:"places,omitempty"`
	Refused     []epu.Reason                 `json:"refused,omitempty"`
	Backoff     time.Duration                `json:"backoff,omitempty"`
	SiteBackoff map[epu.SiteID]time.Duration `json:"site_backoff,omitempty"`
	Min         int                          `json:"min"`
	Max         int                          `json:"max"` // -1 = none
}

// Counts are the sums of the workers.
type Counts struct {
	Starting  int `json:"starting"`
	Running   int `json:"running"`
	Unhealthy int `json:"unhealthy"`
	Draining  int `json:"draining"`
	Ending    int `json:"ending"`
}

// Sensor is a sensor with its readings, and what of its definition windows depend on.
type Sensor struct {
	Reading    epu.Reading     `json:"reading"` // as the policy sees it
	StaleAfter time.Duration   `json:"stale_after"`
	Keep       time.Duration   `json:"keep"`
	Missing    epu.MissingData `json:"missing,omitempty"`
	MaxAge     time.Duration   `json:"max_age,omitempty"`
	Value      float64         `json:"value,omitempty"`
	Min        *float64        `json:"min,omitempty"`
	Max        *float64        `json:"max,omitempty"`
	Series     sensing.Saved   `json:"series"`
}

// spec is what the document knows of the sensor's definition.
func (s *Sensor) spec() epu.SensorSpec {
	return epu.SensorSpec{
		StaleAfter: s.StaleAfter, Keep: s.Keep, Missing: s.Missing, MaxAge: s.MaxAge, Value: s.Value, Min: s.Min, Max: s.Max,
	}
}

// Series is a sensor's readings with its definition, as its pool holds them.
type Series struct {
	Spec   epu.SensorSpec
	Series sensing.Series
}

// Of makes the document's part of a live snapshot and the series behind it.
func Of(s *policies.Snapshot, series map[string]Series) Seen {
	l := &Live{
		Now: s.Now, Pool: s.Pool, Owner: s.Owner, Decision: s.Decision, Seed: s.Seed, Wish: s.Wish, Memory: s.Memory,
		Counts: Counts(s.Counts), Workers: policies.Visiting(s.Workers), Changes: s.Changes, Work: s.Work, Offers: s.Offers,
		Budget: s.Budget, Places: s.Places, Refused: s.Refused, Backoff: s.Backoff, SiteBackoff: s.SiteBackoff,
		Min: s.MinMax[0], Max: s.MinMax[1], Sensors: map[string]Sensor{},
	}
	for name, r := range s.Readings {
		of := series[name]
		l.Sensors[name] = Sensor{
			Reading: r, StaleAfter: of.Spec.StaleAfter, Keep: of.Spec.Keep, Missing: of.Spec.Missing, MaxAge: of.Spec.MaxAge,
			Value: of.Spec.Value, Min: of.Spec.Least(), Max: of.Spec.Max, Series: of.Series.Save(pointsMax),
		}
	}
	return Seen{Live: l}
}

// Snapshot is what the policy sees, ready to be evaluated.
func (s Seen) Snapshot() (*policies.Snapshot, error) {
	switch {
	case s.Live != nil && s.Record != nil, s.Live == nil && s.Record == nil:
		return nil, epu.E(epu.Invalid, "read", "a snapshot", errors.New("it holds either live or record"))
	case s.Record != nil:
		seen, err := policies.Recall(*s.Record)
		if err != nil {
			return nil, err
		}
		return s.given(seen), nil
	}
	return s.given(s.Live.snapshot()), nil
}

// given is a snapshot with the readings that somebody gave.
func (s Seen) given(seen *policies.Snapshot) *policies.Snapshot {
	for _, r := range s.Given {
		seen = seen.With(r)
	}
	return seen
}

func (l *Live) snapshot() *policies.Snapshot {
	s := &policies.Snapshot{
		Now: l.Now, Pool: l.Pool, Owner: l.Owner, Decision: l.Decision, Seed: l.Seed, Wish: l.Wish, Memory: l.Memory,
		Counts: policies.Counts(l.Counts), Workers: l.Workers.Workers(), Changes: l.Changes, Work: l.Work, Offers: l.Offers,
		Budget: l.Budget, Places: l.Places, Refused: l.Refused, Backoff: l.Backoff, SiteBackoff: l.SiteBackoff,
		MinMax: [2]int{l.Min, l.Max}, Readings: map[string]epu.Reading{},
	}
	for _, w := range s.Workers {
		if w.Unhealthy() {
			s.Bad = append(s.Bad, w)
		}
	}
	series := map[string]sensing.Series{}
	for name, of := range l.Sensors {
		s.Readings[name] = of.Reading
		series[name] = sensing.Restore(name, of.spec(), of.Series, l.Now)
	}
	s.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		of, ok := series[sensor]
		if !ok {
			return epu.Window{}, false
		}
		return of.Window(l.Now, span)
	}
	return s
}

// Outside says why a sensor can't have a value, or "" as far as the document knows.
func (s Seen) Outside(sensor string, value float64) string {
	if s.Live == nil {
		return ""
	}
	of := s.Live.Sensors[sensor]
	spec := of.spec()
	return spec.Outside(value)
}

// Sensors are the names of the sensors that there are, or that the recorded decision read; sorted.
func (s Seen) Sensors() []string {
	if s.Live != nil {
		return slices.Sorted(maps.Keys(s.Live.Sensors))
	}
	snap, err := s.Snapshot()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(snap.Readings))
}

// Read reads a saved document. Unknown fields are kept out of the way: newer nodes may say more.
func Read(b []byte) (Document, error) {
	var d Document
	if err := json.Unmarshal(b, &d); err != nil {
		return d, epu.E(epu.Invalid, "read", "a snapshot", err)
	}
	if d.Schema != Schema || d.Type != Type {
		return d, epu.E(epu.Invalid, "read", "a snapshot", fmt.Errorf("it says of itself that it is %q %q, not %q %q", d.Schema, d.Type, Schema, Type))
	}
	return d, nil
}
