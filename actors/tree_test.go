package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// node is a whole tree of actors on protoactor in a bubble, with simulated clouds.
type node struct {
	*actors.Tree
	t       *testing.T
	journal *memory.Journal
	clouds  *clouds
	history persistence.History // of the next start; nil = one in memory
}

// clouds are the executors of a node: real time and goroutines, as in the daemon.
type clouds struct {
	mu     sync.Mutex // guards cloud: sites are started by another goroutine than the test's
	cloud  map[epu.SiteID]*sim.Cloud
	panics atomic.Int64 // evaluations that panic from now on
	stuck  atomic.Bool  // evaluations of pool "stuck" never end
	passed atomic.Int64 // evaluations that ended
}

func (c *clouds) at(site epu.SiteID) *sim.Cloud {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cloud[site] == nil {
		c.cloud[site] = sim.New(1, time.Now, sim.Options{Boot: sim.Range{Min: time.Second, Max: 20 * time.Second}, Visibility: 10 * time.Second})
	}
	return c.cloud[site]
}

// Site implements actors.Executors.
func (c *clouds) Site(spec epu.SiteSpec) (actors.Executor, error) {
	cloud := c.at(spec.Name)
	return func(ctx context.Context, call any) (any, error) { return actortest.Provide(ctx, cloud, call) }, nil
}

// Controller implements actors.Executors.
func (c *clouds) Controller(_ epu.Owner, pool epu.PoolID) actors.Executor {
	return func(ctx context.Context, call any) (any, error) {
		if _, ok := call.(actors.DecideCall); ok {
			if pool == "stuck" && c.stuck.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if pool == "stuck" && c.panics.Add(-1) >= 0 {
				panic("the engine is broken")
			}
			c.passed.Add(1)
		}
		return actortest.Decide(call)
	}
}

// inNode runs a test of a node in a bubble, and ends the node's goroutines.
func inNode(t *testing.T, test func(n *node)) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, journal: memory.New(testMeta()), clouds: &clouds{cloud: map[epu.SiteID]*sim.Cloud{}}}
		defer n.stop() // also after t.Fatal, whose words a bubble with goroutines left would hide
		n.start()
		test(n)
	})
}

func (n *node) start() {
	n.t.Helper()
	var ids atomic.Uint64
	life := time.Now().UnixNano()
	if n.history == nil {
		n.history = memory.NewHistory(0)
	}
	sys := actors.NewSystem(actors.WallClock{}, n.journal, n.history, slog.New(slog.DiscardHandler), func() string {
		return fmt.Sprintf("%d-%08d", life, ids.Add(1))
	})
	tree, err := actors.Start(sys, n.clouds)
	if err != nil {
		n.t.Fatal(err)
	}
	n.Tree = tree
	time.Sleep(time.Second)
}

// libraryEnds is when the actor library's own goroutines have ended after a stop.
const libraryEnds = time.Minute

// stop ends the node.
func (n *node) stop() {
	n.Stop()
	n.history = nil // the next life begins with another
	time.Sleep(libraryEnds)
}

func treePool(name epu.PoolID, n int) epu.PoolSpec {
	p := campaignPool()
	p.Name = name
	p.Policy.Conf = map[string]any{"preserve_n": n}
	p.Placement = []epu.Placement{{Site: "cloud"}}
	p.Health.Source = epu.HealthProcess
	return p
}

// apply applies pools, and a site for them.
func (n *node) apply(pools ...epu.PoolSpec) {
	n.t.Helper()
	site := campaignSite("cloud")
	site.PollEvery, site.VisibilityWindow, site.BackoffFirst = time.Second, 10*time.Second, time.Second
	v := ask[msg.RegistryView](n, actors.RegistryAddress, msg.RegistryQuery{})
	m := msg.ApplySpecs{Gen: v.Gen, Sites: []epu.SiteSpec{site}, Sender: msg.Sender{ID: fmt.Sprint("apply-", v.Gen), User: "anna"}}
	for _, p := range pools {
		m.Pools = append(m.Pools, msg.PoolEntry{Spec: p, Launches: map[epu.SiteID]epu.LaunchSpec{
			"cloud": {Site: "cloud", Type: "worker", Image: "img", Health: p.Health, Drain: p.Drain},
		}})
	}
	ask[*msg.Done](n, actors.RegistryAddress, m)
}

func ask[T any](n *node, to msg.Address, m any) T {
	n.t.Helper()
	answer, err := n.Ask(context.Background(), to, m)
	if err != nil {
		n.t.Fatalf("%T to %s: %v", m, to, err)
	}
	t, ok := answer.(T)
	if !ok {
		n.t.Fatalf("%T to %s: got the answer %T", m, to, answer)
	}
	return t
}

func (n *node) command(pool epu.PoolID, body any) {
	n.t.Helper()
	ask[*msg.Done](n, msg.ControllerAddress(epu.DefaultOwner, pool),
		msg.Command{Sender: msg.Sender{ID: fmt.Sprint("c", time.Now().UnixNano()), User: "anna"}, Body: body})
}

