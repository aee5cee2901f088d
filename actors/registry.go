package actors

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/persistence"
)

// RegistryAddress is the address of the registry.
const RegistryAddress msg.Address = "registry"

// RegistryStream is the stream of the default owner's registry.
const RegistryStream epu.StreamID = "registry/" + epu.StreamID(epu.DefaultOwner)

// Events of the registry's stream.
type (
	// specsApplied takes over what operators wrote.
	specsApplied struct {
		Pools []msg.PoolEntry `json:"pools,omitempty"`
		Sites []epu.SiteSpec  `json:"sites,omitempty"`
		Types []epu.TypeSpec  `json:"types,omitempty"`
		By    string          `json:"by"`
	}
	// poolRemoving begins a removal.
	poolRemoving struct {
		Pool epu.PoolID `json:"pool"`
		By   string     `json:"by"`
	}
	// poolArchived ends one: nothing of the pool is left. Its stream stays as it is.
	poolArchived struct {
		Pool epu.PoolID `json:"pool"`
	}
	// endAllSwitched turns terminate-all on or off.
	endAllSwitched struct {
		On           bool   `json:"on"`
		ProtectedToo bool   `json:"protected_too,omitempty"`
		By           string `json:"by"`
	}
)

// definedEvery is the first repeat of a definition. A new pool's first one is lost: its controller is
// started by what the registry says after the turn that applied it, and apply waits for the second.
const definedEvery = 50 * time.Millisecond

// siteToldEvery is how often a site is told again what it has confirmed.
const siteToldEvery = 10 * time.Second

// RegistryCodec knows the events of registry streams.
func RegistryCodec() *persistence.Codec {
	c := persistence.NewCodec()
	persistence.Register[Activated](c, "activated", 1)
	persistence.Register[specsApplied](c, "specs-applied", 1)
	persistence.Register[poolRemoving](c, "pool-removing", 1)
	persistence.Register[poolArchived](c, "pool-archived", 1)
	persistence.Register[endAllSwitched](c, "end-all-switched", 1)
	persistence.Register[policyKept](c, "policy-kept", 1)
	persistence.Register[policyCurrent](c, "policy-current", 1)
	return c
}

// registryState is the registry's durable state.
type registryState struct {
	Gen          uint64                       `json:"gen"` // counts changes
	Pools        map[epu.PoolID]msg.PoolEntry `json:"pools"`
	Sites        map[epu.SiteID]epu.SiteSpec  `json:"sites"`
	Types        map[string]epu.TypeSpec      `json:"types"`
	Policies     versions.Book                `json:"policies,omitempty"`
	EndAll       bool                         `json:"end_all,omitempty"`
	ProtectedToo bool                         `json:"protected_too,omitempty"`
	SiteGen      uint64                       `json:"site_gen"` // of the last change that sites must hear of
}

// Registry is the core of the registry: what operators applied, and the switches. It tells controllers
// and sites what concerns them until they have it.
type Registry struct {
	owner epu.Owner
	st    registryState
	told  map[epu.PoolID]uint64 // generation that a pool confirmed
	left  map[epu.PoolID]int
	sites map[epu.SiteID]uint64
	asked []definedAsker
	epoch epu.Epoch // of the store

	untold  []epu.PoolID // that have not confirmed what concerns them
	leaving []epu.PoolID // that have, and are asked how many of their workers are left
	counted bool         // both lists are right
	turned  time.Time    // when they were last turned
}

// definedAsker waits for a pool's controller to hear of its definition.
type definedAsker struct {
	from  msg.Address
	pool  epu.PoolID
	until time.Time // then it has given up
}

// Bounds of those who wait for a definition.
const (
	askersMax   = 1000
	askersUntil = 30 * time.Second
)

// NewRegistry makes the core of an owner's registry, in an epoch of its store.
func NewRegistry(owner epu.Owner, epoch epu.Epoch) *Registry {
	return &Registry{
		owner: owner, epoch: epoch,
		st: registryState{
			Pools: map[epu.PoolID]msg.PoolEntry{}, Sites: map[epu.SiteID]epu.SiteSpec{}, Types: map[string]epu.TypeSpec{},
		},
		told: map[epu.PoolID]uint64{}, left: map[epu.PoolID]int{}, sites: map[epu.SiteID]uint64{},
	}
}

// State is the durable state.
func (r *Registry) State() any { return r.st }

// Restore takes a snapshot's state back.
func (r *Registry) Restore(raw json.RawMessage) error {
	r.counted = false
	return json.Unmarshal(raw, &r.st)
}

