package actors

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// want takes in a controller's wish for a launch: its first Want makes the record, later ones only
// ever add ended slots.
func (s *Site) want(tx *Tx, w msg.Want) {
	if w.Epoch != s.id.Epoch {
		return
	}
	l := s.st.Launches[w.Launch]
	if l == nil {
		s.wantNew(tx, w)
		return
	}
	var ended []int
	for _, i := range w.Ended {
		if i >= 0 && i < len(l.Slots) && !l.Slots[i].Ended {
			ended = append(ended, i)
		}
	}
	if len(ended) > 0 {
		tx.Emit(slotsEnded{Launch: w.Launch, Slots: ended})
		return // the changed report is due by itself
	}
	tx.Answer(s.report(w.Launch, l))
}

func (s *Site) wantNew(tx *Tx, w msg.Want) {
	// A launch that was opened in another life of the store, or whose record is lost here, may have been
	// asked for: its machines are looked for, but none is launched.
	lost := s.otherEpoch(w.Launch) || w.Spec.Image == ""
	switch {
	case w.Rev < s.st.Floors[poolKey(w.Owner, w.Pool)].Rev:
		return // a late copy from before the launch was forgotten
	case w.Adopt != "" && len(w.Ended) < w.N:
		s.adopt(tx, w)
		return
	case lost && w.Adopt == "":
	case len(w.Ended) >= w.N:
		tx.Emit(floorRaised{Owner: w.Owner, Pool: w.Pool, Floor: w.Rev})
		tx.Answer(goneReport(s.id.Epoch, s.spec.Name, w))
		return
	case s.recovering():
		return // waits for the operator; the controller repeats
	}
	tx.Because(string(w.Launch))
	tx.Emit(launchAccepted{Launch: w.Launch, Owner: w.Owner, Pool: w.Pool, N: w.N, Request: s.render(w), Protected: w.Protected})
	if len(w.Ended) > 0 {
		tx.Emit(slotsEnded{Launch: w.Launch, Slots: w.Ended})
	}
	if lost {
		s.settle(tx, w.Launch, "its record was lost")
		return
	}
	s.refuse(tx, w)
}

// refuse closes a new launch that is not to be asked for, or as much of it as the site has no room for.
func (s *Site) refuse(tx *Tx, w msg.Want) {
	l := s.st.Launches[w.Launch]
	switch {
	case s.off(l) != "":
		why := fmt.Sprintf("%s: would launch %d x %s", s.off(l), l.openSlots(), w.Spec.Image)
		tx.Emit(launchClosed{Launch: w.Launch, Why: why, Rejected: true})
		return
	case s.spec.InstancesMax == 0:
		return
	}
	excess := map[int]slotSeen{}
	over := s.supply() - s.spec.InstancesMax
	for i := len(l.Slots) - 1; i >= 0 && len(excess) < over; i-- {
		if !l.Slots[i].Ended {
			excess[i] = slotSeen{State: epu.Failed, Kind: epu.Quota.String(), Reason: fmt.Sprintf("site %s is at its limit of %s", s.spec.Name, epu.Plural(s.spec.InstancesMax, "instance"))}
		}
	}
	if len(excess) > 0 {
		tx.Emit(slotsSeen{Launch: w.Launch, Slots: excess})
	}
}

// supply counts machines that are there or may come.
func (s *Site) supply() int {
	n := len(s.st.Condemned)
	for _, l := range s.st.Launches {
		for _, slot := range l.Slots {
			if !slot.State.Gone() {
				n++
			}
		}
	}
	return n
}

// goneReport answers a Want whose slots were all ended before the site knew of them.
func goneReport(epoch epu.Epoch, site epu.SiteID, w msg.Want) msg.Report {
	r := msg.Report{Epoch: epoch, Site: site, Launch: w.Launch, Closed: true, Slots: make([]msg.Slot, w.N)}
	for i := range r.Slots {
		r.Slots[i] = msg.Slot{State: epu.Terminated, Ended: true, Reason: "ended before it was asked for"}
	}
	return r
}

// render makes the request of a launch. How many machines is fixed when it is prepared.
func (s *Site) render(w msg.Want) iaas.LaunchRequest {
	vars := make(map[string]epu.Var, len(w.Spec.Vars)+len(w.Vars))
	for k, v := range w.Spec.Vars {
		vars[k] = v
	}
	for k, v := range w.Vars {
		vars[k] = epu.Var{Value: v}
	}
	tags := make(map[string]string, len(s.spec.Tags)+6)
	for k, v := range s.spec.Tags {
		tags[k] = v
	}
	for k, v := range s.tags() {
		tags[k] = v
	}
	tags[iaas.TagEpoch] = strconv.FormatUint(uint64(s.id.Epoch), 10)
	tags[iaas.TagOwner] = string(w.Owner)
	tags[iaas.TagKeeper] = string(epu.PoolKeeper(w.Owner, w.Pool))
	tags[iaas.TagLaunch] = string(w.Launch)
	return iaas.LaunchRequest{
		Token: launchToken(s.id.Installation, w.Launch), Image: w.Spec.Image, Args: w.Spec.Args,
		Allocation: w.Spec.Allocation, Market: w.Spec.Market, Zone: w.Spec.Zone,
		Vars: vars, UserData: userData(w), Tags: tags,
	}
}

// tags selects our machines at this site.
func (s *Site) tags() map[string]string {
	return map[string]string{
		iaas.TagInstallation: string(s.id.Installation),
		iaas.TagSite:         string(s.spec.Name),
	}
}

