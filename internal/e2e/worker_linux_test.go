//go:build system

package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nimbus-epu/epu/internal/census"
)

// drainPool has drains that last until something ends them.
const drainPool = bookPool + `policy: {name: npreserving, conf: {preserve_n: 2}}
drain: {timeout: 10m, command: [./drain.sh]}
`

// newWriters starts a node whose pool writes a book, with n workers that have its programs.
func newWriters(t *testing.T, spec string, n int) (*node, *book, []workerLine) {
	t.Helper()
	node := newNode(t)
	node.start()
	b := newBook(t, node, spec)
	node.settle(2)
	node.must("scale", pool, "0")
	node.settle(0)
	node.must("apply", "-f", b.dir)
	node.settle(n)
	ws := node.settle(n)
	if problem := b.hooked(ws); problem != "" {
		t.Fatal(problem)
	}
	return node, b, ws
}

// machine is the instance behind a worker.
func (n *node) machine(w workerLine) census.Instance {
	n.t.Helper()
	for _, i := range n.look().Instances {
		if i.ID == w.Instance {
			return i
		}
	}
	n.t.Fatalf("no machine %s", w.Instance)
	return census.Instance{}
}

// Goal: whatever of a draining worker is killed, it is gone for good then: it is not launched again, nothing
// of it is left, its hook is run, and its place was filled once. Method: SIGKILL to the program, the agent
// and the keeper of a worker whose drain command goes on.
func TestSystemKilledWhileDraining(t *testing.T) {
	for _, c := range []struct {
		name   string
		victim func(census.Instance) census.Process
	}{
		{"program", func(i census.Instance) census.Process { return i.Programs[0] }},
		{"agent", agentOf},
		{"keeper", func(i census.Instance) census.Process { return i.Keepers[0] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, b, ws := newWriters(t, drainPool, 2)
			b.write(t, "hold", "")
			n.must("drain", ws[0].Worker)
			if err := b.await(1, "drain "+ws[0].Worker); err != nil {
				t.Fatal(err)
			}
			machine := n.machine(ws[0])
			if err := syscall.Kill(c.victim(machine).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if c.name == "program" { // its drain command is still at it, and is told to end by another order
				n.must("kill", ws[0].Worker)
			}
			n.gone(machine)
			n.noticed(ws[0].Worker)
			after := n.settle(2)
			if slices.Contains(ids(after), ws[0].Worker) {
				t.Errorf("the drained worker is still there: %v", after)
			}
			if got := len(n.look().Instances); got != 5 { // two of the sample, two, and one in its place
				t.Errorf("got %d machines ever launched, want 5", got)
			}
			if err := b.await(1, "ending "+ws[0].Worker); err != nil {
				t.Error(err)
			}
		})
	}
}

// Goal: an agent that loses its node in the middle of a drain goes on with it, runs its command once, and
// says so to the next node, which ends the worker. Method: the daemon is killed while a drain command goes
// on, the command is let go without a daemon, and the next one is started.
func TestSystemNodeLostWhileDraining(t *testing.T) {
	t.Parallel()
	n, b, ws := newWriters(t, strings.Replace(drainPool, "timeout: 10m", "timeout: 4s", 1), 2)
	b.write(t, "hold", "")
	n.must("drain", ws[0].Worker)
	if err := b.await(1, "drain "+ws[0].Worker); err != nil {
		t.Fatal(err)
	}
	_ = n.signal(syscall.SIGKILL, true)
	if err := b.await(1, "stopped "+ws[0].Worker); err != nil { // its drain time is over
		t.Fatal(err)
	}
	if i := n.machine(ws[0]); len(i.Keepers) != 1 || i.Ended {
		t.Errorf("got %+v, want the machine to wait for a node", i)
	}
	n.start()
	n.noticed(ws[0].Worker)
	if after := n.settle(2); slices.Contains(ids(after), ws[0].Worker) {
		t.Errorf("the drained worker is still there: %v", after)
	}
	lines, _ := b.read()
	for what, want := range map[string]int{"drain ": 1, "stopped ": 1, "began ": 1} {
		if got := count(lines, what+ws[0].Worker); got != want {
			t.Errorf("got %d lines %q, want %d", got, what+ws[0].Worker, want)
		}
	}
}

// leased waits until the node knows of a worker what its program says.
func (n *node) leased(worker, busy string) {
	n.t.Helper()
	err := follow(n, func(w struct {
		Worker string
		Busy   string `json:"busy_until"`
		Idle   string `json:"idle_since"`
		Health string
	},
	) bool {
		return w.Worker == worker && w.Health == "OK" && (w.Busy != "") == (busy == "busy") && (w.Idle != "") == (busy == "idle")
	}, "instances", pool, "-w")
	if err != nil {
		n.t.Fatalf("%s of %s: %v", busy, worker, err)
	}
}

// Goal: a busy worker is no victim, one that says that it is idle is, and nonsense in the status file says
// nothing, ends nothing and is told in the agent's log in few words. Method: epu-agent busy and idle as a
// worker's program would run them, and files that nobody should write.
func TestSystemBusyWorker(t *testing.T) {
	t.Parallel()
	n, _, ws := newWriters(t, drainPool, 2)
	newest, other := ws[1], ws[0] // of equals the newest goes, so it is the one that is busy
	if newest.Worker < other.Worker {
		newest, other = other, newest
	}
	file := filepath.Join(n.machine(newest).Folder, "epu-status")
	n.environ = append(n.environ, "EPU_STATUS_FILE="+file)
	say := func(words ...string) {
		t.Helper()
		if out, errs, code := n.run("epu-agent", words...); code != 0 {
			t.Fatalf("epu-agent %v: exit status %d\n%s%s", words, code, out, errs)
		}
	}
	for name, text := range map[string]string{
		"binary": "\x00\xff\xfe\x01busy", "huge": strings.Repeat("busy 10m\n", 1<<20), "half": "bus", "negative": "busy -5m", "far": "busy 900000h",
	} {
		say("busy", "10m")
		n.leased(newest.Worker, "busy")
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		n.leased(newest.Worker, "neither: "+name)
	}
	log, err := os.ReadFile(filepath.Join(n.machine(newest).Folder, "stderr.log"))
	if got := strings.Count(string(log), "is not understood"); err != nil || got != 5 || len(log) > 10_000 {
		t.Errorf("the agent's log of %d bytes tells of %d files, want 5 (%v):\n%.10000s", len(log), got, err, log)
	}

	say("busy", "1h")
	n.leased(newest.Worker, "busy")
	n.must("scale", pool, "1")
	if got := ids(n.settle(1)); got[0] != newest.Worker {
		t.Errorf("got workers %v, want the busy one, %s", got, newest.Worker)
	}
	n.must("scale", pool, "0")
	if out, errs, code := n.run("epumgmt", "wait", pool, "--for", "converged", "--timeout", "3s"); code != 14 {
		t.Errorf("the busy worker was chosen: exit status %d\n%s%s", code, out, errs)
	}
	if out := n.must("explain", pool); !strings.Contains(out, "busy") {
		t.Errorf("explain does not say why the worker stays:\n%s", out)
	}
	say("idle")
	n.settle(0)
	n.empty(t)
}
