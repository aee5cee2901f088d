package actortest

import (
	"context"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/actors/worker"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
	"github.com/nimbus-epu/epu/policies"
)

// Fleet is a world with simulated clouds, one pool and agents on its machines: all that a campaign
// needs to hurt the launch protocol and to see whether anything leaked, doubled or was ended wrongly.
type Fleet struct {
	*World
	Sites []*Site
	Pool  epu.PoolSpec

	// CallLost and CallDoubled are probabilities of faults between the node and the clouds, CallLate that
	// a request arrives after its caller gave up.
	CallLost, CallDoubled, CallLate float64
	CallSlowMax                     time.Duration

	// Policy, if set, changes the decisions of the pool's policy, which is the rule of npreserving.
	Policy func(s *policies.Snapshot, d *epu.Decision)
	// Candidate, if set, changes the decisions of the candidate in the policy's shadow, or has it fail.
	Candidate func(s *policies.Snapshot, d *epu.Decision) error
	// DecideSlow is how long an evaluation takes at most to begin, and its answer to arrive.
	DecideSlow time.Duration
	// CheckErr, if set, is why no configuration can be checked, such as a policy that does not load.
	CheckErr error
	// CheckConf, if set, says what a version of the policy thinks of a configuration that is to be changed; its
	// answer is on its way for as long as it says.
	CheckConf func(actors.CheckConfCall) (problems []string, slow time.Duration)
	// Sensor reads a sensor that the node asks; SensorSlow is how long its answer is on its way.
	Sensor     func(name string) (sensing.Point, error)
	SensorSlow time.Duration
	// HookFails is the probability that a hook's program fails, HookSlow how long one runs that does not;
	// Hooked counts what ran.
	HookFails float64
	HookSlow  time.Duration
	Hooked    map[epu.WorkerID]*HookRuns

	Define   msg.Define // what the registry says; Redefine changes it
	Deaf     bool       // nothing that agents send arrives
	Removed  bool       // the pool has said that nothing of it is left
	Restored bool       // the store was restored at least once
	Wrong    []string   // violations seen on the way

	journal      *memory.Journal
	controller   *actors.Controller
	workers      map[msg.Address]*worker.Core
	agents       map[epu.InstanceID]*agent
	rendering    int // of requests: it changes with the node's configuration
	endAll       bool
	protectedToo bool
	strict       bool
	seen         map[epu.WorkerID]*epu.Worker     // as they were before the controller's newest turn
	answer       any                              // to the operator's newest command
	asked        map[string]int                   // workers that an action of the policy asked for at most, by "<decision>/<index>"
	launched     map[string]map[epu.WorkerID]bool // who ever came of it
	wished       int                              // nameless workers wanted as of the controller's newest turn
	early        map[epu.WorkerID]string          // why it is too early to take it out of service as replaced
	decided      map[epu.DecisionID]bool          // answers that the policy gave
	deeds        map[string]bool                  // drains and resumes that actions of the policy came to
	limited      map[string][]used                // what was taken of the limits, by their names
}

// Site is one simulated cloud and the site in charge of it.
type Site struct {
	Spec  epu.SiteSpec
	Cloud *sim.Cloud

	core   *actors.Site
	since  time.Time // start of the core's life
	listed bool      // the cloud gave a listing in this life
	bytes  map[epu.Token]string
}

// Fleet addresses.
const operatorAddress msg.Address = "operator"

// NewFleet makes a fleet whose node is up. Every site gets a cloud of its own.
func NewFleet(seed uint64, opts sim.Options, pool epu.PoolSpec, sites ...epu.SiteSpec) *Fleet {
	f := &Fleet{
		journal: memory.New(persistence.Meta{Installation: "campaign", Epoch: 1, Created: epoch}),
		Pool:    pool, agents: map[epu.InstanceID]*agent{}, strict: true,
		Hooked: map[epu.WorkerID]*HookRuns{}, seen: map[epu.WorkerID]*epu.Worker{}, asked: map[string]int{}, launched: map[string]map[epu.WorkerID]bool{},
		decided: map[epu.DecisionID]bool{}, deeds: map[string]bool{}, limited: map[string][]used{},
	}
	f.World = NewWorld(seed, f.journal)
	for i, spec := range sites {
		f.Sites = append(f.Sites, &Site{
			Spec: spec, Cloud: sim.New(seed+uint64(i)<<32, f.Now, opts), bytes: map[epu.Token]string{},
		})
	}
	f.OnStart, f.OnAppend = f.boot, f.checkEvents
	f.Redefine(func(d *msg.Define) {
		d.Spec = pool
		d.ConfGen = 1
		f.image(d, "img")
	})
	f.Start()
	f.operate()
	f.beat()
	return f
}

// image makes the pool's deployable type one with that image.
func (f *Fleet) image(d *msg.Define, image string) {
	d.Launches = map[epu.SiteID]epu.LaunchSpec{}
	for _, s := range f.Sites {
		d.Launches[s.Spec.Name] = epu.LaunchSpec{
			Site: s.Spec.Name, Type: "worker", Image: image, Run: []string{"work"}, Health: f.Pool.Health, Drain: f.Pool.Drain,
		}
	}
}

