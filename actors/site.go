package actors

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/restore"
	"github.com/nimbus-epu/epu/iaas"
)

// Calls of a site: data for the host's executor, which holds the provider.
type (
	// PrepareCall resolves a request's secrets and answers with the digest of its exact bytes.
	PrepareCall struct{ Request iaas.LaunchRequest }
	// RunCall makes the request if its bytes still have the digest; the result is []iaas.Instance.
	RunCall struct {
		Launch  epu.LaunchID
		Request iaas.LaunchRequest
		Digest  string
	}
	// ListCall lists our machines; the result is []iaas.Instance.
	ListCall struct{ Tags map[string]string }
	// FindCall looks machines up by ID; the result is []iaas.Instance.
	FindCall struct{ IDs []epu.InstanceID }
	// EndCall ends machines.
	EndCall struct{ IDs []epu.InstanceID }
	// OffersCall asks for prices; the result is []epu.Offer.
	OffersCall struct{}
)

// Bounds of a site.
const (
	syncWaitMax    = 2 * time.Minute  // launches wait this long for the first full listing
	condemnsMax    = 5                // machines condemned per condemnsWindow
	condemnsWindow = 10 * time.Minute //
	endStuckAfter  = 10 * time.Minute // an ending older than this is alarmed
	reportEvery    = 2 * time.Second  // first repeat of a report
	reportEveryMax = time.Minute
	endRepeatFirst = 2 * time.Second
	endRepeatCap   = 2 * time.Minute
	endsMax        = 10 // calls that end machines, out at once
	offersEvery    = 5 * time.Minute
)

// siteState is a site's durable state.
type siteState struct {
	Rev       epu.Revision                    `json:"rev"`
	Epoch     epu.Epoch                       `json:"epoch"` // of the store, as far as the state goes
	Launches  map[epu.LaunchID]*siteLaunch    `json:"launches"`
	Floors    map[string]poolFloor            `json:"floors"`
	Condemned map[epu.InstanceID]condemnation `json:"condemned,omitempty"`
	Condemns  []time.Time                     `json:"condemns,omitempty"` // within condemnsWindow, for the sweep's own limit
	Recovery  string                          `json:"recovery,omitempty"` // why the store can't be trusted; the operator ends it
}

type condemnation struct {
	Launch epu.LaunchID `json:"launch"`
	Why    string       `json:"why"`
}

type slotRef struct {
	launch epu.LaunchID
	slot   int
}

// Stray is a machine with our tags that no record explains and that is left alone.
type Stray struct {
	Instance iaas.Instance
	Launch   epu.LaunchID
	Owner    epu.Owner
	Pool     epu.PoolID
	Why      string
}

// SiteIdentity is what a site's machines are tagged with and its messages carry.
type SiteIdentity struct {
	Installation epu.InstallationID
	Epoch        epu.Epoch
	Recovery     bool // the store was restored: nothing is ended or launched until the operator has decided
}

// Site is the core of a site's actor: launches and their machines at one cloud. It asks for machines,
// finds what came of every request, reports slots to their controllers and ends by cloud ID what is no
// longer wanted. DESIGN.md 6 has the protocol and the hole that each of its rules closes.
type Site struct {
	spec epu.SiteSpec
	id   SiteIdentity
	st   siteState

	// Volatile: begins anew with each incarnation.
	offers    []epu.Offer // nil until the cloud has said; never changed in place
	index     map[epu.InstanceID]slotRef
	hot       launchSet // launches about which something may be left to do or say
	disabled  bool      // launching is switched off, but for protected pools
	all       bool      // when disabled: for them too
	started   time.Time // of this incarnation
	synced    bool      // a complete listing has been taken in
	lastList  time.Time
	listErr   error
	faulty    time.Time // since when listings fail; zero = the last one went well
	strays    map[epu.InstanceID]Stray
	firstSeen map[epu.InstanceID]time.Time // of listed machines that stand in no slot
	calls     map[epu.LaunchID]*callState
	notes     map[epu.InstanceID]*machineNote
	missing   map[epu.InstanceID]struct{} // not listed though they should be: searched by ID
	orphans   map[epu.LaunchID]struct{}   // launches with living machines that their controller does not know
}

// callState is what this incarnation knows of a launch's calls.
type callState struct {
	fresh     bool // prepared in this incarnation: no earlier one can have called
	uncertain bool // an outcome was unknown: only listings can tell
	failed    error
	settleAt  time.Time // listings begun from here on count
	listings  int
}

// machineNote is what this incarnation has noticed of a machine of ours.
type machineNote struct {
	bound    time.Time // when it got its slot
	ending   time.Time // when its end was due first
	notFound time.Time // first answer "not found"; zero when it was seen since
}

