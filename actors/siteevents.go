package actors

import (
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/restore"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/persistence"
)

// Events of a site's stream.
type (
	// launchAccepted makes the record of a launch. Nothing has been asked of the cloud.
	launchAccepted struct {
		Launch  epu.LaunchID       `json:"launch"`
		Owner   epu.Owner          `json:"owner"`
		Pool    epu.PoolID         `json:"pool"`
		N       int                `json:"n"`
		Request iaas.LaunchRequest `json:"request"` // secrets as references; Min and Max follow when prepared
		// Protected says that its pool may launch while launching is switched off.
		Protected bool `json:"protected,omitempty"`
	}
	// launchPrepared fixes the request's exact bytes. From now on it may have been made.
	launchPrepared struct {
		Launch epu.LaunchID `json:"launch"`
		Max    int          `json:"max"`
		Digest string       `json:"digest"`
	}
	// slotsEnded marks slots that their controller no longer wants.
	slotsEnded struct {
		Launch epu.LaunchID `json:"launch"`
		Slots  []int        `json:"slots"`
	}
	// slotsSeen holds what changed of a launch's slots.
	slotsSeen struct {
		Launch epu.LaunchID     `json:"launch"`
		Slots  map[int]slotSeen `json:"slots"`
	}
	// launchSettling ends calling: only listings can still tell what came of it.
	launchSettling struct {
		Launch epu.LaunchID `json:"launch"`
		Why    string       `json:"why"`
	}
	// launchClosed says that no machine can appear any more; slots without one have failed.
	launchClosed struct {
		Launch epu.LaunchID `json:"launch"`
		Why    string       `json:"why,omitempty"`
		// Rejected says that the site itself refused: switched off, dry run. Kind is that of the cloud's error.
		Rejected bool   `json:"rejected,omitempty"`
		Kind     string `json:"kind,omitempty"`
	}
	// launchNoted says that the controller has taken in the report of a revision.
	launchNoted struct {
		Launch  epu.LaunchID `json:"launch"`
		Rev     epu.Revision `json:"rev"`
		PoolRev epu.Revision `json:"pool_rev"`
	}
	// launchForgotten drops a launch of which nothing is left and raises its pool's floor.
	launchForgotten struct {
		Launch epu.LaunchID `json:"launch"`
		Floor  epu.Revision `json:"floor"`
	}
	// floorRaised makes Wants of older revisions for unknown launches void.
	floorRaised struct {
		Owner epu.Owner    `json:"owner"`
		Pool  epu.PoolID   `json:"pool"`
		Floor epu.Revision `json:"floor"`
		Seq   uint64       `json:"seq"`
	}
	// condemned marks a machine of ours that stands in no slot. It is ended from now on.
	condemned struct {
		Instance epu.InstanceID `json:"instance"`
		Launch   epu.LaunchID   `json:"launch"`
		Why      string         `json:"why"`
		Swept    bool           `json:"swept,omitempty"` // by the operator: the sweep's own limit does not count it
		Time     time.Time      `json:"time"`
	}
	// condemnedGone says that a condemned machine is confirmed gone.
	condemnedGone struct {
		Instance epu.InstanceID `json:"instance"`
	}
	// recoveryBegun says that machines were found that the store knows nothing of, though it should.
	recoveryBegun struct {
		Why string `json:"why"`
	}
	// recoveryEnded says that the operator has decided about every machine.
	recoveryEnded struct{}
	// adopted gives a machine without a record to a pool, as a launch of one slot.
	adopted struct {
		Launch   epu.LaunchID   `json:"launch"`
		Owner    epu.Owner      `json:"owner"`
		Pool     epu.PoolID     `json:"pool"`
		Instance epu.InstanceID `json:"instance"`
	}
)

