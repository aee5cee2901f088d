//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
)

const firstWorkerMax = 10 * time.Second // from the start of epud's binary

// story is what is told on a stage. The first fact that is not so ends the whole.
type story struct {
	pool     string        // that it is about
	program  string        // of the pool's workers
	longest  time.Duration // all of it, when nobody reads
	hint     string        // what a reader may do now
	chapters []chapter
	end      func() // after the last, whatever happened; nil = nothing
}

type chapter struct {
	title string
	about string
	tell  func(ctx context.Context, s *stage) error
}

// sleepers is the story of the sample pool of epud dev.
func sleepers() story {
	return story{pool: "epu-sleeper", program: "worker.sh", longest: time.Minute, hint: "Look around yourself: bin/epud dev, and bin/epumgmt in the same folder.", chapters: []chapter{
		{"The pool comes up", "One node with a sample pool. Its workers are processes of this machine.", comesUp},
		{"A worker dies", "Its program is killed with SIGKILL. Nobody is asked: the pool replaces it.", heals},
		{"More and fewer", "The operator wants four workers, then two. Those no longer wanted are drained.", scales},
		{"The daemon dies", "epud is killed with SIGKILL and started again. Workers must not notice.", survives},
		{"The end", "terminate-all ends every worker, and the daemon is told to stop.", ends},
	}}
}

func comesUp(ctx context.Context, s *stage) error {
	if err := s.startNode(ctx); err != nil {
		return err
	}
	first, err := s.events.await(ctx, "the first worker to run", ofOthers("worker_running", nil))
	if err != nil {
		return err
	}
	took := s.now().Sub(s.node.started)
	if err := s.check("worker "+first.text("worker")+" runs "+seconds(took)+" after the start of epud", took <= firstWorkerMax,
		"at most "+seconds(firstWorkerMax), seconds(took)); err != nil {
		return err
	}
	if err := s.converged(ctx, 2); err != nil {
		return err
	}
	return s.show(ctx, "status")
}

func heals(ctx context.Context, s *stage) error {
	before, err := s.workers(ctx)
	if err != nil {
		return err
	}
	victim := before[len(before)-1]
	s.say("kill -KILL %d   (worker.sh of %s)", victim.program.PID, victim.Worker)
	killed := s.now()
	if err := syscall.Kill(victim.program.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", victim.program.PID, err)
	}
	ended, err := s.events.await(ctx, "the worker to be given up", named("worker_ended", victim.Worker))
	if err != nil {
		return err
	}
	s.ok("%s after the kill the pool gives %s up: %s", seconds(s.now().Sub(killed)), victim.Worker, ended.text("reason"))
	fresh, err := s.events.await(ctx, "another worker to run", ofOthers("worker_running", before))
	if err != nil {
		return err
	}
	s.ok("%s after the kill %s runs in its place", seconds(s.now().Sub(killed)), fresh.text("worker"))
	if err := s.converged(ctx, len(before)); err != nil {
		return err
	}
	after, err := s.workers(ctx)
	if err != nil {
		return err
	}
	if _, err := s.events.await(ctx, "the worker's machine to be gone", named("worker_terminated", victim.Worker)); err != nil {
		return err
	}
	s.ok("nothing is left of %s", victim.Worker)
	if err := s.check("the other worker was left alone", has(after, before[0]), before[0].String(), list(after)); err != nil {
		return err
	}
	return s.explains(ctx, "replaced "+victim.Worker, "SIGKILL")
}

func scales(ctx context.Context, s *stage) error {
	if err := s.show(ctx, "scale", s.pool, "4"); err != nil {
		return err
	}
	if err := s.converged(ctx, 4); err != nil {
		return err
	}
	if err := s.show(ctx, "instances"); err != nil {
		return err
	}
	if err := s.show(ctx, "scale", s.pool, "2"); err != nil {
		return err
	}
	for range 2 {
		gone, err := s.events.await(ctx, "a worker's machine to be gone", ofOthers("worker_terminated", nil))
		if err != nil {
			return err
		}
		s.ok("nothing is left of %s", gone.text("worker"))
	}
	if err := s.converged(ctx, 2); err != nil {
		return err
	}
	return s.explains(ctx, "ended", "drained")
}

func survives(ctx context.Context, s *stage) error {
	before, err := s.workers(ctx)
	if err != nil {
		return err
	}
	launched, err := s.launched()
	if err != nil {
		return err
	}
	s.say("kill -KILL %d   (epud)", s.node.cmd.Process.Pid)
	if err := s.killNode(); err != nil {
		return err
	}
	if err := s.check("without epud its workers' programs live on", alive(before), "processes "+pids(before), "one of them is gone"); err != nil {
		return err
	}
	if err := s.startNode(ctx); err != nil {
		return err
	}
	if err := s.heard(ctx, before); err != nil {
		return err
	}
	s.ok("%s after the restart every worker has been heard from again", seconds(s.now().Sub(s.node.started)))
	if err := s.converged(ctx, len(before)); err != nil {
		return err
	}
	after, err := s.workers(ctx)
	if err != nil {
		return err
	}
	if err := s.check("they are the same workers with the same processes "+pids(after), list(after) == list(before), list(before), list(after)); err != nil {
		return err
	}
	now, err := s.launched()
	if err != nil {
		return err
	}
	return s.check("nothing was launched a second time", now == launched, fmt.Sprintf("%d machines ever", launched), fmt.Sprint(now))
}

func ends(ctx context.Context, s *stage) error {
	if err := s.show(ctx, "terminate-all", "--confirm=ALL", "--timeout=30s"); err != nil {
		return err
	}
	if err := s.converged(ctx, 0); err != nil {
		return err
	}
	if err := s.stopNode(ctx); err != nil {
		return err
	}
	left, err := census.Look(s.data, s.program)
	if err != nil {
		return err
	}
	if err := s.check("no process of it all is left", len(left.Processes()) == 0, "none", fmt.Sprint(left.Processes())); err != nil {
		return err
	}
	return s.inTime()
}

// inTime checks how long the whole took, when nobody read.
func (s *stage) inTime() error {
	took := s.now().Sub(s.began)
	if !s.auto {
		return nil
	}
	return s.check("the whole took "+seconds(took), took <= s.longest, "at most "+seconds(s.longest), seconds(took))
}

// explains checks that explain tells why: all words in one line.
func (s *stage) explains(ctx context.Context, words ...string) error {
	text, err := s.shown(ctx, "explain", s.pool)
	if err != nil {
		return err
	}
	for line := range strings.Lines(plain(text)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			s.ok("explain says: %s", strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "doing")))
			return nil
		}
	}
	return s.check("explain says why", false, "a line with "+strings.Join(words, " and "), text)
}

// seconds is a span for people.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
