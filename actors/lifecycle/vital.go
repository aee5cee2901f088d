package lifecycle

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// lateBeats is how many heartbeats in a row must be missed before a worker counts as silent.
const lateBeats = 3

// Vital is what one node knows of a worker's health. It is volatile: after a restart it begins anew,
// and only a beat is evidence. The zero value is not usable; see NewVital.
type Vital struct {
	spec    *epu.HealthSpec // shared; never changed
	known   bool            // it was heard in an earlier life: no boot grace
	base    time.Time       // from when silence counts while nothing was heard
	running bool
	heard   time.Time // last beat; zero = never
	chance  time.Time // start of the second chance; zero = not out of contact
	ended   time.Time // zero while wanted
	health  epu.Health
}

// NewVital begins to watch a worker at a moment. Known says that it had checked in before: silence
// counts from now by MissingAfter instead of BootGrace.
func NewVital(spec *epu.HealthSpec, known bool, now time.Time) *Vital {
	return &Vital{spec: spec, known: known, base: now}
}

// Health is the verdict of the last Beat, Look or End.
func (v *Vital) Health() epu.Health { return v.health }

// LastHeard is the time of the last beat; zero when there was none in this life.
func (v *Vital) LastHeard() time.Time { return v.heard }

// Running notes that the worker's machine is RUNNING since now.
func (v *Vital) Running(now time.Time) {
	if !v.running {
		v.running = true
		if v.heard.IsZero() && !v.known {
			v.base = now
		}
	}
}

// End notes that the worker is no longer wanted: its health says nothing any more, but beats long after
// make it a zombie.
func (v *Vital) End(now time.Time) {
	if v.ended.IsZero() {
		v.ended, v.health, v.chance = now, epu.HealthUnknown, time.Time{}
	}
}

// Retune puts changed thresholds in force.
func (v *Vital) Retune(spec *epu.HealthSpec) { v.spec = spec }

// Beat takes in a heartbeat whose own verdict is OK, ProcessError or MonitorError. One that was
// overtaken by a newer one says nothing.
func (v *Vital) Beat(now time.Time, verdict epu.Health) epu.Health {
	if now.Before(v.heard) {
		return v.health
	}
	v.heard, v.chance = now, time.Time{}
	if v.ended.IsZero() {
		v.health = verdict
	} else if now.Sub(v.ended) > v.spec.ZombieAfter {
		v.health = epu.Zombie
	}
	return v.health
}

// Look judges silence at a moment. Comparisons are strict: exactly the limit is still in time.
func (v *Vital) Look(now time.Time) epu.Health {
	switch {
	case !v.ended.IsZero():
		if v.health == epu.Zombie && now.Sub(v.heard) > v.spec.ZombieAfter {
			v.health = epu.HealthUnknown
		}
	case v.spec.Source != epu.HealthAgent || !v.running:
	case v.health == epu.Missing:
	case v.health == epu.OutOfContact:
		if now.Sub(v.chance) > v.spec.SecondChance {
			v.health = epu.Missing
		}
	case now.Sub(v.since()) > v.limit():
		v.health, v.chance = epu.OutOfContact, now
	}
	return v.health
}

// Silent reports that three beats in a row of a worker that was ever heard are overdue.
func (v *Vital) Silent(now time.Time) bool {
	return v.listens() && now.Sub(v.since()) > lateBeats*v.spec.Heartbeat
}

// listens reports that beats are expected.
func (v *Vital) listens() bool {
	return v.spec.Source == epu.HealthAgent && v.ended.IsZero() && v.running && (v.known || !v.heard.IsZero())
}

// Next is when Look or Silent can next change its answer after now; zero when only an event can.
func (v *Vital) Next(now time.Time) time.Time {
	var at time.Time
	switch {
	case !v.ended.IsZero():
		if v.health == epu.Zombie {
			at = v.heard.Add(v.spec.ZombieAfter)
		}
	case v.spec.Source != epu.HealthAgent || !v.running || v.health == epu.Missing:
	case v.health == epu.OutOfContact:
		at = v.chance.Add(v.spec.SecondChance)
	default:
		at = v.since().Add(v.limit())
	}
	if v.listens() && !v.Silent(now) {
		if late := v.since().Add(lateBeats * v.spec.Heartbeat); at.IsZero() || late.Before(at) {
			at = late
		}
	}
	if at.IsZero() {
		return at
	}
	return at.Add(1) // just after: comparisons are strict
}

// Shift forgives a span in which nothing could be heard: all last-heard times move by it, though never
// past now. A verdict that silence of that span led to is taken back.
func (v *Vital) Shift(deaf time.Duration, now time.Time) {
	for _, t := range []*time.Time{&v.base, &v.heard, &v.chance} {
		if !t.IsZero() {
			*t = t.Add(deaf)
			if t.After(now) {
				*t = now
			}
		}
	}
	if (v.health == epu.OutOfContact || v.health == epu.Missing) && now.Sub(v.since()) <= v.limit() {
		v.health, v.chance = epu.HealthUnknown, time.Time{}
	}
}

// Recount begins all counting anew, after a suspicion that everybody was silent has ended.
func (v *Vital) Recount(now time.Time) {
	v.base = now
	if !v.heard.IsZero() {
		v.heard = now
	}
	v.chance = time.Time{}
	if v.health == epu.OutOfContact || v.health == epu.Missing {
		v.health = epu.HealthUnknown
	}
}

func (v *Vital) since() time.Time {
	if v.heard.IsZero() {
		return v.base
	}
	return v.heard
}

func (v *Vital) limit() time.Duration {
	if v.heard.IsZero() && !v.known {
		return v.spec.BootGrace
	}
	return v.spec.MissingAfter
}