// Apply changes the durable state by one event. Maps are replaced, never changed: views share them.
func (r *Registry) Apply(ev any) {
	if _, ok := ev.(Activated); ok {
		return
	}
	r.counted = false
	switch e := ev.(type) {
	case specsApplied:
		r.applySpecs(e)
	case poolRemoving:
		r.changePool(e.Pool, func(p *msg.PoolEntry) { p.Removing, p.Gen = true, r.st.Gen+1 })
	case poolArchived:
		r.st.Pools = maps.Clone(r.st.Pools)
		delete(r.st.Pools, e.Pool)
		delete(r.told, e.Pool)
		delete(r.left, e.Pool)
	case policyKept:
		r.st.Policies = r.st.Policies.Store(e.Version, r.pinned())
	case policyCurrent:
		r.putPolicy(e)
	case endAllSwitched:
		r.st.EndAll, r.st.ProtectedToo = e.On, e.ProtectedToo
		r.st.SiteGen = r.st.Gen + 1
		for id := range r.st.Pools {
			r.changePool(id, func(p *msg.PoolEntry) { p.Gen = r.st.Gen + 1 })
		}
	}
	r.st.Gen++
}

func (r *Registry) applySpecs(e specsApplied) {
	gen := r.st.Gen + 1
	r.st.Pools, r.st.Sites, r.st.Types = maps.Clone(r.st.Pools), maps.Clone(r.st.Sites), maps.Clone(r.st.Types)
	for _, p := range e.Pools {
		old, ok := r.st.Pools[p.Spec.Name]
		p.Gen = gen
		if p.ConfGen == 0 { // the file's configuration is in force from now on
			p.ConfGen = gen
		} else if ok {
			p.ConfGen = old.ConfGen
		}
		r.st.Pools[p.Spec.Name] = p
	}
	for _, s := range e.Sites {
		if r.st.Sites[s.Name].DryRun != s.DryRun {
			r.redefineAt(s.Name, gen)
		}
		r.st.Sites[s.Name] = s
		r.st.SiteGen = gen
	}
	for _, t := range e.Types {
		r.st.Types[t.Name] = t
	}
}

// redefineAt has the pools that are placed at a site told again.
func (r *Registry) redefineAt(site epu.SiteID, gen uint64) {
	for id, p := range r.st.Pools {
		if slices.ContainsFunc(p.Spec.Placement, func(at epu.Placement) bool { return at.Site == site }) {
			p.Gen = gen
			r.st.Pools[id] = p
		}
	}
}

func (r *Registry) changePool(id epu.PoolID, change func(*msg.PoolEntry)) {
	r.st.Pools = maps.Clone(r.st.Pools)
	p := r.st.Pools[id]
	change(&p)
	r.st.Pools[id] = p
}

// Handle takes in one message.
func (r *Registry) Handle(tx *Tx, m any) {
	switch m := m.(type) {
	case msg.ApplySpecs:
		r.apply(tx, m)
	case msg.RemovePool:
		r.remove(tx, m)
	case msg.ApplyPolicy:
		r.applyPolicy(tx, m)
	case msg.SwitchEndAll:
		changed := r.st.EndAll != m.On || r.st.ProtectedToo != m.ProtectedToo && m.On
		if changed {
			tx.Because(m.ID)
			tx.Emit(endAllSwitched{On: m.On, ProtectedToo: m.ProtectedToo && m.On, By: m.User})
			r.audit(tx, m.Sender, "terminate-all", map[string]any{"on": m.On, "protected_too": m.ProtectedToo})
		}
		tx.Answer(&msg.Done{Changed: changed})
	case msg.Defined:
		r.confirmed(m)
		r.answerDefined(tx)
	case msg.SiteDefined:
		r.sites[m.Site] = max(r.sites[m.Site], m.Gen)
	case msg.Removed:
		if p, ok := r.st.Pools[m.Pool]; ok && p.Removing && m.Gen == p.Gen {
			tx.Emit(poolArchived{Pool: m.Pool})
			r.keep(tx, persistence.KindEvent, m.Pool, "pool_removed", map[string]any{})
		}
	case msg.Report:
		r.report(tx, m)
	case msg.RegistryQuery:
		tx.Answer(r.view())
	case msg.RecoveryEnded: // in the new epoch nobody knows what was told before
		if m.Epoch > r.epoch {
			r.epoch = m.Epoch
			clear(r.told)
			clear(r.sites)
			r.counted = false
		}
		tx.Answer(&msg.Done{})
	case msg.DefinedQuery:
		r.definedAsked(tx, m)
	case Wake:
		r.turn(tx.Now())
	case CallResult:
	default:
		unknownMessage(tx, "registry", m)
	}
}

