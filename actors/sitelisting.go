package actors

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// listed takes in a complete listing; a failed one is no listing at all.
func (s *Site) listed(tx *Tx, r CallResult) {
	s.listErr = r.Err
	if r.Err != nil {
		if s.faulty.IsZero() {
			s.faulty = tx.Now()
		}
		return
	}
	s.faulty = time.Time{}
	machines := r.Result.([]iaas.Instance)
	present := make(map[epu.InstanceID]bool, len(machines))
	clear(s.strays)
	changed := slotChanges{}
	for _, m := range machines {
		present[m.ID] = true
		s.see(tx, m, r.Began, changed)
	}
	s.change(tx, changed)
	maps.DeleteFunc(s.firstSeen, func(id epu.InstanceID, _ time.Time) bool { return !present[id] })
	for id, ref := range s.index {
		if !present[id] && !s.st.Launches[ref.launch].Slots[ref.slot].State.Gone() {
			s.absent(id, r.Began)
		}
	}
	for id := range s.st.Condemned {
		if !present[id] {
			s.absent(id, r.Began)
		}
	}
	s.settleListed(tx, r.Began)
	s.synced, s.lastList = true, tx.Now()
}

// slotChanges are the slots of launches of which something new was seen.
type slotChanges map[epu.LaunchID]map[int]slotSeen

// change records what was seen, in the order of launches.
func (s *Site) change(tx *Tx, changed slotChanges) {
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		tx.Because(string(id))
		tx.Emit(slotsSeen{Launch: id, Slots: changed[id]})
	}
}

// see takes in one listed machine.
func (s *Site) see(tx *Tx, m iaas.Instance, began time.Time, changed slotChanges) {
	delete(s.missing, m.ID)
	if n := s.notes[m.ID]; n != nil {
		n.notFound = time.Time{}
	}
	if _, known := s.st.Condemned[m.ID]; known {
		if m.State == iaas.InstanceTerminated {
			tx.Emit(condemnedGone{Instance: m.ID})
		}
		return
	}
	if ref, known := s.index[m.ID]; known {
		s.update(ref, seenOf(m), changed)
		return
	}
	launch := epu.LaunchID(m.Tags[iaas.TagLaunch])
	l := s.st.Launches[launch]
	switch {
	case m.State == iaas.InstanceTerminated:
		return
	case l != nil && !l.Closed:
		tx.Because(string(launch))
		s.bind(tx, launch, []iaas.Instance{m})
		return
	case l == nil && s.newer(m):
		s.stray(tx, m) // nothing is launched before its record is durable: no listing is old enough to explain it
		return
	}
	// A listing may be old by up to the visibility window: what stands in no slot may have ended since.
	// Only a machine that is still there a window later is a stray.
	first, seen := s.firstSeen[m.ID]
	if !seen {
		s.firstSeen[m.ID] = began
		return
	}
	if began.Sub(first) > s.spec.VisibilityWindow {
		s.stray(tx, m)
	}
}

// update notes what changed of a slot.
func (s *Site) update(ref slotRef, seen slotSeen, changed slotChanges) {
	slot := s.st.Launches[ref.launch].Slots[ref.slot]
	if slot.State.Gone() {
		return
	}
	seen.Zone = cmp.Or(seen.Zone, slot.Zone)
	seen.Address = cmp.Or(seen.Address, slot.Address)
	seen.Reason = cmp.Or(seen.Reason, slot.Reason)
	seen.Kind = cmp.Or(seen.Kind, slot.Kind)
	if slot.Ended && seen.State < epu.Terminating {
		seen.State = epu.Terminating
	}
	after := msg.Slot{
		State: max(slot.State, seen.State), Instance: slot.Instance, Zone: seen.Zone,
		Address: seen.Address, Reason: seen.Reason, Kind: seen.Kind, Ended: slot.Ended,
	}
	if after == slot {
		return
	}
	if changed[ref.launch] == nil {
		changed[ref.launch] = map[int]slotSeen{}
	}
	changed[ref.launch][ref.slot] = seen
}

// newer reports that a machine was launched by a later life of this store than the one that we see: its
// launch was never recorded.
func (s *Site) newer(m iaas.Instance) bool {
	pool, epoch, seq, ok := epu.LaunchID(m.Tags[iaas.TagLaunch]).Parse()
	if !ok || !strings.HasPrefix(m.Tags[iaas.TagKeeper], "pool/") || epoch < s.id.Epoch {
		return false
	}
	return epoch > s.id.Epoch || seq > s.st.Floors[poolKey(epu.Owner(m.Tags[iaas.TagOwner]), pool)].Seq
}

