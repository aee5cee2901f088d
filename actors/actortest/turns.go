package actortest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// emptied reports that the pool is to go, or that its store is another than it was: then there are other
// reasons to end workers than a fleet's checks know.
func (f *Fleet) emptied() bool { return f.Define.EndAll || f.Define.Removing || f.Restored }

// checkTurn compares the workers with what they were before the controller's newest turn.
func (f *Fleet) checkTurn() {
	wish := f.controller.Wish()
	want := max(0, wish.Target-len(wish.Uniques))
	workers := f.Workers()
	if !f.emptied() {
		for _, w := range workers {
			if was := f.seen[w.ID]; was != nil {
				f.checkVictim(was, w)
			}
		}
		f.checkReplaced(workers, min(want, f.wished))
		f.checkSupply(workers, max(want, f.wished))
	}
	clear(f.seen)
	for _, w := range workers {
		f.seen[w.ID] = w
	}
	f.wished = want
}

// checkVictim notes a protected or busy worker that goes though nobody ordered it and nothing is wrong
// with it.
func (f *Fleet) checkVictim(was, w *epu.Worker) {
	drained := !was.Draining && w.Draining && !w.Leaving
	ended := !was.Ended && w.Ended
	protects := f.Define.Spec.Drain.ProtectBusy
	busy := protects && was.BusyUntil.After(f.Now()) && w.BusyUntil.After(f.Now())
	failed := was.Unhealthy() || w.Unhealthy() || strings.HasPrefix(w.EndReason, "not running after")
	switch {
	case drained && was.Protected && w.Protected:
		f.wrong("the protected worker %s is surplus", w.ID)
	case drained && busy:
		f.wrong("the busy worker %s is surplus", w.ID)
	case ended && busy && !failed && !strings.HasPrefix(w.EndReason, "killed by "):
		f.wrong("the busy worker %s is ended: %s", w.ID, w.EndReason)
	case ended && was.Protected && w.Protected && !failed && strings.HasPrefix(w.EndReason, "surplus"):
		f.wrong("the protected worker %s is ended: %s", w.ID, w.EndReason)
	}
}

// serves reports that a nameless worker does its work.
func serves(w *epu.Worker) bool {
	return w.Name == "" && w.Open() && w.State == epu.Running && !w.Draining && !w.Unhealthy()
}

// checkReplaced remembers workers that were to be replaced and leave service although fewer than wished
// serve then. Whether that was the replacement or somebody's order shows in the turn's events. What fails
// in the same turn is no reason: it served when the turn began.
func (f *Fleet) checkReplaced(workers []*epu.Worker, want int) {
	f.early = nil
	serving := 0
	for _, w := range workers {
		was := f.seen[w.ID]
		if serves(w) || was != nil && serves(was) && !was.Replacing {
			serving++
		}
	}
	for _, w := range workers {
		was := f.seen[w.ID]
		if was == nil || !was.Replacing || !serves(was) || serves(w) || serving >= want {
			continue
		}
		if f.early == nil {
			f.early = map[epu.WorkerID]string{}
		}
		f.early[w.ID] = fmt.Sprintf("%d workers serve, %d are wanted", serving, want)
	}
}

// spareMax is how many workers more than wished may be launched: witnesses of mass failures.
const spareMax = 3

// checkSupply notes launches beyond the wish.
func (f *Fleet) checkSupply(workers []*epu.Worker, want int) {
	supply, before, fresh := 0, 0, false
	for _, w := range workers {
		if w.Name == "" && w.Open() && !w.Draining && !w.Replacing {
			supply++
			if f.seen[w.ID] != nil {
				before++
			} else if w.State == epu.Requesting {
				fresh = true
			}
		}
	}
	if fresh && len(f.seen) > 0 && supply > max(want, before)+spareMax {
		f.wrong("%d workers after a launch, want %d", supply, want)
	}
}

// used is a part of a limit that was taken at a moment.
type used struct {
	at time.Time
	n  int
}

// poolEvent is what the checks read of the pool's events.
type poolEvent struct {
	Worker  epu.WorkerID   `json:"worker"`
	Reason  string         `json:"reason"`
	On      bool           `json:"on"`
	Order   bool           `json:"order"`
	Limited bool           `json:"limited"`
	N       int            `json:"n"`
	Adopt   epu.InstanceID `json:"adopt"`
	Time    time.Time      `json:"time"`
}

// checkEvents holds the pool's events against its limits, and against what its policy asked for.
func (f *Fleet) checkEvents(stream epu.StreamID, events []persistence.Event) {
	if stream != epu.PoolStream(epu.DefaultOwner, f.Pool.Name) || f.Restored {
		return
	}
	limits := f.Define.Spec.Limits
	for _, e := range events {
		var ev poolEvent
		if err := json.Unmarshal(e.Data, &ev); err != nil && len(e.Data) > 0 {
			f.wrong("event %s: %v", e.Type, err)
			continue
		}
		switch e.Type {
		case "launch-opened":
			if ev.Adopt == "" {
				f.use("limits.launches", limits.Launches, ev.Time, ev.N)
			}
		case "worker-ended", "worker-draining":
			if ev.Limited {
				f.use("limits.terminations", limits.Terminations, ev.Time, 1)
			}
			if why, early := f.early[ev.Worker]; early && ev.Reason == "replaced" {
				f.wrong("worker %s is replaced though %s", ev.Worker, why)
			}
			if e.Type == "worker-draining" && f.decided[epu.DecisionID(e.Cause)] && (ev.Order || !ev.On && ev.Reason == "the policy asked for it") {
				f.once(fmt.Sprint(e.Cause, " ", ev.Worker, " ", ev.On))
			}
		}
	}
}

// once notes a deed that is done a second time for one action.
func (f *Fleet) once(deed string) {
	if f.deeds[deed] {
		f.wrong("an action is done twice: %s", deed)
	}
	f.deeds[deed] = true
}

// use takes a part of a limit, and notes when that is more than its window allows.
func (f *Fleet) use(name string, limit epu.Count, at time.Time, n int) {
	if limit.N == 0 || limit.Window == 0 {
		return
	}
	taken, all := 0, f.limited[name]
	f.limited[name] = append(all, used{at, n})
	for _, u := range f.limited[name] {
		if at.Sub(u.at) <= limit.Window {
			taken += u.n
		}
	}
	if taken > limit.N {
		f.wrong("%s: %d within %s, at most %d", name, taken, limit.Window, limit.N)
	}
}
