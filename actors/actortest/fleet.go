package actortest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// Fleet is a world with one simulated cloud, one pool and agents on its machines: all that a campaign
// needs to hurt the launch protocol and to see whether anything leaked, doubled or was ended wrongly.
type Fleet struct {
	*World
	Cloud *sim.Cloud
	Site  epu.SiteSpec
	Pool  epu.PoolSpec

	// CallLost and CallDoubled are probabilities of faults between the node and the cloud.
	CallLost, CallDoubled float64
	CallSlowMax           time.Duration

	Define     msg.Define // what the registry says; Redefine changes it
	Wrong      []string   // violations seen on the way
	controller *actors.Controller
	site       *actors.Site
	workers    map[msg.Address]*actors.Worker
	agents     map[epu.InstanceID]*agent
	mute       map[epu.InstanceID]bool
	condemned  int
}

// agent is the epu-agent of one simulated machine.
type agent struct {
	worker epu.WorkerID
	failed bool
	seq    uint64
}

// Fleet addresses.
const (
	agentsAddress   msg.Address = "agents"
	operatorAddress msg.Address = "operator"
)

// NewFleet makes a fleet whose node is up.
func NewFleet(seed uint64, opts sim.Options, pool epu.PoolSpec, site epu.SiteSpec) *Fleet {
	f := &Fleet{
		World: NewWorld(seed, memory.New(memoryMeta())), Pool: pool, Site: site,
		agents: map[epu.InstanceID]*agent{}, mute: map[epu.InstanceID]bool{},
	}
	f.Cloud = sim.New(seed, f.Now, opts)
	f.OnStart = f.boot
	f.Redefine(func(d *msg.Define) {
		d.Spec = pool
		d.ConfGen = 1
		d.Launches = map[epu.SiteID]epu.LaunchSpec{site.Name: {
			Site: site.Name, Type: "worker", Image: "img", Run: []string{"work"}, Health: pool.Health, Drain: pool.Drain,
		}}
	})
	f.Start()
	f.operate()
	f.beat()
	return f
}

// Redefine changes what the registry says of the pool.
func (f *Fleet) Redefine(change func(d *msg.Define)) {
	change(&f.Define)
	f.Define.Gen++
}

// Scale has the pool's size changed, as an operator would.
func (f *Fleet) Scale(n int) {
	f.tell(msg.Command{ID: fmt.Sprintf("scale-%d-%d", n, f.Steps), User: "anna", Body: &msg.Scale{Pool: string(f.Pool.Name), N: int32(n)}})
}

// Tell sends a command to the controller.
func (f *Fleet) tell(m any) {
	if f.Up() {
		f.Send(f.controllerAddress(), operatorAddress, m)
	}
}

// Thaw undoes freezes and terminate-all.
func (f *Fleet) Thaw() {
	f.Redefine(func(d *msg.Define) { d.EndAll = false })
	f.tell(msg.Command{ID: fmt.Sprint("thaw-", f.Steps), User: "anna", Body: &msg.Thaw{}})
}

// Tell sends a message to the pool's controller.
func (f *Fleet) Tell(m any) { f.tell(m) }

// Mute silences a machine's agent for good; Fail makes its program fail.
func (f *Fleet) Mute(id epu.InstanceID) { f.mute[id] = true }

// Fail makes the program of a machine's worker fail.
func (f *Fleet) Fail(id epu.InstanceID) {
	if a := f.agents[id]; a != nil {
		a.failed = true
	}
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
	f.workers = map[msg.Address]*actors.Worker{}
	f.Spawn(msg.SiteAddress(f.Site.Name), epu.SiteStream(f.Site.Name), actors.SiteCodec(), func() actors.Core {
		f.site = actors.NewSite(f.Site, f.identity(), f.Now())
		return f.site
	}, f.siteCall, func(c actors.Core) {
		// While no call arrives after its deadline and no store is restored, every machine finds the slot
		// that it was launched for: one that has to be condemned was launched twice.
		if n := c.(*actors.Site).Condemned(); n > f.condemned {
			f.Wrong = append(f.Wrong, fmt.Sprintf("%v: %d machines condemned: %s", f.Now(), n, c.(*actors.Site).Describe()))
			f.condemned = n
		}
	})
	f.Spawn(f.controllerAddress(), epu.PoolStream(epu.DefaultOwner, f.Pool.Name), actors.PoolCodec(), func() actors.Core {
		f.controller = actors.NewController(epu.DefaultOwner, f.Pool.Name, f.identity(), f.Now())
		return f.controller
	}, f.poolCall, func(c actors.Core) { f.children(c.(*actors.Controller)) })
	for _, a := range []msg.Address{agentsAddress, operatorAddress, actors.RegistryAddress} {
		f.SpawnPlain(a, f.hear)
	}
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
			w = actors.NewWorker(ch.Worker, f.controllerAddress())
			f.workers[addr] = w
			f.SpawnPlain(addr, func(m any, from msg.Address) {
				w.Handle(f.Now(), from, m, func(to msg.Address, m any) { f.Send(to, addr, m) })
			})
		}
		w.Handle(f.Now(), "", ch.Watch, func(to msg.Address, m any) { f.Send(to, addr, m) })
	}
}

