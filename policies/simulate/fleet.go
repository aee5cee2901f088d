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

// Advance lets everything happen that is due until now, and settles after each moment. Lost is told of
// every worker that stopped working, at once.
func (p *Pool) Advance(now time.Time, lost func(epu.WorkerID)) {
	for {
		next := p.Next()
		if next.IsZero() || next.After(now) {
			return
		}
		for len(p.agenda.entries) > 0 && !p.agenda.entries[0].at.After(next) {
			p.happen(heap.Pop(&p.agenda).(entry), lost)
		}
		p.Settle(next)
	}
}

func (p *Pool) happen(e entry, lost func(epu.WorkerID)) {
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
	case fails:
		p.tally.Failures++
		if lost != nil {
			lost(w.ID)
		}
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
	}
	p.wish.Target = n
}

// Fail lets the n oldest running workers fail now.
func (p *Pool) Fail(n int, now time.Time) {
	for _, w := range p.workers {
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
			p.dirty = p.dirty || len(p.workers) > p.wish.Target // it may be a victim now
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
			Market: l.Market, State: epu.Pending, StateSince: now, Created: now, Asked: l.Asked, Price: p.price(place),
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
	p.own()
	p.workers = slices.DeleteFunc(p.workers, func(w *epu.Worker) bool { return w.ID == id })
	delete(p.overdue, id)
	p.changes = append(p.changes, epu.Change{Worker: id, What: "gone", From: w.State.Word(), To: epu.Terminated.Word(), Time: now})
	p.tally.Terminations++
	p.stale, p.dirty = true, true
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

func (p *Pool) find(id epu.WorkerID) *epu.Worker {
	if i := p.place(id); i >= 0 {
		return p.workers[i]
	}
	return nil
}

// place is where a worker stands, or -1. New workers are at the end, and so are most questions.
func (p *Pool) place(id epu.WorkerID) int {
	for i := len(p.workers) - 1; i >= 0; i-- {
		if p.workers[i].ID == id {
			return i
		}
	}
	return -1
}

// own makes the slice of workers ours again once a snapshot has it.
func (p *Pool) own() {
	if p.shared {
		p.workers, p.shared = slices.Clone(p.workers), false
	}
}

func (p *Pool) add(w *epu.Worker) {
	p.own()
	at, _ := slices.BinarySearchFunc(p.workers, w, func(a, b *epu.Worker) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	p.workers = slices.Insert(p.workers, at, w)
	p.stale, p.dirty = true, true
}

// quietly replaces a worker by a changed one where nothing follows from the change.
func (p *Pool) quietly(id epu.WorkerID, change func(*epu.Worker)) {
	i := p.place(id)
	if i < 0 {
		return
	}
	p.own()
	w := *p.workers[i]
	change(&w)
	p.workers[i] = &w
	p.stale = true
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

// sum brings the counts up to date.
func (p *Pool) sum() {
	if !p.stale {
		return
	}
	p.stale = false
	p.counts, p.bad = Sum(p.workers)
}

// Sum counts workers and lists the unhealthy ones, as a controller does for its policy.
func Sum(workers []*epu.Worker) (c policies.Counts, bad []*epu.Worker) {
	for _, w := range workers {
		switch {
		case !w.Open():
			c.Ending++
			continue
		case w.State >= epu.Running:
			c.Running++
		default:
			c.Starting++
		}
		if w.Draining {
			c.Draining++
		}
		if w.Unhealthy() {
			c.Unhealthy++
			bad = append(bad, w)
		}
	}
	return c, bad
}

func (p *Pool) price(place epu.Placement) float64 {
	if p.cfg.World.Price == nil {
		return 0
	}
	return p.cfg.World.Price(place)
}

// budget is what the open workers cost.
func (p *Pool) budget() epu.Budget {
	b := epu.Budget{PerHour: p.cfg.Limits.Spend}
	for _, w := range p.workers {
		if w.Open() {
			b.Now += w.Price
			if w.Price == 0 {
				b.Unknown++
			}
		}
	}
	return b
}

// offers are the places with their prices, cheapest first.
func (p *Pool) offers() []epu.Offer {
	if p.cfg.World.Price == nil {
		return nil
	}
	var out []epu.Offer
	for _, place := range p.cfg.Placement {
		out = append(out, epu.Offer{
			Site: place.Site, Allocation: place.Allocation, Market: cmp.Or(place.Market, epu.OnDemand), USDPerHour: p.price(place),
		})
	}
	slices.SortStableFunc(out, func(a, b epu.Offer) int { return cmp.Compare(a.USDPerHour, b.USDPerHour) })
	return out
}

// Occupy gives work for a time to the n oldest idle workers.
func (p *Pool) Occupy(n int, now time.Time, span time.Duration) {
	for _, w := range slices.Clone(p.workers) {
		if n > 0 && w.Open() && w.State == epu.Running && !w.Draining && !busy(w) {
			n--
			p.Busy(w.ID, now, now.Add(span))
			p.agenda.add(now.Add(span), w.ID, finished)
		}
	}
}
