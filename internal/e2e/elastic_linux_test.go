//go:build system

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bookPool is a pool that writes a book; what differs between stories is added to it.
const bookPool = `schema: epu/v1
kind: pool
name: epu-sleeper
deployable_type: writer
tick: 500ms
placement: [{site: local}]
health: {heartbeat: 1s, boot_grace: 30s, missing_after: 5s, second_chance: 2s}
hooks:
  running: {run: [./hook.sh]}
  ending: {run: [./hook.sh]}
limits: {max: 20, launches: 50 per 1m, terminations: 20 per 1m}
`

// kills tells a story undisturbed, and then once for each moment before and after appends with these
// events, with epud killed there.
func kills(t *testing.T, make func(*testing.T) *story, events ...string) {
	t.Parallel()
	whole := make(t)
	whole.tell()
	for _, at := range whole.moments(os.Getenv("EPU_CAMPAIGN") != "", events...) {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := make(t)
			s.at = at
			s.tell()
		})
	}
}

// ids are the workers' names, in order.
func ids(ws []workerLine) []string {
	var out []string
	for _, w := range ws {
		out = append(out, w.Worker)
	}
	slices.Sort(out)
	return out
}

// Goal: a daemon that is killed at any durable step of replace, protect, drain, resume and kill, or of the
// hooks that are run meanwhile, forgets no order and no hook, doubles no machine and ends no worker before
// its hook was run. Method: the orders one after the other, and the book that programs and hooks write;
// each hook fails once for each worker, so that its next try may be the other life's.
func TestSystemCrashOrders(t *testing.T) {
	kills(t, orders, "worker-replacing", "worker-protected", "worker-draining*", "worker-ended", "hook-settled")
}

func orders(t *testing.T) *story {
	n := newNode(t)
	b := newBook(t, n, bookPool+`policy: {name: npreserving, conf: {preserve_n: 2}}
drain: {timeout: 10m, command: [./drain.sh]}
`)
	b.write(t, "first-fails", "")
	var kept, other string                                // the worker that stays, and one that goes
	pick := func(s *story, verb string) func() []string { // of those that may go
		return func() []string {
			ws, _ := s.compare()
			other = slices.DeleteFunc(ids(ws), func(id string) bool { return id == kept })[0]
			return []string{verb, other, "--reason", "a test"}
		}
	}
	gone := func(ws []workerLine) string {
		if slices.Contains(ids(ws), other) {
			return other + " is still there"
		}
		return b.hooked(ws)
	}
	stays := func(ws []workerLine) string {
		if !slices.Contains(ids(ws), kept) {
			return "the protected worker is gone"
		}
		return b.hooked(ws)
	}
	return &story{node: n, end: b.judge, plot: func(s *story) []step {
		return []step{
			{workers: 2, machines: 2},
			{command: order("apply", "-f", b.dir), workers: 2, machines: 2, check: b.hooked},
			{command: pick(s, "replace"), workers: 2, machines: 3, check: gone},
			{command: pick(s, "replace"), workers: 2, machines: 4, check: func(ws []workerLine) string {
				kept = ids(ws)[1] // a newer one: of equals the oldest goes
				return gone(ws)
			}},
			{command: func() []string { return []string{"protect", kept} }, workers: 2, machines: 4},
			{command: order("scale", pool, "1"), workers: 1, machines: 4, check: stays},
			{command: order("scale", pool, "2"), workers: 2, machines: 5, check: func(ws []workerLine) string {
				b.write(t, "hold", "")
				return stays(ws)
			}},
			{command: func() []string { return []string{"drain", kept} }, until: func() error { return b.await(1, "drain "+kept) }},
			{command: func() []string { b.remove(t, "hold"); return []string{"resume", kept} }, workers: 2, check: stays},
			{command: pick(s, "drain"), workers: 2, check: gone},
			{command: pick(s, "kill"), workers: 2, check: gone},
		}
	}}
}

// Goal: a pool that follows readings grows and shrinks to what they say, also when the daemon is killed at
// a durable step of that: no reading is taken twice, no decision half. Method: readings that are pushed,
// with the daemon killed around its decisions and what they begin.
func TestSystemCrashSensors(t *testing.T) {
	kills(t, sensors, "wished", "worker-draining")
}

func sensors(t *testing.T) *story {
	n := newNode(t)
	b := newBook(t, n, bookPool+`policy:
  name: queuelen
  conf: {queuelen_high_water: 10, queuelen_low_water: 5, min_instances: 1, max_instances: 4, step_up: 2, step_down: 3, stabilisation: 0s}
sensors: {queue-length: {source: push, every: 1s, stale_after: 1m}}
drain: {timeout: 10s}
`)
	push := func(value string) func() []string { return order("sensor", "push", pool, "queue-length="+value) }
	return &story{node: n, end: b.judge, plot: func(*story) []step {
		return []step{
			{workers: 2, machines: 2},
			{command: order("apply", "-f", b.dir), workers: 2, machines: 2, check: b.hooked},
			{command: push("100"), workers: 4, machines: 4, check: b.hooked},
			{command: push("unknown"), workers: 4, machines: 4},
			{command: push("0"), workers: 1, machines: 4, check: b.hooked},
			{command: push("7"), workers: 1, machines: 4},
			{command: push("11"), workers: 4, machines: 7, check: b.hooked},
		}
	}}
}

