package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: the readings named are the nearest at which the pool would want something else, and the limits count.
// Method: a policy of one worker for 20 that wait, whose turns are known.
func TestTurns(t *testing.T) {
	edge := func(at float64, target int) *msg.Edge { return &msg.Edge{Value: at, Target: target} }
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
	} {
		e := newEngine(t)
		call := actors.TurnsCall{Now: seen(epu.Decision{}, c.queue), Limits: epu.Limits{Min: c.min, Max: c.max}}
		want := []msg.Turn{{Sensor: "queue", Below: c.below, Above: c.above}}
		if diff := cmp.Diff(want, do[msg.Turns](t, e, call).Sensors); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	fraction := do[msg.Turns](t, newEngine(t), actors.TurnsCall{Now: seen(epu.Decision{}, 99.5), Limits: epu.Limits{Max: 1000}})
	if !fraction.Known || fraction.Next != 5 {
		t.Errorf("the policy would want 5 now, got %+v", fraction)
	}
	if a := fraction.Sensors[0].Above; a == nil || a.Value <= 100 || a.Value > 100.2 || a.Target != 6 {
		t.Errorf("above 99.5: got %+v, want a little more than 100", a)
	}
}
