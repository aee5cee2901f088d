package actors

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// scanEvery is how often the deadlines of starting and draining workers are looked at.
const scanEvery = time.Second

// ChildChange is something to do to a worker's actor: tell it what is durably known, starting it first
// if need be, or stop it.
type ChildChange struct {
	Worker epu.WorkerID
	Watch  msg.WatchWorker
	Stop   bool
}

// look is a worker's next deadline.
type look struct {
	at     time.Time
	worker epu.WorkerID
}

type lookHeap []look

func (h lookHeap) Len() int           { return len(h) }
func (h lookHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h lookHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lookHeap) Push(x any)        { *h = append(*h, x.(look)) }
func (h *lookHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// Children hands over what is to be done to the workers' actors since the last call.
func (c *Controller) Children() []ChildChange {
	changes := c.children
	c.children = nil
	return changes
}

// track keeps what hangs on a worker's state: its actor and its deadlines.
func (c *Controller) track(w *epu.Worker) {
	c.dirty = true
	if _, ok := c.starting[w.ID]; w.Open() && w.State < epu.Running {
		if !ok {
			c.starting[w.ID] = time.Time{}
		}
	} else if ok {
		delete(c.starting, w.ID)
	}
	if _, ok := c.drains[w.ID]; w.Open() && w.Draining {
		if !ok {
			c.drains[w.ID] = time.Time{}
		}
	} else if ok {
		delete(c.drains, w.ID)
	}
	spec := c.st.Define.Spec.Health
	if spec.Source != epu.HealthAgent {
		return
	}
	v := c.vitals[w.ID]
	if v == nil {
		v = &workerVitals{}
		c.vitals[w.ID] = v
	}
	watch := msg.WatchWorker{
		Running: w.State >= epu.Running && w.State < epu.Terminating, Known: c.checkedIn(w),
		Ended: w.Ended || w.State >= epu.Terminating, Draining: w.Draining, Spec: spec,
	}
	if v.watch != watch {
		v.watch = watch
		c.children = append(c.children, ChildChange{Worker: w.ID, Watch: watch})
	}
}

func (c *Controller) checkedIn(w *epu.Worker) bool {
	return c.st.Launches[w.Launch].Slots[w.Slot].CheckedIn
}

// untrack forgets a worker that is gone.
func (c *Controller) untrack(id epu.WorkerID) {
	if v := c.vitals[id]; v != nil {
		c.suspicion.drop(v)
		delete(c.vitals, id)
		c.children = append(c.children, ChildChange{Worker: id, Stop: true})
	}
	delete(c.starting, id)
	delete(c.drains, id)
}

// overlay adds what only the worker's actor knows.
func (c *Controller) overlay(w *epu.Worker, v *workerVitals) {
	w.Health = v.fact.Health
	if v.fact.Error != "" {
		w.Error = v.fact.Error
	}
	w.BusyUntil, w.IdleSince = v.fact.Busy, v.fact.Idle
	silent := w.Health == epu.OutOfContact || w.Health == epu.Missing
	w.Suspect = silent && c.suspicion.on && !c.suspicion.confirmed
}

// fact takes in what a worker's actor says.
func (c *Controller) fact(tx *Tx, f msg.WorkerFact) {
	v := c.vitals[f.Worker]
	w := c.find(f.Worker)
	if v == nil || w == nil {
		return
	}
	old := v.fact
	c.suspicion.drop(v)
	v.fact = f
	if f.Heard && v.proof.IsZero() {
		v.proof = tx.Now()
	}
	c.suspicion.add(v)
	if !f.Next.IsZero() && f.Next != old.Next {
		heap.Push(&c.looks, look{at: f.Next, worker: f.Worker})
	}
	if old.Health != f.Health || old.Error != f.Error || old.Busy != f.Busy || old.Idle != f.Idle {
		c.refresh(w.Launch, w.Slot)
	}
	if old.Health != f.Health {
		c.record(tx, "health_changed", map[string]any{
			"worker": f.Worker, "from": old.Health.String(), "to": f.Health.String(), "error": f.Error,
		})
	}
	if f.Drained && w.Open() && w.Draining {
		c.end(tx, w, "drained", false, false)
	}
}

// lookAround asks the workers whose deadline has come.
func (c *Controller) lookAround(tx *Tx, now time.Time) {
	for len(c.looks) > 0 && !c.looks[0].at.After(now) {
		l := heap.Pop(&c.looks).(look)
		if v := c.vitals[l.worker]; v != nil && v.fact.Next.Equal(l.at) {
			tx.Reply(msg.WorkerAddress(c.owner, c.pool, l.worker), msg.Look{})
		}
	}
}

// deaf notices that this node itself was stopped for a while, and forgives the workers that span.
func (c *Controller) deaf(tx *Tx, now time.Time) {
	gap := now.Sub(c.lastWake)
	c.lastWake = now
	if gap <= 2*c.tickEvery() {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.vitals)) {
		tx.Reply(msg.WorkerAddress(c.owner, c.pool, id), msg.ShiftTimes{By: gap})
	}
	for id, at := range c.starting {
		if !at.IsZero() {
			c.starting[id] = at.Add(gap)
		}
	}
}

func (c *Controller) tickEvery() time.Duration {
	if t := c.st.Define.Spec.Tick; t > 0 {
		return t
	}
	return defaultTick
}

// deadlines ends workers that did not start or drain in time. Both clocks begin at activation.
func (c *Controller) deadlines(tx *Tx, now time.Time) {
	if now.Before(c.nextScan) {
		return
	}
	c.nextScan = now.Add(scanEvery)
	if c.st.Freeze != nil || c.id.Recovery {
		return
	}
	spec := c.st.Define.Spec
	for _, id := range slices.Sorted(maps.Keys(c.starting)) {
		if c.starting[id].IsZero() {
			c.starting[id] = now
		}
		if limit := spec.Health.LaunchDeadline; limit > 0 && now.Sub(c.starting[id]) > limit {
			c.end(tx, c.find(id), "not running after "+limit.String(), true, false)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.drains)) {
		if c.drains[id].IsZero() {
			c.drains[id] = now
		}
		w := c.find(id)
		v := c.vitals[id]
		switch {
		case now.Sub(c.drains[id]) > spec.Drain.Timeout:
			c.end(tx, w, "its drain took longer than "+spec.Drain.Timeout.String(), false, false)
		case v != nil && v.fact.Drained:
			c.end(tx, w, "drained", false, false)
		}
	}
	c.clearStreak(tx, now)
}

// clearStreak forgets failed launches once a newer worker has run for a while.
func (c *Controller) clearStreak(tx *Tx, now time.Time) {
	if c.st.Streak.Failures == 0 {
		return
	}
	for i := len(c.roster.all) - 1; i >= 0 && c.roster.all[i].Created.After(c.st.Streak.Last); i-- {
		w := c.roster.all[i]
		if w.Open() && w.State == epu.Running && !w.Unhealthy() && now.Sub(w.StateSince) > provenAfter {
			tx.Emit(streakCleared{})
			return
		}
	}
}

// end makes a worker unwanted for good.
func (c *Controller) end(tx *Tx, w *epu.Worker, reason string, failed, limited bool) {
	if w == nil || w.Ended {
		return
	}
	tx.Because(string(w.Launch))
	tx.Emit(workerEnded{Worker: w.ID, Reason: reason, Failed: failed, Limited: limited, Time: tx.Now()})
	c.record(tx, "worker_ended", map[string]any{
		"worker": w.ID, "instance": w.Instance, "site": w.Site, "reason": reason, "state": w.State.String(),
	})
}
