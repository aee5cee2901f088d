package sim

import (
	"maps"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// Truth is what really is with one machine, which no caller of a real cloud can see.
type Truth struct {
	iaas.Instance           // as of now, whatever listings show
	Slot          int       // its place among the machines of its token, from 0
	Asked         time.Time // when Terminate named it first; zero if never
	Ended         time.Time // zero while it lives
}

// Alive reports that the machine runs up a bill.
func (t Truth) Alive() bool { return t.State != iaas.InstanceTerminated }

// Machines is the truth about every machine there ever was, in order of birth.
func (c *Cloud) Machines() []Truth {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	slots := map[epu.Token]int{}
	out := make([]Truth, 0, len(c.all))
	for _, m := range c.all {
		t := Truth{Instance: m.shownAt(now), Slot: slots[m.Token], Asked: m.askedAt}
		if !t.Alive() {
			t.Ended, _ = m.end()
		}
		slots[m.Token]++
		out = append(out, t)
	}
	return out
}

// Living is the truth about the machines that live, in order of birth, without their slots.
func (c *Cloud) Living() []Truth {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	var out []Truth
	for _, m := range c.all {
		if m.endsAfter(now) {
			out = append(out, Truth{Instance: m.shownAt(now), Asked: m.askedAt})
		}
	}
	return out
}

// Orders counts, for each token that was ever honoured, the launches that got through with it, the
// machines made and those still alive.
func (c *Cloud) Orders() map[epu.Token]Order {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	out := make(map[epu.Token]Order, len(c.tokens))
	for t, o := range c.tokens {
		sum := Order{Calls: o.calls, Machines: len(o.machines)}
		for _, m := range o.machines {
			if m.endsAfter(now) {
				sum.Alive++
			}
		}
		out[t] = sum
	}
	return out
}

// Order is what came of one token.
type Order struct{ Calls, Machines, Alive int }

// Calls counts the calls that were made, by operation: launch, list, terminate, validate, offers, notices.
func (c *Cloud) Calls() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Kill ends a machine now, as its host's failure would. It reports whether the machine lived.
func (c *Cloud) Kill(id epu.InstanceID) bool { return c.doom(id, 0, reasonDied, false) }

// Interrupt announces a machine's end and ends it after the given time. It reports whether the
// machine lives until then anyway.
func (c *Cloud) Interrupt(id epu.InstanceID, in time.Duration) bool {
	return c.doom(id, in, reasonInterrupted, true)
}

func (c *Cloud) doom(id epu.InstanceID, in time.Duration, why string, notice bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	m := c.byID[id]
	if m == nil || !m.endsAfter(now) || !m.endsAfter(now.Add(in)) {
		return false
	}
	m.dieAt, m.dieReason, m.noticeAt = now.Add(in), why, time.Time{}
	if notice {
		m.noticeAt = now
	}
	return true
}

// SetCapacity changes how many machines a place takes; those that are there stay. A negative number
// lifts the limit.
func (c *Cloud) SetCapacity(p Place, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		delete(c.caps, p)
		return
	}
	c.caps[p] = n
}

// Outage makes every call fail with Transient, doing nothing, until it is switched off again. Machines
// live on.
func (c *Cloud) Outage(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outage = on
}

// Calm replaces the cloud's behaviour from now on, and lets no machine that lives end by itself any more
// unless the new behaviour says so of later ones: what a campaign does before it holds a system against
// its invariants.
func (c *Cloud) Calm(opts Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	c.opts = opts
	clear(c.caps)
	for p, n := range opts.Capacity {
		c.caps[p] = n
	}
	for _, m := range c.all {
		if m.dieAt.After(now) {
			m.dieAt, m.dieReason, m.noticeAt = time.Time{}, "", time.Time{}
		}
	}
}
