package actors

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/worker"
	"github.com/nimbus-epu/epu/persistence"
)

// Executors make what a durable actor's calls are carried out by. They are wired by the daemon.
type Executors interface {
	// Site makes the executor of a site: its provider.
	Site(spec epu.SiteSpec) (Executor, error)
	// Controller makes the executor of a pool's controller: its decision engine.
	Controller(owner epu.Owner, pool epu.PoolID) Executor
}

// Tree is a node's running actors.
type Tree struct {
	*System
	exec Executors
	root *actor.RootContext
	top  []*actor.PID

	pools *persistence.Codec // of all controllers: it only reads

	announced atomic.Uint64 // 1 + generation of the registry whose members were told; read and set by several actors
}

// NewSystem makes what actors stand on.
func NewSystem(clock Clock, journal persistence.Journal, history persistence.History, log *slog.Logger, newID func() string) *System {
	quiet := slog.New(slog.DiscardHandler) // the library prints whole message bodies; what matters is logged here
	return &System{
		Actors: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet })),
		Clock:  clock, Journal: journal, History: history, Log: log, NewID: newID, Events: &Bus{}, work: newCrew(),
	}
}

// Start starts the tree: the provisioner and the controllers' parent first, then the registry, which
// says who their children are.
func Start(sys *System, exec Executors) (*Tree, error) {
	guardian := &supervisor{clock: sys.Clock, log: sys.Log, restarts: &sys.Restarts}
	t := &Tree{System: sys, exec: exec, root: sys.Actors.Root.WithGuardian(guardian), pools: PoolCodec()}
	registry := &durableActor{
		sys: sys, stream: RegistryStream, codec: RegistryCodec(), timeout: storeTimeout,
		core:  func() Core { return NewRegistry(epu.DefaultOwner, t.identity().Epoch) },
		after: func(_ actor.Context, c Core) { t.members(c.(*Registry)) },
	}
	for _, a := range []struct {
		name  string
		props *actor.Props
	}{
		{"provisioner", t.props(func() actor.Actor { return newBrood(t, "provisioner", t.startSite) })},
		{"controllers", t.props(func() actor.Actor { return newBrood(t, "controllers", t.startController) })},
		{string(RegistryAddress), t.durable(registry)},
	} {
		pid, err := t.root.SpawnNamed(a.props, a.name)
		if err != nil {
			t.Stop() // the store will be closed
			return nil, epu.E(epu.Internal, "start actor", a.name, err)
		}
		t.top = append(t.top, pid)
	}
	return t, nil
}

// props makes the properties of an actor whose children are supervised by our rule.
func (t *Tree) props(make actor.Producer) *actor.Props {
	return actor.PropsFromProducer(make, actor.WithMailbox(newMailbox), actor.WithSupervisor(&supervisor{clock: t.Clock, log: t.Log, restarts: &t.Restarts}))
}

// durable makes the properties of a durable actor, whose mailbox can be looked at.
func (t *Tree) durable(a *durableActor) *actor.Props {
	return t.props(func() actor.Actor { return a }).Configure(actor.WithMailbox(a.shown.mailbox))
}

// Stop ends the tree, children before parents, and what still works for it: afterwards nobody uses the
// store. What is durable stays due; what is volatile comes back with the next start.
func (t *Tree) Stop() {
	for i := len(t.top) - 1; i >= 0; i-- {
		if err := t.root.StopFuture(t.top[i]).Wait(); err != nil {
			t.Log.Warn("actor did not stop in time", "actor", t.top[i].Id, "error", err)
		}
	}
	if left := t.work.stop(t.Clock); left > 0 {
		t.Log.Error("calls did not heed their deadline", "calls", left)
	}
	t.Actors.Shutdown()
}

// members say to a brood which children there must be. They are absolute.
type members[K comparable, S any] struct{ wanted map[K]S }

