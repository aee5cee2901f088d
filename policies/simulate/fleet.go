package simulate

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/policies"
)

// happening is what befalls a worker by itself.
type happening int

const (
	booted  happening = iota + 1
	fails             // its machine stops working
	noticed           // and that is known
	drained
	drainOver // the time a drain may take is over
	finished  // what Occupy gave it is done
)

// entry is one thing that will happen to one worker, unless it is gone by then.
type entry struct {
	at     time.Time
	seq    uint64 // keeps equal times in order
	worker epu.WorkerID
	what   happening
}

// agenda is a heap of what will happen, the next first.
type agenda struct {
	entries []entry
	seq     uint64
}

func (a *agenda) Len() int { return len(a.entries) }
func (a *agenda) Less(i, j int) bool {
	return cmp.Or(a.entries[i].at.Compare(a.entries[j].at), cmp.Compare(a.entries[i].seq, a.entries[j].seq)) < 0
}
func (a *agenda) Swap(i, j int) { a.entries[i], a.entries[j] = a.entries[j], a.entries[i] }
func (a *agenda) Push(x any)    { a.entries = append(a.entries, x.(entry)) }
func (a *agenda) Pop() any {
	last := a.entries[len(a.entries)-1]
	a.entries = a.entries[:len(a.entries)-1]
	return last
}

func (a *agenda) add(at time.Time, id epu.WorkerID, what happening) {
	a.seq++
	heap.Push(a, entry{at: at, seq: a.seq, worker: id, what: what})
}

// Next is when something will happen to a worker by itself, or a limit allows more; zero when nothing is
// due.
func (p *Pool) Next() time.Time {
	next := p.until
	if len(p.agenda.entries) > 0 && (next.IsZero() || p.agenda.entries[0].at.Before(next)) {
		next = p.agenda.entries[0].at
	}
	return next
}

// Advance lets everything happen that is due until now, and settles after each moment.
func (p *Pool) Advance(now time.Time) {
	for {
		next := p.Next()
		if next.IsZero() || next.After(now) {
			return
		}
		for len(p.agenda.entries) > 0 && !p.agenda.entries[0].at.After(next) {
			p.happen(heap.Pop(&p.agenda).(entry))
		}
		p.Settle(next)
	}
}

func (p *Pool) happen(e entry) {
	w := p.find(e.worker)
	if w == nil {
		return
	}
	switch e.what {
	case booted:
		p.change(w.ID, e.at, func(w *epu.Worker) {
			w.State, w.StateSince, w.Health, w.IdleSince = epu.Running, e.at, epu.HealthOK, e.at
		})
		if life := ask(p.cfg.World.Life); life > 0 {
			p.agenda.add(e.at.Add(life), w.ID, fails)
		}
		tell(p.cfg.Ready, w.ID, e.at)
	case fails:
		p.tally.Failures++
		tell(p.cfg.Lost, w.ID, e.at)
		p.agenda.add(e.at.Add(p.cfg.World.Notice), w.ID, noticed)
	case noticed:
		p.change(w.ID, e.at, func(w *epu.Worker) { w.Health, w.Error = epu.Missing, "silent" })
	case finished:
		p.Busy(w.ID, e.at, time.Time{})
	case drained, drainOver:
		if !w.Draining || e.what == drained && busy(w) {
			return
		}
		reason := "drained"
		if e.what == drainOver {
			reason = "drain took too long"
		}
		p.overdue[w.ID] = reconcile.Overdue{Reason: reason, Drained: true}
		p.dirty = true
	}
}

func tell(f func(epu.WorkerID, time.Time), id epu.WorkerID, now time.Time) {
	if f != nil {
		f(id, now)
	}
}

func busy(w *epu.Worker) bool { return !w.BusyUntil.IsZero() }

func ask(f func() time.Duration) time.Duration {
	if f == nil {
		return 0
	}
	return f()
}

// Start gives the pool n workers that run already.
func (p *Pool) Start(n int, now time.Time) {
	for range n {
		p.seq++
		id := epu.NewLaunchID(PoolID, 1, p.seq)
		place := p.cfg.Placement[0]
		p.add(&epu.Worker{
			ID: epu.NewWorkerID(id, 0), Launch: id, Site: place.Site, Allocation: place.Allocation, Market: place.Market,
			State: epu.Running, Health: epu.HealthOK, Created: now, StateSince: now, IdleSince: now, Price: p.price(place),
		})
		if life := ask(p.cfg.World.Life); life > 0 {
			p.agenda.add(now.Add(life), epu.NewWorkerID(id, 0), fails)
		}
		tell(p.cfg.Ready, epu.NewWorkerID(id, 0), now)
	}
	p.wish.Target = n
}

// Fail lets the n oldest running workers fail now.
func (p *Pool) Fail(n int, now time.Time) {
	for _, w := range p.Workers() {
		if n > 0 && w.Open() && w.State == epu.Running && w.Health == epu.HealthOK {
			n--
			p.agenda.add(now, w.ID, fails)
		}
	}
}

