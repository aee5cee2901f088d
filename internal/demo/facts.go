//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
)

// worker is a worker as the node tells of it, with its process as the machine has it.
type worker struct {
	Worker   string    `json:"worker"`
	Instance string    `json:"instance"`
	State    string    `json:"state"`
	Health   string    `json:"health"`
	LastBeat time.Time `json:"last_beat"`

	program census.Process
}

func (w worker) String() string { return fmt.Sprintf("%s (process %d)", w.Worker, w.program.PID) }

func list(ws []worker) string {
	texts := make([]string, len(ws))
	for i, w := range ws {
		texts[i] = w.String()
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func pids(ws []worker) string {
	texts := make([]string, len(ws))
	for i, w := range ws {
		texts[i] = fmt.Sprint(w.program.PID)
	}
	return strings.Join(texts, ", ")
}

func has(ws []worker, w worker) bool {
	return slices.ContainsFunc(ws, func(o worker) bool { return o.String() == w.String() && o.program.Start == w.program.Start })
}

// alive reports that every worker's process is still the same one.
func alive(ws []worker) bool {
	return !slices.ContainsFunc(ws, func(w worker) bool {
		p, ok := census.Find(w.program.PID)
		return !ok || p.Start != w.program.Start || len(p.Args) == 0
	})
}

// workers lists the workers, and refuses to go on unless the machine has exactly one program for each. A
// worker runs for the node once its agent has checked in, and only then starts its program: so it looks
// again with each beat, for a while.
func (s *stage) workers(ctx context.Context) ([]worker, error) {
	ws, err := s.lookOnce(ctx)
	var unequal failure
	if !errors.As(err, &unequal) {
		return ws, err
	}
	f, follows := s.follow(ctx, "instances", s.pool, "-w")
	if follows != nil {
		return nil, follows
	}
	defer f.stop()
	waiting, cancel := context.WithTimeout(ctx, programMax)
	defer cancel()
	for errors.As(err, &unequal) {
		if _, none := next[worker](waiting, f, "a beat of a worker"); none != nil {
			return nil, err
		}
		ws, err = s.lookOnce(ctx)
	}
	return ws, err
}

// lookOnce lists the workers with their programs, one for each.
func (s *stage) lookOnce(ctx context.Context) ([]worker, error) {
	var answer struct{ Instances []worker }
	if err := s.ask(ctx, &answer, "instances", s.pool); err != nil {
		return nil, err
	}
	ws := slices.DeleteFunc(answer.Instances, func(w worker) bool { return w.State != "600-RUNNING" })
	there, err := census.Look(s.data, s.program)
	if err != nil {
		return nil, err
	}
	found := 0
	for i := range ws {
		for _, in := range there.Instances {
			if in.ID == ws[i].Instance && len(in.Programs) == 1 {
				ws[i].program = in.Programs[0]
				found++
			}
		}
	}
	if n := len(there.Programs()); found != len(ws) || n != len(ws) {
		return nil, failure{"the machine runs one program for each worker", fmt.Sprintf("%d", len(ws)), fmt.Sprintf("%d: %v", n, there.Programs())}
	}
	return ws, nil
}

// launched counts the machines that were ever made.
func (s *stage) launched() (int, error) {
	c, err := census.Look(s.data, s.program)
	return len(c.Instances), err
}

// converged waits until the pool has what it wants, and checks that this is n workers, on the machine too.
func (s *stage) converged(ctx context.Context, n int) error {
	if _, err := s.run(ctx, "wait", s.pool, "--for", "converged", "--timeout", "20s"); err != nil {
		return err
	}
	if _, err := s.run(ctx, "wait", s.pool, "--for", "healthy", "--timeout", "20s"); err != nil {
		return err
	}
	var answer struct {
		Pools []struct {
			Converged, Health string
			Want, Have        int
		}
	}
	if err := s.ask(ctx, &answer, "status", s.pool); err != nil {
		return err
	}
	if len(answer.Pools) != 1 {
		return failure{"status tells of the pool", "one pool", fmt.Sprint(len(answer.Pools))}
	}
	p := answer.Pools[0]
	saw := fmt.Sprintf("wants %d, has %d, converged %s, health %s", p.Want, p.Have, p.Converged, p.Health)
	want := fmt.Sprintf("wants %d, has %d, converged yes, health ok", n, n)
	if saw != want {
		return failure{"the pool is as it should be", want, saw}
	}
	ws, err := s.workers(ctx)
	if err != nil {
		return err
	}
	return s.check(fmt.Sprintf("the pool wants %d and has %d, and the machine runs %d", n, n, len(ws)), len(ws) == n, fmt.Sprint(n), fmt.Sprint(len(ws)))
}

// heard waits until the node, just started, has heard from every worker: until then it knows of no beat.
func (s *stage) heard(ctx context.Context, ws []worker) error {
	f, err := s.follow(ctx, "instances", s.pool, "-w")
	if err != nil {
		return err
	}
	defer f.stop()
	left := map[string]bool{}
	for _, w := range ws {
		left[w.Worker] = true
	}
	for len(left) > 0 {
		w, err := next[worker](ctx, f, "every worker to be heard from after the restart")
		if err != nil {
			return err
		}
		if w.LastBeat.After(s.node.started) && w.Health == "OK" {
			delete(left, w.Worker)
		}
	}
	return nil
}
