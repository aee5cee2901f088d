package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// restartPool is how many workers a pool of the restarted store has, and restartLaunch a launch.
const restartPool, restartLaunch = 10_000, 100

var benchNow = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)

// benchHost waits for its journal, so that each actor has a goroutine of its own, and does nothing else.
type benchHost struct{ journal persistence.Journal }

func (h benchHost) Now() time.Time { return benchNow }
func (h benchHost) NewID() string  { return "incarnation" }
func (h benchHost) Load(s epu.StreamID, done func(persistence.Loaded, error)) {
	done(h.journal.Load(context.Background(), s))
}

func (h benchHost) Append(s epu.StreamID, at epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	done(h.journal.Append(context.Background(), h.journal.Meta().Epoch, s, at, events...))
}
func (h benchHost) Snapshot(_ epu.StreamID, _ epu.Revision, _ json.RawMessage, done func(error)) {}
func (h benchHost) Send(msg.Address, any)                                                        {}
func (h benchHost) After(time.Duration, func())                                                  {}
func (h benchHost) Go(any, func(any, error))                                                     {}
func (h benchHost) Record(persistence.Record)                                                    {}
func (h benchHost) Unknown(actors.UnknownMessage)                                                {}
func (h benchHost) Fail(err error)                                                               { panic(err) }

// object is JSON as the streams of a store have it.
type object = map[string]any

func benchSpec() epu.PoolSpec {
	return epu.PoolSpec{
		Name: "web", Tick: 5 * time.Second, Placement: []epu.Placement{{Site: "cloud"}}, Limits: epu.Limits{Max: -1},
		Policy: epu.PolicySpec{Name: "npreserving", Conf: map[string]any{"preserve_n": 0}},
		Health: epu.HealthSpec{Source: epu.HealthAgent, Heartbeat: 10 * time.Second, MissingAfter: 2 * time.Minute},
	}
}