// Redefine changes what the registry says of the pool.
func (f *Fleet) Redefine(change func(d *msg.Define)) {
	change(&f.Define)
	f.Define.EndAll = f.endAll && (f.protectedToo || !f.Define.Spec.Protected)
	f.Define.Gen++
}

// Reimage applies the pool with another image.
func (f *Fleet) Reimage() {
	f.Redefine(func(d *msg.Define) { f.image(d, fmt.Sprint("img-", d.Gen)) })
}

// Rerender changes the node's configuration, so that requests are rendered to other bytes.
func (f *Fleet) Rerender() { f.rendering++ }

// Ask puts a question to the controller and gives the answer.
func (f *Fleet) Ask(question any) any {
	f.answer = nil
	f.Tell(question)
	f.Run(100 * time.Millisecond)
	return f.answer
}

// Scale has the pool's size changed, as an operator would.
func (f *Fleet) Scale(n int) { f.Command(&msg.Scale{Pool: string(f.Pool.Name), N: int32(n)}) }

// Command sends an operator's command to the controller.
func (f *Fleet) Command(body any) {
	f.Tell(msg.Command{Sender: msg.Sender{ID: fmt.Sprintf("%T-%d", body, f.Steps), User: "anna"}, Body: body})
}

// Order sends an operator's command and gives the answer: a *msg.Done or a msg.Refused.
func (f *Fleet) Order(body any) any {
	f.answer = nil
	f.Command(body)
	f.Run(time.Second)
	return f.answer
}

// Answer is what came of the last question or order; nil while nothing has.
func (f *Fleet) Answer() any { return f.answer }

// Tell sends a message to the pool's controller.
func (f *Fleet) Tell(m any) {
	if f.Up() && !f.Removed {
		f.Send(f.controllerAddress(), operatorAddress, m)
	}
}

// TerminateAll switches launching off, and has the pool end unless it is protected and the switch spares
// such pools. Enable switches launching on again.
func (f *Fleet) TerminateAll(protectedToo bool) {
	f.endAll, f.protectedToo = true, protectedToo
	f.Redefine(func(*msg.Define) {})
}

// Enable undoes TerminateAll.
func (f *Fleet) Enable() {
	f.endAll, f.protectedToo = false, false
	f.Redefine(func(*msg.Define) {})
}

// Thaw undoes freezes and terminate-all.
func (f *Fleet) Thaw() {
	f.Enable()
	f.Command(&msg.Thaw{})
}

// Calm ends all faults of clouds and calls.
func (f *Fleet) Calm(opts sim.Options) {
	f.Faults, f.CallLost, f.CallDoubled, f.CallLate = Faults{}, 0, 0, 0
	for _, s := range f.Sites {
		s.Cloud.Calm(opts)
		s.Cloud.Outage(false)
	}
}

// Machine is one machine of a cloud, as it really is.
type Machine struct {
	sim.Truth
	Site *Site
}

// Machines are all machines there ever were, site by site.
func (f *Fleet) Machines() []Machine {
	var all []Machine
	for _, s := range f.Sites {
		for _, t := range s.Cloud.Machines() {
			all = append(all, Machine{t, s})
		}
	}
	return all
}

// Living are the machines that live, site by site: there are few of them among all that there ever were.
func (f *Fleet) Living() []Machine {
	var all []Machine
	for _, s := range f.Sites {
		for _, t := range s.Cloud.Living() {
			all = append(all, Machine{t, s})
		}
	}
	return all
}

// Workers are the controller's workers that are not gone.
func (f *Fleet) Workers() []*epu.Worker {
	if f.controller == nil {
		return nil
	}
	return f.controller.Workers()
}

func (f *Fleet) controllerAddress() msg.Address {
	return msg.ControllerAddress(epu.DefaultOwner, f.Pool.Name)
}

func (f *Fleet) identity() actors.SiteIdentity {
	m := f.Journal.Meta()
	return actors.SiteIdentity{Installation: m.Installation, Epoch: m.Epoch, Recovery: m.Recovery}
}

// boot starts the node's actors.
func (f *Fleet) boot() {
	f.workers = map[msg.Address]*worker.Core{}
	clear(f.seen)
	for _, s := range f.Sites {
		f.Spawn(msg.SiteAddress(s.Spec.Name), epu.SiteStream(s.Spec.Name), actors.SiteCodec(), func() actors.Core {
			s.core, s.since, s.listed = actors.NewSite(s.Spec, f.identity(), f.Now()), f.Now(), false
			return s.core
		}, func(call any) (Exec, Latency) { return f.siteCall(s, call) }, func(actors.Core) { f.checkSite(s) })
	}
	if !f.Removed {
		f.Spawn(f.controllerAddress(), epu.PoolStream(epu.DefaultOwner, f.Pool.Name), actors.PoolCodec(), func() actors.Core {
			f.controller = actors.NewController(epu.DefaultOwner, f.Pool.Name, f.identity(), f.Now())
			return f.controller
		}, f.poolCall, func(c actors.Core) {
			f.children(c.(*actors.Controller))
			f.checkNames()
			f.checkActions()
			f.checkTurn()
		})
	}
	f.SpawnPlain(operatorAddress, f.hearOperator)
	f.SpawnPlain(actors.RegistryAddress, f.hearRegistry)
}