// NewSite makes the core of a site; now is the time of its activation.
func NewSite(spec epu.SiteSpec, id SiteIdentity, now time.Time) *Site {
	return &Site{
		spec: spec, id: id, started: now,
		st: siteState{
			Launches:  map[epu.LaunchID]*siteLaunch{},
			Floors:    map[string]poolFloor{},
			Condemned: map[epu.InstanceID]condemnation{},
		},
		index: map[epu.InstanceID]slotRef{}, strays: map[epu.InstanceID]Stray{}, firstSeen: map[epu.InstanceID]time.Time{},
		calls: map[epu.LaunchID]*callState{}, notes: map[epu.InstanceID]*machineNote{},
		missing: map[epu.InstanceID]struct{}{}, orphans: map[epu.LaunchID]struct{}{},
	}
}

// State is the durable state.
func (s *Site) State() any { return s.st }

// Restore takes a snapshot's state back.
func (s *Site) Restore(raw json.RawMessage) error {
	slots := 0
	rest, err := restore.Rows(raw, "launches", func(r *restore.Reader, key string) {
		l := &siteLaunch{}
		l.restore(r)
		s.st.Launches[epu.LaunchID(key)] = l
		slots += len(l.Slots)
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(rest, &s.st); err != nil {
		return err
	}
	if s.st.Condemned == nil {
		s.st.Condemned = map[epu.InstanceID]condemnation{}
	}
	s.index = make(map[epu.InstanceID]slotRef, slots)
	for _, id := range slices.Sorted(maps.Keys(s.st.Launches)) {
		l := s.st.Launches[id]
		s.hot.add(id)
		for i, slot := range l.Slots {
			if slot.Instance != "" {
				s.index[slot.Instance] = slotRef{id, i}
			}
		}
	}
	return nil
}

// Handle takes in one message.
func (s *Site) Handle(tx *Tx, m any) {
	switch m := m.(type) {
	case msg.Want:
		s.want(tx, m)
	case msg.Noted:
		s.noted(tx, m)
	case msg.SyncQuery:
		if m.Epoch == s.id.Epoch && s.synced && !s.recovering() {
			tx.Answer(msg.Synced{Epoch: s.id.Epoch, Site: s.spec.Name})
		}
	case msg.OffersQuery:
		if s.offers != nil || !s.priced() {
			tx.Answer(msg.Offers{Site: s.spec.Name, Offers: s.offers, Charge: s.spec.ChargeEvery})
		}
	case CallResult:
		s.callEnded(tx, m)
	case msg.SiteDefine:
		s.spec, s.disabled, s.all = m.Spec, m.Disabled, m.ProtectedToo
		s.endRecovery(tx, m.Epoch)
		tx.Answer(msg.SiteDefined{Site: s.spec.Name, Gen: m.Gen})
	case msg.SiteQuery:
		tx.Answer(s.view(tx.Now()))
	case msg.SweepSite:
		s.sweep(tx, m)
	case Wake:
	default:
		unknownMessage(tx, "site", m)
	}
	s.advance(tx)
}

// callEnded takes in the outcome of a call.
func (s *Site) callEnded(tx *Tx, r CallResult) {
	switch call := r.Call.(type) {
	case PrepareCall:
		s.prepared(tx, call, r)
	case RunCall:
		s.ran(tx, call, r)
	case ListCall:
		s.listed(tx, r)
	case FindCall:
		s.found(tx, call, r)
	case OffersCall:
		s.offered(r)
	case EndCall: // only a listing shows that a machine is gone
	}
}

// priced reports that the site's driver knows prices.
func (s *Site) priced() bool { return s.spec.Driver != epu.DriverLocal }

// offered keeps what the cloud offers; when it can't say, the last answer stands.
func (s *Site) offered(r CallResult) {
	offers, ok := r.Result.([]epu.Offer)
	if r.Err != nil || !ok {
		return
	}
	s.offers = make([]epu.Offer, len(offers))
	for i, o := range offers {
		o.Site = s.spec.Name
		s.offers[i] = o
	}
}

// recovering reports that the store can't be trusted: nothing is ended or launched.
func (s *Site) recovering() bool { return s.id.Recovery || s.st.Recovery != "" }

// endRecovery takes the operator's word that every machine was decided about: the store has begun a new
// epoch while this site runs. Advance does what follows.
func (s *Site) endRecovery(tx *Tx, epoch epu.Epoch) {
	if epoch <= s.id.Epoch {
		return
	}
	s.id.Recovery, s.id.Epoch = false, epoch
	clear(s.firstSeen)
	if s.st.Recovery != "" {
		tx.Emit(recoveryEnded{})
	}
}

// advance makes the transitions that follow from state alone; it runs after every message, over the
// launches about which something may be left to do.
func (s *Site) advance(tx *Tx) {
	if s.st.Epoch != s.id.Epoch {
		tx.Emit(epochBegun{Epoch: s.id.Epoch})
	}
	for _, id := range s.hot.all() {
		switch l := s.st.Launches[id]; {
		case l == nil:
			s.hot.del(id)
		case !l.Closed:
			s.advanceOpen(tx, id, l)
		case l.gone() && l.Noted == l.Rev:
			for _, slot := range l.Slots {
				delete(s.notes, slot.Instance)
			}
			tx.Emit(launchForgotten{Launch: id, Floor: l.PoolRev})
		case l.Noted == l.Rev && !l.ending():
			s.hot.del(id)
		}
	}
}

// advanceOpen closes a launch, or ends calling for it. Digest says that a call may have been made; one
// of an older epoch may have been made by a life of the store that is lost.
func (s *Site) advanceOpen(tx *Tx, id epu.LaunchID, l *siteLaunch) {
	called := l.Digest != "" || s.otherEpoch(id)
	switch {
	case called && l.full():
		tx.Emit(launchClosed{Launch: id})
	case l.Settling:
	case s.otherEpoch(id):
		s.settle(tx, id, "opened before the store was restored")
	case !called && l.ended():
		tx.Emit(launchClosed{Launch: id, Why: "no longer wanted before it was asked for"})
	case !called && s.off(l) != "":
		tx.Emit(launchClosed{Launch: id, Why: s.off(l), Rejected: true})
	case l.ended():
		s.settle(tx, id, "no longer wanted")
	case s.off(l) != "":
		s.settle(tx, id, s.off(l))
	}
}

// off says why nothing is launched here for the pool of a launch; empty when it is.
func (s *Site) off(l *siteLaunch) string {
	switch {
	case s.disabled && (s.all || !l.Protected):
		return "launching is switched off (epumgmt enable)"
	case s.spec.DryRun:
		return "site " + string(s.spec.Name) + " is in dry run"
	}
	return ""
}

func (s *Site) otherEpoch(id epu.LaunchID) bool {
	_, epoch, _, ok := id.Parse()
	return ok && epoch != s.id.Epoch
}

// note finds or makes what this incarnation has noticed of a machine.
func (s *Site) note(id epu.InstanceID) *machineNote {
	n := s.notes[id]
	if n == nil {
		n = &machineNote{}
		s.notes[id] = n
	}
	return n
}

// settle ends calling for a launch.
func (s *Site) settle(tx *Tx, id epu.LaunchID, why string) {
	tx.Emit(launchSettling{Launch: id, Why: why})
	s.call(id).settleAt = tx.Now().Add(s.spec.VisibilityWindow + s.spec.CallTimeout)
}

// call finds or makes what this incarnation knows of a launch's calls. One that an earlier incarnation
// prepared may have been called by it, just now.
func (s *Site) call(id epu.LaunchID) *callState {
	c := s.calls[id]
	if c == nil {
		c = &callState{uncertain: true, settleAt: s.started.Add(s.spec.VisibilityWindow + s.spec.CallTimeout)}
		s.calls[id] = c
	}
	return c
}

// ended reports that no slot is wanted that may still get a machine or has one.
func (l *siteLaunch) ended() bool {
	return !slices.ContainsFunc(l.Slots, func(s msg.Slot) bool { return !s.Ended && !s.State.Gone() })
}

// full reports that every slot has its machine, or is known never to get one.
func (l *siteLaunch) full() bool {
	return !slices.ContainsFunc(l.Slots, func(s msg.Slot) bool { return s.Instance == "" && !s.State.Gone() })
}

// gone reports that nothing is left of a closed launch.
func (l *siteLaunch) gone() bool {
	return !slices.ContainsFunc(l.Slots, func(s msg.Slot) bool { return !s.State.Gone() })
}

// ending reports that a machine of the launch is to be ended and not yet gone.
func (l *siteLaunch) ending() bool {
	return slices.ContainsFunc(l.Slots, func(s msg.Slot) bool { return s.Ended && !s.State.Gone() })
}

// openSlots counts the slots that wait for a machine and are still wanted.
func (l *siteLaunch) openSlots() int {
	n := 0
	for _, s := range l.Slots {
		if !s.Ended && !s.State.Gone() {
			n++
		}
	}
	return n
}

// freeSlot finds a slot for a machine, wanted ones first; -1 when there is none but those taken.
func (l *siteLaunch) freeSlot(taken map[int]slotSeen) int {
	free := -1
	for i, s := range l.Slots {
		if _, ok := taken[i]; ok || s.Instance != "" || s.State.Gone() {
			continue
		}
		if !s.Ended {
			return i
		}
		if free < 0 {
			free = i
		}
	}
	return free
}
