package actortest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/persistence"
)

func (f *Fleet) wrong(format string, args ...any) {
	if len(f.Wrong) < 20 {
		f.Wrong = append(f.Wrong, fmt.Sprintf("%v: %s", f.Now(), fmt.Sprintf(format, args...)))
	}
}

// Lenient allows machines to be condemned: calls may arrive after their deadline.
func (f *Fleet) Lenient() { f.strict = false }

// checkSite notes machines that had to be condemned. While no call arrives after its deadline and no
// store is restored, every machine finds the slot that it was launched for: one that does not was
// launched twice, or too late.
func (f *Fleet) checkSite(s *Site) {
	if n := s.core.Condemned(); f.strict && n > 0 {
		f.wrong("%d machines condemned: %s", n, s.core.Describe())
		f.strict = false
	}
}

// checkCall notes calls that must not be made: machines of wanted workers ended, anything ended before
// the first listing or during recovery, and launches during recovery or too early.
func (f *Fleet) checkCall(s *Site, call any) {
	recovery := f.Journal.Meta().Recovery
	switch call := call.(type) {
	case actors.RunCall:
		if recovery {
			f.wrong("launch %s is called in recovery", call.Launch)
		}
		if !s.listed && f.Now().Sub(s.since) < 2*time.Minute {
			f.wrong("launch %s is called before %s was listed", call.Launch, s.Spec.Name)
		}
	case actors.EndCall:
		if recovery {
			f.wrong("machines %v are ended in recovery", call.IDs)
		}
		if !s.listed {
			f.wrong("machines %v are ended before %s was listed", call.IDs, s.Spec.Name)
		}
		for _, w := range f.Workers() {
			if w.Open() && slices.Contains(call.IDs, w.Instance) {
				f.wrong("machine %s of the wanted worker %s is being ended", w.Instance, w.ID)
			}
			if w.Ended && slices.Contains(call.IDs, w.Instance) && !f.Restored && !f.hooked(w.Instance) {
				f.wrong("machine %s of worker %s is being ended before its hook was run", w.Instance, w.ID)
			}
		}
	}
}

// checkNames notes two open workers of one unique name.
func (f *Fleet) checkNames() {
	var seen map[string]epu.WorkerID
	for _, w := range f.Workers() {
		if w.Name == "" || !w.Open() {
			continue
		}
		if seen == nil {
			seen = map[string]epu.WorkerID{}
		}
		if other, ok := seen[w.Name]; ok {
			f.wrong("workers %s and %s are both open and called %s", w.ID, other, w.Name)
		}
		seen[w.Name] = w.ID
	}
}

// noteActions remembers what a decision's actions may lead to.
func (f *Fleet) noteActions(d *epu.Decision) {
	f.decided[d.ID] = true
	for i, a := range d.Actions {
		if a.Kind == epu.ActLaunch {
			f.asked[fmt.Sprintf("%s/%d", d.ID, i)] = a.Count
		}
	}
}

// checkActions notes actions of the policy that were carried out twice or beyond what they asked for.
func (f *Fleet) checkActions() {
	for _, w := range f.Workers() {
		ever := f.launched[w.Asked]
		if w.Asked == "" || ever[w.ID] {
			continue
		}
		if ever == nil {
			ever = map[epu.WorkerID]bool{}
			f.launched[w.Asked] = ever
		}
		ever[w.ID] = true
		if most, ok := f.asked[w.Asked]; !ok || len(ever) > most {
			f.wrong("%d workers of the action %s, which asked for %d", len(ever), w.Asked, most)
		}
	}
}

// hooked reports that the hook for the end of a machine's worker was run or given up, where one is due.
func (f *Fleet) hooked(id epu.InstanceID) bool {
	hook, worker := f.Define.Spec.Hooks.Ending, f.agent(id).worker
	if hook == nil || worker == "" { // it never checked in
		return true
	}
	runs := f.Hooked[worker]
	return runs != nil && (runs.Ending > 0 || runs.Failed >= hook.Tries)
}

