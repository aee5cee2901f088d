package actors_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/policies"
)

// busyFleet is a pool of three workers that are all busy, two of them surplus.
func busyFleet(t *testing.T, lease time.Duration) *actortest.Fleet {
	t.Helper()
	f := calmFleet(t, 3, func(p *epu.PoolSpec) { p.Drain.ProtectBusy = true })
	for _, w := range f.Workers() {
		f.Busy(w.Instance, lease)
	}
	f.Run(30 * time.Second)
	f.Scale(1)
	f.Run(time.Minute)
	return f
}

// Goal: a node's restart ends no worker that is at work. Method: surplus workers hold leases while the node
// is killed; the leases are only known again with each worker's first beat.
func TestRestartKeepsBusy(t *testing.T) {
	f := busyFleet(t, 30*time.Minute)
	before := f.Workers()
	for range 3 {
		f.Crash()
		f.Run(3 * time.Minute)
	}
	for _, w := range before {
		if now := worker(f, w.ID); now == nil || now.Ended || now.Draining {
			t.Errorf("%s was busy and got ended: %q", w.ID, endReason(f, w.ID))
		}
	}
	f.Run(40 * time.Minute) // the leases are over
	settled(t, f, 1, 0)
}

// Goal: a worker that is not heard again after a restart is not kept for ever. Method: two of three fall
// silent with the restart.
func TestRestartSilentGo(t *testing.T) {
	f := busyFleet(t, time.Hour)
	f.Crash()
	for _, w := range f.Workers()[:2] {
		f.Mute(w.Instance)
	}
	f.Run(2 * time.Hour)
	settled(t, f, 1, 0)
}

// Goal: a worker that a policy ends before it was heard after a restart is drained, as a busy one is.
// Method: the policy's first decision after the restart, before any beat, ends one.
func TestRestartDrainsWhatAPolicyEnds(t *testing.T) {
	f := busyFleet(t, 30*time.Minute)
	victim := f.Workers()[0].ID
	f.Deaf = true
	f.Crash()
	asked := false
	f.Policy = func(_ *policies.Snapshot, d *epu.Decision) {
		d.Wanted.Target = 3
		if !asked {
			asked = true
			d.Actions = []epu.Action{{Kind: epu.ActTerminate, Workers: []epu.WorkerID{victim}, Reason: "too hot"}}
		}
	}
	f.Run(20 * time.Second)
	if w := worker(f, victim); !asked || w == nil || w.Ended || !w.Draining {
		t.Errorf("asked %v, got %+v, want it drained", asked, w)
	}
}
