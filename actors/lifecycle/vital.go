package lifecycle

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// lateBeats is how many heartbeats in a row must be missed before a worker counts as silent.
const lateBeats = 3

// Moment is a time as its distance from where a Vital began; zero is never. There are as many of them
// as workers times their deadlines, and a time.Time is three times as large.
type Moment int64

// Vital is what one node knows of a worker's health. It is volatile: after a restart it begins anew,
// and only a beat is evidence. The zero value has not begun; see NewVital.
type Vital struct {
	spec    *epu.HealthSpec // shared; never changed
	origin  time.Time       // of moments
	base    Moment          // from when silence counts while nothing was heard
	heard   Moment          // last beat; zero = never
	chance  Moment          // start of the second chance; zero = not out of contact
	ended   Moment          // zero while wanted
	health  int8            // an epu.Health
	known   bool            // it was heard in an earlier life: no boot grace
	running bool
}

// NewVital begins to watch a worker at a moment. Known says that it had checked in before: silence
// counts from now by MissingAfter instead of BootGrace.
func NewVital(spec *epu.HealthSpec, known bool, now time.Time) Vital {
	v := Vital{spec: spec, known: known, origin: now}
	v.base = v.Moment(now)
	return v
}

// Begun reports that the worker is watched.
func (v *Vital) Begun() bool { return v.spec != nil }

// Moment is a time as a moment of this Vital, and Time the reverse.
func (v *Vital) Moment(t time.Time) Moment {
	if t.IsZero() {
		return 0
	}
	m := Moment(t.Sub(v.origin))
	if m >= 0 {
		m++ // zero is never
	}
	return m
}

// Time is a moment as a time; zero for never.
func (v *Vital) Time(m Moment) time.Time {
	switch {
	case m == 0:
		return time.Time{}
	case m > 0:
		m--
	}
	return v.origin.Add(time.Duration(m))
}

// Health is the verdict of the last Beat, Look or End.
func (v *Vital) Health() epu.Health { return epu.Health(v.health) }

// LastHeard is the time of the last beat; zero when there was none in this life.
func (v *Vital) LastHeard() time.Time { return v.Time(v.heard) }

// Running notes that the worker's machine is RUNNING since now.
func (v *Vital) Running(now time.Time) {
	if !v.running {
		v.running = true
		if v.heard == 0 && !v.known {
			v.base = v.Moment(now)
		}
	}
}

// End notes that the worker is no longer wanted: its health says nothing any more, but beats long after
// make it a zombie.
func (v *Vital) End(now time.Time) {
	if v.ended == 0 {
		v.ended, v.chance = v.Moment(now), 0
		v.judge(epu.HealthUnknown)
	}
}

func (v *Vital) judge(h epu.Health) { v.health = int8(h) }

func (v *Vital) is(h epu.Health) bool { return v.Health() == h }

// Retune puts changed thresholds in force.
func (v *Vital) Retune(spec *epu.HealthSpec) { v.spec = spec }

// Beat takes in a heartbeat whose own verdict is OK, ProcessError or MonitorError. One that was
// overtaken by a newer one says nothing.
func (v *Vital) Beat(now time.Time, verdict epu.Health) epu.Health {
	at := v.Moment(now)
	if v.heard != 0 && at < v.heard {
		return v.Health()
	}
	v.heard, v.chance = at, 0
	if v.ended == 0 {
		v.judge(verdict)
	} else if at.after(v.ended, v.spec.ZombieAfter) {
		v.judge(epu.Zombie)
	}
	return v.Health()
}

// after reports that more than a while has passed since a moment.
func (m Moment) after(since Moment, while time.Duration) bool {
	return time.Duration(m-since) > while
}

// Look judges silence at a moment. Comparisons are strict: exactly the limit is still in time.
func (v *Vital) Look(now time.Time) epu.Health {
	at := v.Moment(now)
	switch {
	case v.ended != 0:
		if v.is(epu.Zombie) && at.after(v.heard, v.spec.ZombieAfter) {
			v.judge(epu.HealthUnknown)
		}
	case v.spec.Source != epu.HealthAgent || !v.running:
	case v.is(epu.Missing):
	case v.is(epu.OutOfContact):
		if at.after(v.chance, v.spec.SecondChance) {
			v.judge(epu.Missing)
		}
	case at.after(v.since(), v.limit()):
		v.judge(epu.OutOfContact)
		v.chance = at
	}
	return v.Health()
}

// Silent reports that three beats in a row of a worker that was ever heard are overdue.
func (v *Vital) Silent(now time.Time) bool {
	return v.listens() && v.Moment(now).after(v.since(), lateBeats*v.spec.Heartbeat)
}

// listens reports that beats are expected.
func (v *Vital) listens() bool {
	return v.spec.Source == epu.HealthAgent && v.ended == 0 && v.running && (v.known || v.heard != 0)
}

// Next is when Look or Silent can next change its answer after now; never when only an event can.
func (v *Vital) Next(now time.Time) Moment {
	var at Moment
	switch {
	case v.ended != 0:
		if v.is(epu.Zombie) {
			at = v.heard + Moment(v.spec.ZombieAfter)
		}
	case v.spec.Source != epu.HealthAgent || !v.running || v.is(epu.Missing):
	case v.is(epu.OutOfContact):
		at = v.chance + Moment(v.spec.SecondChance)
	default:
		at = v.since() + Moment(v.limit())
	}
	if v.listens() && !v.Silent(now) {
		if late := v.since() + Moment(lateBeats*v.spec.Heartbeat); at == 0 || late < at {
			at = late
		}
	}
	if at == 0 {
		return at
	}
	return at + 1 // just after: comparisons are strict
}

// Shift forgives a span in which nothing could be heard: all last-heard times move by it, though never
// past now. A verdict that silence of that span led to is taken back.
func (v *Vital) Shift(deaf time.Duration, now time.Time) {
	at := v.Moment(now)
	for _, m := range []*Moment{&v.base, &v.heard, &v.chance} {
		if *m != 0 {
			*m = min(*m+Moment(deaf), at)
		}
	}
	if (v.is(epu.OutOfContact) || v.is(epu.Missing)) && !at.after(v.since(), v.limit()) {
		v.judge(epu.HealthUnknown)
		v.chance = 0
	}
}

// Recount begins all counting anew, after a suspicion that everybody was silent has ended.
func (v *Vital) Recount(now time.Time) {
	v.base = v.Moment(now)
	if v.heard != 0 {
		v.heard = v.base
	}
	v.chance = 0
	if v.is(epu.OutOfContact) || v.is(epu.Missing) {
		v.judge(epu.HealthUnknown)
	}
}

func (v *Vital) since() Moment {
	if v.heard == 0 {
		return v.base
	}
	return v.heard
}

func (v *Vital) limit() time.Duration {
	if v.heard == 0 && !v.known {
		return v.spec.BootGrace
	}
	return v.spec.MissingAfter
}
