package actors

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// host is a parent that does what it is told in its own turn.
type host struct{}

func (host) Receive(ctx actor.Context) {
	if do, ok := ctx.Message().(func(actor.Context)); ok {
		do(ctx)
	}
}

// benchSite is the site of a pool's workers, which all run.
func benchSite(c *Controller) *Site {
	s := NewSite(epu.SiteSpec{Name: "cloud"}, SiteIdentity{Epoch: 1}, c.started)
	for id, l := range c.st.Launches {
		seen := map[int]slotSeen{}
		for i, slot := range l.Slots {
			seen[i] = slotSeen{State: slot.State, Instance: slot.Instance, Zone: slot.Zone, Address: slot.Address}
		}
		s.Apply(launchAccepted{Launch: id, Owner: epu.DefaultOwner, Pool: "web", N: len(l.Slots), Request: iaas.LaunchRequest{Image: "img"}})
		s.Apply(slotsSeen{Launch: id, Slots: seen})
		s.Apply(launchClosed{Launch: id})
		s.Apply(launchNoted{Launch: id, Rev: s.st.Rev, PoolRev: 1})
	}
	return s
}

// restoredJSON is a core's state as a snapshot has it.
func restoredJSON(b *testing.B, c Core) []byte {
	raw, err := json.Marshal(c.State())
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// What an idle worker costs in memory after a restart of its node: its place in its pool's and its
// site's state, what its controller knows of its health and when it will ask, and its actor, a child
// of its controller, that has heard a beat and said so. The budget is 2 KiB.
func BenchmarkBudgetMemory(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n, "_workers"), func(b *testing.B) {
			clock := &benchClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			sys := benchSystem(clock)
			old, _, _ := benchController(n)
			site, pool := restoredJSON(b, benchSite(old)), restoredJSON(b, old)
			parent, err := sys.Actors.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return host{} }),
				string(msg.ControllerAddress(epu.DefaultOwner, "web")))
			if err != nil {
				b.Fatal(err)
			}
			old = nil
			before := heapBytes()
			c, d, s := benchRestored(b, clock.now, site, pool)
			cores := heapBytes()
			turn := make(chan struct{})
			sys.Actors.Root.Send(parent, func(ctx actor.Context) {
				w := newWorkers(&Tree{System: sys}, "web")
				w.follow(ctx, c)
				close(turn)
			})
			<-turn
			for id := range c.vitals {
				pid := sys.Actors.NewLocalPID(string(msg.WorkerAddress(epu.DefaultOwner, "web", id)))
				sys.Actors.Root.Send(pid, msg.BeatReceived{At: clock.now, Beat: msg.Beat{State: "OK"}})
				d.Receive(msg.WorkerFact{Worker: id, At: clock.now, Health: epu.HealthOK, Heard: true, Next: clock.now.Add(30 * time.Second)}, "")
			}
			clock.now = clock.now.Add(6 * time.Second) // past the time when those would be asked that said nothing
			d.Receive(Wake{}, "")
			each := (heapBytes() - before) / float64(n)
			b.ReportMetric(each, "B-each")
			b.ReportMetric((cores-before)/float64(n), "B-each-in-cores")
			b.ReportMetric(each/2048, "ratio")
			b.ReportMetric(1, "budget-most")
			b.ReportMetric(0, "ns/op")
			runtime.KeepAlive([]any{c, d, s, sys})
			sys.Actors.Shutdown()
		})
	}
}

// benchRestored makes the cores of a pool and its site from their snapshots.
func benchRestored(b *testing.B, now time.Time, site, pool []byte) (*Controller, *Durable, *Site) {
	s := NewSite(epu.SiteSpec{Name: "cloud"}, SiteIdentity{Epoch: 1}, now)
	if err := s.Restore(site); err != nil {
		b.Fatal(err)
	}
	c, d, h := benchController(0)
	h.now = now
	if err := c.Restore(pool); err != nil {
		b.Fatal(err)
	}
	c.Apply(Activated{})
	c.begin()
	return c, d, s
}

func heapBytes() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