// siteCall carries out a site's call against the cloud, over a bad network.
func (f *Fleet) siteCall(call any) (Exec, Latency) {
	lat := Latency{
		Request: time.Duration(f.Rand().Int64N(int64(50 * time.Millisecond))),
		Answer:  time.Duration(f.Rand().Int64N(int64(50 * time.Millisecond))), Deadline: f.Site.CallTimeout,
		Late: epu.E(epu.UnknownOutcome, "call", "", context.DeadlineExceeded),
	}
	if f.Rand().Float64() < f.CallLost {
		slow := time.Duration(f.Rand().Int64N(int64(f.CallSlowMax) + 1))
		if f.Rand().IntN(2) == 0 {
			lat.Request = min(lat.Request+slow, f.Site.CallTimeout)
		} else {
			lat.Answer += slow
		}
	}
	if end, ok := call.(actors.EndCall); ok {
		f.checkEnds(end)
	}
	twice := f.Rand().Float64() < f.CallDoubled
	return func(call any) (any, error) {
		result, err := f.cloudCall(call)
		if twice && err == nil { // an answer that was heard is the first one's: no transport mixes them up
			f.cloudCall(call)
		}
		return result, err
	}, lat
}

func (f *Fleet) cloudCall(call any) (any, error) {
	ctx := context.Background()
	switch c := call.(type) {
	case actors.PrepareCall:
		return c.Request.Digest(), nil
	case actors.RunCall:
		if c.Request.Digest() != c.Digest {
			return nil, epu.E(epu.Conflict, "launch", string(c.Launch), fmt.Errorf("the request's bytes changed"))
		}
		return f.Cloud.Launch(ctx, c.Request)
	case actors.ListCall:
		return f.Cloud.List(ctx, iaas.ListRequest{Tags: c.Tags})
	case actors.FindCall:
		return f.Cloud.List(ctx, iaas.ListRequest{IDs: c.IDs})
	case actors.EndCall:
		return nil, f.Cloud.Terminate(ctx, c.IDs)
	}
	panic(fmt.Sprintf("unknown call %T", call))
}

// checkEnds notes machines that are about to be ended although their worker is wanted.
func (f *Fleet) checkEnds(end actors.EndCall) {
	for _, id := range end.IDs {
		for _, w := range f.Workers() {
			if w.Instance == id && w.Open() {
				f.Wrong = append(f.Wrong, fmt.Sprintf("%v: machine %s of the wanted worker %s is being ended", f.Now(), id, w.ID))
			}
		}
	}
}

// poolCall carries out a controller's call: the rule of npreserving in Go, quick enough for thousands
// of seeds.
func (f *Fleet) poolCall(call any) (Exec, Latency) {
	return func(call any) (any, error) {
		switch c := call.(type) {
		case actors.DecideCall:
			n, _ := c.Conf["preserve_n"].(int)
			if v, ok := c.Conf["preserve_n"].(float64); ok { // after a restart it comes from JSON
				n = int(v)
			}
			return epu.Decision{
				ID: c.Snapshot.Decision, Time: c.Snapshot.Now, Policy: c.Policy, Conf: c.Conf,
				Wanted: epu.Wish{Target: n}, Reasons: []epu.Reason{{Rule: "preserve_n", Text: fmt.Sprintf("preserve_n = %d", n)}},
			}, nil
		case actors.CheckConfCall:
			merged := maps.Clone(c.Conf)
			if merged == nil {
				merged = map[string]any{}
			}
			maps.Copy(merged, c.Changes)
			return actors.CheckedConf{Conf: merged, Changed: slices.Sorted(maps.Keys(c.Changes))}, nil
		}
		panic(fmt.Sprintf("unknown call %T", call))
	}, Latency{Request: time.Millisecond, Answer: time.Millisecond}
}

// operate repeats what the registry says, as the registry does.
func (f *Fleet) operate() {
	f.tell(f.Define)
	f.After(2*time.Second, f.operate)
}

// beat lets every machine's agent check in or beat.
func (f *Fleet) beat() {
	f.After(f.Pool.Health.Heartbeat, f.beat)
	if !f.Up() {
		return
	}
	for _, m := range f.Cloud.Machines() {
		if m.State != iaas.InstanceRunning || f.mute[m.ID] {
			continue
		}
		a := f.agents[m.ID]
		if a == nil {
			a = &agent{}
			f.agents[m.ID] = a
		}
		if a.worker == "" {
			f.Send(f.controllerAddress(), agentsAddress, msg.CheckInWorker{Launch: epu.LaunchID(m.Tags[iaas.TagLaunch]), Instance: m.ID})
			continue
		}
		a.seq++
		b := msg.Beat{Worker: a.worker, Instance: m.ID, Seq: a.seq, State: "OK"}
		if a.failed {
			b.State = "PROCESS_ERROR"
		}
		if w := f.workers[msg.WorkerAddress(epu.DefaultOwner, f.Pool.Name, a.worker)]; w != nil && w.Draining() {
			b.Draining, b.Drained = true, true
		}
		f.Send(msg.WorkerAddress(epu.DefaultOwner, f.Pool.Name, a.worker), agentsAddress,
			msg.BeatReceived{Worker: a.worker, At: f.Now(), Beat: b})
	}
}

