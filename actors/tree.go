package actors

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
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
}

// NewSystem makes what actors stand on.
func NewSystem(clock Clock, journal persistence.Journal, history persistence.History, log *slog.Logger, newID func() string) *System {
	quiet := slog.New(slog.DiscardHandler) // the library prints whole message bodies; what matters is logged here
	return &System{
		Actors: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet })),
		Clock:  clock, Journal: journal, History: history, Log: log, NewID: newID, Events: &Bus{},
	}
}

// Start starts the tree: the provisioner and the controllers' parent first, then the registry, which
// says who their children are.
func Start(sys *System, exec Executors) (*Tree, error) {
	guardian := &supervisor{clock: sys.Clock, log: sys.Log, restarts: &sys.Restarts}
	t := &Tree{System: sys, exec: exec, root: sys.Actors.Root.WithGuardian(guardian)}
	registry := &durableActor{
		sys: sys, stream: RegistryStream, codec: RegistryCodec(), timeout: storeTimeout,
		core:  func() Core { return NewRegistry(epu.DefaultOwner) },
		after: func(_ actor.Context, c Core) { t.members(c.(*Registry)) },
	}
	for _, a := range []struct {
		name string
		make actor.Producer
	}{
		{"provisioner", func() actor.Actor { return &provisioner{tree: t, sites: map[epu.SiteID]*actor.PID{}} }},
		{"controllers", func() actor.Actor { return &controllers{tree: t, pools: map[epu.PoolID]*actor.PID{}} }},
		{string(RegistryAddress), func() actor.Actor { return registry }},
	} {
		pid, err := t.root.SpawnNamed(t.props(a.make), a.name)
		if err != nil {
			return nil, epu.E(epu.Internal, "start actor", a.name, err)
		}
		t.top = append(t.top, pid)
	}
	return t, nil
}

// props makes the properties of an actor whose children are supervised by our rule.
func (t *Tree) props(make actor.Producer) *actor.Props {
	return actor.PropsFromProducer(make, actor.WithSupervisor(&supervisor{clock: t.Clock, log: t.Log, restarts: &t.Restarts}))
}

// Stop ends the tree, children before parents. What is durable stays due; what is volatile comes back
// with the next start.
func (t *Tree) Stop() {
	for i := len(t.top) - 1; i >= 0; i-- {
		if err := t.root.StopFuture(t.top[i]).Wait(); err != nil {
			t.Log.Warn("actor did not stop in time", "actor", t.top[i].Id, "error", err)
		}
	}
	t.Actors.Shutdown()
}

// memberPools and memberSites say which children there must be. They are absolute.
type (
	memberPools struct{ pools []epu.PoolID }
	memberSites struct{ sites map[epu.SiteID]epu.SiteSpec }
)

// members tells the parents who their children are. It runs after every turn of the registry, so it
// says nothing unless something changed.
func (t *Tree) members(r *Registry) {
	pools, sites := r.Members()
	if r.announced != r.st.Gen || r.st.Gen == 0 {
		r.announced = r.st.Gen
		t.Actors.Root.Send(t.Actors.NewLocalPID("controllers"), memberPools{pools})
		t.Actors.Root.Send(t.Actors.NewLocalPID("provisioner"), memberSites{sites})
	}
}

// provisioner is the parent of the sites.
type provisioner struct {
	tree  *Tree
	sites map[epu.SiteID]*actor.PID
}

// Receive starts and stops sites.
func (p *provisioner) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case memberSites:
		for id, spec := range m.sites {
			if p.sites[id] == nil {
				p.sites[id] = p.start(ctx, spec)
			}
		}
	case *actor.Terminated:
		for id, pid := range p.sites {
			if pid.Equal(m.Who) {
				delete(p.sites, id)
			}
		}
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		p.tree.unknown("provisioner", m)
	}
}

func (p *provisioner) start(ctx actor.Context, spec epu.SiteSpec) *actor.PID {
	exec, err := p.tree.exec.Site(spec)
	if err != nil {
		p.tree.Log.Error("site can't be used", "site", spec.Name, "error", err)
		exec = failing(err)
	}
	site := spec
	a := &durableActor{
		sys: p.tree.System, stream: epu.SiteStream(spec.Name), codec: SiteCodec(), exec: exec, timeout: spec.CallTimeout,
		core: func() Core { return NewSite(site, p.tree.identity(), p.tree.Clock.Now()) },
	}
	pid, err := ctx.SpawnNamed(p.tree.props(func() actor.Actor { return a }), "site-"+string(spec.Name))
	if err != nil {
		p.tree.Log.Error("site can't be started", "site", spec.Name, "error", err)
		return nil
	}
	ctx.Watch(pid)
	return pid
}

func (t *Tree) identity() SiteIdentity {
	m := t.Journal.Meta()
	return SiteIdentity{Installation: m.Installation, Epoch: m.Epoch, Recovery: m.Recovery}
}

// controllers is the parent of the pools' controllers.
type controllers struct {
	tree  *Tree
	pools map[epu.PoolID]*actor.PID
}

// Receive starts and stops controllers.
func (c *controllers) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case memberPools:
		c.members(ctx, m.pools)
	case *actor.Terminated:
		for id, pid := range c.pools {
			if pid.Equal(m.Who) {
				delete(c.pools, id)
			}
		}
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		c.tree.unknown("controllers", m)
	}
}

func (c *controllers) members(ctx actor.Context, pools []epu.PoolID) {
	wanted := make(map[epu.PoolID]bool, len(pools))
	for _, id := range pools {
		wanted[id] = true
		if c.pools[id] == nil {
			c.pools[id] = c.start(ctx, id)
		}
	}
	for id, pid := range c.pools {
		if !wanted[id] && pid != nil {
			ctx.Stop(pid)
		}
	}
}

func (c *controllers) start(ctx actor.Context, pool epu.PoolID) *actor.PID {
	children := &workers{tree: c.tree, pool: pool}
	a := &durableActor{
		sys: c.tree.System, stream: epu.PoolStream(epu.DefaultOwner, pool), codec: PoolCodec(),
		exec: c.tree.exec.Controller(epu.DefaultOwner, pool), timeout: engineTimeout,
		core: func() Core {
			return NewController(epu.DefaultOwner, pool, c.tree.identity(), c.tree.Clock.Now())
		},
		after:  func(ctx actor.Context, core Core) { children.follow(ctx, core.(*Controller)) },
		onLost: children.lose,
	}
	addr := msg.ControllerAddress(epu.DefaultOwner, pool)
	pid, err := ctx.SpawnNamed(c.tree.props(func() actor.Actor { return a }), string(addr[len("controllers/"):]))
	if err != nil {
		c.tree.Log.Error("controller can't be started", "pool", pool, "error", err)
		return nil
	}
	ctx.Watch(pid)
	return pid
}

// engineTimeout bounds a policy's evaluation as seen from its controller; the engine's own deadline is
// much shorter.
const engineTimeout = 5 * time.Second

func (s *System) unknown(actor string, m any) {
	s.Unknowns.Add(1)
	s.Log.Warn("unknown message", "actor", actor, "type", typeName(m))
}
