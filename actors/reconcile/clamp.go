package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/nimbus-epu/epu"
)

// Clamp holds what a policy wanted against the pool's limits. The pool's limits win over the policy's
// own. shrinkOK is false when a reading behind the decision is stale or unknown: the target then does
// not fall.
func Clamp(wanted epu.Wish, before int, limits epu.Limits, shrinkOK bool, origin func(string) string) (epu.Wish, []epu.Reason) {
	wish := wanted
	var clamps []epu.Reason
	clamp := func(to int, rule, why string) {
		clamps = append(clamps, epu.Reason{
			Rule: rule, Text: fmt.Sprintf("%d -> %d: %s", wish.Target, to, why), Origin: origin(rule),
		})
		wish.Target = to
	}
	if wish.Target < 0 {
		clamp(0, "target", "a target can't be negative")
	}
	if n := len(wish.Uniques); wish.Target < n {
		clamp(n, "uniques", "every unique worker counts")
	}
	if limits.Max >= 0 && len(wish.Uniques) > limits.Max {
		wish.Uniques = maps.Clone(wish.Uniques)
		for _, name := range slices.Sorted(maps.Keys(wish.Uniques))[limits.Max:] {
			delete(wish.Uniques, name)
		}
		clamps = append(clamps, epu.Reason{
			Rule: "limits.max", Text: fmt.Sprintf("limits.max = %d keeps that many unique workers, by name", limits.Max),
			Origin: origin("limits.max"),
		})
	}
	if limits.Max >= 0 && wish.Target > limits.Max {
		clamp(limits.Max, "limits.max", fmt.Sprintf("limits.max = %d", limits.Max))
	}
	if wish.Target < limits.Min {
		clamp(limits.Min, "limits.min", fmt.Sprintf("limits.min = %d", limits.Min))
	}
	if wish.Target < before && !shrinkOK {
		clamp(before, "unknown reading", "a sensor's reading is stale or unknown, so the pool does not shrink")
	}
	return wish, clamps
}

// order sorts workers so that the first are the first to go: not yet running ones, then unheard ones,
// then by the policy's order. Equal ones go by ID, so the choice is the same at every repetition.
func order(ws []*epu.Worker, by epu.VictimOrder) {
	slices.SortFunc(ws, func(a, b *epu.Worker) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			compareBy(by, a, b),
			b.Created.Compare(a.Created),
			cmp.Compare(b.ID, a.ID),
		)
	})
}

func rank(w *epu.Worker) int {
	switch {
	case w.State < epu.Running:
		return 0
	case w.Health == epu.HealthUnknown, w.Health == epu.OutOfContact:
		return 1
	}
	return 2
}

func compareBy(by epu.VictimOrder, a, b *epu.Worker) int {
	switch by {
	case epu.Oldest:
		return a.Created.Compare(b.Created)
	case epu.IdleLongest:
		switch {
		case a.IdleSince.IsZero() || b.IdleSince.IsZero():
			return cmp.Compare(boolInt(a.IdleSince.IsZero()), boolInt(b.IdleSince.IsZero()))
		default:
			return a.IdleSince.Compare(b.IdleSince)
		}
	}
	return b.Created.Compare(a.Created)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