func (s *Site) report(id epu.LaunchID, l *siteLaunch) msg.Report {
	return msg.Report{
		Epoch: s.id.Epoch, Site: s.spec.Name, Launch: id, Rev: l.Rev,
		Slots: slices.Clone(l.Slots), Closed: l.Closed,
	}
}

// noted ends the reports of a revision.
func (s *Site) noted(tx *Tx, n msg.Noted) {
	l := s.st.Launches[n.Launch]
	if n.Epoch != s.id.Epoch || l == nil || n.Rev != l.Rev || l.Noted == n.Rev {
		return
	}
	if !n.Known && !l.gone() {
		// A controller that does not know a launch whose machines live has an older store than ours:
		// nothing is forgotten, the report stays due, and people see the machines as strays.
		s.orphans[n.Launch] = struct{}{}
		return
	}
	delete(s.orphans, n.Launch)
	tx.Emit(launchNoted{Launch: n.Launch, Rev: n.Rev, PoolRev: n.PoolRev})
}

// prepared fixes a request's bytes, or fails the launch when its secrets can't be read.
func (s *Site) prepared(tx *Tx, call PrepareCall, r CallResult) {
	id := epu.LaunchID(call.Request.Tags[iaas.TagLaunch])
	l := s.st.Launches[id]
	if l == nil || l.Closed || l.Digest != "" || l.ended() {
		return
	}
	tx.Because(string(id))
	if r.Err != nil {
		if !epu.KindOf(r.Err).Retryable() {
			tx.Emit(launchClosed{Launch: id, Why: brief(r.Err.Error()), Kind: epu.KindOf(r.Err).String()})
		}
		return
	}
	if call.Request.Max != l.openSlots() {
		return // a slot was ended meanwhile; it is prepared again with fewer
	}
	tx.Emit(launchPrepared{Launch: id, Max: call.Request.Max, Digest: r.Result.(string)})
	s.calls[id] = &callState{fresh: true}
}

// ran takes in the outcome of a launch call.
func (s *Site) ran(tx *Tx, call RunCall, r CallResult) {
	l := s.st.Launches[call.Launch]
	tx.Because(string(call.Launch))
	if r.Err == nil {
		s.bind(tx, call.Launch, r.Result.([]iaas.Instance))
		if l != nil && !l.Closed {
			tx.Emit(launchClosed{Launch: call.Launch, Why: "the cloud gave fewer machines than asked for", Kind: epu.Capacity.String()})
		}
		return
	}
	if l == nil { // forgotten meanwhile: nothing may be noted of it, for nothing would ever drop the note
		return
	}
	c := s.call(call.Launch)
	c.failed = r.Err
	if l.Closed || l.Settling {
		return
	}
	switch epu.KindOf(r.Err) {
	case epu.UnknownOutcome, epu.Internal:
		c.uncertain = true
	case epu.Throttled, epu.Transient, epu.Unavailable: // nothing was done: the same bytes again
	case epu.Conflict:
		s.settle(tx, call.Launch, brief(r.Err.Error()))
	default:
		if c.uncertain || !c.fresh {
			s.settle(tx, call.Launch, brief(r.Err.Error()))
			return
		}
		tx.Emit(launchClosed{Launch: call.Launch, Why: brief(r.Err.Error()), Kind: epu.KindOf(r.Err).String()})
	}
}

// bind gives machines of a launch to its slots. One that finds none is condemned.
func (s *Site) bind(tx *Tx, id epu.LaunchID, machines []iaas.Instance) {
	l := s.st.Launches[id]
	bound := map[int]slotSeen{}
	for _, m := range machines {
		if _, known := s.index[m.ID]; known {
			continue
		}
		if _, known := s.st.Condemned[m.ID]; known {
			continue
		}
		free := -1
		if l != nil && !l.Closed {
			free = l.freeSlot(bound)
		}
		if free < 0 {
			if m.State != iaas.InstanceTerminated {
				s.condemn(tx, m.ID, id, "no slot of its launch is free")
			}
			continue
		}
		s.note(m.ID).bound = tx.Now()
		bound[free] = seenOf(m)
	}
	if len(bound) > 0 {
		tx.Emit(slotsSeen{Launch: id, Slots: bound})
	}
}

// reasonMax bounds a cloud's words in bytes: they stand in every slot of a launch, and one event holds them all.
const reasonMax = 500

// brief cuts a cloud's words to reasonMax.
func brief(text string) string {
	if len(text) > reasonMax {
		text = strings.ToValidUTF8(text[:reasonMax], "") + "..."
	}
	return text
}

func seenOf(m iaas.Instance) slotSeen {
	seen := slotSeen{State: epu.Pending, Instance: m.ID, Zone: m.Zone, Address: m.Address, Reason: brief(m.Reason)}
	switch m.State {
	case iaas.InstanceRunning:
		seen.State = epu.Started
	case iaas.InstanceStopping:
		seen.State = epu.Terminating
	case iaas.InstanceTerminated:
		seen.State = epu.Terminated
	}
	return seen
}

// condemn durably marks a machine of ours that stands in no slot, within the sweep's own limit.
func (s *Site) condemn(tx *Tx, id epu.InstanceID, launch epu.LaunchID, why string) bool {
	if s.recovering() || s.spec.DryRun || len(recent(s.st.Condemns, tx.Now())) >= condemnsMax {
		return false
	}
	tx.Emit(condemned{Instance: id, Launch: launch, Why: why, Time: tx.Now()})
	return true
}
