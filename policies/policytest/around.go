package policytest

import (
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// Around is what is around a pool in one step. What a step leaves out stays as it was.
type Around struct {
	Work        *Work              `json:"work" doc:"a finite amount of work"`
	Windows     map[string]Window  `json:"windows" doc:"readings over a span by sensor; the same for every span"`
	Places      list[string]       `json:"places" doc:"sites of the placement of the pool"`
	SiteBackoff map[string]float64 `json:"site_backoff" doc:"seconds until launches at a site may be tried again, by site"`
}

// Work is a finite amount of work.
type Work struct {
	Left     *float64 `json:"left" doc:"how much is left; without it, unknown"`
	Rate     *float64 `json:"rate" doc:"how much is done per second; without it, unknown"`
	Age      float64  `json:"age" doc:"seconds since both were read"`
	Quality  string   `json:"quality" doc:"of both readings: ok, stale, unknown or warming; default ok"`
	Deadline float64  `json:"due_in" doc:"seconds from this decision to the deadline; without it there is none"`
}

// Window is a sensor's readings over a span.
type Window struct {
	Mean    float64  `json:"mean" doc:"mean"`
	Min     float64  `json:"min" doc:"least"`
	Max     float64  `json:"max" doc:"greatest"`
	Last    float64  `json:"last" doc:"newest"`
	Slope   float64  `json:"slope" doc:"change per second"`
	Covers  *float64 `json:"covers" doc:"seconds with readings; default the whole span"`
	Quality string   `json:"quality" doc:"ok, stale, unknown or warming; default ok"`
}

// after fills in what the step before had.
func (a Around) after(before Around) Around {
	if a.Work == nil {
		a.Work = before.Work
	}
	if a.Windows == nil {
		a.Windows = before.Windows
	}
	if a.Places == nil {
		a.Places = before.Places
	}
	if a.SiteBackoff == nil {
		a.SiteBackoff = before.SiteBackoff
	}
	return a
}

// put makes it part of a snapshot.
func (a Around) put(snap *policies.Snapshot) {
	if w := a.Work; w != nil {
		reading := func(value *float64) *epu.Reading {
			if value == nil {
				return nil
			}
			r := readings(map[string]Sensor{"": {Value: *value, Age: w.Age, Quality: w.Quality}}, snap.Now)[""]
			return &r
		}
		snap.Work = epu.Work{Left: reading(w.Left), Rate: reading(w.Rate)}
		if w.Deadline != 0 {
			snap.Work.Deadline = snap.Now.Add(seconds(w.Deadline))
		}
	}
	snap.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		w, ok := a.Windows[sensor]
		covers := span
		if w.Covers != nil {
			covers = seconds(*w.Covers)
		}
		return epu.Window{
			Sensor: sensor, Span: span, Mean: w.Mean, Min: w.Min, Max: w.Max, Last: w.Last, Slope: w.Slope,
			Count: 1, Covers: covers, Quality: epu.Quality(or(w.Quality, string(epu.QualityOK))),
		}, ok
	}
	for _, site := range a.Places {
		snap.Places = append(snap.Places, epu.Placement{Site: epu.SiteID(site)})
	}
	snap.SiteBackoff = map[epu.SiteID]time.Duration{}
	for site, s := range a.SiteBackoff {
		snap.SiteBackoff[epu.SiteID(site)] = seconds(s)
	}
}
