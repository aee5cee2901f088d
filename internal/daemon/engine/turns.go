package engine

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/policies"
)

// Bounds of a search for turns.
const (
	turnsTime    = 500 * time.Millisecond // of all sensors together
	turnsSensors = 8
	turnsReach   = 1e12 // how far from the reading of now is looked
)

// turns looks in both directions from each reading that the policy reads for the nearest one with another
// target. It tries ever longer steps and then halves the last one, so that of several turns close together
// a farther one may be found. Engines are thrown away, as those of what-ifs are.
func (e *Engine) turns(ctx context.Context, c actors.TurnsCall) (msg.Turns, error) {
	p, err := e.runs(ctx, c.Now)
	if err != nil {
		return msg.Turns{}, err
	}
	conf, problems := p.Check(c.Now.Conf)
	if len(problems) > 0 {
		return msg.Turns{}, epu.E(epu.Invalid, "check the configuration of", c.Now.Policy, policies.Problems(problems))
	}
	until := e.opts.Now().Add(turnsTime)
	target := func(s *policies.Snapshot) (int, bool) {
		d := policies.Evaluate(p, e.bounds(), s, conf, conf)
		c.Rails.Guard(&d)
		return d.Wish.Target, d.Error == "" && ctx.Err() == nil && e.opts.Now().Before(until)
	}
	now, ok := target(c.Now.Snapshot)
	if !ok {
		return msg.Turns{}, nil
	}
	pool, err := e.opts.Spec(ctx)
	if err != nil {
		return msg.Turns{}, err
	}
	found := msg.Turns{Known: true, Next: now}
	for _, sensor := range slices.Sorted(maps.Keys(c.Now.Snapshot.Readings)) {
		r := c.Now.Snapshot.Readings[sensor]
		if r.Quality != epu.QualityOK || len(found.Sensors) == turnsSensors {
			continue
		}
		probe := func(v float64) (int, bool) {
			return target(c.Now.Snapshot.With(policies.Imagined(sensor, v, c.Now.Snapshot.Now)))
		}
		spec := pool.Sensors[sensor]
		found.Sensors = append(found.Sensors, msg.Turn{
			Sensor: sensor, Below: edge(r.Value, -1, spec.Min, now, probe), Above: edge(r.Value, 1, spec.Max, now, probe),
		})
	}
	return found, nil
}

// edge is the nearest value in a direction at which probe gives something other than now, up to what the sensor can
// have. A reading that is a whole number has neighbours that are; one that is not negative is taken for one that never is.
func edge(at, dir float64, last *float64, now int, probe func(float64) (int, bool)) *msg.Edge {
	whole := at == math.Trunc(at)
	step, fine := 1.0, 1.0
	if !whole {
		step = max(math.Abs(at)/100, 1e-6)
		fine = step / 10
	}
	same, other, target := at, at, now
	for ; target == now; step *= 2 {
		if other != at {
			same = other
		}
		if other = at + dir*step; dir < 0 && at >= 0 {
			other = max(0, other)
		}
		if last != nil && (other-*last)*dir > 0 {
			other = *last
		}
		if step > turnsReach || other == same {
			return nil
		}
		var ok bool
		if target, ok = probe(other); !ok {
			return nil
		}
	}
	for math.Abs(other-same) > fine {
		middle := (same + other) / 2
		if whole {
			middle = math.Trunc(middle)
		}
		t, ok := probe(middle)
		switch {
		case !ok:
			return nil
		case t == now:
			same = middle
		default:
			other, target = middle, t
		}
	}
	if whole {
		return &msg.Edge{Value: other, Target: target}
	}
	found := rounder(same, other, fine, dir, now, target, probe)
	if last != nil && (found.Value-*last)*dir > 0 {
		found.Value = *last
	}
	return &found
}

// rounder is an edge between two values in as few digits as it is known: at a whole number between them or right beyond
// it, or else the found value, rounded away from the same answer. Policies turn at round numbers, and 27.0015625 is none.
func rounder(same, other, fine, dir float64, now, target int, probe func(float64) (int, bool)) msg.Edge {
	if v := dir * math.Floor(dir*other); (v-same)*dir >= 0 {
		if t, ok := probe(v); ok && t != now {
			return msg.Edge{Value: v, Target: t}
		}
		if t, ok := probe(v + dir*1e-9*max(1, math.Abs(v))); ok && t != now {
			return msg.Edge{Value: v, Target: t, Beyond: true}
		}
	}
	digits := math.Pow(10, -math.Floor(math.Log10(fine))) // a unit is at most as long as the edge is unknown
	v := dir * math.Ceil(dir*other*digits) / digits
	if t, ok := probe(v); ok && t == target {
		other = v
	}
	return msg.Edge{Value: other, Target: target}
}
