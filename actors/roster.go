package actors

import (
	"cmp"
	"slices"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

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

func (r *roster) tally(w *epu.Worker, d int) {
	switch {
	case !w.Open():
		r.counts.Ending += d
		return
	case w.State >= epu.Running:
		r.counts.Running += d
	default:
		r.counts.Starting += d
	}
	if w.Name != "" {
		r.named += d
	}
	if w.Unhealthy() {
		r.counts.Unhealthy += d
	}
	if w.Draining {
		r.counts.Draining += d
	}
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
