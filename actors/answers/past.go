package answers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// readingOf finds the reading in an input's value: as it was made, or as it comes out of the history.
func readingOf(value any) *epu.Reading {
	switch v := value.(type) {
	case epu.Reading:
		return &v
	case *epu.Reading:
		return v
	case map[string]any:
		raw, err := json.Marshal(v)
		var r epu.Reading
		if err == nil && json.Unmarshal(raw, &r) == nil {
			return &r
		}
	}
	return nil
}

// WithUnits adds the units of sensors to the readings among a decision's inputs; the record has none.
func WithUnits(d *epu.Decision, sensors map[string]epu.SensorSpec) {
	d.Inputs = slices.Clone(d.Inputs)
	for i, in := range d.Inputs {
		name, ok := strings.CutPrefix(in.Name, sensorInput)
		r := readingOf(in.Value)
		unit := sensors[name].Unit
		if !ok || r == nil || unit == "" {
			continue
		}
		d.Inputs[i].Value = struct {
			epu.Reading
			Unit string `json:"unit"`
		}{*r, unit}
	}
}

// happened is what explain and decisions read of a life-cycle event.
type happened struct {
	Worker, Launch, Reason string
	N                      int
	Healing                bool // of a launch: the policy was not asked
}

func read(r persistence.Record) (h happened, ok bool) {
	return h, json.Unmarshal(r.Data, &h) == nil // what a newer version wrote may be unreadable; the others are shown
}

// failed reports that a worker was ended because it was not well: such a reason begins with its health.
func failed(reason string) bool {
	for h := epu.MonitorError; h <= epu.Zombie; h++ {
		if strings.HasPrefix(reason, h.String()) {
			return true
		}
	}
	return strings.HasPrefix(reason, epu.RunningFailed.Word())
}

// Bounds of what explain tells of the past.
const (
	// DoneAge is how far back explain looks.
	DoneAge = 10 * time.Minute
	doneMax = 10 // lines
)

// Done says what was done for a pool and why, from its records of the last minutes: the newest lines,
// oldest first. What still goes on is left to Doing.
func Done(past []persistence.Record, v msg.PoolView, now time.Time) []string {
	var g groups
	last := map[*group]time.Time{}
	ordered := map[string]bool{} // workers whose end was decided here
	starting, running := launches(v)
	for _, r := range past {
		d, ok := read(r)
		if !ok {
			continue
		}
		var x *group
		switch {
		case r.Name == "worker_ended":
			ordered[d.Worker] = true
			verb := "ended"
			if failed(d.Reason) {
				verb = "replaced"
			}
			x = g.add(verb, "", d.Reason, d.Worker)
		case ordered[d.Worker]:
		case r.Name == "worker_terminated":
			x = g.add("lost", "", d.Reason, d.Worker)
		case r.Name == "worker_failed":
			x = g.add("could not launch", "", d.Reason, d.Worker)
		case r.Name == "launch_opened" && !starting[d.Launch]:
			verb := "asked for"
			if running[d.Launch] {
				verb = "launched"
			}
			x = g.add(verb, " ("+d.Launch+")", d.Reason, epu.Plural(d.N, "worker"))
		}
		if x != nil {
			last[x] = r.Time
		}
	}
	slices.SortStableFunc(g.list, func(a, b *group) int { return last[a].Compare(last[b]) })
	var out []string
	for _, x := range g.list[max(0, len(g.list)-doneMax):] {
		ago := max(0, now.Sub(last[x])).Round(time.Second).String() + " ago"
		if len(x.ids) > 1 {
			ago = "the last " + ago
		}
		out = append(out, x.line(" "+ago))
	}
	return out
}

// launches sorts a pool's launches into those that have a worker on its way, and those of which one runs.
func launches(v msg.PoolView) (starting, running map[string]bool) {
	starting, running = map[string]bool{}, map[string]bool{}
	for _, w := range v.Workers {
		if w.Open() && w.State < epu.Running {
			starting[string(w.Launch)] = true
		} else if w.State >= epu.Running {
			running[string(w.Launch)] = true
		}
	}
	return starting, running
}

// heal is the direction of a line that repeats a wish.
const heal = "heal"

// Healings are the launches that repeated a wish without asking the policy, from a pool's events in the
// order of time: each with the workers that had failed since the one before.
func Healings(past []persistence.Record) []*msg.DecisionSummary {
	var out []*msg.DecisionSummary
	var bad groups
	ordered := map[string]bool{}
	for _, r := range past {
		d, ok := read(r)
		if !ok {
			continue
		}
		switch {
		case r.Name == "worker_ended":
			ordered[d.Worker] = true
			if failed(d.Reason) {
				bad.add("", "", d.Reason, d.Worker)
			}
		case (r.Name == "worker_terminated" || r.Name == "worker_failed") && !ordered[d.Worker]:
			bad.add("", "", d.Reason, d.Worker)
		case r.Name == "launch_opened":
			if d.Healing {
				text := fmt.Sprintf("heal: %s launched (%s)", epu.Plural(d.N, "worker"), d.Reason)
				if len(bad.list) > 0 {
					text = fmt.Sprintf("heal: %s launched in place of %s", epu.Plural(d.N, "worker"), strings.Join(trimmed(bad.lines()), "; "))
				}
				out = append(out, &msg.DecisionSummary{Id: r.ID, Time: timestamppb.New(r.Time), Direction: heal, Text: text})
			}
			bad = groups{}
		}
	}
	return out
}

func trimmed(lines []string) []string {
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// WithHealings puts the lines that repeated a wish among the decisions, newest first. Each carries the
// target of the decision that it repeated; before is the newest decision that is older than all of them.
func WithHealings(decisions, healings []*msg.DecisionSummary, before *msg.DecisionSummary, limit int) []*msg.DecisionSummary {
	all := slices.Concat(decisions, healings)
	slices.SortStableFunc(all, func(a, b *msg.DecisionSummary) int { return a.GetTime().AsTime().Compare(b.GetTime().AsTime()) })
	target := before.GetAfter()
	for _, d := range all {
		if d.GetDirection() == heal {
			d.Before, d.After = target, target
		}
		target = d.GetAfter()
	}
	slices.Reverse(all)
	return all[:min(len(all), limit)]
}