// Check holds a fleet that has settled against the invariants: every live machine stands in exactly one
// wanted slot and is heard, there are as many as wished, every unique name has one, and replaying the
// journal gives the state there is.
func (f *Fleet) Check(want, names int) []string {
	wrong := slices.Clone(f.Wrong)
	if err := f.Failed(); err != nil {
		wrong = append(wrong, "an incarnation failed: "+err.Error())
	}
	for _, u := range f.Unknown {
		wrong = append(wrong, fmt.Sprintf("%s had no case for %s", u.Actor, u.Type))
	}
	slot := map[epu.InstanceID]epu.WorkerID{}
	open, named := 0, 0
	for _, w := range f.Workers() {
		if !w.Open() {
			wrong = append(wrong, fmt.Sprintf("worker %s has not ended: %s", w.ID, w.State))
			continue
		}
		open++
		if w.Name != "" {
			named++
			if w.Vars["NAME"] != w.Name {
				wrong = append(wrong, fmt.Sprintf("worker %s called %s has the variables %v", w.ID, w.Name, w.Vars))
			}
		}
		if other, ok := slot[w.Instance]; ok || w.Instance == "" {
			wrong = append(wrong, fmt.Sprintf("workers %s and %s stand on machine %q", w.ID, other, w.Instance))
		}
		slot[w.Instance] = w.ID
	}
	alive := 0
	for _, m := range f.Machines() {
		if !m.Alive() {
			if !f.Restored && !f.hooked(m.ID) {
				wrong = append(wrong, fmt.Sprintf("machine %s of worker %s is gone and its hook was not run", m.ID, f.agent(m.ID).worker))
			}
			continue
		}
		alive++
		if slot[m.ID] == "" {
			wrong = append(wrong, fmt.Sprintf("machine %s of launch %s is leaked", m.ID, m.Tags[iaas.TagLaunch]))
		}
		if a := f.agent(m.ID); a.mute || a.failed || a.stopped {
			wrong = append(wrong, fmt.Sprintf("machine %s of worker %s does not work (%+v) and was not replaced", m.ID, slot[m.ID], *a))
		}
	}
	if open != want || alive != want || named != names {
		wrong = append(wrong, fmt.Sprintf("%d workers, %d of them named, and %d machines, want %d and %d named", open, named, alive, want, names))
	}
	return append(wrong, f.checkReplay()...)
}

// checkReplay loads the streams anew and compares.
func (f *Fleet) checkReplay() []string {
	var wrong []string
	for _, s := range f.Sites {
		wrong = append(wrong, f.replay(epu.SiteStream(s.Spec.Name), actors.SiteCodec(), s.core, actors.NewSite(s.Spec, f.identity(), f.Now()))...)
	}
	if f.controller == nil {
		return wrong
	}
	return append(wrong, f.replay(epu.PoolStream(epu.DefaultOwner, f.Pool.Name), actors.PoolCodec(), f.controller,
		actors.NewController(epu.DefaultOwner, f.Pool.Name, f.identity(), f.Now()))...)
}

func (f *Fleet) replay(stream epu.StreamID, codec *persistence.Codec, live, fresh actors.Core) []string {
	l, err := f.Journal.Load(context.Background(), stream)
	if err == nil && l.Snapshot != nil {
		err = fresh.Restore(l.Snapshot)
	}
	for _, e := range l.Tail {
		ev, derr := codec.Decode(e)
		if derr != nil {
			err = derr
			break
		}
		fresh.Apply(ev)
	}
	a, aerr := json.Marshal(live.State())
	b, berr := json.Marshal(fresh.State())
	if err != nil || aerr != nil || berr != nil || !reflect.DeepEqual(a, b) {
		return []string{fmt.Sprintf("%s replays to another state (%v):\nlive   %s\nreplay %s", stream, err, a, b)}
	}
	return nil
}

// Describe draws the fleet's state, for messages of failing tests.
func (f *Fleet) Describe() string {
	out := fmt.Sprintf("%v up=%v crashes=%d\n", f.Now(), f.Up(), f.Crashes)
	for _, w := range f.Workers() {
		out += fmt.Sprintf("worker %s %q %s %s %v ended=%v draining=%v %s\n", w.ID, w.Name, w.Instance, w.State, w.Health, w.Ended, w.Draining, w.EndReason)
	}
	for _, m := range f.Machines() {
		if m.Alive() {
			out += fmt.Sprintf("machine %s %s launch=%s slot=%d %+v\n", m.ID, m.State, m.Tags[iaas.TagLaunch], m.Slot, *f.agent(m.ID))
		}
	}
	for _, s := range f.Sites {
		out += "site " + string(s.Spec.Name) + "\n" + s.core.Describe()
	}
	return out
}
