package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// ratio runs both sides in turns and reports how many times the baseline's speed ours has: the median of
// ours over the median of the baseline. Each round does a number of things.
func ratio(b *testing.B, per int, least float64, ours, bare func()) {
	var mine, theirs []float64
	ours()
	bare()
	for b.Loop() {
		mine = append(mine, float64(per)/took(ours).Seconds())
		theirs = append(theirs, float64(per)/took(bare).Seconds())
	}
	slices.Sort(mine)
	slices.Sort(theirs)
	m, t := mine[len(mine)/2], theirs[len(theirs)/2]
	b.ReportMetric(1e9/m, "ns-each")
	b.ReportMetric(1e9/t, "bare-ns-each")
	b.ReportMetric(m/t, "ratio")
	b.ReportMetric(least, "budget-least")
	b.ReportMetric(0, "ns/op")
}

// sizes are the numbers of workers at which it is measured how things grow.
func sizes() []int { return []int{100, 1_000, 10_000, 100_000} }

func took(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// benchClock is a clock that stands still until it is moved.
type benchClock struct{ now time.Time }

func (c *benchClock) Now() time.Time { return c.now }

func (c *benchClock) AfterFunc(time.Duration, func()) func() bool { return func() bool { return true } }

func benchSystem(c Clock) *System {
	return NewSystem(c, memory.New(persistence.Meta{Installation: "bench", Epoch: 1}), memory.NewHistory(0),
		slog.New(slog.DiscardHandler), func() string { return "id" })
}

// counting tells when an actor has received a message.
type counting struct {
	actor.Actor
	done *sync.WaitGroup
}

func (c *counting) Receive(ctx actor.Context) {
	c.Actor.Receive(ctx)
	if _, ok := ctx.Message().(msg.BeatReceived); ok {
		c.done.Done()
	}
}

// bareActor is all that the library needs.
type bareActor struct{ beats int }

func (a *bareActor) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(msg.BeatReceived); ok {
		a.beats++
	}
}

func benchHealth() epu.HealthSpec {
	return epu.HealthSpec{
		Source: epu.HealthAgent, Heartbeat: 10 * time.Second, BootGrace: 5 * time.Minute, MissingAfter: 2 * time.Minute,
		SecondChance: 15 * time.Second, ZombieAfter: 2 * time.Minute, LaunchDeadline: 15 * time.Minute,
	}
}

// Heartbeats into worker actors, compared with as many bare actors that only count. The budget is 0.5.
func BenchmarkBudgetHeartbeats(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n, "_workers"), func(b *testing.B) {
			clock := &benchClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			sys := benchSystem(clock)
			var done sync.WaitGroup
			spawn := func(make func() actor.Actor, opts ...actor.PropsOption) []*actor.PID {
				pids := []*actor.PID{}
				props := actor.PropsFromProducer(func() actor.Actor { return &counting{make(), &done} }, opts...)
				for range n {
					pids = append(pids, sys.Actors.Root.Spawn(props))
				}
				return pids
			}
			ours := spawn(func() actor.Actor { return &workerActor{sys: sys} }, actor.WithMailbox(newInbox))
			bare := spawn(func() actor.Actor { return &bareActor{} })
			health := benchHealth()
			for _, pid := range ours {
				sys.Actors.Root.Send(pid, msg.WatchWorker{Running: true, Known: true, Spec: &health})
			}
			fan := func(pids []*actor.PID) func() {
				return func() {
					for range max(1, 200_000/n) {
						clock.now = clock.now.Add(10 * time.Second)
						done.Add(n)
						for _, pid := range pids {
							sys.Actors.Root.Send(pid, msg.BeatReceived{At: clock.now, Beat: msg.Beat{State: "OK"}})
						}
						done.Wait()
					}
				}
			}
			ratio(b, n*max(1, 200_000/n), 0.5, fan(ours), fan(bare))
			sys.Actors.Shutdown()
		})
	}
}

// benchHost commits at once and does nothing else by itself.
type benchHost struct {
	now     time.Time
	journal persistence.Journal
	done    func(any, error)
	call    any
	appends int
	ids     int
}

func (h *benchHost) Now() time.Time { return h.now }

func (h *benchHost) NewID() string {
	h.ids++
	return fmt.Sprint(h.ids)
}

func (h *benchHost) Load(s epu.StreamID, done func(persistence.Loaded, error)) {
	done(h.journal.Load(context.Background(), s))
}

func (h *benchHost) Append(_ epu.StreamID, at epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	h.appends++
	done(at+epu.Revision(len(events)), nil)
}

func (h *benchHost) Snapshot(_ epu.StreamID, _ epu.Revision, _ json.RawMessage, done func(error)) {
	done(nil)
}
func (h *benchHost) Send(msg.Address, any)              {}
func (h *benchHost) After(time.Duration, func())        {}
func (h *benchHost) Go(call any, done func(any, error)) { h.call, h.done = call, done }
func (h *benchHost) Record(persistence.Record)          {}
func (h *benchHost) Unknown(UnknownMessage)             {}
func (h *benchHost) Fail(err error)                     { panic(err) }

