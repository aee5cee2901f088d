package reconcile

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
)

// Clamp holds what a policy wanted against the pool's limits. The pool's limits win over the policy's
// own. shrinkOK is false when a reading behind the decision is stale or unknown: the target then does
// not fall, unless the limits themselves want less.
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
	floor := before
	if limits.Max >= 0 {
		floor = min(floor, max(limits.Max, len(wish.Uniques)))
	}
	if wish.Target < floor && !shrinkOK {
		clamp(floor, "unknown reading", "a sensor's reading is stale or unknown, so the pool does not shrink")
	}
	return wish, clamps
}

// holdGrowth keeps a wish from growing beyond what the pool may cost. Each is what one more worker costs
// an hour; 0 = not known, and then it grows until what is known reaches the limit.
func holdGrowth(wish epu.Wish, open int, budget epu.Budget, each float64, origin func(string) string) (epu.Wish, []epu.Reason) {
	if budget.PerHour <= 0 || wish.Target <= open {
		return wish, nil
	}
	most := wish.Target
	switch left := budget.PerHour - budget.Now; {
	case left <= 0:
		most = open
	case each > 0:
		most = open + int(min(left/each+1e-9, float64(wish.Target))) // a sum of prices is not exact
	}
	most = max(most, len(wish.Uniques))
	if wish.Target <= most {
		return wish, nil
	}
	r := epu.Reason{
		Rule: "limits.spend", Origin: origin("limits.spend"),
		Text: fmt.Sprintf("%d -> %d: %d open workers cost $%.2f of $%.2f an hour", wish.Target, most, open, budget.Now, budget.PerHour),
	}
	wish.Target = most
	return wish, []epu.Reason{r}
}

// Sure reports that no reading behind a decision is stale or unknown. A sensor that a pool does not have
// is no reading.
func Sure(inputs []epu.Input) bool {
	for _, q := range Sight(inputs) {
		if q == epu.QualityStale || q == epu.QualityUnknown {
			return false
		}
	}
	return true
}

// Sight is how well a decision saw what it looked at: each input that has a quality, by name. A sensor that the
// pool does not have has none.
func Sight(inputs []epu.Input) iter.Seq2[string, epu.Quality] {
	return func(yield func(string, epu.Quality) bool) {
		for _, in := range inputs {
			on := true
			switch v := in.Value.(type) {
			case epu.Reading:
				on = yield(in.Name, v.Quality)
			case epu.Window:
				on = yield(in.Name, v.Quality)
			case epu.Work:
				for _, r := range []*epu.Reading{v.Left, v.Rate} {
					if on = on && (r == nil || yield(in.Name+" "+r.Sensor, r.Quality)); !on {
						return
					}
				}
			case nil:
				switch kind, _, _ := strings.Cut(in.Name, " "); kind {
				case "window": // something in it is unknown
					on = yield(in.Name, epu.QualityUnknown)
				case "sensor":
					on = yield(in.Name, "")
				}
			}
			if !on {
				return
			}
		}
	}
}
