//go:build system

package e2e_test

import (
	"fmt"
	"os"
	"testing"
)

// crashSample is about how many moments are tried when not all are: an end-to-end run takes seconds.
const crashSample = 30

// Goal: a daemon that is killed at any durable step of launching and terminating, and started again,
// loses no machine, doubles none and leaves none. Method: a first run counts the appends of a pool's
// life (2 workers, 3, 1, terminate-all); then each run kills epud with SIGKILL before or after one of
// them, starts it again as a service manager would, and goes on as if nothing had happened. After each
// step the journal is held against the machine. Only real processes show that what the daemon had begun
// outside of itself fits what its journal says.
func TestSystemCrashPoints(t *testing.T) {
	life := func(*story) []step {
		return []step{
			{workers: 2, machines: 2},
			{command: order("scale", pool, "3"), workers: 3, machines: 3},
			{command: order("scale", pool, "1"), workers: 1, machines: 3},
		}
	}
	whole := &story{node: newNode(t), plot: life}
	whole.tell()
	appends := len(whole.appends())
	if t.Failed() || appends < crashSample/2 {
		t.Fatalf("got %d appends in an undisturbed run, want at least %d", appends, crashSample/2)
	}
	t.Logf("an undisturbed run has %d appends", appends)
	moments := 2 * appends
	step := 1
	if os.Getenv("EPU_CAMPAIGN") == "" {
		step = moments/crashSample | 1 // odd, so that both sides of appends are among them
	}
	for m := 0; m < moments; m += step {
		at := fmt.Sprintf("%s:%d", [...]string{"before", "after"}[m%2], m/2+1)
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := &story{node: newNode(t), at: at, plot: life}
			s.tell()
		})
	}
}
