package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// hostile are policies that behave for their first two decisions, and what is said of them afterwards.
var hostile = map[epu.PoolID]struct{ code, says string }{
	"loop":      {`while true do end`, "loop.lua:6: "},
	"recursion": {`local function f() return 1 + f() end f()`, "recursion.lua:6: "},
	"hoarder":   {`local a = {} while true do local t = {} t[65000] = 1 a[#a + 1] = t end`, "hoarder.lua:6: "},
	"text":      {`local s = "x" while true do s = s .. s end`, "text.lua:6: "},
	"pattern":   {`text.match(("a"):rep(60000), ("a*"):rep(30) .. "b")`, "pattern.lua:6: "},
	"nonsense":  {`control.scale_to("many")`, "nonsense.lua:6: "},
	"nan":       {`control.scale_to(0 / 0)`, "nan.lua:6: "},
	"names":     {`for i = 1, 1e6 do control.want("u" .. i) end`, "names.lua:6: "},
	"table":     {`error({})`, "table.lua:6: "},
	"million":   {`control.scale_to(1e6)`, "million.lua:6: control.scale_to wants a number from 0 to 100000, got 1e+06"},
	"places":    {`for i = 1, 100 do control.place("s" .. i, 1e4) end`, "places.lua:6: "},
	"ender": {
		`control.scale_to(0) for w in state.workers() do control.terminate(w.id) end`,
		"ender.lua:6: control.terminate was asked to end 3 of 3 workers in service at once, more than half, but limits.terminations (ender.yaml:9) allows 1 in 10m: ",
	},
	"emptier": {
		`control.scale_to(3) local all = {} for w in state.workers() do all[#all + 1] = w end control.terminate(all)`, "emptier.lua:6: control.terminate was asked to end 3 of 3 ",
	},
}

// greedy are policies that ask for much in good form: the guard rails are there for them.
var greedy = map[epu.PoolID]string{
	"many":   `control.scale_to(1e5)`,
	"picker": `control.scale_to(3) for w in state.workers{ stage = "running" } do return control.terminate(w.id) and nil end`,
}

// behaves makes a policy that wants three workers twice, and then does something else.
func behaves(code string) string {
	return "return {\ndecide = function(control, state)\nlocal m = state.memory\nm.n = (m.n or 0) + 1\nif m.n <= 2 then return control.scale_to(3) end\n" + code + "\nend }"
}

// neighbourhood is a node of real actors and engines over a simulated cloud.
type neighbourhood struct {
	cloud *sim.Cloud
	shelf *engine.Shelf
	now   func() time.Time
	wall  func() time.Time      // for the deadlines of hostile pools: they burn time that is real in a bubble too
	spend func(pool epu.PoolID) // what an evaluation of a hostile pool takes on top

	mu    sync.Mutex                 // guards ticks: evaluations run in goroutines
	ticks map[epu.PoolID][]time.Time // when evaluations began
}

func newNeighbourhood(now func() time.Time) *neighbourhood {
	files := fstest.MapFS{}
	for pool, h := range hostile {
		files[string(pool)+".lua"] = &fstest.MapFile{Data: []byte(behaves(h.code))}
	}
	for pool, code := range greedy {
		files[string(pool)+".lua"] = &fstest.MapFile{Data: []byte(behaves(code))}
	}
	return &neighbourhood{
		cloud: sim.New(1, now, sim.Options{Boot: sim.Range{Min: 100 * time.Millisecond, Max: time.Second}}),
		shelf: engine.NewShelf(engine.ShelfOptions{Library: policies.NewLibrary(files, scripts.Policies()), Now: now}),
		now:   now, wall: now, spend: func(epu.PoolID) {}, ticks: map[epu.PoolID][]time.Time{},
	}
}

// Site implements actors.Executors.
func (n *neighbourhood) Site(epu.SiteSpec) (actors.Executor, error) {
	return func(ctx context.Context, call any) (any, error) { return actortest.Provide(ctx, n.cloud, call) }, nil
}