func (n *node) pool(pool epu.PoolID) msg.PoolView {
	n.t.Helper()
	return ask[msg.PoolView](n, msg.ControllerAddress(epu.DefaultOwner, pool), msg.PoolQuery{})
}

// expect holds the running workers and the living machines of all pools against a number after a while.
func (n *node) expect(after time.Duration, machines int, pools map[epu.PoolID]int) {
	n.t.Helper()
	time.Sleep(after)
	for pool, want := range pools {
		running := 0
		for _, w := range n.pool(pool).Workers {
			if w.Open() && w.State == epu.Running {
				running++
			}
		}
		if running != want {
			n.t.Errorf("%s has %d running workers, want %d", pool, running, want)
		}
	}
	if got := n.alive(); len(got) != machines {
		n.t.Errorf("%d machines live, want %d", len(got), machines)
	}
}

func (n *node) alive() []epu.InstanceID {
	var ids []epu.InstanceID
	for _, m := range n.clouds.at("cloud").Machines() {
		if m.Alive() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Goal: a pool on real actors comes up, heals, scales, freezes, survives a restart of the node, and ends.
// Method: one life of a pool in virtual time.
func TestTreeLife(t *testing.T) {
	inNode(t, func(n *node) {
		n.apply(treePool("web", 5))
		n.expect(time.Minute, 5, map[epu.PoolID]int{"web": 5})
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.expect(time.Minute, 5, map[epu.PoolID]int{"web": 5})
		n.command("web", &msg.Scale{Pool: "web", N: 8})
		n.expect(time.Minute, 8, map[epu.PoolID]int{"web": 8})
		n.command("web", &msg.Kill{Instance: string(n.alive()[0])})
		n.expect(time.Minute, 8, map[epu.PoolID]int{"web": 8})

		n.command("web", &msg.FreezeCommand{Pool: "web"})
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.expect(time.Minute, 7, map[epu.PoolID]int{"web": 7})
		n.stop()
		n.start()
		n.expect(time.Minute, 7, map[epu.PoolID]int{"web": 7})
		n.command("web", &msg.Thaw{Pool: "web"})
		n.expect(time.Minute, 8, map[epu.PoolID]int{"web": 8})

		n.command("web", &msg.Scale{Pool: "web", N: 2})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		ask[*msg.Done](n, actors.RegistryAddress, msg.SwitchEndAll{On: true, Sender: msg.Sender{ID: "end", User: "anna"}})
		n.expect(time.Minute, 0, nil)
		ask[*msg.Done](n, actors.RegistryAddress, msg.SwitchEndAll{On: false, Sender: msg.Sender{ID: "on", User: "anna"}})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		ask[*msg.Done](n, actors.RegistryAddress, msg.RemovePool{Owner: epu.DefaultOwner, Pool: "web", Sender: msg.Sender{ID: "rm", User: "anna"}})
		n.expect(2*time.Minute, 0, nil)
		if v := ask[msg.RegistryView](n, actors.RegistryAddress, msg.RegistryQuery{}); len(v.Pools) != 0 {
			t.Errorf("got the pools %v after the removal", v.Pools)
		}
		if u := n.Unknowns.Load(); u > 0 {
			t.Errorf("%d messages had no case", u)
		}
	})
}

// Goal: terminate-all ends one pool and leaves the protected one to live on, healing and growing included.
// Method: the registry's switch over two pools, with a restart in the middle.
func TestTreeSparesProtected(t *testing.T) {
	inNode(t, func(n *node) {
		kept := treePool("kept", 2)
		kept.Protected = true
		n.apply(treePool("web", 2), kept)
		n.expect(time.Minute, 4, map[epu.PoolID]int{"web": 2, "kept": 2})
		ask[*msg.Done](n, actors.RegistryAddress, msg.SwitchEndAll{On: true, Sender: msg.Sender{ID: "end", User: "anna"}})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 0, "kept": 2})
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.stop()
		n.start()
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 0, "kept": 2})
		n.command("kept", &msg.Scale{Pool: "kept", N: 3})
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 0, "kept": 3})
		ask[*msg.Done](n, actors.RegistryAddress, msg.SwitchEndAll{On: true, ProtectedToo: true, Sender: msg.Sender{ID: "all", User: "anna"}})
		n.expect(time.Minute, 0, map[epu.PoolID]int{"web": 0, "kept": 0})
		ask[*msg.Done](n, actors.RegistryAddress, msg.SwitchEndAll{Sender: msg.Sender{ID: "on", User: "anna"}})
		n.expect(time.Minute, 5, map[epu.PoolID]int{"web": 2, "kept": 3})
	})
}

