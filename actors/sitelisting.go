package actors

import (
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
		return
	}
	machines := r.Result.([]iaas.Instance)
	present := make(map[epu.InstanceID]bool, len(machines))
	clear(s.strays)
	for _, m := range machines {
		present[m.ID] = true
		s.see(tx, m, r.Began)
	}
	maps.DeleteFunc(s.firstSeen, func(id epu.InstanceID, _ time.Time) bool { return !present[id] })
	for id := range s.index {
		if !present[id] {
			s.absent(tx.Now(), id)
		}
	}
	for id := range s.st.Condemned {
		if !present[id] {
			s.absent(tx.Now(), id)
		}
	}
	s.settleListed(tx, r.Began)
	s.synced, s.lastList = true, tx.Now()
}

// see takes in one listed machine.
func (s *Site) see(tx *Tx, m iaas.Instance, began time.Time) {
	delete(s.missing, m.ID)
	if _, known := s.st.Condemned[m.ID]; known {
		if m.State == iaas.InstanceTerminated {
			tx.Emit(condemnedGone{Instance: m.ID})
		}
		return
	}
	if ref, known := s.index[m.ID]; known {
		s.update(tx, ref, seenOf(m))
		return
	}
	if m.State == iaas.InstanceTerminated {
		return
	}
	launch := epu.LaunchID(m.Tags[iaas.TagLaunch])
	if l := s.st.Launches[launch]; l != nil && !l.Closed {
		tx.Because(string(launch))
		s.bind(tx, launch, []iaas.Instance{m})
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

// update records what changed of a slot.
func (s *Site) update(tx *Tx, ref slotRef, seen slotSeen) {
	slot := s.st.Launches[ref.launch].Slots[ref.slot]
	if slot.State.Gone() {
		return
	}
	if seen.Address == "" {
		seen.Address = slot.Address
	}
	if seen.Reason == "" {
		seen.Reason = slot.Reason
	}
	if slot.Ended && seen.State < epu.Terminating {
		seen.State = epu.Terminating
	}
	after := msg.Slot{
		State: max(slot.State, seen.State), Instance: slot.Instance, Zone: seen.Zone,
		Address: seen.Address, Reason: seen.Reason, Ended: slot.Ended,
	}
	if after != slot {
		tx.Because(string(ref.launch))
		tx.Emit(slotsSeen{Launch: ref.launch, Slots: map[int]slotSeen{ref.slot: seen}})
	}
}

// stray judges a machine of ours without a record.
func (s *Site) stray(tx *Tx, m iaas.Instance) {
	if !strings.HasPrefix(m.Tags[iaas.TagKeeper], "pool/") {
		return // a run's machine: another keeper kind
	}
	launch := epu.LaunchID(m.Tags[iaas.TagLaunch])
	pool, epoch, seq, ok := launch.Parse()
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
	case epoch > s.id.Epoch || seq > s.st.Floors[poolKey(owner, pool)].Seq:
		// Nothing is launched before its record is durable: the store is older than this machine.
		st.Why = "the store is older than this machine"
		s.id.Recovery = true
	case !s.condemn(tx, m.ID, launch, "its launch was forgotten"):
		st.Why = "its launch was forgotten; waits for the sweep's limit or for the end of recovery"
	default:
		return
	}
	s.strays[m.ID] = st
}

// absent notes that a listing lacks a machine, once the cloud had time to show it.
func (s *Site) absent(now time.Time, id epu.InstanceID) {
	if ref, ok := s.index[id]; ok && s.st.Launches[ref.launch].Slots[ref.slot].State.Gone() {
		return
	}
	since := s.boundAt[id]
	if since.IsZero() {
		since = s.started
	}
	if now.Sub(since) > s.spec.VisibilityWindow && s.missing[id] == nil {
		s.missing[id] = &absence{}
	}
}

// found takes in a search by ID: twice not found, a window apart, and the machine is gone.
func (s *Site) found(tx *Tx, call FindCall, r CallResult) {
	if r.Err != nil {
		return
	}
	present := map[epu.InstanceID]iaas.Instance{}
	for _, m := range r.Result.([]iaas.Instance) {
		present[m.ID] = m
	}
	for _, id := range call.IDs {
		a := s.missing[id]
		if a == nil {
			continue
		}
		if m, ok := present[id]; ok {
			s.see(tx, m, r.Began)
			continue
		}
		switch {
		case a.count == 0:
			a.since, a.count = tx.Now(), 1
		case r.Began.Sub(a.since) >= s.spec.VisibilityWindow:
			delete(s.missing, id)
			s.gone(tx, id)
		}
	}
}

// gone records that a machine is confirmed gone.
func (s *Site) gone(tx *Tx, id epu.InstanceID) {
	if _, ok := s.st.Condemned[id]; ok {
		tx.Emit(condemnedGone{Instance: id})
	}
	if ref, ok := s.index[id]; ok {
		s.update(tx, ref, slotSeen{State: epu.Terminated, Instance: id, Reason: "disappeared"})
	}
}

// settleListed counts listings toward the end of settling: two complete ones, begun late enough that
// every call of every incarnation has ended and its machines are visible.
func (s *Site) settleListed(tx *Tx, began time.Time) {
	for _, id := range s.hotIDs() {
		l := s.st.Launches[id]
		if l == nil || l.Closed || !l.Settling {
			continue
		}
		c := s.call(id)
		if began.Before(c.settleAt) {
			continue
		}
		if c.listings++; c.listings >= 2 {
			why := "nothing came of it"
			if c.failed != nil {
				why = c.failed.Error()
			}
			tx.Because(string(id))
			tx.Emit(launchClosed{Launch: id, Why: why})
		}
	}
}

// missingIDs lists the machines to be searched by ID, in order.
func (s *Site) missingIDs() []epu.InstanceID {
	ids := make([]epu.InstanceID, 0, len(s.missing))
	for id := range s.missing {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
