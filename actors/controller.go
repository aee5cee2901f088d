package actors

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/prices"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/actors/restore"
	"github.com/nimbus-epu/epu/policies"
)

// Calls of a controller: data for the host's executor, which holds the pool's decision engine.
type (
	// DecideCall evaluates the policy; the result is epu.Decision.
	DecideCall struct {
		Policy   string
		Version  string // of the policy: its hash; empty = what the node's library has
		Conf     map[string]any
		Snapshot *policies.Snapshot
	}
	// CheckConfCall checks a changed configuration; the result is CheckedConf.
	CheckConfCall struct {
		Policy  string
		Version string // as in DecideCall
		ConfGen uint64 // of Conf
		Conf    map[string]any
		Changes map[string]any
		Command msg.Command
		From    msg.Address
	}
	// CheckedConf is a merged configuration, or what is wrong with the changes.
	CheckedConf struct {
		Conf     map[string]any
		Changed  []string
		Problems []string
	}
)

// Bounds and periods of a controller.
const (
	wantEvery      = 2 * time.Second // first repeat of a Want
	wantEveryMax   = 30 * time.Second
	syncEvery      = time.Second
	syncEveryMax   = 10 * time.Second
	provenAfter    = time.Minute      // a worker that ran this long ends a streak of failed launches
	sameRecordMax  = 10 * time.Minute // a decision is recorded at least this often
	checksMax      = 100              // configuration checks waiting
	defaultTick    = 5 * time.Second
	memoryEvery    = time.Minute // a memory that alone has changed is on disk by then
	decideRetryCap = time.Minute
)

// Controller is the core of a pool's controller: the outer shell around its decision engine. It holds
// the pool's definition, wish and intents, asks the policy on ticks, and keeps reality in step with the
// wish whether the policy answers or not.
type Controller struct {
	owner epu.Owner
	pool  epu.PoolID
	id    SiteIdentity
	st    poolState

	// Volatile: begins anew with each incarnation.
	started   time.Time
	begun     bool // what an incarnation begins with is done
	roster    roster
	hot       launchSet          // launches about which something may be left to do or say
	bySite    map[epu.SiteID]int // launches that are not forgotten
	syncs     map[epu.SiteID]bool
	health    *epu.HealthSpec // as defined; shared with the workers
	vitals    map[epu.WorkerID]*workerVitals
	checks    []CheckConfCall
	whatIfs   []WhatIfCall
	candidate candidateRun
	turns     []TurnsCall
	looks     lookHeap
	room      room
	told      []told                     // must answer: their actors were told something
	starting  map[epu.WorkerID]time.Time // not yet RUNNING: when its deadline began
	drains    map[epu.WorkerID]time.Time // draining: when it began
	replacing map[epu.WorkerID]time.Time // to go once another runs
	overdue   map[epu.WorkerID]reconcile.Overdue

	hooks     map[epu.WorkerID]bool // workers about which a program may have to be run
	hooksOut  map[string]bool       // runs that are out, by the key of what is due
	prices    prices.List           // of the sites
	charges   lookHeap              // workers, by when their next charge begins
	sensors   map[string]*sensorState
	sensorGen uint64
	retune    bool         // the sensors' definitions may have changed
	changes   []epu.Change // since the last decision
	memory    remembered
	clock     time.Time // of the message being handled

	nextTick   time.Time
	lastWake   time.Time
	deciding   *DecideCall
	decideKey  string
	last       *epu.Decision // newest
	recorded   *epu.Decision // newest in the history
	recordedAt time.Time
	equal      int
	failure    string
	failingFor time.Time
	alerting   time.Time // since when the policy's decisions have alerts
	unseen     unseen
	refused    []epu.Reason // what reconcile had to leave
	failedFor  string       // why the newest launch failed, if that was after the snapshot from which this incarnation began
	asked      []epu.Reason // of the last decision's actions
	suspicion  suspicion
	children   []ChildChange
	waitUntil  time.Time     // a limit may allow more then
	dirty      bool          // something changed that reconcile has not seen
	current    *epu.Decision // being carried out, not yet kept
	nextScan   time.Time     // of the deadlines
}

// workerVitals is what the worker's actor last said.
type workerVitals struct {
	fact   vitalFact
	watch  msg.WatchWorker // what the actor was last told
	proof  time.Time       // when it was first heard in this life
	before bool            // it had checked in before this incarnation
	ask    time.Time       // when to ask its actor; zero = not by itself
}

// NewController makes the core of a pool's controller; now is the time of its activation.
func NewController(owner epu.Owner, pool epu.PoolID, id SiteIdentity, now time.Time) *Controller {
	return &Controller{
		owner: owner, pool: pool, id: id, started: now, lastWake: now,
		st:        poolState{Launches: map[epu.LaunchID]*poolLaunch{}},
		health:    &epu.HealthSpec{},
		bySite:    map[epu.SiteID]int{},
		syncs:     map[epu.SiteID]bool{},
		vitals:    map[epu.WorkerID]*workerVitals{},
		starting:  map[epu.WorkerID]time.Time{},
		drains:    map[epu.WorkerID]time.Time{},
		replacing: map[epu.WorkerID]time.Time{},
	}
}