// stray judges a machine of ours without a record.
func (s *Site) stray(tx *Tx, m iaas.Instance) {
	if !strings.HasPrefix(m.Tags[iaas.TagKeeper], "pool/") {
		return // a run's machine: another keeper kind
	}
	launch := epu.LaunchID(m.Tags[iaas.TagLaunch])
	pool, epoch, _, ok := launch.Parse()
	owner := epu.Owner(m.Tags[iaas.TagOwner])
	st := Stray{Instance: m, Launch: launch, Owner: owner, Pool: pool}
	switch {
	case s.st.Launches[launch] != nil:
		if s.condemn(tx, m.ID, launch, "no slot of its launch is free") {
			return
		}
		st.Why = "no slot of its launch is free; waits for the sweep's limit or for the end of recovery"
	case !ok:
		st.Why = "its launch tag can't be read"
	case epoch < s.id.Epoch:
		st.Why = "launched in epoch " + strconv.FormatUint(uint64(epoch), 10) + ", before the store was restored"
	case s.newer(m):
		st.Why = "the store is older than this machine"
		if !s.recovering() {
			tx.Emit(recoveryBegun{Why: st.Why + " " + string(m.ID)})
		}
	case !s.condemn(tx, m.ID, launch, "its launch was forgotten"):
		st.Why = "its launch was forgotten; waits for the sweep's limit or for the end of recovery"
	default:
		return
	}
	s.strays[m.ID] = st
}

// absent notes that a listing lacks a machine, if it began once the cloud had time to show it.
func (s *Site) absent(id epu.InstanceID, began time.Time) {
	since := s.started
	if n := s.notes[id]; n != nil && !n.bound.IsZero() {
		since = n.bound
	}
	if began.Sub(since) > s.spec.VisibilityWindow {
		s.missing[id] = struct{}{}
	}
}

// found takes in a search by ID: twice not found, a window apart, and the machine is gone.
func (s *Site) found(tx *Tx, call FindCall, r CallResult) {
	if r.Err != nil {
		return
	}
	changed := slotChanges{}
	present := map[epu.InstanceID]bool{}
	for _, m := range r.Result.([]iaas.Instance) {
		present[m.ID] = true
		s.see(tx, m, r.Began, changed)
	}
	for _, id := range call.IDs {
		if _, still := s.missing[id]; !still || present[id] {
			continue
		}
		switch n := s.note(id); {
		case n.notFound.IsZero():
			n.notFound = tx.Now()
		case r.Began.Sub(n.notFound) >= s.spec.VisibilityWindow:
			delete(s.missing, id)
			s.gone(tx, id, changed)
		}
	}
	s.change(tx, changed)
}

// gone records that a machine is confirmed gone.
func (s *Site) gone(tx *Tx, id epu.InstanceID, changed slotChanges) {
	if _, ok := s.st.Condemned[id]; ok {
		tx.Emit(condemnedGone{Instance: id})
	}
	if ref, ok := s.index[id]; ok {
		s.update(ref, slotSeen{State: epu.Terminated, Instance: id, Reason: "disappeared"}, changed)
	} else {
		delete(s.notes, id)
	}
}

// settleListed counts listings toward the end of settling: two complete ones, begun late enough that
// every call of every incarnation has ended and its machines are visible.
func (s *Site) settleListed(tx *Tx, began time.Time) {
	for _, id := range s.hot.all() {
		l := s.st.Launches[id]
		if l == nil || l.Closed || !l.Settling {
			continue
		}
		c := s.call(id)
		if began.Before(c.settleAt) {
			continue
		}
		if c.listings++; c.listings >= 2 {
			end := launchClosed{Launch: id, Why: "nothing came of it", Kind: epu.UnknownOutcome.String()}
			switch {
			case s.off(l) != "":
				end.Why, end.Kind, end.Rejected = s.off(l), "", true
			case c.failed != nil:
				end.Why, end.Kind = brief(c.failed.Error()), epu.KindOf(c.failed).String()
			}
			tx.Because(string(id))
			tx.Emit(end)
		}
	}
}
