package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// spare chooses at most n workers to go, the first of the victim order. A worker that an operator
// protects, whose busy lease is in force, or of which that is not known yet stays, unless the pool is being
// emptied.
func (p *planner) spare(from []*epu.Worker, n int) []*epu.Worker {
	if p.Freeze != Thawed {
		return nil
	}
	victims := make([]*epu.Worker, 0, len(from))
	busy, unheard, protected, paid := 0, 0, 0, 0
	var until, charge time.Time
	for _, w := range from {
		switch {
		case p.Hold || w.Draining:
			victims = append(victims, w)
		case w.Protected:
			protected++
		case p.busy(w):
			if busy++; until.IsZero() || w.BusyUntil.Before(until) {
				until = w.BusyUntil
			}
		case p.unheard(w):
			unheard++
		case p.Wish.Urgency == epu.UrgencyLow && w.ChargeAt.Sub(p.Now) > epu.ChargeBoundary:
			if paid++; charge.IsZero() || w.ChargeAt.Before(charge) {
				charge = w.ChargeAt
			}
		default:
			victims = append(victims, w)
		}
	}
	order(victims, p.Wish.Victims)
	victims = p.crowdedFirst(victims)
	short := n - len(victims)
	if short <= 0 {
		return victims[:n]
	}
	if busy > 0 {
		p.refuse("drain.protect_busy", stay(min(short, busy), "busy"), until)
	}
	if short -= busy; short > 0 && unheard > 0 {
		p.refuse("first beat", stay(min(short, unheard), "unheard since the node's start"), time.Time{})
	}
	if short -= unheard; short > 0 && paid > 0 {
		p.refuse("urgency", stay(min(short, paid), "paid for"), charge.Add(-epu.ChargeBoundary))
	}
	if short -= paid; short > 0 && protected > 0 {
		p.refuse("protected", stay(min(short, protected), "protected"), time.Time{})
	}
	return victims
}

// stay says that workers of which there are too many are kept, and why.
func stay(n int, why string) string {
	if n == 1 {
		return "1 surplus worker stays: it is " + why
	}
	return fmt.Sprintf("%d surplus workers stay: they are %s", n, why)
}

// crowdedFirst puts those victims first that stand at sites with more workers than the wish names.
func (p *planner) crowdedFirst(victims []*epu.Worker) []*epu.Worker {
	if len(p.Wish.Sites) == 0 {
		return victims
	}
	over := map[epu.SiteID]int{}
	for site, n := range p.Wish.Sites {
		over[site] = p.openAt[site] - n
	}
	var first, then []*epu.Worker
	for _, w := range victims {
		if over[w.Site] > 0 {
			over[w.Site]--
			first = append(first, w)
		} else {
			then = append(then, w)
		}
	}
	return slices.Concat(first, then)
}

// busy reports that a worker's lease keeps it.
func (p *planner) busy(w *epu.Worker) bool { return p.Busy && w.BusyUntil.After(p.Now) }

// unheard reports that a worker may be at work without this node knowing: leases come back with the first
// beat after a start. A verdict ends the doubt as well, so silence keeps no worker for ever.
func (p *planner) unheard(w *epu.Worker) bool {
	return p.Unheard != nil && w.State == epu.Running && w.Health == epu.HealthUnknown && p.Unheard(w.ID)
}

// order sorts workers so that the first are the first to go: not yet running ones, then unheard and sick
// ones, then by the policy's order. Equal ones go by ID, so the choice is the same at every repetition.
func order(ws []*epu.Worker, by epu.VictimOrder) {
	slices.SortFunc(ws, func(a, b *epu.Worker) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			compareBy(by, a, b),
			b.Created.Compare(a.Created),
			cmp.Compare(b.ID, a.ID),
		)
	})
}

func rank(w *epu.Worker) int {
	switch {
	case w.State < epu.Running:
		return 0
	case w.Health != epu.HealthOK, w.Unhealthy(): // one that may not be ended yet, or that is only suspect, still serves least
		return 1
	}
	return 2
}

func compareBy(by epu.VictimOrder, a, b *epu.Worker) int {
	switch by {
	case epu.Oldest:
		return a.Created.Compare(b.Created)
	case epu.IdleLongest:
		switch {
		case a.IdleSince.IsZero() || b.IdleSince.IsZero():
			return cmp.Compare(boolInt(a.IdleSince.IsZero()), boolInt(b.IdleSince.IsZero()))
		default:
			return a.IdleSince.Compare(b.IdleSince)
		}
	case epu.MostExpensive:
		return cmp.Compare(b.Price, a.Price)
	case epu.NearestCharge:
		if a.ChargeAt.IsZero() || b.ChargeAt.IsZero() {
			return cmp.Compare(boolInt(a.ChargeAt.IsZero()), boolInt(b.ChargeAt.IsZero()))
		}
		return a.ChargeAt.Compare(b.ChargeAt)
	}
	return b.Created.Compare(a.Created)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
