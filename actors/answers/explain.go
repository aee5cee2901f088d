package answers

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Summary is a decision in one line.
func Summary(d *epu.Decision) *msg.DecisionSummary {
	dir := d.Direction()
	text := fmt.Sprintf("%s %d->%d", dir, d.Before, d.Wish.Target)
	if dir == epu.Hold {
		text = string(dir)
	}
	if len(d.Clamps) > 0 && d.Wanted.Target > d.Wish.Target {
		text = fmt.Sprintf("%s to %d cut to %d", dir, d.Wanted.Target, d.Wish.Target)
	}
	switch {
	case d.Error != "":
		text = "policy failed: " + d.Error
	case len(d.Clamps) > 0:
		c := d.Clamps[len(d.Clamps)-1]
		text += ": " + c.Rule
		if c.Origin != "" {
			text += " (" + c.Origin + ")"
		}
	case len(d.Reasons) > 0:
		text += ": " + d.Reasons[0].Text
	}
	return &msg.DecisionSummary{
		Id: string(d.ID), Time: timestamppb.New(d.Time), Direction: string(dir), Before: int32(d.Before),
		After: int32(d.Wish.Target), Text: text,
	}
}

// Doing says what is being carried out now.
func Doing(v msg.PoolView) []string {
	var out []string
	if v.EndAll {
		out = append(out, "wants none whatever its policy says: terminate-all switched launching off (undo: epumgmt enable)")
	}
	for _, w := range v.Workers {
		switch {
		case w.Ended || w.State >= epu.Terminating:
			why := w.EndReason
			if why == "" {
				why = w.Error
			}
			out = append(out, fmt.Sprintf("end %s at %s: %s", w.ID, w.Site, why))
		case w.Draining:
			out = append(out, fmt.Sprintf("drain %s at %s", w.ID, w.Site))
		case w.State < epu.Running:
			out = append(out, fmt.Sprintf("launch %s at %s: %s", w.ID, w.Site, w.State.Word()))
		}
	}
	for _, r := range v.Refused {
		out = append(out, "waits: "+r.Text)
	}
	return out
}

// WouldChange says what would lead to another answer; sizeKey is the setting that scale changes.
func WouldChange(v msg.PoolView, sizeKey string) []string {
	var out []string
	if v.Last != nil {
		for _, c := range v.Last.Clamps {
			out = append(out, c.Rule+" were other than it is")
		}
	}
	if n, ok := v.Conf[sizeKey]; ok {
		out = append(out, fmt.Sprintf("%s other than %v (epumgmt scale %s N)", sizeKey, n, v.Spec.Name))
	}
	if v.Freeze != nil {
		out = append(out, "epumgmt thaw "+string(v.Spec.Name))
	}
	return out
}

// failed reports that a worker was ended because it was not well: such a reason begins with its health.
func failed(reason string) bool {
	for h := epu.MonitorError; h <= epu.Zombie; h++ {
		if strings.HasPrefix(reason, h.String()) {
			return true
		}
	}
	return false
}

// Bounds of what explain tells of the past.
const (
	// DoneAge is how far back explain looks.
	DoneAge = 10 * time.Minute
	doneMax = 10 // lines
)

// Done says what was done for a pool and why, from its records of the last minutes: the newest lines,
// oldest first.
func Done(past []persistence.Record, now time.Time) []string {
	var out []string
	ordered := map[string]bool{} // workers whose end was decided here
	for _, r := range past {
		var d struct {
			Worker, Launch, Reason string
			N                      int
		}
		if json.Unmarshal(r.Data, &d) != nil {
			continue // a newer version wrote it; the others can still be shown
		}
		ago := max(0, now.Sub(r.Time)).Round(time.Second).String()
		switch r.Name {
		case "worker_ended":
			ordered[d.Worker] = true
			verb := "ended"
			if failed(d.Reason) {
				verb = "replaced"
			}
			out = append(out, fmt.Sprintf("%s %s %s ago: %s", verb, d.Worker, ago, d.Reason))
		case "worker_failed", "worker_terminated":
			if !ordered[d.Worker] {
				out = append(out, fmt.Sprintf("lost %s %s ago: %s", d.Worker, ago, d.Reason))
			}
		case "launch_opened":
			out = append(out, fmt.Sprintf("asked for %d more (%s) %s ago: %s", d.N, d.Launch, ago, d.Reason))
		}
	}
	return out[max(0, len(out)-doneMax):]
}
