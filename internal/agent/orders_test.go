package agent

// Goal: show what drain, cancel and stop do to a program, and what the node hears of it.
// Method: the world of state_test.go.

import (
	"strings"
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient = nil, false
	w.command("c1", "drain")
	w.pass(8 * time.Second)
	w.exit(failure{Status: 143})
	w.pass(6 * time.Second)
	w.check(`
		  2.0s order drain
		  2.0s end kill=false
		  2.0s beat 2 OK ack=c1 draining
		  7.0s beat 3 OK draining
		 10.0s exit 143
		 10.0s beat 4 OK draining drained
		 15.0s beat 5 OK draining drained`)
	w.command("c2", "cancel-drain")
	w.pass(0)
	w.check(`
		 16.0s order cancel-drain
		 16.0s start
		 16.0s beat 6 OK ack=c2`)
}

// A program that was cancelled on its way out goes to its end in peace, and is then started again.
func TestCancelBeforeTheEnd(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.obedient = false
	w.command("c1", "drain")
	w.pass(time.Second)
	w.trace = nil
	w.command("c2", "cancel-drain")
	w.pass(2 * time.Minute) // longer than the drain would have had
	for _, line := range w.trace {
		if strings.Contains(line, "end") || strings.Contains(line, "draining") {
			t.Errorf("after the cancel: got %q", line)
		}
	}
	w.trace = nil
	w.exit(failure{Status: 1})
	w.pass(0)
	w.check(`
		123.0s exit 1
		123.0s start`)
}

func TestDrainDeadline(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.obedient = false
	w.command("c1", "drain")
	w.pass(59 * time.Second)
	w.trace = nil
	w.pass(2 * time.Second)
	w.check(`
		 62.0s end kill=true
		 62.0s exit -1SIGKILL
		 62.0s beat 14 OK draining
		 62.0s beat 15 OK draining drained`)
}

func TestDrainCommand(t *testing.T) {
	t.Run("works", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.trace = nil
		w.command("c1", "drain")
		w.pass(time.Second)
		w.c.drainCommandEnded(0, true)
		w.pass(time.Second)
		w.exit(failure{Status: 0})
		w.pass(0)
		w.check(`
		  2.0s order drain
		  2.0s drain command
		  2.0s beat 2 OK ack=c1 draining
		  4.0s exit 0
		  4.0s beat 3 OK draining drained`)
	})
	t.Run("fails", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.command("c1", "drain")
		w.trace = nil
		w.c.drainCommandEnded(0, false)
		w.pass(0)
		w.check(`
		  2.0s end kill=false
		  2.0s exit 0
		  2.0s beat 3 OK draining drained`)
	})
	t.Run("hangs", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.obedient = false
		w.command("c1", "drain")
		w.pass(59 * time.Second)
		w.trace = nil
		w.pass(11 * time.Second)
		w.check(`
		 62.0s kill drain command
		 62.0s end kill=false
		 62.0s beat 14 OK draining
		 67.0s beat 15 OK draining
		 72.0s end kill=true
		 72.0s exit -1SIGKILL
		 72.0s beat 16 OK draining
		 72.0s beat 17 OK draining drained`)
	})
	t.Run("cancelled", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.command("c1", "drain")
		w.pass(2 * time.Second)
		w.trace = nil
		w.command("c2", "cancel-drain")
		w.check(`
		  4.0s order cancel-drain
		  4.0s kill drain command
		  4.0s beat 3 OK ack=c2`)
	})
}

func TestStop(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient = nil, false
	w.command("c1", "stop")
	w.pass(20 * time.Second)
	w.check(`
		  2.0s order stop
		  2.0s end kill=false
		  2.0s beat 2 OK ack=c1
		  7.0s beat 3 OK
		 12.0s end kill=true
		 12.0s exit -1SIGKILL
		 12.0s beat 4 OK`)
	if !w.c.done(w.now) || w.c.ended {
		t.Errorf("done %v ended %v, want done, not ended", w.c.done(w.now), w.c.ended)
	}
}

// The acknowledgement of stop gets two seconds even when the nodes have just gone away.
func TestStopWhileAway(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.up = nil, false
	w.command("c1", "stop")
	if w.c.done(w.now) {
		t.Error("left without trying to acknowledge")
	}
	w.pass(farewellMax)
	if !w.c.done(w.now) {
		t.Error("still waits for the node")
	}
}

func TestWorkerEnded(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient, w.deny = nil, false, gone
	w.pass(20 * time.Second)
	w.check(`
		  5.0s beat 2 OK refused
		  5.0s end kill=false
		 15.0s end kill=true
		 15.0s exit -1SIGKILL`)
	if !w.c.done(w.now) || !w.c.ended {
		t.Errorf("done %v ended %v, want both", w.c.done(w.now), w.c.ended)
	}
}