// fillStore makes the store of a node with n running workers, in pools with a site each.
func fillStore(b *testing.B, dir string, n int) {
	j := openStore(b, dir)
	put := func(id epu.StreamID, state any) {
		raw, err := json.Marshal(state)
		if err == nil {
			_, err = j.Append(context.Background(), 1, id, 0, persistence.Event{Type: "activated", V: 1, ID: "a", Data: json.RawMessage(`{}`)})
		}
		if err == nil {
			err = j.Snapshot(context.Background(), 1, id, 1, raw)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for first := 0; first < n; first += restartPool {
		pool, site := object{}, object{}
		for at := first; at < min(n, first+restartPool); at += restartLaunch {
			var ours, theirs []object
			for i := at; i < at+restartLaunch; i++ {
				slot := object{"State": epu.Running, "Instance": fmt.Sprintf("i-%017x", i), "Zone": "us-east-1a", "Address": "10.0.0.1"}
				theirs = append(theirs, slot)
				slot = object{"State": epu.Running, "Instance": slot["Instance"], "Zone": "us-east-1a", "Address": "10.0.0.1", "since": benchNow.UnixMilli(), "in": true}
				ours = append(ours, slot)
			}
			id := epu.NewLaunchID("web", 1, uint64(at/restartLaunch+1))
			pool[string(id)] = object{"site": "cloud", "opened": benchNow, "rev": 3, "closed": true, "slots": ours}
			site[string(id)] = object{"owner": "default", "pool": "web", "closed": true, "rev": 3, "noted": 3, "slots": theirs}
		}
		put(epu.StreamID(fmt.Sprintf("pool/default/web-%d", first)), object{
			"epoch": 1, "rev": 1, "define": msg.Define{Gen: 1, Spec: benchSpec()}, "wish": epu.Wish{Target: len(pool) * restartLaunch},
			"decision": "d", "seq": len(pool), "launches": pool,
		})
		put(epu.StreamID(fmt.Sprintf("site/cloud-%d", first)), object{"rev": 1, "epoch": 1, "launches": site, "floors": object{}})
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

func openStore(b *testing.B, dir string) *badger.Journal {
	j, err := badger.Open(dir, badger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// restart opens a store and activates all its actors; it gives the number of workers whose actors are to
// be started.
func restart(b *testing.B, dir string) int {
	j := openStore(b, dir)
	var wg sync.WaitGroup
	var mu sync.Mutex
	workers := 0
	for id, err := range j.Streams(context.Background(), "") {
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			self := actors.SiteIdentity{Installation: "bench", Epoch: 1}
			var c *actors.Controller
			var d *actors.Durable
			if id[0] == 's' {
				d = actors.NewDurable(actors.NewSite(epu.SiteSpec{Name: "cloud"}, self, benchNow), benchHost{j}, actors.SiteCodec(), id)
			} else {
				c = actors.NewController(epu.DefaultOwner, "web", self, benchNow)
				d = actors.NewDurable(c, benchHost{j}, actors.PoolCodec(), id)
			}
			if d.Start(); !d.Ready() {
				b.Errorf("%s is not ready", id)
			}
			mu.Lock()
			defer mu.Unlock()
			if c != nil {
				workers += len(c.Children())
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	return workers
}

// BenchmarkBudgetRestart measures the restart of a node's durable actors: the store is opened with every
// check, every stream loaded, replayed and activated, which is a durable commit for each actor. The
// baseline opens the store bare and reads every key and value. The budget is three times as long.
func BenchmarkBudgetRestart(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n, "_workers"), func(b *testing.B) {
			dir := b.TempDir()
			fillStore(b, dir, n)
			var ours, theirs []float64
			for b.Loop() {
				begin := time.Now()
				if got := restart(b, dir); got != n {
					b.Fatalf("got %d workers, want %d", got, n)
				}
				ours = append(ours, float64(time.Since(begin).Nanoseconds()))
				begin = time.Now()
				if records, _, err := badger.Scan(dir); err != nil || records == 0 {
					b.Fatalf("read %d records, error %v", records, err)
				}
				theirs = append(theirs, float64(time.Since(begin).Nanoseconds()))
			}
			b.ReportMetric(middle(ours)/float64(n), "ns-each")
			b.ReportMetric(middle(theirs)/float64(n), "bare-ns-each")
			b.ReportMetric(middle(ours)/middle(theirs), "ratio")
			b.ReportMetric(3, "budget-most")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkBudgetPool measures what a pool without workers costs in memory: its controller, shell and
// decision engine after a first tick. The budget is 96 KiB.
func BenchmarkBudgetPool(b *testing.B) {
	const n = 300
	p, err := policies.NewLibrary(scripts.Policies()).Load("npreserving")
	if err != nil {
		b.Fatal(err)
	}
	conf, problems := p.Check(benchSpec().Policy.Conf)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	path := filepath.Join(b.TempDir(), "store")
	j := openStore(b, path)
	defer j.Close()
	before := heapBytes()
	var keep []any
	for i := range n {
		c := actors.NewController(epu.DefaultOwner, "web", actors.SiteIdentity{Installation: "bench", Epoch: 1}, benchNow)
		d := actors.NewDurable(c, benchHost{j}, actors.PoolCodec(), epu.StreamID(fmt.Sprintf("pool/default/web-%d", i)))
		d.Start()
		d.Receive(msg.Define{Gen: 1, Spec: benchSpec()}, "")
		e := policies.NewEngine(p, policies.Options{Now: time.Now})
		if got := e.Decide(&policies.Snapshot{Now: benchNow, Pool: "web", Owner: epu.DefaultOwner, Decision: "01"}, conf); got.Error != "" {
			b.Fatal(got.Error)
		}
		keep = append(keep, c, d, e)
	}
	each := (heapBytes() - before) / n
	b.ReportMetric(each, "B-each")
	b.ReportMetric(each/(96<<10), "ratio")
	b.ReportMetric(1, "budget-most")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(keep)
}

func heapBytes() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
