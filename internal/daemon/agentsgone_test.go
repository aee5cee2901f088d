package daemon

import (
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/cluster/identity"
)

// Goal: no agent is turned away whose worker's end may still wait: between a start of the node and that of a
// worker's actor the controller's list decides. Method: agents of workers in each state, with and without
// a decided end.
func TestOnlyWhoIsGoneIsTurnedAway(t *testing.T) {
	const launch, worker = epu.LaunchID("epu-web-1-1"), epu.WorkerID("epu-web-1-1/0")
	for _, c := range []struct {
		name            string
		worker          *epu.Worker
		beats, checksIn bool // may live
	}{
		{"works", &epu.Worker{State: epu.Running}, true, true},
		{"boots", &epu.Worker{State: epu.Pending}, true, true},
		{"is to end, now or after its hook", &epu.Worker{State: epu.Terminating, Ended: true}, true, false},
		{"is gone", &epu.Worker{State: epu.Terminated, Ended: true}, false, false},
	} {
		c.worker.ID, c.worker.Launch = worker, launch
		list := []*epu.Worker{c.worker}
		if got := mayLive(list, identity.Claims{Launch: launch, Worker: worker}); got != c.beats {
			t.Errorf("a worker that %s: got %v for its beat, want %v", c.name, got, c.beats)
		}
		if got := mayLive(list, identity.Claims{Launch: launch}); got != c.checksIn {
			t.Errorf("a worker that %s: got %v for a check-in of its launch, want %v", c.name, got, c.checksIn)
		}
		if mayLive(list, identity.Claims{Launch: launch, Worker: "epu-web-1-1/1"}) {
			t.Errorf("a worker that %s stands for another one", c.name)
		}
	}
}
