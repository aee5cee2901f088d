package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/oklog/ulid/v2"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// Many pools on one node: real controllers on the real host, an engine and a Lua state for each, sensors,
// worker actors that get heartbeats, the embedded store for journal and history. Only the cloud is made up:
// it lists the machines that the store knows.
const (
	manyPools    = 10_000
	manyWorkers  = 10  // of each pool
	poolsPerSite = 100 // one account of a cloud
	manyTick     = 5 * time.Second
	manyBeat     = 10 * time.Second // between beats of one worker
	manyReading  = 15 * time.Second // between readings of one sensor
	manyRounds   = 7
)

// manyNode is that node.
type manyNode struct {
	tree    *actors.Tree
	shelf   *engine.Shelf
	journal *badger.Journal
	history *badger.History

	decisions atomic.Int64
	snapshot  atomic.Pointer[actors.DecideCall]
	mu        sync.Mutex // guards all below
	asked     map[epu.PoolID]time.Time
	late      []time.Duration
}

func manySpec(pool int) epu.PoolSpec {
	s := benchSpec()
	s.Name, s.Tick, s.Limits.Max = manyName(pool), manyTick, 100
	s.Health.Heartbeat, s.Health.MissingAfter, s.Health.BootGrace, s.Health.SecondChance = manyBeat, 2*time.Minute, 5*time.Minute, 15*time.Second
	s.Placement = []epu.Placement{{Site: manySite(pool)}}
	s.Policy = epu.PolicySpec{Name: "queuelen", Conf: map[string]any{"queuelen_high_water": 100, "queuelen_low_water": 10, "max_instances": 50}}
	s.Sensors = map[string]epu.SensorSpec{"queue-length": {Source: epu.SourcePush, Every: manyReading, StaleAfter: time.Minute, Keep: 5 * time.Minute}}
	return s
}

func manyName(pool int) epu.PoolID { return epu.PoolID(fmt.Sprintf("epu-pool-%05d", pool)) }
func manySite(pool int) epu.SiteID {
	return epu.SiteID(fmt.Sprintf("cloud-%02d", pool/poolsPerSite))
}
func manyLaunch(pool int) epu.LaunchID { return epu.NewLaunchID(manyName(pool), 1, 1) }
func manyInstance(pool, i int) epu.InstanceID {
	return epu.InstanceID(fmt.Sprintf("i-%017x", pool*manyWorkers+i))
}