// report answers a site in the place of a controller that is no more: of an archived pool nothing is known
// any more. A pool that there is answers for itself.
func (r *Registry) report(tx *Tx, m msg.Report) {
	pool, _, _, ok := m.Launch.Parse()
	if _, known := r.st.Pools[pool]; known || !ok {
		return
	}
	tx.Reply(msg.SiteAddress(m.Site), msg.Noted{
		Epoch: m.Epoch, Owner: r.owner, Pool: pool, Launch: m.Launch, Rev: m.Rev,
	})
}

// definedAsked answers once a pool's controller knows what is applied. Those who gave up are forgotten.
func (r *Registry) definedAsked(tx *Tx, m msg.DefinedQuery) {
	now := tx.Now()
	r.asked = slices.DeleteFunc(r.asked, func(a definedAsker) bool { return now.After(a.until) })
	if len(r.asked) >= askersMax {
		tx.Answer(refuse(epu.Unavailable, "wait for", string(m.Pool), "too many wait for their pools; try again"))
		return
	}
	r.asked = append(r.asked, definedAsker{tx.From(), m.Pool, now.Add(askersUntil)})
	r.answerDefined(tx)
}

func (r *Registry) answerDefined(tx *Tx) {
	r.asked = slices.DeleteFunc(r.asked, func(a definedAsker) bool {
		p, known := r.st.Pools[a.pool]
		told := !known || r.told[a.pool] >= p.Gen
		if told {
			tx.Reply(a.from, r.view())
		}
		return told
	})
}

func (r *Registry) apply(tx *Tx, m msg.ApplySpecs) {
	if m.Gen != r.st.Gen {
		tx.Answer(movedOn("apply", "", "look at a new plan, then apply again"))
		return
	}
	for _, p := range m.Pools {
		if old, ok := r.st.Pools[p.Spec.Name]; ok && old.Removing {
			tx.Answer(refuse(epu.Conflict, "apply", string(p.Spec.Name), "the pool is being removed; wait until it is gone"))
			return
		}
	}
	parts, err := eventsOf(m)
	if err != nil {
		tx.Answer(refusedFor(err))
		return
	}
	tx.Because(m.ID)
	for _, v := range m.Keep {
		if err := r.st.Policies.Fits(v, r.pinned()); err != nil {
			tx.Answer(refusedFor(err))
			return
		}
	}
	for _, v := range m.Keep {
		tx.Emit(policyKept{Version: v})
	}
	for _, e := range parts {
		tx.Emit(e)
	}
	names := []string{}
	for _, p := range m.Pools {
		names = append(names, string(p.Spec.Name))
	}
	r.audit(tx, m.Sender, "apply", map[string]any{"pools": names, "sites": len(m.Sites), "types": len(m.Types)})
	tx.Answer(&msg.Done{Changed: true})
}

func (r *Registry) remove(tx *Tx, m msg.RemovePool) {
	p, ok := r.st.Pools[m.Pool]
	if !ok {
		tx.Answer(refuse(epu.NotFound, "remove", string(m.Pool), "there is no such pool"))
		return
	}
	if !p.Removing {
		tx.Because(m.ID)
		tx.Emit(poolRemoving{Pool: m.Pool, By: m.User})
		r.audit(tx, m.Sender, "remove", map[string]any{"pool": m.Pool})
	}
	tx.Answer(&msg.Done{Changed: !p.Removing, Text: fmt.Sprintf("%s is being drained and removed", m.Pool)})
}

func (r *Registry) view() msg.RegistryView {
	return msg.RegistryView{
		Gen: r.st.Gen, Pools: r.st.Pools, Sites: r.st.Sites, Types: r.st.Types, Policies: r.st.Policies,
		EndAll: r.st.EndAll, ProtectedToo: r.st.ProtectedToo, Left: maps.Clone(r.left),
	}
}

// Members lists the pools that must have a controller and the sites that must have an actor.
func (r *Registry) Members() ([]epu.PoolID, map[epu.SiteID]epu.SiteSpec) {
	return slices.Sorted(maps.Keys(r.st.Pools)), r.st.Sites
}

func (r *Registry) audit(tx *Tx, by msg.Sender, name string, data map[string]any) {
	r.keep(tx, persistence.KindAudit, "", name, by.Audit(data))
}

func (r *Registry) keep(tx *Tx, kind persistence.RecordKind, pool epu.PoolID, name string, data map[string]any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("event data is plain and always has a JSON form: " + err.Error())
	}
	tx.Record(persistence.Record{ID: tx.NewID(), Kind: kind, Name: name, Owner: r.owner, Pool: pool, Time: tx.Now(), Data: raw})
}