// children starts, tells and stops the workers' actors as the controller says.
func (f *Fleet) children(c *actors.Controller) {
	for _, ch := range c.Children() {
		addr := msg.WorkerAddress(epu.DefaultOwner, f.Pool.Name, ch.Worker)
		if ch.Stop {
			f.Stop(addr)
			delete(f.workers, addr)
			continue
		}
		w := f.workers[addr]
		if w == nil {
			w = worker.New(ch.Worker, f.controllerAddress())
			f.workers[addr] = w
			f.SpawnPlain(addr, func(m any, from msg.Address) {
				w.Handle(f.Now(), from, m, func(to msg.Address, m any) { f.Send(to, addr, m) })
			})
		}
		w.Handle(f.Now(), "", ch.Watch, func(to msg.Address, m any) { f.Send(to, addr, m) })
	}
}

// operate repeats what the registry says, as the registry does.
func (f *Fleet) operate() {
	f.Define.Epoch = f.Journal.Meta().Epoch
	f.Tell(f.Define)
	for _, s := range f.Sites {
		if f.Up() {
			f.Send(msg.SiteAddress(s.Spec.Name), operatorAddress, msg.SiteDefine{
				Spec: s.Spec, Disabled: f.endAll, ProtectedToo: f.protectedToo, Epoch: f.Define.Epoch,
			})
		}
	}
	f.After(2*time.Second, f.operate)
}

func (f *Fleet) hearRegistry(m any, _ msg.Address) {
	if r, ok := m.(msg.Removed); ok && f.Define.Removing && r.Gen == f.Define.Gen {
		f.Removed = true
		f.Stop(f.controllerAddress())
	}
}

// Backup takes a backup of the store.
func (f *Fleet) Backup() []byte {
	b, err := f.journal.Backup()
	if err != nil {
		panic(fmt.Sprintf("actortest: backup: %v", err))
	}
	return b
}

// Restore puts an older store in the place of the present one, as an operator does it: the node dies,
// and comes up in recovery and a new epoch. From now on machines may have to be condemned.
func (f *Fleet) Restore(backup []byte) {
	j, err := memory.Restore(backup, f.Journal.Meta().Epoch)
	if err != nil {
		panic(fmt.Sprintf("actortest: restore: %v", err))
	}
	f.replace(j)
}

// RollBack puts an older store in the place of the present one behind everybody's back: its epoch is
// that of the machines that it knows nothing of.
func (f *Fleet) RollBack(old *memory.Journal) { f.replace(old.Clone()) }

// Copy is the store as it is now.
func (f *Fleet) Copy() *memory.Journal { return f.journal.Clone() }

func (f *Fleet) replace(j *memory.Journal) {
	if f.Up() {
		f.Crash()
	}
	f.journal, f.Journal = j, j
	f.Restored, f.strict, f.controller = true, false, nil
}

// Recover lets the operator look at the sites' strays and decide about each of them; whether anything is
// left to decide shows in what the sites say next. EndRecovery ends the recovery.
func (f *Fleet) Recover() {
	for _, s := range f.Sites {
		f.Send(msg.SiteAddress(s.Spec.Name), operatorAddress, msg.SiteQuery{})
	}
}

// EndRecovery lets the node act again.
func (f *Fleet) EndRecovery() {
	if err := f.Journal.BeginEpoch(context.Background(), f.Journal.Meta().Epoch+1); err != nil {
		panic(fmt.Sprintf("actortest: end recovery: %v", err))
	}
}

// hearOperator takes in what actors tell the operator. Of a stray some are adopted, the others swept.
func (f *Fleet) hearOperator(m any, _ msg.Address) {
	v, ok := m.(msg.SiteView)
	if !ok {
		switch m.(type) {
		case *msg.Done, msg.Refused, *msg.Sensors, msg.PoolView, *msg.ShadowReport, actors.WhatIf, actors.Glimpse:
			f.answer = m
		}
		return
	}
	for _, st := range v.Strays {
		switch {
		case st.Condemned:
		case f.Rand().IntN(2) == 0 && !f.Removed:
			f.Tell(msg.AdoptMachine{Site: v.Spec.Name, Instance: st.Instance})
		default:
			f.Send(msg.SiteAddress(v.Spec.Name), operatorAddress, msg.SweepSite{Instances: []epu.InstanceID{st.Instance}})
		}
	}
}

// Kill ends a machine as its host's failure would.
func (m Machine) Kill() { m.Site.Cloud.Kill(m.ID) }
