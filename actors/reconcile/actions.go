package reconcile

import (
	"slices"

	"github.com/nimbus-epu/epu"
)

// WantedAgain is why a draining worker is called back into service.
const WantedAgain = "wanted again"

// DrainReason says why the wish takes a worker out of service.
func DrainReason(w *epu.Worker) string {
	if w.Replacing {
		return "replaced"
	}
	return "surplus"
}

// Actions are a plan's steps as a decision holds them, in the order in which they are carried out.
func (p *Plan) Actions() []epu.Action {
	var out []epu.Action
	for _, w := range p.Resumes {
		out = append(out, one(epu.ActResume, w, WantedAgain))
	}
	for _, e := range p.Ends {
		out = append(out, one(epu.ActTerminate, e.Worker, e.Reason))
	}
	for _, w := range p.Drains {
		out = append(out, one(epu.ActDrain, w, DrainReason(w)))
	}
	return append(out, launches(p.Launches)...)
}

// Actions are what became of a policy's actions, as a decision holds them.
func (d *Deeds) Actions() []epu.Action {
	var out []epu.Action
	for _, w := range d.Resumes {
		out = append(out, one(epu.ActResume, w, "the policy asked for it"))
	}
	for _, e := range d.Ends {
		out = append(out, one(epu.ActTerminate, e.Worker, e.Reason))
	}
	for _, x := range d.Drains {
		out = append(out, one(epu.ActDrain, x.Worker, x.Reason))
	}
	return append(out, launches(d.Launches)...)
}

func one(kind epu.ActionKind, w *epu.Worker, reason string) epu.Action {
	return epu.Action{Kind: kind, Workers: []epu.WorkerID{w.ID}, Reason: reason}
}

func launches(list []Launch) (out []epu.Action) {
	for _, l := range list {
		out = append(out, epu.Action{
			Kind: epu.ActLaunch, Count: l.N, Name: l.Name, Site: l.Site, Allocation: l.Allocation, Market: l.Market, Reason: l.Reason,
		})
	}
	return out
}

// After is what an answer would depend on once these deeds were done: for asking what would come next without
// doing anything. The workers of in are not changed.
func (d *Deeds) After(in Input) Input {
	workers := slices.Clone(in.Workers)
	change := func(id epu.WorkerID, f func(*epu.Worker)) {
		if i := slices.IndexFunc(workers, func(w *epu.Worker) bool { return w.ID == id }); i >= 0 {
			w := *workers[i]
			f(&w)
			workers[i] = &w
		}
	}
	for _, w := range d.Resumes {
		change(w.ID, func(w *epu.Worker) { w.Draining, w.Leaving, w.Replacing = false, false, false })
	}
	for _, e := range d.Ends {
		change(e.Worker.ID, func(w *epu.Worker) { w.Ended = true })
		if e.Limited {
			in.Ended.N++
		}
	}
	for _, x := range d.Drains {
		change(x.Worker.ID, func(w *epu.Worker) { w.Draining, w.Leaving = true, true })
		if x.Limited {
			in.Ended.N++
		}
	}
	for _, l := range d.Launches {
		in.Launched.N += l.N
		for range l.N {
			workers = append(workers, &epu.Worker{
				Name: l.Name, Site: l.Site, Allocation: l.Allocation, Market: l.Market, State: epu.Requesting, Created: in.Now,
			})
		}
	}
	in.Workers = workers
	return in
}
