//go:build system

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
)

// beginMax is how long a program of a worker may take to write its first line.
const beginMax = 5 * time.Second

// poolLine is a pool in the output of epumgmt status.
type poolLine struct {
	Type      string `json:"type"`
	Converged string `json:"converged"`
	Health    string `json:"health"`
	Want      int    `json:"want"`
	Have      int    `json:"have"`
	Ending    int    `json:"ending"`
}

// workerLine is a worker in the output of epumgmt instances.
type workerLine struct {
	Worker   string    `json:"worker"`
	Instance string    `json:"instance"`
	State    string    `json:"state"`
	Health   string    `json:"health"`
	LastBeat time.Time `json:"last_beat"`
}

// quiet reports a pool of n workers that wants nothing else, and where nothing goes on.
func quiet(n int) func(poolLine) bool {
	return func(p poolLine) bool {
		return p.Type == "pool-status" && p.Converged == "yes" && p.Health == "ok" && p.Want == n && p.Have == n && p.Ending == 0
	}
}

// settle waits until the pool has exactly n workers, and then holds the journal against the machine.
func (n *node) settle(workers int) []workerLine {
	n.t.Helper()
	if err := follow(n, quiet(workers), "status", pool, "-w"); err != nil {
		n.t.Fatal(err)
	}
	ws, problems := n.compare()
	for _, p := range problems {
		n.t.Error(p)
	}
	if len(ws) != workers {
		n.t.Errorf("got workers %v, want %d", ws, workers)
	}
	return ws
}

// compare lists the journal's workers, and everything in which they differ from what is on the machine:
// each has one machine with one keeper and one program, no machine is beyond them, and no launch was
// asked for twice.
func (n *node) compare() ([]workerLine, []string) {
	n.t.Helper()
	var answer struct {
		Instances []workerLine `json:"instances"`
	}
	out, errs, code := n.run("epumgmt", "instances", pool, "-o", "json")
	if code != 0 {
		return nil, []string{fmt.Sprintf("epumgmt instances: exit status %d: %s%s", code, out, errs)}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		n.t.Fatal(err)
	}
	there := n.begun()
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	byInstance := map[string]string{}
	for _, w := range answer.Instances {
		if other, taken := byInstance[w.Instance]; taken || w.Instance == "" {
			add("workers %s and %s are one machine %q", other, w.Worker, w.Instance)
		}
		byInstance[w.Instance] = w.Worker
	}
	launches := map[string]string{} // where the machines of a launch are
	for _, in := range there.Instances {
		folder := in.Folder[:strings.LastIndexByte(in.Folder, '/')]
		if other, seen := launches[in.Launch]; seen && other != folder {
			add("launch %s was carried out twice: %s and %s", in.Launch, other, folder)
		}
		launches[in.Launch] = folder
		worker, known := byInstance[in.ID]
		delete(byInstance, in.ID)
		switch {
		case !known && in.Alive():
			add("the journal knows nothing of machine %s: %v", in.ID, in)
		case known && (len(in.Keepers) != 1 || len(in.Programs) != 1):
			add("worker %s has keepers %v and programs %v, want one of each", worker, in.Keepers, in.Programs)
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(byInstance)) {
		add("worker %s has no machine %s", byInstance[instance], instance)
	}
	if len(there.Strays) > 0 {
		add("processes of no machine: %v", there.Strays)
	}
	return answer.Instances, problems
}

// begun counts what is on the machine once every program has begun: its agent may be heard a moment
// before. A program that has begun has written a line.
func (n *node) begun() census.Census {
	n.t.Helper()
	c := n.look()
	for _, in := range c.Instances {
		if len(in.Keepers) != 1 || len(in.Programs) > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), beginMax)
		tail := exec.CommandContext(ctx, "tail", "-n", "+1", "-F", filepath.Join(in.Folder, "stdout.log"))
		if out, err := tail.StdoutPipe(); err == nil && tail.Start() == nil {
			bufio.NewScanner(out).Scan()
		}
		cancel()
		_ = tail.Wait() // it was killed
		c = n.look()
	}
	return c
}

// look counts what is on the machine, epud itself aside.
func (n *node) look() census.Census {
	n.t.Helper()
	var self []int
	if l := n.life(); l != nil {
		self = append(self, l.cmd.Process.Pid)
	}
	c, err := census.Look(n.data, workerProgram, self...)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// same fails the test unless the machine runs the same programs as before.
func (n *node) same(before census.Census, when string) {
	n.t.Helper()
	want, got := marks(before.Programs()), marks(n.look().Programs())
	if got != want {
		n.t.Errorf("%s: got programs %s, want the same as before: %s", when, got, want)
	}
}

// marks names processes so that a number that was used again shows.
func marks(ps []census.Process) string {
	var out []string
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%d@%s", p.PID, p.Start))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// heard waits until every worker was heard from by the node that was started at that time: until then it
// knows of no beat.
func (n *node) heard(ws []workerLine, since time.Time) {
	n.t.Helper()
	left := map[string]bool{}
	for _, w := range ws {
		left[w.Worker] = true
	}
	err := follow(n, func(w workerLine) bool {
		if w.LastBeat.After(since) && w.Health == "OK" {
			delete(left, w.Worker)
		}
		return len(left) == 0
	}, "instances", pool, "-w")
	if err != nil {
		n.t.Fatalf("not heard from since %v: %v: %v", since, slices.Collect(maps.Keys(left)), err)
	}
}

// events are the names of the pool's events since the start, oldest first, with their workers.
func (n *node) events() []string {
	n.t.Helper()
	var out []string
	for line := range strings.Lines(n.must("events", pool, "--limit", "1000", "-o", "jsonl")) {
		var e struct {
			Name string
			Data struct{ Worker, Launch string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			n.t.Fatalf("%v in %s", err, line)
		}
		out = append(out, strings.TrimSpace(e.Name+" "+e.Data.Worker+e.Data.Launch))
	}
	return out
}

// count says how many of the texts begin so.
func count(texts []string, prefix string) int {
	n := 0
	for _, text := range texts {
		if strings.HasPrefix(text, prefix) {
			n++
		}
	}
	return n
}

// empty fails the test if anything of the node but epud is left.
func (n *node) empty(t *testing.T) {
	t.Helper()
	if left := n.look().Processes(); len(left) > 0 {
		t.Errorf("got %v left, want nothing", left)
	}
}