// slotSeen is one slot's new state; see msg.Slot.
type slotSeen struct {
	State    epu.State      `json:"state"`
	Instance epu.InstanceID `json:"instance,omitempty"`
	Zone     string         `json:"zone,omitempty"`
	Address  string         `json:"address,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Kind     string         `json:"kind,omitempty"`
}

// SiteCodec knows the events of site streams.
func SiteCodec() *persistence.Codec {
	c := persistence.NewCodec()
	persistence.Register[Activated](c, "activated", 1)
	persistence.Register[launchAccepted](c, "launch-accepted", 1)
	persistence.Register[launchPrepared](c, "launch-prepared", 1)
	persistence.Register[slotsEnded](c, "slots-ended", 1)
	persistence.Register[slotsSeen](c, "slots-seen", 1)
	persistence.Register[launchSettling](c, "launch-settling", 1)
	persistence.Register[launchClosed](c, "launch-closed", 1)
	persistence.Register[launchNoted](c, "launch-noted", 1)
	persistence.Register[launchForgotten](c, "launch-forgotten", 1)
	persistence.Register[floorRaised](c, "floor-raised", 1)
	persistence.Register[condemned](c, "condemned", 1)
	persistence.Register[condemnedGone](c, "condemned-gone", 1)
	persistence.Register[adopted](c, "adopted", 1)
	persistence.Register[epochBegun](c, "epoch-begun", 1)
	persistence.Register[recoveryBegun](c, "recovery-begun", 1)
	persistence.Register[recoveryEnded](c, "recovery-ended", 1)
	return c
}

// siteLaunch is a site's record of one launch.
type siteLaunch struct {
	Owner    epu.Owner          `json:"owner"`
	Pool     epu.PoolID         `json:"pool"`
	Request  iaas.LaunchRequest `json:"request,omitzero"` // dropped when closed
	Digest   string             `json:"digest,omitempty"` // not empty: the call may have been made
	Settling bool               `json:"settling,omitempty"`
	Closed   bool               `json:"closed,omitempty"`
	// Protected says that it goes on while launching is switched off.
	Protected bool         `json:"protected,omitempty"`
	Rev       epu.Revision `json:"rev"`   // of its last change
	Noted     epu.Revision `json:"noted"` // newest report that its controller has taken in
	PoolRev   epu.Revision `json:"pool_rev,omitempty"`
	Slots     []msg.Slot   `json:"slots"`
}

// poolFloor is what a site remembers of a pool beyond its launches.
type poolFloor struct {
	Rev epu.Revision `json:"rev"` // Wants below it for unknown launches are void
	Seq uint64       `json:"seq"` // highest launch sequence number ever seen in this epoch
}

// Apply changes the site's durable state by one event.
func (s *Site) Apply(ev any) {
	s.st.Rev++
	switch e := ev.(type) {
	case Activated:
	case epochBegun:
		s.st.Epoch = e.Epoch
		clear(s.st.Floors)
		for id, l := range s.st.Launches {
			l.Noted = 0
			s.hot.add(id)
		}
	case recoveryBegun:
		s.st.Recovery = e.Why
	case recoveryEnded:
		s.st.Recovery = ""
	case launchAccepted:
		s.applyAccepted(e)
	case launchPrepared:
		l := s.touch(e.Launch)
		l.Digest, l.Request.Min, l.Request.Max = e.Digest, 1, e.Max
	case slotsEnded:
		l := s.touch(e.Launch)
		for _, i := range e.Slots {
			l.Slots[i].Ended = true
			if l.Slots[i].State < epu.Terminating && l.Slots[i].Instance != "" {
				l.Slots[i].State = epu.Terminating
			}
		}
	case slotsSeen:
		s.applySeen(e)
	case launchSettling:
		s.touch(e.Launch).Settling = true
	case launchClosed:
		s.applyClosed(e)
	case launchNoted:
		l := s.st.Launches[e.Launch]
		l.Noted, l.PoolRev = e.Rev, e.PoolRev
		s.hot.add(e.Launch)
	case launchForgotten:
		l := s.st.Launches[e.Launch]
		s.raiseFloor(l.Owner, l.Pool, e.Floor, 0)
		for _, slot := range l.Slots {
			delete(s.index, slot.Instance)
		}
		delete(s.st.Launches, e.Launch)
		s.hot.del(e.Launch)
		delete(s.calls, e.Launch)
		delete(s.orphans, e.Launch)
	case floorRaised:
		s.raiseFloor(e.Owner, e.Pool, e.Floor, e.Seq)
	case condemned:
		s.st.Condemned[e.Instance] = condemnation{Launch: e.Launch, Why: e.Why}
		if !e.Swept {
			s.st.Condemns = append(recent(s.st.Condemns, e.Time), e.Time)
		}
	case condemnedGone:
		delete(s.st.Condemned, e.Instance)
		delete(s.notes, e.Instance)
	case adopted:
		s.st.Launches[e.Launch] = &siteLaunch{
			Owner: e.Owner, Pool: e.Pool, Closed: true, Rev: s.st.Rev,
			Slots: []msg.Slot{{State: epu.Started, Instance: e.Instance}},
		}
		s.index[e.Instance] = slotRef{e.Launch, 0}
		s.hot.add(e.Launch)
		_, _, seq, _ := e.Launch.Parse()
		s.raiseFloor(e.Owner, e.Pool, 0, seq)
	}
}

// restore reads a launch of a snapshot as encoding/json would by the struct's tags. A test compares the two.
func (l *siteLaunch) restore(r *restore.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "owner":
			restore.Word(r, &l.Owner)
		case "pool":
			restore.Word(r, &l.Pool)
		case "request":
			r.JSON(&l.Request)
		case "digest":
			restore.Text(r, &l.Digest)
		case "settling":
			r.Bool(&l.Settling)
		case "closed":
			r.Bool(&l.Closed)
		case "protected":
			r.Bool(&l.Protected)
		case "rev":
			restore.Uint(r, &l.Rev)
		case "noted":
			restore.Uint(r, &l.Noted)
		case "pool_rev":
			restore.Uint(r, &l.PoolRev)
		case "slots":
			restore.List(r, &l.Slots, func(s *msg.Slot) {
				r.Object(func(key []byte) { restoreSlot(r, key, s) })
			})
		default:
			r.Skip()
		}
	})
}

// restoreSlot reads one member of a slot.
func restoreSlot(r *restore.Reader, key []byte, s *msg.Slot) {
	switch string(key) {
	case "State":
		restore.Int(r, &s.State)
	case "Instance":
		restore.Text(r, &s.Instance)
	case "Zone":
		restore.Word(r, &s.Zone)
	case "Address":
		restore.Text(r, &s.Address)
	case "Reason":
		restore.Word(r, &s.Reason)
	case "Kind":
		restore.Word(r, &s.Kind)
	case "Ended":
		r.Bool(&s.Ended)
	default:
		r.Skip()
	}
}

// recent drops the times that are out of condemnsWindow. One that lies further ahead is of a clock that was
// wrong.
func recent(times []time.Time, now time.Time) []time.Time {
	keep := times[:0:0]
	for _, t := range times {
		if now.Sub(t).Abs() <= condemnsWindow {
			keep = append(keep, t)
		}
	}
	return keep
}

func (s *Site) touch(id epu.LaunchID) *siteLaunch {
	l := s.st.Launches[id]
	l.Rev = s.st.Rev
	s.hot.add(id)
	return l
}

func (s *Site) applyAccepted(e launchAccepted) {
	l := &siteLaunch{Owner: e.Owner, Pool: e.Pool, Request: e.Request, Protected: e.Protected, Rev: s.st.Rev, Slots: make([]msg.Slot, e.N)}
	for i := range l.Slots {
		l.Slots[i].State = epu.Requested
	}
	s.st.Launches[e.Launch] = l
	s.hot.add(e.Launch)
	_, _, seq, _ := e.Launch.Parse()
	s.raiseFloor(e.Owner, e.Pool, 0, seq)
}

func (s *Site) applySeen(e slotsSeen) {
	l := s.touch(e.Launch)
	for i, seen := range e.Slots {
		slot := &l.Slots[i]
		slot.State = max(slot.State, seen.State)
		if slot.Ended && slot.State < epu.Terminating && seen.Instance != "" {
			slot.State = epu.Terminating
		}
		slot.Instance, slot.Zone, slot.Address = seen.Instance, seen.Zone, seen.Address
		slot.Reason, slot.Kind = seen.Reason, seen.Kind
		if seen.Instance != "" {
			s.index[seen.Instance] = slotRef{e.Launch, i}
		}
	}
}

func (s *Site) applyClosed(e launchClosed) {
	l := s.touch(e.Launch)
	l.Closed, l.Settling, l.Request = true, false, iaas.LaunchRequest{}
	for i := range l.Slots {
		slot := &l.Slots[i]
		if slot.Instance != "" || slot.State.Gone() {
			continue
		}
		slot.State, slot.Reason, slot.Kind = epu.Failed, e.Why, e.Kind
		switch {
		case slot.Ended:
			slot.State = epu.Terminated
		case e.Rejected:
			slot.State = epu.Rejected
		}
	}
}

func (s *Site) raiseFloor(owner epu.Owner, pool epu.PoolID, rev epu.Revision, seq uint64) {
	key := poolKey(owner, pool)
	f := s.st.Floors[key]
	s.st.Floors[key] = poolFloor{Rev: max(f.Rev, rev), Seq: max(f.Seq, seq)}
}

func poolKey(owner epu.Owner, pool epu.PoolID) string { return string(owner) + "/" + string(pool) }
