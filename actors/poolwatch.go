package actors

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/reconcile"
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

// vitalFact is what is kept of a worker's fact: there is one for each.
type vitalFact struct {
	At, Busy, Idle         time.Time
	Error                  string
	Health                 epu.Health
	Heard, Silent, Drained bool
}

func factOf(f *msg.WorkerFact) vitalFact {
	return vitalFact{f.At, f.Busy, f.Idle, f.Error, f.Health, f.Heard, f.Silent, f.Drained}
}

// Children hands over what is to be done to the workers' actors since the last call.
func (c *Controller) Children() []ChildChange {
	changes := c.children
	c.children = nil
	return changes
}

// begin begins an incarnation: who had checked in before is expected to be heard again, and every worker has
// its actor started. It comes with the first message and not with the event: those of earlier incarnations are
// replayed, and there may be as many as there were restarts since the last snapshot.
func (c *Controller) begin() {
	c.begun = true
	c.changes = nil
	c.suspicion = suspicion{}
	c.children, c.told = make([]ChildChange, 0, len(c.vitals)), make([]told, 0, len(c.vitals))
	c.watched(func(id epu.WorkerID, v *workerVitals) {
		v.before = v.watch.Known
		c.suspicion.add(v)
		c.tell(id, v)
	})
}

// watched visits the workers that have actors, in the roster's order.
func (c *Controller) watched(visit func(id epu.WorkerID, v *workerVitals)) {
	for _, w := range c.roster.all {
		if v := c.vitals[w.ID]; v != nil {
			visit(w.ID, v)
		}
	}
}

// tell has a worker's actor told what is known, and asked until it answers.
func (c *Controller) tell(id epu.WorkerID, v *workerVitals) {
	c.children = append(c.children, ChildChange{Worker: id, Watch: v.watch})
	c.told = append(c.told, told{id, v})
}

// told is a worker whose actor was told something.
type told struct {
	worker epu.WorkerID
	vitals *workerVitals
}

// track keeps what hangs on a worker's state: its actor and its deadlines.
func (c *Controller) track(w *epu.Worker, s *poolSlot, v *workerVitals) {
	starting, drains := w.Open() && w.State < epu.Running, w.Open() && w.Draining
	clock(c.starting, w.ID, starting)
	clock(c.drains, w.ID, drains)
	clock(c.replacing, w.ID, w.Open() && w.Replacing)
	if late, ok := c.overdue[w.ID]; ok && !(late.Drained && drains || !late.Drained && starting) {
		delete(c.overdue, w.ID) // what it was late with is over or taken back
	}
	if c.st.Define.Spec.Health.Source != epu.HealthAgent {
		c.unwatch(w.ID)
		return
	}
	if v == nil {
		v = c.room.vitalsOf(w.Slot)
		c.vitals[w.ID] = v
	}
	watch := msg.WatchWorker{
		Running: w.State >= epu.Running && w.State < epu.Terminating, Known: s.CheckedIn,
		Ended: c.endingNow(s), Draining: w.Draining, Spec: c.health, Recounts: v.watch.Recounts,
	}
	if v.watch != watch {
		c.suspicion.drop(v)
		if v.watch.Draining != watch.Draining {
			v.fact.Drained = false // said of another drain
		}
		v.watch = watch
		c.suspicion.add(v)
		if c.begun {
			c.tell(w.ID, v)
		}
	}
}

// clock starts or stops a worker's clock. The next scan fills in when it started.
func clock(clocks map[epu.WorkerID]time.Time, id epu.WorkerID, on bool) {
	if _, ok := clocks[id]; on && !ok {
		clocks[id] = time.Time{}
	} else if !on && ok {
		delete(clocks, id)
	}
}

// untrack forgets a worker that is gone.
func (c *Controller) untrack(id epu.WorkerID) {
	c.unwatch(id)
	delete(c.starting, id)
	delete(c.drains, id)
	delete(c.replacing, id)
	delete(c.overdue, id)
}

// unwatch stops a worker's actor.
func (c *Controller) unwatch(id epu.WorkerID) {
	if v := c.vitals[id]; v != nil {
		c.suspicion.drop(v)
		delete(c.vitals, id)
		if c.begun {
			c.children = append(c.children, ChildChange{Worker: id, Stop: true})
		}
	}
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
	if v == nil || w == nil || f.At.Before(v.fact.At) {
		return
	}
	old := v.fact
	c.suspicion.drop(v)
	v.fact = factOf(&f)
	if f.Heard && v.proof.IsZero() {
		v.proof = tx.Now()
	}
	c.suspicion.add(v)
	c.askAt(f.Worker, v, f.Next)
	if old.Health != f.Health || old.Error != f.Error || old.Busy != f.Busy || old.Idle != f.Idle {
		c.refresh(w.Launch, w.Slot)
	}
	if old.Health != f.Health && w.Open() {
		c.record(tx, "health_changed", map[string]any{
			"worker": f.Worker, "from": old.Health.String(), "to": f.Health.String(), "error": f.Error,
		})
	}
	if f.Drained && !old.Drained {
		c.nextScan = time.Time{}
	}
}

// unheard reports that a worker had checked in before this incarnation and has not been heard in it.
func (c *Controller) unheard(id epu.WorkerID) bool {
	v := c.vitals[id]
	return v != nil && v.before && !v.fact.Heard
}

// askAt sets when a worker's actor is asked; zero means not by itself.
func (c *Controller) askAt(id epu.WorkerID, v *workerVitals, at time.Time) {
	if v.ask = at; !at.IsZero() {
		c.looks = append(c.looks, look{at: at, worker: id})
		heap.Fix(&c.looks, len(c.looks)-1) // as Push does, without a piece of memory for each
	}
}

