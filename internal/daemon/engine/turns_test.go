package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// Goal: the readings named are the nearest at which the pool would want something else, and the limits count.
// Method: a policy of one worker for 20 that wait, whose turns are known.
func TestTurns(t *testing.T) {
	edge := func(at float64, target int) *msg.Edge { return &msg.Edge{Value: at, Target: target} }
	beyond := func(at float64, target int) *msg.Edge { return &msg.Edge{Value: at, Target: target, Beyond: true} }
	for name, c := range map[string]struct {
		queue        float64
		min, max     int
		below, above *msg.Edge
	}{
		"both sides":            {queue: 100, max: 1000, below: edge(80, 4), above: edge(101, 6)},
		"far away":              {queue: 1, max: 1000, below: edge(0, 0), above: edge(21, 2)},
		"nothing is below none": {queue: 0, max: 1000, above: edge(1, 1)},
		"at the limits":         {queue: 5000, min: 3, max: 10, below: edge(180, 9)},
		"no way out":            {queue: 70, min: 4, max: 4},
		"up to its max":         {queue: 5900, max: 1000, below: edge(5880, 294), above: edge(5901, 296)},
		"as much as it can be":  {queue: 5990, max: 1000, below: edge(5980, 299)},
	} {
		e := newEngine(t)
		call := actors.TurnsCall{Now: seen(epu.Decision{}, c.queue), Rails: reconcile.Rails{Limits: epu.Limits{Min: c.min, Max: c.max}}}
		want := []msg.Turn{{Sensor: "queue", Below: c.below, Above: c.above}}
		if diff := cmp.Diff(want, do[msg.Turns](t, e, call).Sensors); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	fraction := do[msg.Turns](t, newEngine(t), actors.TurnsCall{Now: seen(epu.Decision{}, 99.5), Rails: reconcile.Rails{Limits: epu.Limits{Max: 1000}}})
	if !fraction.Known || fraction.Next != 5 {
		t.Errorf("the policy would want 5 now, got %+v", fraction)
	}
	if diff := cmp.Diff([]msg.Turn{{Sensor: "queue", Below: edge(80, 4), Above: beyond(100, 6)}}, fraction.Sensors); diff != "" {
		t.Errorf("around 99.5 (-want +got):\n%s", diff)
	}
	odd := do[msg.Turns](t, newEngine(t), actors.TurnsCall{Now: seen(epu.Decision{}, 5.5), Rails: reconcile.Rails{Limits: epu.Limits{Max: 1000}}})
	if diff := cmp.Diff([]msg.Turn{{Sensor: "queue", Below: edge(0, 0), Above: beyond(20, 2)}}, odd.Sensors); diff != "" {
		t.Errorf("around 5.5 (-want +got):\n%s", diff)
	}
}

// Goal: an explanation does not announce a target that the pool may not afford. Method: a queue for twenty, in a pool
// of five that costs all it may; a reading that changes nothing then is no turn.
func TestTurnsUnderSpend(t *testing.T) {
	rails := reconcile.Rails{
		Limits: epu.Limits{Max: 1000, Spend: 1}, Before: 5, Open: 5, Budget: epu.Budget{PerHour: 1, Now: 1},
		Places: []epu.Placement{{Site: "east"}}, Offers: []epu.Offer{{Site: "east", Market: epu.OnDemand, USDPerHour: 0.2}},
	}
	turns := do[msg.Turns](t, newEngine(t), actors.TurnsCall{Now: seen(epu.Decision{}, 400), Rails: rails})
	if turns.Next != 5 || len(turns.Sensors) != 1 || turns.Sensors[0].Above != nil {
		t.Errorf("got %+v, want 5 next and nothing above", turns)
	}
	rails.Limits.Spend, rails.Budget.PerHour = 2, 2
	if turns = do[msg.Turns](t, newEngine(t), actors.TurnsCall{Now: seen(epu.Decision{}, 400), Rails: rails}); turns.Next != 10 {
		t.Errorf("with a dollar left for workers of 20 cents: %d next, want 10", turns.Next)
	}
}
