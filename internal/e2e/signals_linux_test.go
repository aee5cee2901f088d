//go:build system

package e2e_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
)

// Goal: whatever of a worker is killed, it is replaced by one new machine, nothing of it is left, and its
// neighbour is not touched. Method: SIGKILL to the program, the agent and the keeper, one after another.
func TestSystemWorkerKilled(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	n.settle(2)
	for _, c := range []struct {
		name   string
		victim func(census.Instance) census.Process
	}{
		{"program", func(i census.Instance) census.Process { return i.Programs[0] }},
		{"agent", agentOf},
		{"keeper", func(i census.Instance) census.Process { return i.Keepers[0] }},
	} {
		before := n.look()
		alive := before.Alive()
		victim, other := alive[0], alive[1]
		if err := syscall.Kill(c.victim(victim).PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n.gone(victim)
		n.noticed(workerOf(victim))
		n.settle(2)
		after := n.look()
		if got, want := len(after.Instances), len(before.Instances)+1; got != want {
			t.Errorf("%s killed: got %d machines ever launched, want %d", c.name, got, want)
		}
		i := slices.IndexFunc(after.Instances, func(i census.Instance) bool { return i.ID == other.ID })
		if i < 0 || marks(after.Instances[i].Programs) != marks(other.Programs) {
			t.Errorf("%s killed: its neighbour %s is not what it was: %v", c.name, other.ID, after.Alive())
		}
		if explain := n.must("explain", pool); !strings.Contains(explain, workerOf(victim)) {
			t.Errorf("%s killed: explain says nothing of it:\n%s", c.name, explain)
		}
	}
}

// agentOf is the process between an instance's keeper and its program.
func agentOf(i census.Instance) census.Process {
	p, _ := census.Find(i.Programs[0].Parent)
	return p
}

// workerOf names the worker that an instance was.
func workerOf(i census.Instance) string {
	slot := i.ID[strings.LastIndexByte(i.ID, '-')+1:]
	return i.Launch + "/" + slot
}

// noticed waits until the node knows that a worker's machine has ended: a listing may come a little later.
func (n *node) noticed(worker string) {
	n.t.Helper()
	type event struct {
		Name string
		Data struct{ Worker string }
	}
	err := follow(n, func(e event) bool { return e.Name == "worker_terminated" && e.Data.Worker == worker }, "events", pool, "-f")
	if err != nil {
		n.t.Fatal(err)
	}
}

// gone waits until no process of an instance is left.
func (n *node) gone(i census.Instance) {
	n.t.Helper()
	for _, p := range slices.Concat(i.Keepers, i.Programs, i.Others) {
		if err := census.Await(deadline(n.t), p); err != nil {
			n.t.Fatal(err)
		}
	}
}

// silence is longer than it takes until a silent worker of the sample pool is replaced: missing_after 5 s
// and second_chance 2 s.
const silence = 9 * time.Second

// Goal: deaf is not dead. A daemon that was stopped for longer than its workers may be silent replaces
// nobody when it goes on. Method: SIGSTOP, time, SIGCONT; then it is watched for as long again.
func TestSystemDaemonStopped(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	n.settle(2)
	before, events := n.look(), n.events()
	_ = n.signal(syscall.SIGSTOP, false)
	pass(t, silence)
	_ = n.signal(syscall.SIGCONT, false)
	goes := time.Now()
	pass(t, silence)
	for _, w := range n.settle(2) {
		if !w.LastBeat.After(goes) || w.Health != "OK" {
			t.Errorf("got %+v, want a beat after %v and health OK", w, goes)
		}
	}
	n.same(before, "after the daemon was stopped")
	later := n.events()
	for _, name := range []string{"worker_ended", "worker_terminated", "worker_failed", "launch_opened"} {
		if count(later, name) != count(events, name) {
			t.Errorf("got another %s, want none: %v", name, later[len(events):])
		}
	}
}

// pass lets time pass: it is what the test is about. A process that ends by itself measures it.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := exec.Command("sleep", fmt.Sprint(d.Seconds())).Run(); err != nil {
		t.Fatal(err)
	}
}

// Goal: workers outlive a daemon that is told to stop and one that is killed, and the next one takes them
// as they are. Method: SIGTERM and SIGKILL, each followed by a start, with the programs compared.
func TestSystemDaemonReplaced(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	ws := n.settle(2)
	before := n.look()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := n.signal(sig, true); sig == syscall.SIGTERM && err != nil {
			t.Errorf("told to stop: got %v, want exit status 0", err)
		}
		n.same(before, "without a daemon, after "+sig.String())
		started := time.Now()
		n.start()
		n.heard(ws, started)
		n.settle(2)
		n.same(before, "with the next daemon, after "+sig.String())
		if got := len(n.look().Instances); got != 2 {
			t.Errorf("after %v: got %d machines ever launched, want 2", sig, got)
		}
	}
}

// Goal: a folder has one daemon. Method: a second one with other addresses is refused with a reason, and
// the first goes on.
func TestSystemSecondDaemon(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	n.settle(2)
	first := n.life()
	other := newNode(t)
	out, errs, code := other.run("epud", "dev", "--data-dir", n.data)
	if code == 0 || out != "" || !strings.Contains(errs, "error:") || !strings.Contains(errs, "try:") {
		t.Errorf("got exit status %d\n%s%s\nwant a refusal that says what to do", code, out, errs)
	}
	t.Logf("the second daemon said: %s", errs)
	if n.life() != first {
		t.Fatal("the first daemon is not what it was")
	}
	n.settle(2)
}
