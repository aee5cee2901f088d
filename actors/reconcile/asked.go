package reconcile

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
)

// Deeds are a policy's actions as the guard rails let them be.
type Deeds struct {
	Launches []Launch
	Ends     []End
	Drains   []Drain
	Resumes  []*epu.Worker
	Refused  []epu.Reason
}

// Drain takes a worker out of service because somebody asked for it by name.
type Drain struct {
	Worker  *epu.Worker
	Reason  string
	Limited bool // the pool is smaller by it than wished: it counts toward Limits.Terminations
}

// Asked says what becomes of a decision's actions, once. Who goes goes first, so that a launch of the
// same decision finds its room; launches count toward the wish and never go beyond it, because what is
// beyond would be ended again at once.
func Asked(in Input, decision epu.DecisionID, actions []epu.Action, find func(epu.WorkerID) *epu.Worker) Deeds {
	a := &asked{planner: newPlanner(in), done: map[epu.WorkerID]bool{}, named: map[string]bool{}}
	a.budgets()
	for _, w := range in.Workers {
		if w.Open() && w.Name != "" {
			a.named[w.Name] = true
		} else if w.Open() && !w.Draining && !w.Replacing {
			a.serving++
		}
	}
	for _, act := range actions {
		for _, id := range act.Workers {
			if w := find(id); w == nil {
				a.refuse(string(act.Kind), string(id)+" is no worker of the pool", time.Time{})
			} else if w.Open() && !a.done[id] {
				a.worker(act, w)
			}
		}
	}
	for i, act := range actions {
		if act.Kind == epu.ActLaunch {
			before := len(a.plan.Launches)
			a.start(act, epu.Asked(decision, i))
			number(a.plan.Launches[before:])
		}
	}
	a.deeds.Launches, a.deeds.Ends, a.deeds.Refused = a.plan.Launches, a.plan.Ends, a.plan.Refused
	return a.deeds
}

// number makes the places of an action's workers continuous over its launches.
func number(parts []Launch) {
	from := 0
	for i := range parts {
		parts[i].AskedFrom = from
		from += parts[i].N
	}
}

// asked carries the budgets of one decision's actions.
type asked struct {
	planner
	deeds   Deeds
	done    map[epu.WorkerID]bool // something was done to it
	named   map[string]bool       // open
	serving int                   // nameless workers that count as supply
}

// worker does to one worker what an action asks for.
func (a *asked) worker(act epu.Action, w *epu.Worker) {
	reason := cmp.Or(act.Reason, "the policy asked for it")
	switch act.Kind {
	case epu.ActResume:
		if w.Draining {
			a.done[w.ID] = true
			a.deeds.Resumes = append(a.deeds.Resumes, w)
			a.count(w, 1)
		}
	case epu.ActTerminate, epu.ActDrain:
		if w.Protected && !w.Unhealthy() {
			a.refuse("protected", string(w.ID)+" is protected by an operator", time.Time{})
			return
		}
		if a.DrainTo && w.State == epu.Running && !w.Unhealthy() && (act.Kind == epu.ActDrain || a.busy(w) || a.unheard(w)) {
			a.drain(act.Kind, w, reason)
		} else if a.end(w, reason, true, true) {
			a.done[w.ID] = true
			a.count(w, -1)
		}
	}
}

// drain takes a worker out of service. Only what makes the pool smaller than wished is limited, and what was
// to be ended: the rest is surplus that leaves in an orderly way.
func (a *asked) drain(kind epu.ActionKind, w *epu.Worker, reason string) {
	if w.Draining && w.Leaving {
		return
	}
	limited := a.endBy != "" && !w.Draining && !w.Replacing &&
		(kind == epu.ActTerminate || w.Name != "" || a.serving <= max(0, a.Wish.Target-len(a.Wish.Uniques)))
	if a.dry(w.Site) {
		a.refuse(dryRule, fmt.Sprintf("site %s is in dry run: %s would be drained", w.Site, w.ID), time.Time{})
		return
	}
	if limited && a.ends == 0 {
		a.usedUp(w)
		return
	}
	if limited {
		a.ends--
	}
	a.done[w.ID] = true
	a.deeds.Drains = append(a.deeds.Drains, Drain{Worker: w, Reason: reason, Limited: limited})
	a.count(w, -1)
}

// count follows the supply. A name is taken until its worker is gone.
func (a *asked) count(w *epu.Worker, d int) {
	if w.Name == "" && !w.Replacing && (d > 0 || !w.Draining) {
		a.serving += d
	}
}

// start opens the launches of one action, as far as the wish has room for them.
func (a *asked) start(act epu.Action, id string) {
	l := Launch{
		Site: act.Site, Allocation: cmp.Or(act.Allocation, a.Wish.Allocation), Market: cmp.Or(act.Market, a.Wish.Market),
		N: max(1, act.Count), Name: act.Name, Vars: act.Vars, Reason: cmp.Or(act.Reason, "the policy asked for it"), Asked: id,
	}
	if l.Vars == nil {
		l.Vars = a.Wish.Vars
	}
	if act.Name != "" {
		u, wanted := a.Wish.Uniques[act.Name]
		switch {
		case !wanted:
			a.refuse("want", "no worker called "+act.Name+" is wanted, so none is launched: control.want names it", time.Time{})
			return
		case a.named[act.Name]:
			a.refuse("want", "there is a worker called "+act.Name+" already", time.Time{})
			return
		}
		a.named[act.Name] = true
		l.Site, l.Allocation, l.Market = cmp.Or(act.Site, u.Site), cmp.Or(act.Allocation, u.Allocation), cmp.Or(act.Market, u.Market)
		if l.Vars = act.Vars; l.Vars == nil {
			l.Vars = u.Vars
		}
		a.launch(l)
		return
	}
	l.Site = cmp.Or(act.Site, a.Wish.Site)
	room := max(0, a.Wish.Target-len(a.Wish.Uniques)-a.serving)
	if l.N > room {
		a.refuse("target", fmt.Sprintf("%d of %d launches are beyond the target %d: launches count toward scale_to",
			l.N-room, l.N, a.Wish.Target), time.Time{})
		l.N = room
	}
	if l.N == 0 {
		return
	}
	before := a.launched()
	a.launch(l)
	a.serving += a.launched() - before
}

func (a *asked) launched() (n int) {
	for _, l := range a.plan.Launches {
		n += l.N
	}
	return n
}
