package actors

import (
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// suspicion is the doubt whether workers are dead or this node is deaf. While it is on, silence is
// shown and alarmed but not acted on; it is confirmed once a worker started since is being heard.
type suspicion struct {
	on        bool
	confirmed bool
	since     time.Time
	canary    bool // one more worker is wanted, to be the witness
	expected  int  // workers that have been heard, now or before this incarnation
	heard     int  // of those, heard in this incarnation
	silent    int  // of those, three beats overdue
}

func (s *suspicion) add(v *workerVitals)  { s.count(v, 1) }
func (s *suspicion) drop(v *workerVitals) { s.count(v, -1) }

func (s *suspicion) count(v *workerVitals, d int) {
	if v.watch.Ended || !v.watch.Known && !v.fact.Heard {
		return
	}
	s.expected += d
	switch {
	case v.fact.Silent:
		s.silent += d
		s.heard += d
	case v.fact.Heard:
		s.heard += d
	}
}

// doubtful reports that so many are silent that the fault may be here.
func (s *suspicion) doubtful() bool {
	return s.expected > 0 && (s.heard == 0 || 2*s.silent > s.expected)
}

// suspect enters, confirms and leaves suspicion.
func (c *Controller) suspect(tx *Tx, now time.Time) {
	s := &c.suspicion
	switch doubtful := s.doubtful(); {
	case doubtful && !s.on:
		s.on, s.since, s.confirmed, s.canary = true, now, false, false
		c.respect()
	case !doubtful && s.on:
		recount := !s.confirmed
		s.on, s.confirmed, s.canary = false, false, false
		if recount {
			for _, w := range c.roster.all {
				if c.vitals[w.ID] != nil {
					tx.Reply(msg.WorkerAddress(c.owner, c.pool, w.ID), msg.RecountSilence{})
				}
			}
			c.record(tx, "suspicion_ended", nil)
		}
		c.respect()
	case s.on && !s.confirmed:
		if c.witness() {
			s.confirmed = true
			c.record(tx, "mass_failure_confirmed", map[string]any{"silent": s.silent, "of": s.expected})
			c.respect()
			return
		}
		if confirm := c.st.Define.Spec.Limits.MassConfirm; !s.canary && s.silent > 0 && confirm > 0 && now.Sub(s.since) > confirm {
			s.canary, c.dirty = true, true
			c.record(tx, "canary_launched", map[string]any{"silent": s.silent, "of": s.expected})
		}
	}
}

// witness reports that a worker started since the suspicion began is being heard.
func (c *Controller) witness() bool {
	all := c.roster.all
	for i := len(all) - 1; i >= 0 && all[i].Created.After(c.suspicion.since); i-- {
		if v := c.vitals[all[i].ID]; v != nil && v.fact.Heard && !v.fact.Silent && all[i].Health == epu.HealthOK {
			return true
		}
	}
	return false
}

// respect brings the workers' suspect marks up to date.
func (c *Controller) respect() {
	c.dirty = true
	for _, w := range c.roster.all {
		if w.Health == epu.OutOfContact || w.Health == epu.Missing {
			c.refreshLater = append(c.refreshLater, w.ID)
		}
	}
	for _, id := range c.refreshLater {
		launch, slot, _ := id.Parse()
		c.refresh(launch, slot)
	}
	c.refreshLater = c.refreshLater[:0]
}