// members tells the parents who their children are. It runs after every turn of the registry, so it
// says nothing unless something changed, or a parent began anew.
func (t *Tree) members(r *Registry) {
	if t.announced.Swap(r.st.Gen+1) == r.st.Gen+1 {
		return
	}
	pools, sites := r.Members()
	wanted := make(map[epu.PoolID]struct{}, len(pools))
	for _, id := range pools {
		wanted[id] = struct{}{}
	}
	t.Actors.Root.Send(t.Actors.NewLocalPID("controllers"), members[epu.PoolID, struct{}]{wanted})
	t.Actors.Root.Send(t.Actors.NewLocalPID("provisioner"), members[epu.SiteID, epu.SiteSpec]{sites})
}

// announceAgain has the registry say anew who the children are: the parent that asks has none.
func (t *Tree) announceAgain() {
	t.announced.Store(0)
	t.Actors.Root.Send(t.Actors.NewLocalPID(string(RegistryAddress)), msg.RegistryQuery{})
}

// brood is the actor that is the parent of the sites, or of the pools' controllers. S is what a child is made from: one
// whose S changed is stopped and made anew, and one that ended although it is wanted is started again.
type brood[K comparable, S any] struct {
	tree    *Tree
	name    string
	start   func(ctx actor.Context, name K, from S) *actor.PID
	wanted  map[K]S
	running map[K]*actor.PID
	from    map[K]S
	over    bool // it is being stopped
}

func newBrood[K comparable, S any](t *Tree, name string, start func(actor.Context, K, S) *actor.PID) *brood[K, S] {
	return &brood[K, S]{tree: t, name: name, start: start, running: map[K]*actor.PID{}, from: map[K]S{}}
}

// Receive starts and stops children.
func (b *brood[K, S]) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		b.tree.announceAgain()
	case members[K, S]:
		if !b.over { // the registry may have said so just before it was stopped itself
			b.follow(ctx, m.wanted)
		}
	case *actor.Stopping, *actor.Restarting:
		b.over, b.wanted = true, nil // children that end now are not to be started again
	case *actor.Terminated:
		b.ended(ctx, m.Who)
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		b.tree.unknown(b.name, m)
	}
}

// follow makes the children those that are wanted.
func (b *brood[K, S]) follow(ctx actor.Context, wanted map[K]S) {
	b.wanted = wanted
	for name, pid := range b.running {
		if now, ok := wanted[name]; !ok || !reflect.DeepEqual(now, b.from[name]) {
			ctx.Stop(pid) // its name is free once it is Terminated
		}
	}
	for name, from := range wanted {
		if b.running[name] == nil {
			b.begin(ctx, name, from)
		}
	}
}

func (b *brood[K, S]) begin(ctx actor.Context, name K, from S) {
	if pid := b.start(ctx, name, from); pid != nil { // a parent hears of its children's end without watching
		b.running[name], b.from[name] = pid, from
	}
}

// ended takes in that a child is no more.
func (b *brood[K, S]) ended(ctx actor.Context, who *actor.PID) {
	for name, pid := range b.running {
		if !pid.Equal(who) {
			continue
		}
		delete(b.running, name)
		delete(b.from, name)
		if from, ok := b.wanted[name]; ok {
			b.begin(ctx, name, from)
		}
	}
}

// startSite is how the provisioner starts a site.
func (t *Tree) startSite(ctx actor.Context, _ epu.SiteID, spec epu.SiteSpec) *actor.PID {
	exec, err := t.exec.Site(spec)
	if err != nil {
		t.Log.Error("site can't be used", "site", spec.Name, "error", err)
		exec = failing(err)
	}
	site := spec
	a := &durableActor{
		sys: t.System, stream: epu.SiteStream(spec.Name), codec: SiteCodec(), exec: exec, timeout: spec.CallTimeout,
		core: func() Core { return NewSite(site, t.identity(), t.Clock.Now()) },
	}
	pid, err := ctx.SpawnNamed(t.durable(a), "site-"+string(spec.Name))
	if err != nil {
		t.Log.Error("site can't be started", "site", spec.Name, "error", err)
		return nil
	}
	return pid
}