// fillMany makes the store of a node that was stopped in the middle of its work.
func fillMany(b *testing.B, j *badger.Journal, now time.Time) {
	pools, sites := object{}, object{}
	var work []func() error
	put := func(id epu.StreamID, state any) {
		work = append(work, func() error {
			raw, err := json.Marshal(state)
			if err == nil {
				_, err = j.Append(context.Background(), j.Meta().Epoch, id, 0, persistence.Event{Type: "activated", V: 1, ID: "a", Data: json.RawMessage(`{}`)})
			}
			if err == nil {
				err = j.Snapshot(context.Background(), j.Meta().Epoch, id, 1, raw)
			}
			return err
		})
	}
	launches := map[epu.SiteID]object{}
	for p := range manyPools {
		spec, site := manySpec(p), manySite(p)
		var ours, theirs []object
		for i := range manyWorkers {
			slot := object{"State": epu.Running, "Instance": manyInstance(p, i), "Zone": "us-east-1a", "Address": "10.0.0.1"}
			theirs = append(theirs, slot)
			ours = append(ours, object{"State": epu.Running, "Instance": slot["Instance"], "Zone": "us-east-1a", "Address": "10.0.0.1", "since": now.UnixMilli(), "in": true})
		}
		if launches[site] == nil {
			launches[site] = object{}
			sites[string(site)] = epu.SiteSpec{Name: site, Driver: epu.DriverEC2, PollEvery: 30 * time.Second, CallTimeout: 30 * time.Second}
			put(epu.SiteStream(site), object{"rev": 1, "epoch": 1, "launches": launches[site], "floors": object{}})
		}
		launches[site][string(manyLaunch(p))] = object{"owner": "default", "pool": spec.Name, "closed": true, "rev": 3, "noted": 3, "slots": theirs}
		pools[string(spec.Name)] = object{"spec": spec, "gen": 1, "conf_gen": 1}
		put(epu.PoolStream(epu.DefaultOwner, spec.Name), object{
			"epoch": 1, "rev": 1, "define": msg.Define{Gen: 1, ConfGen: 1, Spec: spec}, "conf": spec.Policy.Conf, "wish": epu.Wish{Target: manyWorkers},
			"decision": "d", "seq": 1, "launches": object{
				string(manyLaunch(p)): object{"site": site, "opened": now, "rev": 3, "closed": true, "slots": ours},
			},
		})
	}
	put(actors.RegistryStream, object{"gen": 1, "pools": pools, "sites": sites, "types": object{}, "site_gen": 1})
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 { // writers share transactions
		wg.Go(func() {
			for n := next.Add(1); n <= int64(len(work)); n = next.Add(1) {
				if err := work[n-1](); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Site lists the machines of the pools of a site.
func (n *manyNode) Site(spec epu.SiteSpec) (actors.Executor, error) {
	meta := n.journal.Meta()
	var machines []iaas.Instance
	for p := range manyPools {
		if manySite(p) != spec.Name {
			continue
		}
		tags := map[string]string{
			iaas.TagInstallation: string(meta.Installation), iaas.TagEpoch: fmt.Sprint(meta.Epoch), iaas.TagSite: string(spec.Name),
			iaas.TagOwner: "default", iaas.TagKeeper: "pool/default/" + string(manyName(p)), iaas.TagLaunch: string(manyLaunch(p)),
		}
		for i := range manyWorkers {
			machines = append(machines, iaas.Instance{
				ID: manyInstance(p, i), State: iaas.InstanceRunning, Zone: "us-east-1a", Address: "10.0.0.1", Launched: benchNow, Tags: tags,
			})
		}
	}
	return func(_ context.Context, call any) (any, error) {
		switch call.(type) {
		case actors.ListCall:
			return slices.Clone(machines), nil
		case actors.OffersCall:
			return []epu.Offer{}, nil
		}
		return nil, epu.E(epu.Internal, "carry out", fmt.Sprintf("%T", call), errors.New("nothing is to be launched or ended"))
	}, nil
}

// Controller gives each pool its engine and notes when it is asked.
func (n *manyNode) Controller(_ epu.Owner, pool epu.PoolID) actors.Executor {
	e := engine.New(engine.Options{
		Pool: pool, Shelf: n.shelf, Now: time.Now, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	return func(ctx context.Context, call any) (any, error) {
		if c, ok := call.(actors.DecideCall); ok {
			n.asks(pool, &c)
			defer n.decisions.Add(1)
		}
		return e.Do(ctx, call)
	}
}

func (n *manyNode) asks(pool epu.PoolID, c *actors.DecideCall) {
	now := time.Now()
	n.snapshot.Store(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := n.asked[pool]; !last.IsZero() {
		n.late = append(n.late, now.Sub(last)-manyTick)
	}
	n.asked[pool] = now
}

// startMany starts the node and waits until every pool has decided twice.
func startMany(b *testing.B) *manyNode {
	dir := b.TempDir()
	j := openStore(b, filepath.Join(dir, "journal"))
	fillMany(b, j, time.Now().Add(-time.Hour))
	h, err := badger.OpenHistory(filepath.Join(dir, "history"), badger.HistoryOptions{Options: badger.Options{Now: time.Now}})
	if err != nil {
		b.Fatal(err)
	}
	n := &manyNode{journal: j, history: h, asked: map[epu.PoolID]time.Time{}}
	n.shelf = engine.NewShelf(engine.ShelfOptions{Library: policies.NewLibrary(scripts.Policies()).Timed(time.Now), BuiltIn: scripts.Policies(), Now: time.Now})
	sys := actors.NewSystem(actors.WallClock{}, j, h, slog.New(slog.DiscardHandler), func() string { return ulid.Make().String() })
	if n.tree, err = actors.Start(sys, n); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		n.tree.Stop()
		if err := errors.Join(h.Close(), j.Close()); err != nil {
			b.Error(err)
		}
	})
	return n
}

// feed sends beats and readings as agents do, spread evenly, until the context ends.
func (n *manyNode) feed(ctx context.Context) {
	const step = 20 * time.Millisecond
	var beats, readings float64
	beat, reading := 0, 0
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	send := func(to msg.Address, m any) {
		n.tree.Actors.Root.Send(actor.NewPID(n.tree.Actors.Address(), string(to)), m)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for beats += manyPools * manyWorkers * step.Seconds() / manyBeat.Seconds(); beats >= 1; beats-- {
				p := beat / manyWorkers % manyPools
				send(msg.WorkerAddress(epu.DefaultOwner, manyName(p), epu.NewWorkerID(manyLaunch(p), beat%manyWorkers)), msg.BeatReceived{At: now, Beat: msg.Beat{State: "OK"}})
				beat++
			}
			for readings += manyPools * step.Seconds() / manyReading.Seconds(); readings >= 1; readings-- {
				value := &msg.SensorValue{Sensor: "queue-length", Value: new(float64(20 + reading%70)), Source: "bench"}
				pool := manyName(reading % manyPools)
				send(msg.ControllerAddress(epu.DefaultOwner, pool), &msg.SensorPush{Pool: string(pool), Values: []*msg.SensorValue{value}})
				reading++
			}
		}
	}
}

// rusageThread is Linux's RUSAGE_THREAD, which package syscall lacks.
const rusageThread = 1

// cpuTime is the processor time of the process or the thread.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBudgetPools measures a node with 10 000 pools of 10 workers that all tick every 5 s, in the steady
// state: queues grow and shrink between the marks, so nothing is launched. The policy keeps the time of each
// look for its stabilisation, which is a durable commit of each decision. Each round is one tick of all pools.
// The processor's time includes the heartbeats and readings and their sender.
//
//	cpu       of two cores at one tick of all pools in 5 s; the budget leaves half of them free
//	late      how late the latest hundredth of the ticks is, in ticks; the budget is one
//	decision  the node's whole time for a decision against the bare evaluation; there is no budget
//	memory    of a pool with its workers against 96 KiB and 2 KiB for each worker
func BenchmarkBudgetPools(b *testing.B) {
	before := heapBytes()
	n := startMany(b)
	ctx, cancel := context.WithCancel(context.Background())
	var fed sync.WaitGroup
	fed.Go(func() { n.feed(ctx) })
	defer fed.Wait()
	defer cancel()
	period := time.NewTicker(manyTick)
	defer period.Stop()
	for n.decisions.Load() < 3*manyPools {
		<-period.C
	}
	n.mu.Lock()
	n.late = nil
	n.mu.Unlock()
	var each []float64
	for range manyRounds {
		cpu, count := cpuTime(syscall.RUSAGE_SELF), n.decisions.Load()
		<-period.C
		each = append(each, float64(cpuTime(syscall.RUSAGE_SELF)-cpu)/float64(n.decisions.Load()-count))
	}
	n.mu.Lock()
	late := n.late
	n.mu.Unlock()
	slices.Sort(late)
	worst := late[len(late)*99/100]
	cost, bare, memory := middle(each), n.bare(b), (heapBytes()-before)/manyPools
	report := func(name string, ratio, most float64, unit string, value float64) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() { // all is measured already
			}
			b.ReportMetric(ratio, "ratio")
			if most > 0 {
				b.ReportMetric(most, "budget-most")
			}
			b.ReportMetric(value, unit)
			b.ReportMetric(0, "ns/op")
		})
	}
	report("cpu", cost*manyPools/float64(manyTick)/2, 0.5, "ns-each", cost)
	report("late", float64(worst)/float64(manyTick), 1, "ns-each", float64(worst))
	report("decision", cost/bare, 0, "ns-each", bare)
	report("memory", memory/(96<<10+manyWorkers*2<<10), 1, "B-each", memory)
	runtime.KeepAlive(n)
}

// bare is what the evaluation alone takes, over and over in one state.
func (n *manyNode) bare(b *testing.B) float64 {
	c := n.snapshot.Load()
	p, err := n.shelf.Library(c.Policy)
	if err != nil {
		b.Fatal(err)
	}
	conf, problems := p.Check(c.Conf)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	e := policies.NewEngine(p, policies.Options{Now: time.Now})
	defer e.Close()
	runtime.LockOSThread() // so that its processor time is known, whatever else the machine does
	defer runtime.UnlockOSThread()
	const times = 1000
	var took []float64
	for range 2 * manyRounds {
		begin := cpuTime(rusageThread)
		for range times {
			if d := e.Decide(c.Snapshot, conf); d.Error != "" || d.Wanted.Target != manyWorkers {
				b.Fatalf("got %d, %s", d.Wanted.Target, d.Error)
			}
		}
		took = append(took, float64(cpuTime(rusageThread)-begin)/times)
	}
	return middle(took)
}
