package sim

import (
	"maps"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// The reasons of ends, in this cloud's words.
const (
	reasonAsked       = "User initiated"
	reasonBoot        = "Server.InternalError: failed to boot"
	reasonDied        = "Server.HostFailure"
	reasonInterrupted = "Server.SpotInstanceTermination"
)

// machine is one machine for ever. Everything that will happen to it unless somebody intervenes is
// drawn at its birth; its state at any time follows from these times alone.
type machine struct {
	iaas.Instance           // State, Address and Reason are filled in when it is shown
	zoned         Place     // where it takes room
	bootAt        time.Time // pending before, running from here
	dieAt         time.Time // its unexpected end; zero = never
	dieReason     string
	noticeAt      time.Time // from here its end is announced; zero = never
	askedAt       time.Time // when Terminate named it first; zero = not yet
	doneAt        time.Time // when that is carried out
}

// born draws a machine's fate. n counts the cloud's machines and goes into the address only.
func (c *Cloud) born(req iaas.LaunchRequest, zone string, slot, n int, now time.Time) *machine {
	d := keyed(c.seed, string(req.Token), strconv.Itoa(slot))
	m := &machine{
		Instance: iaas.Instance{
			ID:         epu.InstanceID("i-" + hex17(d)),
			Token:      req.Token,
			Image:      req.Image,
			Allocation: req.Allocation,
			Market:     req.Market,
			Zone:       zone,
			Launched:   now,
			Tags:       maps.Clone(req.Tags),
		},
		zoned:  Place{Zone: zone, Allocation: req.Allocation},
		bootAt: now.Add(d.within(c.opts.Boot)),
	}
	m.Address = "10." + strconv.Itoa(n>>16&255) + "." + strconv.Itoa(n>>8&255) + "." + strconv.Itoa(n&255)
	stillborn := d.chance(c.opts.BootDeath)
	life, spotLife := d.exponential(c.opts.LifeMean), d.exponential(c.opts.SpotLifeMean)
	if c.opts.LifeMean > 0 {
		m.dieAt, m.dieReason = m.bootAt.Add(life), reasonDied
	}
	if end := m.bootAt.Add(spotLife); req.Market == epu.Spot && c.opts.SpotLifeMean > 0 && m.endsAfter(end) {
		m.dieAt, m.dieReason = end, reasonInterrupted
		m.noticeAt = end.Add(-c.opts.SpotWarning)
	}
	if stillborn {
		m.dieAt, m.dieReason, m.noticeAt = m.bootAt, reasonBoot, time.Time{}
	}
	return m
}

// endsAfter reports that the machine would outlive t.
func (m *machine) endsAfter(t time.Time) bool {
	end, _ := m.end()
	return end.IsZero() || end.After(t)
}

// end is when the machine ends or ended, and why; zero if nothing ends it.
func (m *machine) end() (time.Time, string) {
	switch {
	case m.askedAt.IsZero():
		return m.dieAt, m.dieReason
	case m.dieAt.IsZero() || m.doneAt.Before(m.dieAt):
		return m.doneAt, reasonAsked
	}
	return m.dieAt, m.dieReason
}

// stateAt is the state at a time not before its birth.
func (m *machine) stateAt(t time.Time) iaas.InstanceState {
	switch {
	case !m.endsAfter(t):
		return iaas.InstanceTerminated
	case !m.askedAt.IsZero() && !t.Before(m.askedAt):
		return iaas.InstanceStopping
	case !t.Before(m.bootAt):
		return iaas.InstanceRunning
	}
	return iaas.InstancePending
}

// shownAt is the machine as a listing of that time shows it. The caller owns the result.
func (m *machine) shownAt(t time.Time) iaas.Instance {
	in := m.Instance
	in.Tags = maps.Clone(m.Tags)
	in.State = m.stateAt(t)
	if in.State == iaas.InstancePending {
		in.Address = ""
	}
	if in.State == iaas.InstanceTerminated {
		_, in.Reason = m.end()
	}
	return in
}

// announced reports that the end of a living machine is announced at t.
func (m *machine) announced(t time.Time) bool {
	return !m.noticeAt.IsZero() && !t.Before(m.noticeAt) && m.endsAfter(t) && m.askedAt.IsZero()
}

func hex17(d *dice) string {
	const digits = "0123456789abcdef"
	var b [17]byte
	for i := range b {
		b[i] = digits[d.next()&15]
	}
	return string(b[:])
}