// hear takes in what actors say to agents and operators.
func (f *Fleet) hear(m any, _ msg.Address) {
	in, ok := m.(msg.WorkerCheckedIn)
	if !ok {
		return
	}
	for _, w := range f.Workers() {
		if w.ID == in.Worker && f.agents[w.Instance] != nil {
			f.agents[w.Instance].worker = in.Worker
		}
	}
}

// Workers are the controller's workers that are not gone.
func (f *Fleet) Workers() []*epu.Worker {
	if f.controller == nil {
		return nil
	}
	return f.controller.Workers()
}

// Describe draws the fleet's state, for messages of failing tests.
func (f *Fleet) Describe() string {
	out := fmt.Sprintf("%v up=%v crashes=%d\n", f.Now(), f.Up(), f.Crashes)
	for _, w := range f.Workers() {
		out += fmt.Sprintf("worker %s %s %s %v ended=%v %s\n", w.ID, w.Instance, w.State, w.Health, w.Ended, w.EndReason)
	}
	for _, m := range f.Cloud.Machines() {
		if m.Alive() {
			out += fmt.Sprintf("machine %s %s launch=%s slot=%d\n", m.ID, m.State, m.Tags[iaas.TagLaunch], m.Slot)
		}
	}
	b, _ := json.Marshal(f.site.State())
	return out + "site " + string(b) + "\n"
}

// Check holds a fleet that has settled against the invariants: every live machine stands in exactly one
// wanted slot, there are as many as wished, and replaying the journal gives the state there is.
func (f *Fleet) Check(want int) []string {
	wrong := slices.Clone(f.Wrong)
	if err := f.Failed(); err != nil {
		wrong = append(wrong, "an incarnation failed: "+err.Error())
	}
	for _, u := range f.Unknown {
		wrong = append(wrong, fmt.Sprintf("%s had no case for %s", u.Actor, u.Type))
	}
	slot := map[epu.InstanceID]epu.WorkerID{}
	open := 0
	for _, w := range f.Workers() {
		if !w.Open() {
			wrong = append(wrong, fmt.Sprintf("worker %s has not ended: %s", w.ID, w.State))
			continue
		}
		open++
		if other, ok := slot[w.Instance]; ok || w.Instance == "" {
			wrong = append(wrong, fmt.Sprintf("workers %s and %s stand on machine %q", w.ID, other, w.Instance))
		}
		slot[w.Instance] = w.ID
	}
	alive := 0
	for _, m := range f.Cloud.Machines() {
		if !m.Alive() {
			continue
		}
		alive++
		if slot[m.ID] == "" {
			wrong = append(wrong, fmt.Sprintf("machine %s of launch %s is leaked", m.ID, m.Tags[iaas.TagLaunch]))
		}
	}
	if open != want || alive != want {
		wrong = append(wrong, fmt.Sprintf("%d workers and %d machines, want %d", open, alive, want))
	}
	return append(wrong, f.checkReplay()...)
}

// checkReplay loads both streams anew and compares.
func (f *Fleet) checkReplay() []string {
	var wrong []string
	for _, s := range []struct {
		stream epu.StreamID
		live   actors.Core
		fresh  actors.Core
	}{
		{epu.SiteStream(f.Site.Name), f.site, actors.NewSite(f.Site, f.identity(), f.Now())},
		{
			epu.PoolStream(epu.DefaultOwner, f.Pool.Name), f.controller,
			actors.NewController(epu.DefaultOwner, f.Pool.Name, f.identity(), f.Now()),
		},
	} {
		codec := actors.SiteCodec()
		if _, ok := s.live.(*actors.Controller); ok {
			codec = actors.PoolCodec()
		}
		l, err := f.Journal.Load(context.Background(), s.stream)
		if err == nil && l.Snapshot != nil {
			err = s.fresh.Restore(l.Snapshot)
		}
		for _, e := range l.Tail {
			ev, derr := codec.Decode(e)
			if derr != nil {
				err = derr
				break
			}
			s.fresh.Apply(ev)
		}
		a, _ := json.Marshal(s.live.State())
		b, _ := json.Marshal(s.fresh.State())
		if err != nil || !reflect.DeepEqual(a, b) {
			wrong = append(wrong, fmt.Sprintf("%s replays to another state (%v):\nlive   %s\nreplay %s", s.stream, err, a, b))
		}
	}
	return wrong
}