// benchController is a controller of n running workers on a host that stands still.
func benchController(n int) (*Controller, *Durable, *benchHost) {
	h := &benchHost{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), journal: memory.New(persistence.Meta{Epoch: 1})}
	c := NewController(epu.DefaultOwner, "web", SiteIdentity{Installation: "bench", Epoch: 1}, h.now)
	d := NewDurable(c, h, PoolCodec(), "pool/default/web")
	c.Apply(poolDefined{Define: msg.Define{Gen: 1, Spec: epu.PoolSpec{
		Name: "web", Tick: 5 * time.Second, Health: benchHealth(), Placement: []epu.Placement{{Site: "cloud"}},
		Limits: epu.Limits{Max: -1, Launches: epu.Count{N: 100, Window: 10 * time.Minute}},
	}}})
	c.Apply(wished{Decision: "d", Wish: epu.Wish{Target: n}})
	for first := 0; first < n; first += launchSlotsMax {
		size := min(launchSlotsMax, n-first)
		id := epu.NewLaunchID("web", 1, uint64(first/launchSlotsMax+1))
		c.Apply(launchOpened{Launch: id, Site: "cloud", N: size, Time: h.now})
		slots := map[int]msg.Slot{}
		for i := range size {
			slots[i] = msg.Slot{State: epu.Started, Instance: epu.InstanceID(fmt.Sprintf("i-%017x", first+i)), Zone: "zone-1a", Address: "10.0.0.1"}
		}
		c.Apply(launchReported{Launch: id, Rev: 1, Closed: true, Slots: slots, Time: h.now})
		for i := range size {
			c.Apply(workerCheckedIn{Worker: epu.NewWorkerID(id, i), Time: h.now})
		}
	}
	for id := range c.vitals { // they are heard
		c.vitals[id].fact = vitalFact{Health: epu.HealthOK, Heard: true}
	}
	c.st.Epoch = 1
	c.syncs["cloud"] = true
	d.Start()
	for _, v := range c.vitals { // and have answered what they were asked
		v.ask = time.Time{}
	}
	c.looks = nil
	return c, d, h
}

// A tick when nothing changed, with many workers and with ten: nothing is stored, and what it allocates
// does not grow with the workers. The budget of the ratio is 1, and a tenth for noise.
func BenchmarkBudgetQuietTick(b *testing.B) {
	few, _ := quietTicks(b, 10)
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n, "_workers"), func(b *testing.B) {
			bytes, took := quietTicks(b, n)
			b.ReportMetric(bytes/float64(n), "B-each")
			b.ReportMetric(float64(took.Nanoseconds()), "ns/tick")
			b.ReportMetric(bytes/few, "ratio")
			b.ReportMetric(1.1, "budget-most")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// quietTicks gives what a quiet tick of a pool of n workers allocates and takes.
func quietTicks(b *testing.B, n int) (bytes float64, took time.Duration) {
	_, d, h := benchController(n)
	tick := func() {
		h.now = h.now.Add(5 * time.Second)
		d.Receive(Wake{}, "")
		call := h.call.(DecideCall)
		h.done(epu.Decision{ID: call.Snapshot.Decision, Wanted: call.Snapshot.Wish}, nil)
	}
	for range 300 {
		tick()
	}
	stored := h.appends
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	const ticks = 1000
	for range ticks {
		tick()
	}
	took = time.Since(begin) / ticks
	runtime.ReadMemStats(&after)
	if h.appends != stored {
		b.Errorf("%d quiet ticks stored %d times", ticks, h.appends-stored)
	}
	return float64(after.TotalAlloc-before.TotalAlloc) / ticks, took
}

// A message among a thousand launches in flight, compared with the same among one.
func BenchmarkMessageInFlight(b *testing.B) {
	took := map[int]float64{}
	for _, n := range []int{1, 1000} {
		c, d, h := benchController(0)
		h.call = nil
		for i := range n {
			c.Apply(launchOpened{Launch: epu.NewLaunchID("web", 1, uint64(i+1)), Site: "cloud", N: 10, Time: h.now})
		}
		d.Receive(Wake{}, "")
		begin := time.Now()
		const messages = 500
		for range messages {
			d.Receive(msg.SyncQuery{}, "")
			d.Receive(msg.Synced{Epoch: 1, Site: "cloud"}, "")
		}
		took[n] = float64(time.Since(begin).Nanoseconds()) / messages
		b.ReportMetric(took[n], fmt.Sprintf("ns/message-%d", n))
	}
	b.ReportMetric(took[1000]/took[1], "ratio")
	b.ReportMetric(0, "ns/op")
}
