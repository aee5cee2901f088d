//go:build system

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
	"github.com/nimbus-epu/epu/internal/cli"
)

// dyingMax is how long a process that was killed may take to be gone.
const dyingMax = 3 * time.Second

// story is the life of a pool, during which epud dies at most once. It ends with terminate-all.
type story struct {
	*node
	at      string // where epud dies; empty: nowhere
	plot    func(*story) []step
	end     func(*testing.T) // what else must be so at the end
	removed bool             // the plot leaves no pool
	first   *life
	over    chan struct{} // closed when the watch has ended
}

// step is a command and what has come of it when the pool is quiet. A command is given again when epud
// died meanwhile: all of them say how it shall be.
type step struct {
	command  func() []string           // asked once; nil: nothing is said
	until    func() error              // instead of a quiet pool: something that goes on is awaited
	workers  int                       // now
	machines int                       // ever; 0: not looked at
	check    func([]workerLine) string // what else is not as it should be
}

// order is a command that is the same whatever came before.
func order(args ...string) func() []string { return func() []string { return args } }

func (s *story) tell() {
	s.t.Helper()
	var err error
	if s.first, err = s.launch("EPU_CRASH_AT=" + s.at); err != nil {
		s.t.Fatal(err)
	}
	s.over = make(chan struct{})
	go s.again()
	s.await()
	end := step{command: order("terminate-all", "--confirm=ALL", "--timeout", "20s")}
	if s.removed {
		end.until = func() error { return nil }
	}
	for _, next := range append(s.plot(s), end) {
		s.insist(next)
		if machines := len(s.look().Instances); next.machines > 0 && machines != next.machines {
			s.t.Errorf("with %d workers: got %d machines ever launched, want %d", next.workers, machines, next.machines)
		}
	}
	s.empty(s.t)
	if s.end != nil {
		s.end(s.t)
	}
	if err := s.signal(syscall.SIGTERM, true); err != nil {
		s.t.Errorf("epud told to stop: %v", err)
	}
	if out, errs, code := s.run("epud", "journal", "check", "--data-dir", s.data); code != 0 {
		s.t.Errorf("the journal is damaged: %s%s", out, errs)
	}
	if s.at != "" {
		s.t.Logf("killed %s, at %s", s.at, s.last())
	}
}

// again starts epud once more when it was killed.
func (s *story) again() {
	defer close(s.over)
	<-s.first.ended
	if killed(s.first.err) {
		if _, err := s.launch(); err != nil {
			s.t.Error(err)
		}
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// await waits until epud, of whichever life, answers.
func (s *story) await() {
	s.t.Helper()
	l := s.life()
	select {
	case <-l.up:
		return
	case <-l.ended:
	case <-deadline(s.t).Done():
		s.t.Fatalf("epud does not come up\n%s", l.log)
	}
	<-s.over
	if s.life() == l {
		s.t.Fatalf("epud ended: %v\n%s", l.err, l.log)
	}
	s.await()
}

// insist takes a step, and waits until all is as it should be. If epud died meanwhile it does both again.
func (s *story) insist(next step) {
	s.t.Helper()
	var command []string
	if next.command != nil {
		command = next.command()
	}
	for {
		again := s.life() != s.first
		if again {
			s.await()
		}
		problem := s.attempt(next, command, again)
		switch {
		case problem == "":
			return
		case again || !s.died():
			s.t.Fatalf("with %d workers wanted, after %v: %s\non the machine:\n%s", next.workers, command, problem, summary(s.look()))
		}
	}
}

// attempt takes a step once; the answer says what is not as it should be then. What a repeated command is
// about may be gone by then.
func (s *story) attempt(next step, command []string, again bool) string {
	s.t.Helper()
	if command != nil {
		out, errs, code := s.run("epumgmt", command...)
		for tries := 0; again && code == cli.CodeUnreachable && tries < listingsMax; tries++ {
			pass(s.t, listingMax)
			out, errs, code = s.run("epumgmt", command...)
		}
		if code != 0 && (!again || code != cli.CodeNotFound) {
			return fmt.Sprintf("%v: exit status %d\n%s%s", command, code, out, errs)
		}
	}
	if next.until != nil {
		if err := next.until(); err != nil {
			return err.Error()
		}
		return ""
	}
	if err := follow(s.node, quiet(next.workers), "status", pool, "-w"); err != nil {
		return err.Error()
	}
	ws, problems := s.compare()
	if len(ws) != next.workers {
		problems = append(problems, fmt.Sprintf("workers %v, want %d", ws, next.workers))
	}
	if next.check != nil && len(problems) == 0 {
		if problem := next.check(ws); problem != "" {
			problems = append(problems, problem)
		}
	}
	return strings.Join(problems, "\n")
}

// A node that has just started ends nothing before its site is listed, which takes a moment.
const (
	listingMax  = time.Second
	listingsMax = 5
)

// died reports that epud's first life ended by its crash point, as it did if a command met its end.
func (s *story) died() bool {
	ctx, cancel := context.WithTimeout(context.Background(), dyingMax)
	defer cancel()
	select {
	case <-s.over:
		return killed(s.first.err)
	case <-ctx.Done():
		return false
	}
}

func summary(c census.Census) string {
	var out []string
	for _, i := range c.Instances {
		out = append(out, fmt.Sprintf("%s of %s: ended %v, keepers %v, programs %v", i.ID, i.Launch, i.Ended, i.Keepers, i.Programs))
	}
	return strings.Join(out, "\n")
}

// appended is an append as epud logs it.
type appended struct {
	Msg, Stream, Events string
}

// appends are those of epud's first life, in order.
func (s *story) appends() []appended {
	var out []appended
	for line := range strings.Lines(s.first.log.String()) {
		var a appended
		if json.Unmarshal([]byte(line), &a) == nil && a.Msg == "append" {
			out = append(out, a)
		}
	}
	return out
}

// last is the append at which epud died.
func (s *story) last() string {
	all := s.appends()
	if !killed(s.first.err) || len(all) == 0 {
		return "none: it ended first"
	}
	return all[len(all)-1].Stream + " " + all[len(all)-1].Events
}

// moments are some of the appends with these events, before and after: the first and the last of each
// kind, or all of them, or all of a kind with a star behind it.
func (s *story) moments(all bool, events ...string) []string {
	var out []string
	for _, event := range events {
		event, star := strings.CutSuffix(event, "*")
		n := 0
		for _, a := range s.appends() {
			if slices.Contains(strings.Split(a.Events, ","), event) {
				n++
			}
		}
		if n == 0 {
			s.t.Errorf("no append has %s", event)
		}
		for i := 1; i <= n; i++ {
			if all || star || i == 1 || i == n {
				out = append(out, fmt.Sprintf("before:%s:%d", event, i), fmt.Sprintf("after:%s:%d", event, i))
			}
		}
	}
	return out
}