// Controller implements actors.Executors.
func (n *neighbourhood) Controller(_ epu.Owner, pool epu.PoolID) actors.Executor {
	now := n.now
	if _, bad := hostile[pool]; bad {
		now = n.wall
	}
	e := engine.New(engine.Options{
		Pool: pool, Shelf: n.shelf, Now: now, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	return func(ctx context.Context, call any) (any, error) {
		if _, ok := call.(actors.DecideCall); ok {
			n.mu.Lock()
			n.ticks[pool] = append(n.ticks[pool], time.Now())
			n.mu.Unlock()
			defer n.spend(pool)
		}
		return e.Do(ctx, call)
	}
}

// start starts the node with a pool for every hostile and greedy policy, and a number of good ones.
func (n *neighbourhood) start(t testing.TB, tick time.Duration, good int) *actors.Tree {
	t.Helper()
	var ids atomic.Uint64
	journal := memory.New(persistence.Meta{Installation: "test", Epoch: 1, Created: time.Unix(0, 0)})
	tree, err := actors.Start(actors.NewSystem(actors.WallClock{}, journal, memory.NewHistory(0), slog.New(slog.DiscardHandler),
		func() string { return fmt.Sprintf("%08d", ids.Add(1)) }), n)
	if err != nil {
		t.Fatal(err)
	}
	apply := msg.ApplySpecs{Sender: msg.Sender{ID: "apply", User: "anna"}, Sites: []epu.SiteSpec{{
		Name: "cloud", Driver: epu.DriverSim, CallTimeout: 20 * time.Second, LaunchesMax: 10, PollEvery: 500 * time.Millisecond,
		BackoffFirst: time.Second, BackoffCap: time.Minute,
	}}}
	pool := func(name epu.PoolID, policy epu.PolicySpec) {
		apply.Pools = append(apply.Pools, msg.PoolEntry{
			Spec: epu.PoolSpec{
				Name: name, Owner: epu.DefaultOwner, DeployableType: "worker", Tick: tick, Policy: policy,
				Placement: []epu.Placement{{Site: "cloud"}}, Health: epu.HealthSpec{Source: epu.HealthProcess},
				Origins: map[string]string{"limits.terminations": string(name) + ".yaml:9"},
				Limits: epu.Limits{
					Max: 5, Launches: epu.Count{N: 100, Window: 10 * time.Minute}, InFlight: 50,
					Terminations: epu.Count{N: 1, Window: 10 * time.Minute}, FailuresInRow: 5, FailureBackoff: time.Minute,
				},
			},
			Launches: map[epu.SiteID]epu.LaunchSpec{"cloud": {Site: "cloud", Type: "worker", Image: "img"}},
		})
	}
	for name := range hostile {
		pool(name, epu.PolicySpec{Name: string(name)})
	}
	for name := range greedy {
		pool(name, epu.PolicySpec{Name: string(name)})
	}
	for i := range good {
		pool(goodPool(i), epu.PolicySpec{Name: "npreserving", Conf: map[string]any{"preserve_n": 2}})
	}
	if _, err := tree.Ask(context.Background(), actors.RegistryAddress, apply); err != nil {
		t.Fatal(err)
	}
	return tree
}

func goodPool(i int) epu.PoolID { return epu.PoolID(fmt.Sprint("good-", i)) }

// late is the longest gap between two evaluations of good pools.
func (n *neighbourhood) late(good int) (most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range good {
		times := n.ticks[goodPool(i)]
		for j := 1; j < len(times); j++ {
			most = max(most, times[j].Sub(times[j-1]))
		}
	}
	return most
}

// judge looks at every pool: hostile ones are named and keep their workers, and good ones notice nothing.
func (n *neighbourhood) judge(t *testing.T, tree *actors.Tree, good int) {
	t.Helper()
	view := func(pool epu.PoolID) msg.PoolView {
		v, err := tree.Ask(context.Background(), msg.ControllerAddress(epu.DefaultOwner, pool), msg.PoolQuery{})
		if err != nil {
			t.Fatalf("%s: %v", pool, err)
		}
		return v.(msg.PoolView)
	}
	running := func(v msg.PoolView) (count int) {
		for _, w := range v.Workers {
			if w.Open() && w.State == epu.Running {
				count++
			}
		}
		return count
	}
	for pool, h := range hostile {
		if v := view(pool); !strings.Contains(v.Failure, h.says) || v.Wish.Target != 3 || running(v) != 3 {
			t.Errorf("%s: %d run, %d are wanted, and it says %.200q; want 3, 3 and %q", pool, running(v), v.Wish.Target, v.Failure, h.says)
		}
	}
	if v := view("many"); v.Failure != "" || v.Wish.Target != 5 || running(v) != 5 || !rule(v.Last.Clamps, "limits.max") {
		t.Errorf("many: %d run, %d are wanted, clamped by %v, failure %q; want limits.max", running(v), v.Wish.Target, v.Last.Clamps, v.Failure)
	}
	if v := view("picker"); v.Failure != "" || v.Wish.Target != 3 || running(v) != 3 || !rule(v.Refused, "limits.terminations") {
		t.Errorf("picker: %d run, %d are wanted, refused: %v, failure %q; want limits.terminations", running(v), v.Wish.Target, v.Refused, v.Failure)
	}
	for i := range good {
		if v := view(goodPool(i)); v.Failure != "" || running(v) != 2 {
			t.Errorf("%s: %d run, failure %q", goodPool(i), running(v), v.Failure)
		}
		if ticks := len(n.ticks[goodPool(i)]); ticks < 17 {
			t.Errorf("%s was asked %d times in 90 seconds, every 5 seconds are 18", goodPool(i), ticks)
		}
	}
}

// Goal: policies that loop, recurse, hoard, speak nonsense or want everything to live or to die harm their own
// pools at most: those keep their last wish and their workers and say with file and line what is wrong, the
// node's memory stays bounded, and no other pool's tick is more than one period late. Method: a node of real
// actors and engines in a bubble; each evaluation of a hostile pool also takes some virtual time.
func TestHostileNeighbours(t *testing.T) {
	const tick, good = 5 * time.Second, 5
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	wall, stop := wallClock()
	defer stop()
	synctest.Test(t, func(t *testing.T) {
		n := newNeighbourhood(time.Now)
		n.wall = wall
		n.spend = func(pool epu.PoolID) {
			if !strings.HasPrefix(string(pool), "good") {
				time.Sleep(4 * tick / 5) // far beyond the deadline of a policy, and just within that of its call
			}
		}
		tree := n.start(t, tick, good)
		time.Sleep(time.Minute)
		for _, m := range n.cloud.Living() { // one of each pool, so that there is something to heal
			if m.Slot == 0 {
				n.cloud.Kill(m.ID)
			}
		}
		time.Sleep(30 * time.Second)
		n.judge(t, tree, good)
		if most := n.late(good); most > 2*tick {
			t.Errorf("a tick of a good pool came after %v, want at most %v", most, 2*tick)
		}
		tree.Stop()
		time.Sleep(time.Minute)
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d MiB are still held", grown>>20)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 1<<30 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// wallClock is real time for use in a bubble, where time.Now is not: somebody outside looks at it.
func wallClock() (now func() time.Time, stop func()) {
	var nanos atomic.Int64
	nanos.Store(time.Now().UnixNano())
	ticker, done := time.NewTicker(time.Millisecond), make(chan struct{})
	go func() {
		for {
			select {
			case at := <-ticker.C:
				nanos.Store(at.UnixNano())
			case <-done:
				return
			}
		}
	}()
	return func() time.Time { return time.Unix(0, nanos.Load()) }, func() { ticker.Stop(); close(done) }
}

func rule(reasons []epu.Reason, name string) bool {
	return slices.ContainsFunc(reasons, func(r epu.Reason) bool { return r.Rule == name })
}

// BenchmarkBudgetNeighbours measures how late good pools tick beside hostile ones in real time: the longest time
// between two ticks in periods, of which one is on time. The budget is at most one period late.
func BenchmarkBudgetNeighbours(b *testing.B) {
	const tick, good = time.Second, 20
	n := newNeighbourhood(time.Now)
	tree := n.start(b, tick, good)
	for b.Loop() {
		time.Sleep(3 * tick)
	}
	tree.Stop()
	b.ReportMetric(n.late(good).Seconds()/tick.Seconds(), "ratio")
	b.ReportMetric(2, "budget-most")
	b.ReportMetric(0, "ns/op")
}