// Goal: what breaks in one pool stays in it. Method: panics in an engine, an engine that never answers,
// and panics in a core, while another pool is watched.
func TestTreeBulkheads(t *testing.T) {
	inNode(t, func(n *node) {
		n.apply(treePool("web", 2), treePool("stuck", 2))
		both := map[epu.PoolID]int{"web": 2, "stuck": 2}
		n.expect(time.Minute, 4, both)

		n.clouds.panics.Store(3)
		time.Sleep(7 * time.Second)
		if v := n.pool("stuck"); v.Failure == "" || v.Wish.Target != 2 {
			t.Errorf("got failure %q and target %d, want the panic to be told and the wish to stand", v.Failure, v.Wish.Target)
		}
		n.expect(time.Minute, 4, both)
		if v := n.pool("stuck"); v.Failure != "" {
			t.Errorf("still failing: %s", v.Failure)
		}

		n.clouds.stuck.Store(true)
		passed := n.clouds.passed.Load()
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.expect(time.Minute, 4, both) // healing repeats the last wish without asking
		if got := n.clouds.passed.Load() - passed; got < 12 {
			t.Errorf("the other pool was asked %d times in a minute, want every five seconds", got)
		}
		n.clouds.stuck.Store(false)

		restarts := n.Restarts.Load()
		for range 3 { // a command that no gateway sends
			n.Actors.Root.Send(n.Actors.NewLocalPID(string(msg.ControllerAddress(epu.DefaultOwner, "stuck"))),
				msg.Command{Sender: msg.Sender{ID: "poison"}, Body: (*msg.Reconfigure)(nil)})
			time.Sleep(20 * time.Second)
		}
		if got := n.Restarts.Load() - restarts; got != 3 {
			t.Errorf("%d restarts, want one for each panic", got)
		}
		n.expect(time.Minute, 4, both)
	})
}

// Goal: workers with agents, on real actors: check in, silence, drain. Method: a goroutine for each agent.
func TestTreeAgents(t *testing.T) {
	inNode(t, func(n *node) {
		p := treePool("web", 4)
		p.Health = campaignPool().Health
		n.apply(p)
		agents := newAgents(n, "web")
		n.expect(2*time.Minute, 4, map[epu.PoolID]int{"web": 4})
		for _, w := range n.pool("web").Workers {
			if w.Health != epu.HealthOK {
				t.Errorf("%s is %v", w.ID, w.Health)
			}
		}
		agents.mute(n.alive()[0])
		n.expect(5*time.Minute, 4, map[epu.PoolID]int{"web": 4})
		n.command("web", &msg.Scale{Pool: "web", N: 1})
		n.expect(30*time.Second, 1, map[epu.PoolID]int{"web": 1})
		if agents.drained.Load() != 3 {
			t.Errorf("%d agents drained before their end, want 3", agents.drained.Load())
		}
		agents.stop()
	})
}

// agents runs an agent for every running machine of a pool.
type agents struct {
	n       *node
	pool    epu.PoolID
	cancel  context.CancelFunc
	muted   sync.Map
	drained atomic.Int64
}

func newAgents(n *node, pool epu.PoolID) *agents {
	ctx, cancel := context.WithCancel(context.Background())
	a := &agents{n: n, pool: pool, cancel: cancel}
	go func() {
		started := map[epu.InstanceID]bool{}
		for ctx.Err() == nil {
			for _, m := range n.clouds.at("cloud").Machines() {
				if m.State == iaas.InstanceRunning && !started[m.ID] {
					started[m.ID] = true
					go a.run(ctx, m)
				}
			}
			time.Sleep(time.Second)
		}
	}()
	return a
}

func (a *agents) mute(id epu.InstanceID) { a.muted.Store(id, true) }

func (a *agents) stop() {
	a.cancel()
	time.Sleep(time.Minute)
}

func (a *agents) run(ctx context.Context, m sim.Truth) {
	var worker epu.WorkerID
	for draining := false; ctx.Err() == nil; time.Sleep(5 * time.Second) {
		if _, muted := a.muted.Load(m.ID); muted {
			return
		}
		if worker == "" {
			answer, err := a.n.Ask(ctx, msg.ControllerAddress(epu.DefaultOwner, a.pool),
				msg.CheckInWorker{Launch: epu.LaunchID(m.Tags[iaas.TagLaunch]), Instance: m.ID})
			if in, ok := answer.(msg.WorkerCheckedIn); err == nil && ok {
				worker = in.Worker
			}
			continue
		}
		b := msg.Beat{Worker: worker, Instance: m.ID, State: "OK", Draining: draining, Drained: draining}
		answer, err := a.n.Ask(ctx, msg.WorkerAddress(epu.DefaultOwner, a.pool, worker),
			msg.BeatReceived{Worker: worker, At: time.Now(), Beat: b})
		orders, ok := answer.(msg.AgentOrders)
		if err != nil || !ok || orders.Gone {
			return
		}
		for _, o := range orders.Commands {
			if o.Kind == "drain" && !draining {
				draining = true
				a.drained.Add(1)
			}
		}
	}
}
