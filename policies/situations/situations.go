package situations

import (
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// Pool is the pool of every situation.
const Pool epu.PoolID = "epu-rehearsal"

// Crowd is how many workers the largest situation has.
const Crowd = 300

// Situation is a pool at one moment, as far as it is not a matter of its policy.
type Situation struct {
	Doc         string
	Workers     []*epu.Worker // oldest first
	Readings    map[string]epu.Reading
	Windows     func(sensor string, span time.Duration) (epu.Window, bool)
	Changes     []epu.Change
	Work        epu.Work
	Offers      []epu.Offer
	Budget      epu.Budget
	Places      []epu.Placement
	SiteBackoff map[epu.SiteID]time.Duration
	Backoff     time.Duration
	Refused     []epu.Reason
}

// All are the situations at a moment, in an order that tells a story: the pool starts, works, is
// disturbed, and rests. Sensors are those that have readings where there are any.
func All(now time.Time, sensors []string) []Situation {
	m := maker{now: now, sensors: sensors}
	return []Situation{
		m.make("nothing runs, and no reading has come", 0, 0, ""),
		m.make("the first workers start", 0, 3, epu.QualityWarming).reads(m, 5),
		m.make("much to do", 3, 0, epu.QualityOK).reads(m, 1000),
		m.make("more workers start, still much to do", 3, 4, epu.QualityOK).reads(m, 800),
		m.make("a crowd at work", Crowd, 0, epu.QualityOK).reads(m, 5000),
		m.make("the readings are old", 7, 0, epu.QualityStale).reads(m, 50),
		m.make("the source does not know", 7, 0, epu.QualityUnknown).reads(m, 0),
		m.failing(),
		m.make("little to do", 7, 0, epu.QualityOK).reads(m, 1),
		m.make("nothing to do", 5, 0, epu.QualityOK).reads(m, 0),
		m.bare(),
	}
}

type maker struct {
	now     time.Time
	sensors []string
}

// make is a pool with running and starting workers.
func (m maker) make(doc string, running, starting int, quality epu.Quality) Situation {
	s := Situation{Doc: doc, Readings: map[string]epu.Reading{}, SiteBackoff: map[epu.SiteID]time.Duration{}}
	for i := range running + starting {
		id := epu.NewWorkerID(epu.NewLaunchID(Pool, 1, uint64(i/2+1)), i%2)
		launch, slot, _ := id.Parse()
		w := &epu.Worker{
			ID: id, Launch: launch, Slot: slot, Site: []epu.SiteID{"east", "west"}[i%2], Zone: "a", Allocation: "small",
			Market: []epu.Market{epu.OnDemand, epu.Spot}[i/2%2], State: epu.Running, Health: epu.HealthOK,
			Created: m.now.Add(-time.Hour + time.Duration(i)*time.Second), Price: 0.1, ChargeAt: m.now.Add(time.Duration(i%60) * time.Minute),
		}
		switch {
		case i >= running:
			w.State, w.Health, w.Created = epu.Pending, epu.HealthUnknown, m.now.Add(-30*time.Second)
		case i%3 == 0:
			w.BusyUntil = m.now.Add(10 * time.Minute)
		case i%3 == 1:
			w.IdleSince = m.now.Add(-20 * time.Minute)
		}
		s.Workers = append(s.Workers, w)
	}
	for _, id := range m.sensors {
		if quality != "" {
			s.Readings[id] = epu.Reading{Sensor: id, Quality: quality}
		}
	}
	s.Places = []epu.Placement{{Site: "east", Allocation: "small", Market: epu.OnDemand, Max: 200}, {Site: "west"}}
	s.Offers = []epu.Offer{
		{Site: "east", Allocation: "small", Zone: "a", Market: epu.Spot, USDPerHour: 0.03},
		{Site: "west", Allocation: "small", Market: epu.OnDemand, USDPerHour: 0.1},
	}
	s.Budget = epu.Budget{PerHour: 50, Now: 0.1 * float64(running+starting)}
	return s
}

// reads gives every sensor a value, and work and windows that go with it.
func (s Situation) reads(m maker, value float64) Situation {
	age := 3 * time.Second
	for id, r := range s.Readings {
		if r.Quality == epu.QualityStale {
			age = 10 * time.Minute
		}
		if r.Quality != epu.QualityUnknown {
			r.Value, r.Time, r.Age = value, m.now.Add(-age), age
		}
		s.Readings[id] = r
	}
	if ids := slices.Sorted(maps.Keys(s.Readings)); len(ids) > 0 {
		left := s.Readings[ids[0]]
		rate := left
		rate.Value = 2
		s.Work = epu.Work{Left: &left, Rate: &rate, Deadline: m.now.Add(time.Hour)}
	}
	readings := s.Readings
	s.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		r, ok := readings[sensor]
		return epu.Window{
			Sensor: sensor, Span: span, Mean: value, Min: value / 2, Max: value * 2, Last: value, Count: 4, Covers: span, Quality: r.Quality,
		}, ok && r.Quality != epu.QualityUnknown
	}
	return s
}

// failing is a pool in trouble.
func (m maker) failing() Situation {
	s := m.make("workers fail, drain and vanish, and launches are held back", 8, 2, epu.QualityOK).reads(m, 100)
	s.Workers[0].Health, s.Workers[1].State = epu.Missing, epu.RunningFailed
	s.Workers[2].Draining, s.Workers[3].Protected, s.Workers[4].Name = true, true, "a"
	s.Workers[5].Ended, s.Workers[5].State = true, epu.Terminating
	s.Changes = []epu.Change{
		{Worker: s.Workers[0].ID, What: "health", From: "OUT_OF_CONTACT", To: "MISSING", Time: m.now.Add(-time.Second)},
		{Worker: "epu-rehearsal-1-99/0", What: "gone", From: "RUNNING", To: "TERMINATED", Time: m.now.Add(-time.Second)},
	}
	s.Backoff = 40 * time.Second
	s.SiteBackoff["west"] = 90 * time.Second
	s.Refused = []epu.Reason{{Rule: "limits.max", Text: "12 workers are wanted, at most 10 may be"}}
	return s
}

// bare is a pool of which nothing is known but its workers.
func (m maker) bare() Situation {
	s := m.make("no prices, no placement, no readings", 2, 0, "")
	for _, w := range s.Workers {
		w.Zone, w.Allocation, w.Market, w.Price, w.ChargeAt, w.IdleSince, w.BusyUntil = "", "", "", 0, time.Time{}, time.Time{}, time.Time{}
	}
	s.Places, s.Offers, s.Budget = nil, nil, epu.Budget{}
	return s
}
