package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/nimbus-epu/epu"
)

// Case is one test of a policy. A case without steps is a single step.
type Case struct {
	Name    string         `json:"name" doc:"what the test shows; it stands in messages"`
	Doc     string         `json:"doc" doc:"why it matters, in prose"`
	Conf    map[string]any `json:"conf" doc:"the configuration, as an operator writes it"`
	Refused string         `json:"refused" doc:"part of the text with which that configuration is refused; nothing is decided then"`
	Start   string         `json:"start" doc:"time before the first decision, such as 2026-03-29T00:00:00Z; default 2026-01-01T00:00:00Z"`
	Steps   list[Step]     `json:"steps" doc:"decisions that follow each other; without it, the case itself is the only one. Of what is around the pool, what the case says holds from the first step on"`
	Step

	line int // of its call
}

// Step is one decision. What a step leaves out stays as it was in the step before.
type Step struct {
	After       float64                 `json:"after" doc:"seconds since the decision before; default 5"`
	Reconfigure map[string]any          `json:"reconfigure" doc:"settings that change before this decision"`
	Refused     string                  `json:"reconfigure_refused" doc:"part of the text with which that change is refused; nothing changes then"`
	Workers     *list[Worker]           `json:"workers" doc:"the workers that there are"`
	Sensors     map[string]Sensor       `json:"sensors" doc:"newest readings by sensor; a number is a good reading of now"`
	Wish        *int                    `json:"wish" doc:"target in force; default what the step before wished for"`
	Backoff     float64                 `json:"backoff" doc:"seconds until launches may be tried again"`
	Restart     bool                    `json:"restart" doc:"the controller starts anew before this decision"`
	Clamped     list[map[string]string] `json:"clamped" doc:"what the guard rails refused of the decision before, as state.refused() says it"`
	Expect      *Expect                 `json:"expect" doc:"what the decision should be"`
	Around
}

// lost is a key of a case with steps that says something of one decision: of which is not known.
func (c *Case) lost() string {
	if len(c.Steps) == 0 {
		return ""
	}
	one := c.Step
	one.Workers, one.Sensors, one.Around = nil, nil, Around{} // hold from the first step on
	v := reflect.ValueOf(one)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			return v.Type().Field(i).Tag.Get("json")
		}
	}
	return ""
}

// Worker describes one worker, or count equal ones.
type Worker struct {
	Count      int               `json:"count" doc:"how many such workers; default 1"`
	ID         string            `json:"id" doc:"its ID, for one that expectations name; default one made up"`
	Name       string            `json:"name" doc:"its name, of a unique worker"`
	State      string            `json:"state" doc:"its state; default RUNNING"`
	Health     string            `json:"health" doc:"its health; default OK"`
	Age        float64           `json:"age" doc:"seconds since it was requested; default 600"`
	Site       string            `json:"site" doc:"its site"`
	Zone       string            `json:"zone" doc:"its zone"`
	Allocation string            `json:"allocation" doc:"its allocation"`
	Market     string            `json:"market" doc:"spot or on-demand"`
	Vars       map[string]string `json:"vars" doc:"its variables"`
	Draining   bool              `json:"draining" doc:"whether it is being drained"`
	Protected  bool              `json:"protected" doc:"whether an operator protects it"`
	Ended      bool              `json:"ended" doc:"whether its end was ordered"`
	IdleFor    float64           `json:"idle_for" doc:"seconds since when it has been idle; without it, not idle"`
	BusyFor    float64           `json:"busy_for" doc:"seconds that its lease as busy lasts; without it, not busy"`
}

// Sensor is the newest reading of a sensor. A number stands for a good reading of that value.
type Sensor struct {
	Value   float64 `json:"value" doc:"the value"`
	Age     float64 `json:"age" doc:"seconds since it was read"`
	Quality string  `json:"quality" doc:"ok, stale, unknown or warming; default ok"`
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
	Target     *int           `json:"target" doc:"how many workers are wanted"`
	Uniques    map[string]any `json:"uniques" doc:"every named worker that is wanted, with its variables, or true for any; {} for none"`
	Heal       *bool          `json:"heal" doc:"whether failed workers are replaced"`
	Victims    *string        `json:"victims" doc:"who is ended first"`
	Site       *string        `json:"site" doc:"where new workers go"`
	Allocation *string        `json:"allocation" doc:"their allocation"`
	Vars       map[string]any `json:"vars" doc:"their variables"`
	Because    list[string]   `json:"because" doc:"parts of reasons that are given"`
	Alert      string         `json:"alert" doc:"part of an alert"`
	Error      string         `json:"error" doc:"part of the error; without it there must be none"`
	Actions    *int           `json:"actions" doc:"how many launches, terminations, drains and resumptions are asked for"`
	Sites      map[string]int `json:"sites" doc:"workers wanted at named sites"`
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
