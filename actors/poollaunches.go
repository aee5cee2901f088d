package actors

import (
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
	"github.com/nimbus-epu/epu/actors/msg"
)

// report takes in what a site says of a launch, and says that it is noted.
func (c *Controller) report(tx *Tx, r msg.Report) {
	if r.Epoch != c.id.Epoch {
		return
	}
	l := c.st.Launches[r.Launch]
	if l != nil && (r.Rev > l.Rev || r.Rev == 0 && !l.Closed) {
		c.take(tx, r, l)
	}
	if r.Rev > 0 {
		tx.Reply(msg.SiteAddress(r.Site), msg.Noted{
			Epoch: c.id.Epoch, Owner: c.owner, Pool: c.pool, Launch: r.Launch, Rev: r.Rev, PoolRev: tx.Rev(),
			Known: l != nil,
		})
	}
}

// take emits what a report changes, and the history records that follow.
func (c *Controller) take(tx *Tx, r msg.Report, l *poolLaunch) {
	ev := launchReported{Launch: r.Launch, Rev: r.Rev, Closed: r.Closed, Slots: map[int]msg.Slot{}, Time: tx.Now()}
	var moved []int
	for i, s := range r.Slots {
		if i >= len(l.Slots) {
			break
		}
		old := &l.Slots[i]
		after := s
		after.State = c.merged(old, s)
		if old.Slot == after {
			continue
		}
		ev.Slots[i] = s
		if after.State != old.State {
			moved = append(moved, i)
		}
		if !old.Unwanted && s.State.Gone() && !old.State.Gone() && l.Adopt == "" && c.shortLived(old, tx.Now()) && !c.expected(s, l.Site) {
			ev.Failed = true
		}
	}
	tx.Because(string(r.Launch))
	tx.Emit(ev)
	for _, i := range moved {
		c.recordSlot(tx, r.Launch, i)
	}
}

// expected reports that a site refused what it was known to refuse: that is no failed launch. A refusal that
// comes as a surprise is one, or its repetition would have no pause until the definition is heard of.
func (c *Controller) expected(s msg.Slot, site epu.SiteID) bool {
	return s.State == epu.Rejected && (c.st.Define.EndAll || c.dryRun(site))
}

// dryRun reports that nothing is launched or ended at a site.
func (c *Controller) dryRun(site epu.SiteID) bool { return slices.Contains(c.st.Define.DryRun, site) }

// shortLived reports that a worker's end counts as a failed launch.
func (c *Controller) shortLived(s *poolSlot, now time.Time) bool {
	return s.State < epu.Running || now.Sub(time.UnixMilli(s.Since)) < provenAfter
}

// forget drops launches of which nothing is left.
func (c *Controller) forget(tx *Tx) {
	for _, id := range c.hot.all() {
		l := c.st.Launches[id]
		switch {
		case l == nil:
			c.hot.del(id)
		case l.Closed && !slices.ContainsFunc(l.Slots, func(s poolSlot) bool { return !s.State.Gone() || c.endHookDue(&s) }):
			tx.Because(string(id))
			tx.Emit(launchDone{Launch: id})
		case !c.wantDue(l):
			c.hot.del(id)
		}
	}
}

// wantDue reports that the site has not yet shown all that a launch's Want says.
func (c *Controller) wantDue(l *poolLaunch) bool {
	if l.Rev == 0 && !l.Closed {
		return true
	}
	return slices.ContainsFunc(l.Slots, func(s poolSlot) bool {
		return s.Unwanted && !s.Ended && !s.State.Gone() && !c.endHookDue(&s)
	})
}

// backoffOf is when launches may be tried again at a place after failures there.
func (c *Controller) backoffOf(p epu.Placement) time.Time {
	l := c.st.Define.Spec.Limits
	return c.st.Streaks[placeKey(p.Site, p.Allocation, p.Market)].Until(l.FailuresInRow, l.FailureBackoff)
}

// backoff is when launches may be tried again anywhere; zero when nothing failed.
func (c *Controller) backoff() time.Time {
	var first time.Time
	for i, p := range c.st.Define.Spec.Placement {
		if until := c.backoffOf(p); i == 0 || until.Before(first) {
			first = until
		}
	}
	return first
}

// failed counts a launch that failed, once however many of its slots do.
func (c *Controller) failed(launch epu.LaunchID, at time.Time) {
	l := c.st.Launches[launch]
	if l.Failed {
		return
	}
	l.Failed = true
	if c.st.Streaks == nil {
		c.st.Streaks = map[string]lifecycle.Streak{}
	}
	c.st.Streaks[l.place()] = c.st.Streaks[l.place()].Fail(at)
}

// place is where a launch was made, as far as failures of others there are told by its own.
func (l *poolLaunch) place() string { return placeKey(l.Site, l.Allocation, l.Market) }

func placeKey(site epu.SiteID, a epu.Allocation, m epu.Market) string {
	return string(site) + "/" + string(a) + "/" + string(m)
}
