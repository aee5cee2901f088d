package actors

import (
	"cmp"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/restore"
	"github.com/nimbus-epu/epu/policies"
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
	return c.st.Streaks[placeKey(p.Site, p.Allocation, p.Market)].Until(c.clock, l.FailuresInRow, l.FailureBackoff)
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
func (c *Controller) failed(launch epu.LaunchID, at time.Time, why string) {
	l := c.st.Launches[launch]
	if l.Failed {
		return
	}
	l.Failed, c.failedFor = true, why
	if c.st.Streaks == nil {
		c.st.Streaks = map[string]lifecycle.Streak{}
	}
	c.st.Streaks[l.place()] = c.st.Streaks[l.place()].Fail(at)
	c.st.Row = c.st.Row.Fail(at)
}

// place is where a launch was made, as far as failures of others there are told by its own.
func (l *poolLaunch) place() string { return placeKey(l.Site, l.Allocation, l.Market) }

func placeKey(site epu.SiteID, a epu.Allocation, m epu.Market) string {
	return string(site) + "/" + string(a) + "/" + string(m)
}

// roster keeps a pool's workers that are not gone, sorted by creation, and sums them up as they change.
// What it hands out is never changed afterwards: a change after a hand-out copies the slices first, so
// a tick when nothing changed costs nothing per worker.
type roster struct {
	all    []*epu.Worker
	bad    []*epu.Worker
	counts policies.Counts
	named  int // open workers with a unique name
	shared bool
}

func compareWorkers(a, b *epu.Worker) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Launch, b.Launch), cmp.Compare(a.Slot, b.Slot))
}

// own makes the slices ours to change.
func (r *roster) own() {
	if r.shared {
		r.all, r.bad, r.shared = slices.Clone(r.all), slices.Clone(r.bad), false
	}
}

// share hands out the slices.
func (r *roster) share() (all, bad []*epu.Worker) {
	r.shared = true
	return r.all, r.bad
}

// seek finds a worker's place in a sorted list. Most are sought at its end: the newest.
func seek(list []*epu.Worker, w *epu.Worker) (int, bool) {
	if n := len(list); n == 0 || compareWorkers(list[n-1], w) < 0 {
		return n, false
	}
	return slices.BinarySearchFunc(list, w, compareWorkers)
}

// get finds the worker that stands where w does in the order; nil when there is none.
func (r *roster) get(w *epu.Worker) *epu.Worker {
	if i, ok := seek(r.all, w); ok {
		return r.all[i]
	}
	return nil
}

// put adds a worker or replaces its former value; one that is gone is taken out.
func (r *roster) put(w *epu.Worker) {
	i, ok := seek(r.all, w)
	if !ok && w.State.Gone() {
		return
	}
	r.own()
	switch {
	case !ok:
		r.all = slices.Insert(r.all, i, w)
	default:
		r.tally(r.all[i], -1)
		r.setBad(r.all[i], false)
		if w.State.Gone() {
			r.all = slices.Delete(r.all, i, i+1)
			return
		}
		r.all[i] = w
	}
	r.tally(w, 1)
	r.setBad(w, w.Open() && w.Unhealthy())
}

func (r *roster) setBad(w *epu.Worker, bad bool) {
	i, ok := seek(r.bad, w)
	switch {
	case ok && bad:
		r.bad[i] = w
	case ok:
		r.bad = slices.Delete(r.bad, i, i+1)
	case bad:
		r.bad = slices.Insert(r.bad, i, w)
	}
}

func (r *roster) tally(w *epu.Worker, n int) {
	r.counts.Add(w, n)
	if w.Open() && w.Name != "" {
		r.named += n
	}
}

// restore reads a launch of a snapshot as encoding/json would by the struct's tags. A test compares the two.
func (l *poolLaunch) restore(r *restore.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "site":
			restore.Word(r, &l.Site)
		case "spec":
			r.JSON(&l.Spec)
		case "alloc":
			restore.Word(r, &l.Allocation)
		case "market":
			restore.Word(r, &l.Market)
		case "name":
			restore.Text(r, &l.Name)
		case "vars":
			r.JSON(&l.Vars)
		case "adopt":
			restore.Text(r, &l.Adopt)
		case "asked":
			restore.Text(r, &l.Asked)
		case "asked_from":
			restore.Int(r, &l.AskedFrom)
		case "opened":
			r.Time(&l.Opened)
		case "rev":
			restore.Uint(r, &l.Rev)
		case "closed":
			r.Bool(&l.Closed)
		case "failed":
			r.Bool(&l.Failed)
		case "slots":
			restore.List(r, &l.Slots, func(s *poolSlot) { s.restore(r) })
		default:
			r.Skip()
		}
	})
}

func (s *poolSlot) restore(r *restore.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "since":
			restore.Int(r, &s.Since)
		case "end":
			restore.Word(r, &s.EndReason)
		case "why":
			restore.Word(r, &s.Why)
		case "unwanted":
			r.Bool(&s.Unwanted)
		case "in":
			r.Bool(&s.CheckedIn)
		case "ran":
			r.Bool(&s.Ran)
		case "drain":
			r.Bool(&s.Draining)
		case "leave":
			r.Bool(&s.Leaving)
		case "replace":
			r.Bool(&s.Replacing)
		case "protect":
			r.Bool(&s.Protected)
		case "run_hook":
			restore.Int(r, &s.RunHook)
		case "end_hook":
			restore.Int(r, &s.EndHook)
		default:
			restoreSlot(r, key, &s.Slot)
		}
	})
}

// launchSet is a sorted set of launches, so that equal state leads to equal events.
type launchSet struct{ ids []epu.LaunchID }

func (s *launchSet) add(id epu.LaunchID) {
	if i, ok := slices.BinarySearch(s.ids, id); !ok {
		s.ids = slices.Insert(s.ids, i, id)
	}
}

func (s *launchSet) del(id epu.LaunchID) {
	if i, ok := slices.BinarySearch(s.ids, id); ok {
		s.ids = slices.Delete(s.ids, i, i+1)
	}
}

// all lists the launches of this moment, for loops that change the set.
func (s *launchSet) all() []epu.LaunchID { return slices.Clone(s.ids) }