// State is the durable state.
func (c *Controller) State() any { return c.st }

// Restore takes a snapshot's state back.
func (c *Controller) Restore(raw json.RawMessage) error {
	rest, err := restore.Rows(raw, "launches", func(r *restore.Reader, key string) {
		l := &poolLaunch{}
		l.restore(r)
		c.st.Launches[epu.LaunchID(key)] = l
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(rest, &c.st); err != nil {
		return err
	}
	health := c.st.Define.Spec.Health
	c.health = &health
	if s := c.st.Shadow; s != nil {
		c.candidate.counts, c.candidate.fault = s.Counts, s.Error
	}
	c.retune = true
	ids, slots := slices.Sorted(maps.Keys(c.st.Launches)), 0
	for _, id := range ids {
		c.hot.add(id)
		slots += len(c.st.Launches[id].Slots)
	}
	slices.SortStableFunc(ids, func(a, b epu.LaunchID) int { // the roster's order: it grows at its end
		return c.st.Launches[a].Opened.Compare(c.st.Launches[b].Opened)
	})
	c.roster.all, c.vitals = make([]*epu.Worker, 0, slots), make(map[epu.WorkerID]*workerVitals, slots)
	for _, id := range ids {
		l := c.st.Launches[id]
		c.bySite[l.Site]++
		c.room.ids = epu.NewWorkerIDs(id, len(l.Slots))
		c.refreshAll(id)
	}
	c.room = room{}
	return nil
}

// Handle takes in one message.
func (c *Controller) Handle(tx *Tx, m any) {
	c.clock = tx.Now()
	if !c.begun {
		c.begin()
	}
	switch m := m.(type) {
	case msg.Define:
		c.define(tx, m)
	case msg.Report:
		c.report(tx, m)
	case msg.Synced:
		if m.Epoch == c.id.Epoch && !c.syncs[m.Site] {
			c.syncs[m.Site], c.dirty = true, true
		}
	case msg.WorkerFact:
		c.fact(tx, m)
	case msg.CheckInWorker:
		c.checkIn(tx, m)
	case msg.Command:
		c.command(tx, m)
	case msg.AdoptMachine:
		c.adopt(tx, m)
	case msg.PoolQuery:
		tx.Answer(c.view(tx.Now()))
	case msg.PoolSensorsQuery:
		tx.Answer(c.sensorStatus(tx.Now()))
	case *msg.WhatIfQuery:
		c.whatIf(tx, m)
	case *msg.SnapshotQuery:
		c.glimpse(tx)
	case *msg.ShadowQuery:
		c.shadowReport(tx)
	case msg.TurnsQuery:
		c.findTurns(tx)
	case msg.Offers:
		c.offered(m)
	case CallResult:
		c.callEnded(tx, m)
	case Wake:
	default:
		unknownMessage(tx, "controller", m)
	}
	c.advance(tx)
}

func (c *Controller) callEnded(tx *Tx, r CallResult) {
	switch call := r.Call.(type) {
	case DecideCall:
		c.decided(tx, call, r)
	case CheckConfCall:
		c.confChecked(tx, call, r)
	case WhatIfCall:
		c.whatIfEnded(tx, call, r)
	case ShadowCall:
		c.candidateDecided(tx, call, r)
	case TurnsCall:
		c.turnsFound(tx, call, r)
	case PollCall:
		c.polled(call, r, tx.Now())
	case HookCall:
		c.hookRan(tx, call, r)
	}
}

// advance makes the transitions that follow from state and time alone; it runs after every message.
func (c *Controller) advance(tx *Tx) {
	now := tx.Now()
	if c.st.Epoch != c.id.Epoch {
		tx.Emit(epochBegun{Epoch: c.id.Epoch})
	}
	c.tune(now)
	c.deaf(tx, now)
	c.lookAround(tx, now)
	c.charged(now)
	c.suspect(tx, now)
	c.deadlines(tx, now)
	c.thawInTime(tx, now)
	c.endShadowInTime(tx, now)
	c.freezeAfterFailures(tx, now)
	c.reconcile(tx)
	c.tick(tx, now)
	c.forget(tx)
}

// define takes over what the registry says of the pool.
func (c *Controller) define(tx *Tx, m msg.Define) {
	if m.Epoch > c.id.Epoch { // the operator has ended recovery: the store has begun a new epoch while we run
		c.id.Recovery, c.id.Epoch, c.dirty, c.nextTick = false, m.Epoch, true, tx.Now()
		clear(c.syncs)
		tx.Emit(epochBegun{Epoch: m.Epoch})
	}
	if m.Gen > c.st.Define.Gen {
		tx.Emit(poolDefined{Define: m})
		c.nextTick = tx.Now()
		c.unseen.came(tx.Now())
		c.record(tx, "pool_defined", map[string]any{"gen": m.Gen, "version": m.Version, "removing": m.Removing, "end_all": m.EndAll})
	}
	tx.Answer(msg.Defined{Owner: c.owner, Pool: c.pool, Gen: c.st.Define.Gen, Left: len(c.roster.all)})
}

// refresh brings the worker that is derived from one slot up to date.
func (c *Controller) refresh(launch epu.LaunchID, i int) {
	l := c.st.Launches[launch]
	s := &l.Slots[i]
	id, w := c.room.of(launch, i)
	*w = epu.Worker{
		ID: id, Launch: launch, Slot: i, Name: l.Name, Vars: l.Vars, Instance: s.Instance,
		Site: l.Site, Zone: s.Zone, Allocation: l.Allocation, Market: l.Market, Address: s.Address,
		State: s.State, StateSince: time.UnixMilli(s.Since).UTC(), Created: l.Opened, Draining: s.Draining,
		Ended: s.Unwanted, EndReason: s.EndReason, Leaving: s.Leaving || s.Replacing && s.Draining,
		Price: c.prices.Hour(c.sized(epu.Placement{Site: l.Site, Allocation: l.Allocation, Market: l.Market}), s.Zone), Replacing: s.Replacing, Protected: s.Protected, Asked: l.Asked,
		AskedFrom: int32(l.AskedFrom),
	}
	if s.State >= epu.Pending { // nothing is charged for before
		w.ChargeAt = c.prices.NextCharge(l.Site, l.Opened, c.clock)
	}
	old := c.roster.get(w)
	c.noteHooks(w.ID, s)
	if s.State.Gone() {
		c.dirty = c.dirty || old != nil
		c.changed(old, w)
		c.untrack(w.ID)
		c.roster.put(w)
		return
	}
	if s.Unwanted && w.State < epu.Terminating {
		w.State = epu.Terminating
	}
	var v *workerVitals
	if len(c.room.ids) == 0 { // else it comes back from a snapshot, and its actor has said nothing yet
		v = c.vitals[w.ID]
	}
	if v != nil {
		c.overlay(w, v)
	}
	c.track(w, s, v)
	c.awaitCharge(old, w)
	c.changed(old, w)
	c.roster.put(w)
	c.dirty = c.dirty || old == nil || old.State != w.State || old.Ended != w.Ended || old.Draining != w.Draining ||
		old.Health != w.Health || old.Suspect != w.Suspect || old.Protected != w.Protected ||
		old.Leaving != w.Leaving || old.Replacing != w.Replacing || w.BusyUntil.Before(old.BusyUntil)
}

// room is memory for the workers of one launch when its pool is restored: blocks of them instead of three pieces
// for each. A block is freed with the last of what is in it.
type room struct {
	ids     []epu.WorkerID
	workers []epu.Worker
	vitals  []workerVitals
}

// roomMax is how many workers share a block: just under 8 KiB, of which the allocator wastes least.
const roomMax = 23

// of gives the room for the worker of a slot. The slots of a launch take it in turns.
func (r *room) of(launch epu.LaunchID, i int) (epu.WorkerID, *epu.Worker) {
	if len(r.ids) == 0 {
		return epu.NewWorkerID(launch, i), &epu.Worker{}
	}
	if i%roomMax == 0 {
		n := min(roomMax, len(r.ids)-i)
		r.workers, r.vitals = make([]epu.Worker, n), make([]workerVitals, n)
	}
	return r.ids[i], &r.workers[i%roomMax]
}

// vitalsOf gives the room for what the actor of the worker that of was asked for last says.
func (r *room) vitalsOf(i int) *workerVitals {
	if len(r.ids) == 0 {
		return &workerVitals{}
	}
	return &r.vitals[i%roomMax]
}

func (c *Controller) refreshAll(launch epu.LaunchID) {
	for i := range c.st.Launches[launch].Slots {
		c.refresh(launch, i)
	}
}

// find gives the present value of a worker; nil when it is gone or unknown.
func (c *Controller) find(id epu.WorkerID) *epu.Worker {
	launch, i, ok := id.Parse()
	l := c.st.Launches[launch]
	if !ok || l == nil || i >= len(l.Slots) {
		return nil
	}
	return c.roster.get(&epu.Worker{Launch: launch, Slot: i, Created: l.Opened})
}

func refuse(kind epu.Kind, op, on, why string) msg.Refused {
	return msg.Refused{Err: epu.E(kind, op, on, errorText(why))}
}

type errorText string

func (e errorText) Error() string { return string(e) }

// seedOf derives a decision's randomness from its ID.
func seedOf(id epu.DecisionID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
