package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// world is a dumb pool: it carries plans out to the letter.
type world struct {
	in       reconcile.Input
	unsynced map[epu.SiteID]bool
	unheard  map[epu.WorkerID]bool
	backoff  map[epu.SiteID]time.Time
	launched []time.Time // of each worker
	ended    []time.Time // of each end that counts
	seq      uint64
}

func newWorld() *world {
	w := &world{unsynced: map[epu.SiteID]bool{}, unheard: map[epu.WorkerID]bool{}, backoff: map[epu.SiteID]time.Time{}}
	w.in = reconcile.Input{
		Now: start, Placement: []epu.Placement{{Site: "cloud"}}, DrainTo: true, Busy: true,
		Limits:  epu.Limits{Max: -1, Terminations: epu.Count{N: 20, Window: 10 * time.Minute}},
		Synced:  func(s epu.SiteID) bool { return !w.unsynced[s] },
		Overdue: map[epu.WorkerID]reconcile.Overdue{},
		Unheard: func(id epu.WorkerID) bool { return w.unheard[id] },
		Backoff: func(p epu.Placement) time.Time { return w.backoff[p.Site] },
	}
	return w
}

// plan asks with what was used of the limits till now.
func (w *world) plan() reconcile.Plan {
	w.in.Launched = used(w.launched, w.in.Now, w.in.Limits.Launches.Window)
	w.in.Ended = used(w.ended, w.in.Now, w.in.Limits.Terminations.Window)
	w.in.Lost = used(w.ended, w.in.Now, w.in.Limits.Loss.Window)
	return reconcile.Actions(w.in)
}

func used(times []time.Time, now time.Time, window time.Duration) reconcile.Used {
	var u reconcile.Used
	for _, t := range times {
		if now.Sub(t) <= window {
			if u.N++; u.Next.IsZero() || t.Add(window+1).Before(u.Next) {
				u.Next = t.Add(window + 1)
			}
		}
	}
	return u
}

// carryOut changes the pool as the plan says. Workers are replaced, never changed.
func (w *world) carryOut(p reconcile.Plan) {
	for _, e := range p.Ends {
		w.change(e.Worker.ID, func(x *epu.Worker) { x.Ended, x.EndReason, x.State = true, e.Reason, epu.Terminating })
		if e.Limited {
			w.ended = append(w.ended, w.in.Now)
		}
	}
	for _, d := range p.Drains {
		w.change(d.ID, func(x *epu.Worker) { x.Draining, x.Leaving = true, x.Replacing })
	}
	for _, r := range p.Resumes {
		w.change(r.ID, func(x *epu.Worker) { x.Draining = false })
	}
	for _, l := range p.Launches {
		w.seq++
		id := epu.NewLaunchID("new", 1, w.seq)
		for i := range l.N {
			w.launched = append(w.launched, w.in.Now)
			w.add(&epu.Worker{
				ID: epu.NewWorkerID(id, i), Launch: id, Slot: i, Name: l.Name, Site: l.Site, Allocation: l.Allocation,
				Market: l.Market, State: epu.Requesting, Created: w.in.Now,
			})
		}
	}
}

func (w *world) add(x *epu.Worker) {
	w.in.Workers = append(w.in.Workers, x)
	slices.SortStableFunc(w.in.Workers, func(a, b *epu.Worker) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
}

func (w *world) change(id epu.WorkerID, f func(*epu.Worker)) {
	for i, x := range w.in.Workers {
		if x.ID == id {
			c := *x
			f(&c)
			w.in.Workers[i] = &c
		}
	}
}

// open counts the workers that are wanted, by whether they are on their way out.
func (w *world) open() (serving, draining int) {
	for _, x := range w.in.Workers {
		switch {
		case !x.Open():
		case x.Draining:
			draining++
		case x.Replacing && w.in.Freeze == reconcile.Thawed: // another one counts in its place
		default:
			serving++
		}
	}
	return serving, draining
}

// describe draws a plan for golden files.
func describe(p reconcile.Plan, now time.Time) string {
	var b strings.Builder
	for _, w := range p.Resumes {
		fmt.Fprintf(&b, "resume %s\n", w.ID)
	}
	for _, e := range p.Ends {
		fmt.Fprintf(&b, "end %s", e.Worker.ID)
		if e.Surplus {
			b.WriteString(" (surplus)")
		}
		if e.Limited {
			b.WriteString(" (counts)")
		}
		fmt.Fprintf(&b, ": %s\n", e.Reason)
	}
	for _, w := range p.Drains {
		fmt.Fprintf(&b, "drain %s\n", w.ID)
	}
	for _, l := range p.Launches {
		fmt.Fprintf(&b, "launch %d at %s", l.N, l.Site)
		for _, s := range []string{string(l.Allocation), string(l.Market), l.Name} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
		fmt.Fprintf(&b, ": %s\n", l.Reason)
	}
	for _, r := range p.Refused {
		fmt.Fprintf(&b, "refused by %s: %s\n", r.Rule, r.Text)
	}
	if !p.Until.IsZero() {
		fmt.Fprintf(&b, "ask again in %v\n", p.Until.Sub(now).Round(time.Millisecond))
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}