// actor is a policy that does once what it is told.
const actor = `return {
  doc = "Does once what it is told.",
  params = {
    order = { type = "integer", min = 0, default = 0, doc = "number of the newest order" },
    act = { type = "enum", values = { "launch", "terminate", "drain" }, default = "launch", doc = "what is to be done" },
  },
  decide = function(control, state, conf)
    local m = state.memory
    m.n, m.order = m.n or 2, m.order or 0
    if conf.order > m.order then
      m.order = conf.order
      if conf.act == "launch" then
        control.launch()
        m.n = m.n + 1
      else
        for w in state.workers{ stage = "running" } do
          control[conf.act](w, { reason = "order " .. conf.order })
          break
        end
        m.n = m.n - 1
      end
    end
    control.scale_to(m.n)
  end,
}
`

// Goal: what a policy asks for once is done once, whenever the daemon is killed: a decision, the memory
// that it leaves and its actions are durable together. Method: a policy that does what a number tells it,
// with the daemon killed around its decisions.
func TestSystemCrashActions(t *testing.T) {
	kills(t, actions, "wished", "conf-changed", "worker-ended", "worker-draining")
}

func actions(t *testing.T) *story {
	n := newNode(t)
	n.environ = append(n.environ, "EPU_POLICIES_DIR="+n.dir)
	if err := os.WriteFile(filepath.Join(n.dir, "actor.lua"), []byte(actor), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBook(t, n, bookPool+"policy: {name: actor}\ndrain: {timeout: 10s}\n")
	var before []string
	told := func(s *story, number, act string) func() []string {
		return func() []string {
			ws, _ := s.compare()
			before = ids(ws)
			return []string{"reconfigure", pool, "order=" + number, "act=" + act}
		}
	}
	return &story{node: n, end: b.judge, plot: func(s *story) []step {
		oldest := func(ws []workerLine) string {
			// Right after a start nothing may be ended yet, and the wish may then pick another.
			if now := ids(ws); s.life() == s.first && !slices.Equal(now, before[1:]) {
				return fmt.Sprintf("got workers %v, want the newest of %v", now, before)
			}
			return b.hooked(ws)
		}
		return []step{
			{workers: 2, machines: 2},
			{command: order("apply", "-f", b.dir), workers: 2, machines: 2, check: b.hooked},
			{command: told(s, "1", "launch"), workers: 3, machines: 3, check: b.hooked},
			{command: told(s, "2", "terminate"), workers: 2, machines: 3, check: oldest},
			{command: told(s, "3", "drain"), workers: 1, machines: 3, check: oldest},
			{command: told(s, "4", "launch"), workers: 2, machines: 4, check: b.hooked},
		}
	}}
}

// Goal: a pool that is removed while drains are under way ends whole, whenever the daemon is killed: its
// workers' hooks are run, its machines are gone, and its record is archived. Method: drains that last
// until their time is over, and the daemon killed around the steps of the removal.
func TestSystemCrashRemoval(t *testing.T) {
	kills(t, removal, "worker-draining", "worker-ended", "hook-settled", "launch-done", "pool-removing", "pool-archived")
}

func removal(t *testing.T) *story {
	n := newNode(t)
	b := newBook(t, n, bookPool+`policy: {name: npreserving, conf: {preserve_n: 4}}
drain: {timeout: 3s, command: [./drain.sh]}
`)
	gone := func() error {
		if _, errs, code := n.run("epumgmt", "wait", pool, "--for", "gone", "--timeout", "20s"); code != 0 {
			return fmt.Errorf("wait: exit status %d: %s", code, errs)
		}
		if out, _, _ := n.run("epumgmt", "status", "-o", "name"); strings.Contains(out, pool) {
			return fmt.Errorf("the pool is still listed: %s", out)
		}
		if left := n.look().Processes(); len(left) > 0 {
			return fmt.Errorf("%v is left of the pool", left)
		}
		return nil
	}
	return &story{node: n, end: b.judge, removed: true, plot: func(*story) []step {
		return []step{
			{workers: 2, machines: 2},
			{command: order("apply", "-f", b.dir), workers: 4, machines: 4, check: func(ws []workerLine) string {
				b.write(t, "hold", "")
				return b.hooked(ws)
			}},
			{command: order("drain", pool+"-1-2/0"), until: func() error { return b.await(1, "drain ") }},
			{command: order("remove", pool, "--confirm="+pool), until: gone},
		}
	}}
}