// Busy says that a worker works until then; the zero time that it is idle since now. A draining worker
// that is idle is done.
func (p *Pool) Busy(id epu.WorkerID, now, until time.Time) {
	p.quietly(id, func(w *epu.Worker) {
		w.BusyUntil, w.IdleSince = until, time.Time{}
		if until.IsZero() {
			w.IdleSince = now
			p.dirty = p.dirty || len(p.byID) > p.wish.Target // it may be a victim now
			if w.Draining {
				p.agenda.add(now.Add(p.cfg.World.Drain), id, drained)
			}
		}
	})
}

func (p *Pool) launch(now time.Time, l reconcile.Launch) {
	p.seq++
	id := epu.NewLaunchID(PoolID, 1, p.seq)
	place := epu.Placement{Site: l.Site, Allocation: l.Allocation, Market: l.Market}
	for i := range l.N {
		w := &epu.Worker{
			ID: epu.NewWorkerID(id, i), Launch: id, Slot: i, Name: l.Name, Vars: l.Vars, Site: l.Site, Allocation: l.Allocation,
			Market: l.Market, State: epu.Pending, StateSince: now, Created: now, Asked: l.Asked, AskedFrom: int32(l.AskedFrom), Price: p.price(place),
		}
		p.add(w)
		p.agenda.add(now.Add(ask(p.cfg.World.Boot)), w.ID, booted)
		p.launched = append(p.launched, now)
		p.tally.Launches++
	}
}

// end takes a worker away at once: a modelled cloud needs no time for that.
func (p *Pool) end(now time.Time, id epu.WorkerID, limited bool) {
	w := p.find(id)
	if w == nil {
		return
	}
	p.bill(w, now)
	delete(p.byID, id)
	delete(p.overdue, id)
	p.changes = append(p.changes, epu.Change{Worker: id, What: "gone", From: w.State.Word(), To: epu.Terminated.Word(), Time: now})
	p.tally.Terminations++
	p.stale, p.dirty = true, true
	tell(p.cfg.Lost, id, now)
	if limited {
		p.ended = append(p.ended, now)
	}
}

// drain takes a worker out of service, or back in. An order's drain is not called back by itself.
func (p *Pool) drain(now time.Time, id epu.WorkerID, on, order bool) {
	w := p.find(id)
	if w == nil || w.Draining == on && w.Leaving == order {
		return
	}
	began := on && !w.Draining
	p.change(id, now, func(w *epu.Worker) { w.Draining, w.Leaving = on, order })
	if !on {
		delete(p.overdue, id)
		tell(p.cfg.Ready, id, now)
		return
	}
	if !began {
		return
	}
	p.tally.Drains++
	if !busy(w) {
		p.agenda.add(now.Add(p.cfg.World.Drain), id, drained)
	}
	if p.cfg.Drain.Timeout > 0 {
		p.agenda.add(now.Add(p.cfg.Drain.Timeout), id, drainOver)
	}
}

func (p *Pool) find(id epu.WorkerID) *epu.Worker { return p.byID[id] }

func (p *Pool) add(w *epu.Worker) {
	p.byID[w.ID] = w
	p.order = append(p.order, w)
	p.stale, p.dirty = true, true
}

// quietly replaces a worker by a changed one where nothing follows from the change.
func (p *Pool) quietly(id epu.WorkerID, change func(*epu.Worker)) {
	old := p.byID[id]
	if old == nil {
		return
	}
	w := *old
	change(&w)
	p.byID[id], p.stale = &w, true
}

// change replaces a worker by a changed one and notes what changed.
func (p *Pool) change(id epu.WorkerID, now time.Time, change func(*epu.Worker)) {
	p.quietly(id, func(w *epu.Worker) {
		old := *w
		change(w)
		p.dirty = true
		note := func(what, from, to string) {
			if from != to {
				p.changes = append(p.changes, epu.Change{Worker: id, What: what, From: from, To: to, Time: now})
			}
		}
		note("state", old.State.Word(), w.State.Word())
		note("health", old.Health.String(), w.Health.String())
		if old.Draining != w.Draining {
			note("draining", yes(old.Draining), yes(w.Draining))
		}
	})
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// sum brings the list of workers and what is counted of them up to date.
func (p *Pool) sum() {
	if !p.stale {
		return
	}
	p.stale = false
	p.workers = make([]*epu.Worker, 0, len(p.byID))
	for _, w := range p.order {
		if w := p.byID[w.ID]; w != nil {
			p.workers = append(p.workers, w)
		}
	}
	slices.SortStableFunc(p.workers, func(a, b *epu.Worker) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	p.order = append(p.order[:0], p.workers...)
	p.counts, p.bad = policies.Sum(p.workers)
}

// Occupy gives work for a time to the n oldest idle workers.
func (p *Pool) Occupy(n int, now time.Time, span time.Duration) {
	for _, w := range p.Workers() {
		if n > 0 && w.Open() && w.State == epu.Running && !w.Draining && !busy(w) {
			n--
			p.Busy(w.ID, now, now.Add(span))
			p.agenda.add(now.Add(span), w.ID, finished)
		}
	}
}