func (t *Tree) identity() SiteIdentity {
	m := t.Journal.Meta()
	return SiteIdentity{Installation: m.Installation, Epoch: m.Epoch, Recovery: m.Recovery}
}

// startController is how the parent of the controllers starts one.
func (t *Tree) startController(ctx actor.Context, pool epu.PoolID, _ struct{}) *actor.PID {
	children := newWorkers(t, pool)
	a := &durableActor{
		sys: t.System, stream: epu.PoolStream(epu.DefaultOwner, pool), codec: t.pools,
		exec: t.exec.Controller(epu.DefaultOwner, pool), timeout: engineTimeout,
		core: func() Core {
			return NewController(epu.DefaultOwner, pool, t.identity(), t.Clock.Now())
		},
		after:  func(ctx actor.Context, core Core) { children.follow(ctx, core.(*Controller)) },
		onLost: children.lose,
	}
	addr := msg.ControllerAddress(epu.DefaultOwner, pool)
	pid, err := ctx.SpawnNamed(t.durable(a), string(addr[len("controllers/"):]))
	if err != nil {
		t.Log.Error("controller can't be started", "pool", pool, "error", err)
		return nil
	}
	return pid
}

// engineTimeout bounds a policy's evaluation as seen from its controller; the engine's own deadline is
// much shorter.
const engineTimeout = 5 * time.Second

func (s *System) unknown(actor string, m any) {
	s.Unknowns.Add(1)
	s.Log.Warn("unknown message", "actor", actor, "type", typeName(m))
}

// workers are the children of one controller: an actor for each worker whose agent is listened to.
type workers struct {
	tree  *Tree
	pool  epu.PoolID
	props *actor.Props // of every child: there are many
}

func newWorkers(t *Tree, pool epu.PoolID) *workers {
	return &workers{tree: t, pool: pool, props: workerProps(t.System)}
}

// workerProps makes the properties of worker actors. They have no children to supervise.
func workerProps(sys *System) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &workerActor{sys: sys} }, actor.WithMailbox(newInbox))
}

// follow starts, tells and stops children as the controller's core says.
func (w *workers) follow(ctx actor.Context, c *Controller) {
	for _, ch := range c.Children() {
		addr := msg.WorkerAddress(epu.DefaultOwner, w.pool, ch.Worker)
		pid := w.tree.Actors.NewLocalPID(string(addr))
		if ch.Stop {
			ctx.Stop(pid)
			continue
		}
		if _, ok := w.tree.Actors.ProcessRegistry.GetLocal(string(addr)); !ok {
			if _, err := ctx.SpawnNamed(w.props, string(ch.Worker)); err != nil {
				w.tree.Log.Error("worker's actor can't be started", "pool", w.pool, "worker", ch.Worker, "error", err)
				continue
			}
		}
		ctx.Send(pid, ch.Watch)
	}
}

// lose stops all children: the next incarnation of the controller starts its own.
func (w *workers) lose(ctx actor.Context) {
	for _, pid := range ctx.Children() {
		ctx.Stop(pid)
	}
}

// workerActor runs a worker's core on protoactor. One that is restarted has forgotten everything: the
// controller's next Look says what it needs to know.
type workerActor struct {
	sys  *System
	core worker.Core
}

// Receive hands messages to the core.
func (a *workerActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.core = worker.At(msg.Address(ctx.Self().Id))
	case actor.SystemMessage, actor.AutoReceiveMessage, *actor.DeadLetterResponse:
	default:
		from := msg.Address("")
		if s := ctx.Sender(); s != nil {
			from = msg.Address(s.Id)
		}
		self := ctx.Self()
		known := a.core.Handle(a.sys.Clock.Now(), from, m, func(to msg.Address, m any) {
			if to != "" {
				a.sys.send(to, self, m)
			}
		})
		if !known {
			a.sys.unknown(self.Id, m)
		}
	}
}

// failing is the executor of a site that can't be used: every call gives the reason.
func failing(err error) Executor {
	return func(context.Context, any) (any, error) { return nil, err }
}

func typeName(m any) string { return fmt.Sprintf("%T", m) }
