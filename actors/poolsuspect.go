package actors

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// canariesMax bounds how many canaries are launched while suspicions follow each other.
const canariesMax = 3

// suspicion is the doubt whether workers are dead or this node is deaf. While it is on, silence is
// shown and alarmed but not acted on; it is confirmed once a worker started since is being heard.
type suspicion struct {
	on        bool
	confirmed bool
	since     time.Time
	asked     time.Time // for the newest witness of this suspicion; zero = for none
	asks      int       // for witnesses since all was calm
	canaries  int       // workers more than wished, so that one of them is a witness
	calm      time.Time // canaries are kept until then: who was silent may yet be heard
	expected  int       // workers that have been heard, now or before this incarnation
	heard     int       // of those, heard in this incarnation
	silent    int       // of those, three beats overdue
}

func (s *suspicion) add(v *workerVitals)  { s.count(v, 1) }
func (s *suspicion) drop(v *workerVitals) { s.count(v, -1) }

func (s *suspicion) count(v *workerVitals, d int) {
	if v.watch.Ended || !v.before && !v.fact.Heard {
		return
	}
	s.expected += d
	if v.fact.Heard {
		s.heard += d
	}
	if v.fact.Silent {
		s.silent += d
	}
}

// doubtful reports that so many are silent that the fault may be here.
func (s *suspicion) doubtful() bool {
	return s.expected > 0 && (s.heard == 0 || 2*s.silent > s.expected)
}

// suspect enters, confirms and leaves suspicion. It stays confirmed only while the witness is heard.
func (c *Controller) suspect(tx *Tx, now time.Time) {
	s := &c.suspicion
	if doubtful := s.doubtful(); doubtful != s.on {
		s.on, s.since, s.confirmed, s.asked = doubtful, now, false, time.Time{}
		if !doubtful {
			health := c.st.Define.Spec.Health
			s.calm = now.Add(health.MissingAfter + health.SecondChance)
			c.recount(now)
			c.record(tx, "suspicion_ended", nil)
		}
		c.respect()
	}
	if s.canaries > s.asks { // kept beside a surplus; it may have become less, or be wished for now
		extra := c.surplus()
		if s.on && !c.mayWitness() {
			extra++ // it is yet to be launched
		}
		s.canaries = min(s.canaries, max(s.asks, extra))
	}
	if !s.on {
		if s.canaries > 0 && now.After(s.calm) {
			s.canaries, s.asks, c.dirty = 0, 0, true
		}
		return
	}
	if w := c.witness(now); w != s.confirmed {
		s.confirmed = w
		if w {
			c.record(tx, "mass_failure_confirmed", map[string]any{"silent": s.silent, "of": s.expected})
		}
		c.respect()
	}
	if c.wantsWitness(now) {
		s.asked, c.dirty = now, true
		s.asks++
		s.canaries = max(s.canaries, c.surplus()) + 1 // who was there before is no witness
		c.record(tx, "canary_launched", map[string]any{"silent": s.silent, "of": s.expected})
	}
}

// wantsWitness reports that the suspicion has lasted, and that nobody is there, or on its way, who could
// end it: what was launched for that may have failed, or have been chosen as surplus.
func (c *Controller) wantsWitness(now time.Time) bool {
	s, confirm := &c.suspicion, c.st.Define.Spec.Limits.MassConfirm
	return !s.confirmed && s.silent > 0 && confirm > 0 && s.asks < canariesMax &&
		now.Sub(s.since) > confirm && now.Sub(s.asked) > confirm && !c.mayWitness()
}

// mayWitness reports that a worker launched since the suspicion began is heard or may yet be.
func (c *Controller) mayWitness() bool {
	all := c.roster.all
	for i := len(all) - 1; i >= 0 && all[i].Created.After(c.suspicion.since); i-- {
		if w := all[i]; w.Open() && !w.Draining && (w.Health == epu.HealthOK || w.Health == epu.HealthUnknown) {
			return true
		}
	}
	return false
}

// surplus is how many nameless workers there are more than wished.
func (c *Controller) surplus() int {
	n := len(c.st.Wish.Uniques) - c.st.Wish.Target
	for _, w := range c.roster.all {
		if w.Open() && w.Name == "" && !w.Draining && !w.Replacing {
			n++
		}
	}
	return max(0, n)
}

// recount begins all counting of silence anew, here at once: what a worker's actor said of silence until
// now is void. The actors hear of it with what they are told until they answer, so none can miss it.
func (c *Controller) recount(now time.Time) {
	c.watched(func(id epu.WorkerID, v *workerVitals) {
		c.suspicion.drop(v)
		v.watch.Recounts++
		c.tell(id, v)
		v.fact.At, v.fact.Silent = now, false
		if v.fact.Health == epu.OutOfContact || v.fact.Health == epu.Missing {
			v.fact.Health = epu.HealthUnknown
		}
		c.suspicion.add(v)
	})
}

// witness reports that a worker started since the suspicion began is being heard, and has been for as
// long as silence needs to count: whoever was deaf may hear the newest first.
func (c *Controller) witness(now time.Time) bool {
	all := c.roster.all
	for i := len(all) - 1; i >= 0 && all[i].Created.After(c.suspicion.since); i-- {
		v := c.vitals[all[i].ID]
		if v != nil && v.fact.Heard && !v.fact.Silent && all[i].Health == epu.HealthOK && now.Sub(v.proof) > c.st.Define.Spec.Health.MissingAfter {
			return true
		}
	}
	return false
}

// respect brings the workers' suspect marks up to date.
func (c *Controller) respect() {
	c.dirty = true
	var silent []*epu.Worker
	for _, w := range c.roster.all {
		if w.Health == epu.OutOfContact || w.Health == epu.Missing {
			silent = append(silent, w)
		}
	}
	for _, w := range silent {
		c.refresh(w.Launch, w.Slot)
	}
}