// lookAround asks the workers whose deadline has come, again and again until they answer.
func (c *Controller) lookAround(tx *Tx, now time.Time) {
	again := now.Add(c.tickEvery())
	c.looks = slices.Grow(c.looks, len(c.told))
	for _, t := range c.told {
		c.askAt(t.worker, t.vitals, again)
	}
	c.told = nil
	for len(c.looks) > 0 && !c.looks[0].at.After(now) {
		l := heap.Pop(&c.looks).(look)
		if v := c.vitals[l.worker]; v != nil && v.ask.Equal(l.at) {
			tx.Reply(msg.WorkerAddress(c.owner, c.pool, l.worker), msg.Look{Watch: v.watch})
			c.askAt(l.worker, v, again)
		}
	}
}

// deafMin is the least gap that counts as deafness. A pool may tick every 100 ms, and a node that is busy
// for a quarter of a second has not missed the beats that count: they come every few seconds, and silence
// is minutes long. Forgiving would then cost a message to each worker, again and again.
const deafMin = 10 * time.Second

// deaf notices that this node itself was stopped for a while, and forgives the workers that span.
func (c *Controller) deaf(tx *Tx, now time.Time) {
	gap := now.Sub(c.lastWake)
	c.lastWake = now
	if gap <= max(2*c.tickEvery(), deafMin) {
		return
	}
	c.watched(func(id epu.WorkerID, _ *workerVitals) {
		tx.Reply(msg.WorkerAddress(c.owner, c.pool, id), msg.ShiftTimes{By: gap})
	})
	for id, at := range c.starting {
		if !at.IsZero() {
			c.starting[id] = at.Add(gap)
		}
	}
}

// offered takes in what a site offers, and with it what workers there cost.
func (c *Controller) offered(m msg.Offers) {
	if !c.prices.Take(m.Site, m.Offers, m.Charge) {
		return
	}
	for id, l := range c.st.Launches {
		if l.Site == m.Site {
			c.refreshAll(id)
		}
	}
}

// awaitCharge keeps when a worker's next charge begins.
func (c *Controller) awaitCharge(old, w *epu.Worker) {
	if !w.ChargeAt.IsZero() && (old == nil || !old.ChargeAt.Equal(w.ChargeAt)) {
		heap.Push(&c.charges, look{at: w.ChargeAt, worker: w.ID})
	}
}

// charged looks at the workers whose charge has begun: their next one is later.
func (c *Controller) charged(now time.Time) {
	for len(c.charges) > 0 && !c.charges[0].at.After(now) {
		l := heap.Pop(&c.charges).(look)
		if w := c.find(l.worker); w != nil && w.ChargeAt.Equal(l.at) {
			c.refresh(w.Launch, w.Slot)
		}
	}
}

func (c *Controller) tickEvery() time.Duration {
	if t := c.st.Define.Spec.Tick; t > 0 {
		return t
	}
	return defaultTick
}

// deadlines finds the workers that did not start or drain in time, for reconcile to end. Both clocks
// begin at activation.
func (c *Controller) deadlines(tx *Tx, now time.Time) {
	if now.Before(c.nextScan) || c.id.Recovery {
		return
	}
	c.nextScan = now.Add(scanEvery)
	spec := c.st.Define.Spec
	c.overdue = map[epu.WorkerID]reconcile.Overdue{}
	passed := func(clocks map[epu.WorkerID]time.Time, id epu.WorkerID, limit time.Duration) bool {
		if clocks[id].IsZero() {
			clocks[id] = now
		}
		return limit > 0 && now.Sub(clocks[id]) > limit
	}
	for id := range c.starting {
		if limit := spec.Health.LaunchDeadline; passed(c.starting, id, limit) {
			c.overdue[id] = reconcile.Overdue{Reason: "not running after " + limit.String()}
		}
	}
	for id := range c.drains {
		v := c.vitals[id]
		switch limit := spec.Drain.Timeout; {
		case v != nil && v.fact.Drained:
			c.overdue[id] = reconcile.Overdue{Reason: cmp.Or(c.orderOf(id), "drained"), Drained: true}
		case !passed(c.drains, id, limit):
		case v != nil && spec.Drain.ProtectBusy && v.fact.Busy.After(now): // its lease outlasts the drain
		default:
			c.overdue[id] = reconcile.Overdue{Reason: "its drain took longer than " + limit.String(), Drained: true}
		}
	}
	c.dirty = c.dirty || len(c.overdue) > 0
	c.clearStreaks(tx, now)
}

// orderOf is why somebody asked for a worker to go; empty when nobody did.
func (c *Controller) orderOf(id epu.WorkerID) string {
	launch, i, _ := id.Parse()
	return c.st.Launches[launch].Slots[i].Why
}

// clearStreaks forgets the failed launches of places where a newer worker has run for a while, and ends the
// row of failures once one has anywhere.
func (c *Controller) clearStreaks(tx *Tx, now time.Time) {
	if len(c.st.Streaks) == 0 {
		return
	}
	var oldest time.Time
	for _, s := range c.st.Streaks {
		oldest = earlier(oldest, s.Last)
	}
	for i := len(c.roster.all) - 1; i >= 0 && c.roster.all[i].Created.After(oldest); i-- {
		w := c.roster.all[i]
		place := c.st.Launches[w.Launch].place()
		s, failed := c.st.Streaks[place]
		if !w.Open() || w.State != epu.Running || w.Unhealthy() || now.Sub(w.StateSince) <= provenAfter {
			continue
		}
		if c.st.Row.Failures > 0 && w.Created.After(c.st.Row.Last) {
			tx.Emit(streakCleared{})
		}
		if failed && w.Created.After(s.Last) {
			tx.Emit(streakCleared{Place: place})
			c.dirty = true
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
