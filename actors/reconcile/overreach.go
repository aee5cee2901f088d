package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// rail is one of the limits on ends, for the pool as it is now.
type rail struct {
	rule, text string
	n          int // in a whole window
	window     time.Duration
	share      int // percent of the workers; 0 = a number of them
	used       Used
}

// rails are the limits on ends that a pool has.
func (in *Input) rails() (out []rail) {
	l := &in.Limits
	if l.Terminations.Window > 0 {
		r := rail{rule: "limits.terminations", text: "the limit on terminations", n: l.Terminations.N, window: l.Terminations.Window, used: in.Ended}
		if r.n == 0 {
			r.share, r.n = 20, max(1, len(in.Workers)/5)
		}
		out = append(out, r)
	}
	if l.Loss.Percent > 0 {
		out = append(out, rail{
			rule: "limits.loss", text: fmt.Sprintf("the limit of %d%% in %s", l.Loss.Percent, l.Loss.Window),
			n: max(1, len(in.Workers)*l.Loss.Percent/100), window: l.Loss.Window, share: l.Loss.Percent, used: in.Lost,
		})
	}
	return out
}

// Overreach says what is wrong with a decision that asks to end more than half of the workers in service at
// once, and more than a limit on ends allows in a whole window; empty when none does. Such a decision is a
// mistake and not a hurry, so nothing of it is to be done: carried out bit by bit it would empty the pool all the
// same, and a wish for as few workers as are left over would let it, because surplus may drain. A policy that
// names a few more than the limit is well served bit by bit: to refuse its whole decision would keep it from
// growing too, for as long as it names them. What drains already, fails or was never started is not in service.
func Overreach(in Input, actions []epu.Action) string {
	if !slices.ContainsFunc(actions, func(a epu.Action) bool { return a.Kind == epu.ActTerminate }) {
		return ""
	}
	var least *rail
	for _, r := range in.rails() {
		if least == nil || r.n < least.n {
			least = &r
		}
	}
	if least == nil {
		return ""
	}
	serving := map[epu.WorkerID]bool{}
	for _, w := range in.Workers {
		if serves(w) {
			serving[w.ID] = true
		}
	}
	most := max(1, least.n, len(serving)/2)
	asked, at := map[epu.WorkerID]bool{}, ""
	for _, act := range actions {
		if act.Kind != epu.ActTerminate {
			continue
		}
		before := len(asked)
		for _, id := range act.Workers {
			if serving[id] {
				asked[id] = true
			}
		}
		if before <= most && len(asked) > most {
			at = act.At
		}
	}
	if len(asked) <= most {
		return ""
	}
	text := fmt.Sprintf("control.terminate was asked to end %d of %d workers in service at once, more than half, but %s: nothing of this decision is done; "+
		"take workers out with control.drain, ask for fewer, or widen %s", len(asked), len(serving), least.allows(in.Origin), least.rule)
	if at != "" {
		text = at + ": " + text
	}
	return text
}

// serves reports that a worker's end is the business of the limits on ends.
func serves(w *epu.Worker) bool {
	return w.Open() && !w.Draining && !w.Unhealthy() && w.State >= epu.Pending
}

// allows says what the limit is and where it is set.
func (r *rail) allows(origin func(string) string) string {
	most, from := fmt.Sprint(r.n), ""
	if r.share > 0 {
		most = fmt.Sprintf("%d%% of the workers, here %d,", r.share, r.n)
	}
	if origin != nil {
		from = origin(r.rule)
	}
	if from == "" {
		from = "its default"
	}
	return fmt.Sprintf("%s (%s) allows %s in %s", r.rule, from, most, epu.Span(r.window))
}
