package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
)

// Case is one test of a policy. A case without steps is a single step.
type Case struct {
	Name    string         `json:"name"`
	Doc     string         `json:"doc"`     // why the case matters, in prose
	Conf    map[string]any `json:"conf"`    // as an operator writes it
	Refused string         `json:"refused"` // part of the text with which the configuration is refused
	Start   string         `json:"start"`   // RFC 3339 time before the first step; default 2026-01-01T00:00:00Z
	Steps   list[Step]     `json:"steps"`
	Step

	line int // of its call
}

// Step is one decision. What a step leaves out stays as it was in the step before.
type Step struct {
	After       float64                 `json:"after"` // seconds since the step before; default 5
	Reconfigure map[string]any          `json:"reconfigure"`
	Refused     string                  `json:"reconfigure_refused"` // part of the text; nothing changes then
	Workers     *list[Worker]           `json:"workers"`
	Sensors     map[string]Sensor       `json:"sensors"`
	Wish        *int                    `json:"wish"`    // target in force; default what the step before wished for
	Backoff     float64                 `json:"backoff"` // seconds until launches may be tried again
	Restart     bool                    `json:"restart"` // the controller starts anew before this step
	Clamped     list[map[string]string] `json:"clamped"` // what the guard rails refused: {rule, text}
	Expect      *Expect                 `json:"expect"`
	Around
}

// Worker describes one worker, or count equal ones.
type Worker struct {
	Count      int               `json:"count"` // default 1
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	State      string            `json:"state"`  // default RUNNING
	Health     string            `json:"health"` // default OK
	Age        float64           `json:"age"`    // seconds; default 600
	Site       string            `json:"site"`
	Zone       string            `json:"zone"`
	Allocation string            `json:"allocation"`
	Market     string            `json:"market"`
	Vars       map[string]string `json:"vars"`
	Draining   bool              `json:"draining"`
	Protected  bool              `json:"protected"`
	Ended      bool              `json:"ended"`
	IdleFor    float64           `json:"idle_for"` // seconds; 0 = not idle
	BusyFor    float64           `json:"busy_for"` // seconds that its busy lease lasts; 0 = none
}

// Sensor is the newest reading of a sensor. A number stands for a good reading of that value.
type Sensor struct {
	Value   float64 `json:"value"`
	Age     float64 `json:"age"`     // seconds
	Quality string  `json:"quality"` // default ok
}

// UnmarshalJSON reads a reading or a number.
func (s *Sensor) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &s.Value) == nil {
		return nil
	}
	type plain Sensor
	return strict(b, (*plain)(s))
}

// Expect is what the decision should be. What it leaves out is not looked at.
type Expect struct {
	Target     *int           `json:"target"`
	Uniques    map[string]any `json:"uniques"` // every name, with its variables, or true for any; {} = none
	Heal       *bool          `json:"heal"`
	Victims    *string        `json:"victims"`
	Site       *string        `json:"site"`
	Allocation *string        `json:"allocation"`
	Vars       map[string]any `json:"vars"`
	Because    list[string]   `json:"because"` // parts of reasons, or one text
	Alert      string         `json:"alert"`   // part of an alert
	Error      string         `json:"error"`   // part of the error; without it there must be none
	Actions    *int           `json:"actions"` // how many
	Sites      map[string]int `json:"sites"`   // workers wanted at named sites
}

// list is a list in JSON made from Lua, where an empty list is an empty map, and where a single entry
// may stand for a list of one.
type list[T any] []T

// UnmarshalJSON reads a list, an empty map, or one entry.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if string(b) == "{}" {
		*l = list[T]{}
		return nil
	}
	if len(b) > 0 && b[0] == '[' {
		return strict(b, (*[]T)(l))
	}
	var one T
	if err := strict(b, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

// workersOf turns a step's workers into a snapshot's, sorted as a controller sorts them.
func workersOf(in []Worker, now time.Time) (workers []*epu.Worker, err error) {
	states := map[string]epu.State{}
	for _, s := range epu.States() {
		states[s.Word()] = s
	}
	healths := map[string]epu.Health{}
	for h := epu.HealthUnknown; h <= epu.Zombie; h++ {
		healths[h.String()] = h
	}
	seq := uint64(0)
	for _, w := range in {
		state, known := states[or(w.State, "RUNNING")]
		if !known {
			return nil, fmt.Errorf("no worker can have the state '%s'", w.State)
		}
		health, known := healths[or(w.Health, "OK")]
		if !known {
			return nil, fmt.Errorf("no worker can have the health '%s'", w.Health)
		}
		for range max(1, w.Count) {
			seq++
			id := epu.WorkerID(w.ID)
			if id == "" {
				id = epu.NewWorkerID(epu.NewLaunchID(pool, 1, seq), 0)
			}
			launch, slot, _ := id.Parse()
			one := &epu.Worker{
				ID: id, Launch: launch, Slot: slot, Name: w.Name, Vars: w.Vars, Site: epu.SiteID(w.Site), Zone: w.Zone,
				Allocation: epu.Allocation(w.Allocation), Market: epu.Market(w.Market), State: state, Health: health,
				Draining: w.Draining, Protected: w.Protected, Ended: w.Ended, Created: now.Add(-seconds(or(w.Age, 600))),
			}
			if w.IdleFor > 0 {
				one.IdleSince = now.Add(-seconds(w.IdleFor))
			}
			if w.BusyFor > 0 {
				one.BusyUntil = now.Add(seconds(w.BusyFor))
			}
			workers = append(workers, one)
		}
	}
	return workers, nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func readings(in map[string]Sensor, now time.Time) map[string]epu.Reading {
	out := map[string]epu.Reading{}
	for id, s := range in {
		out[id] = epu.Reading{
			Sensor: id, Value: s.Value, Age: seconds(s.Age), Time: now.Add(-seconds(s.Age)),
			Quality: epu.Quality(or(s.Quality, string(epu.QualityOK))),
		}
	}
	return out
}
