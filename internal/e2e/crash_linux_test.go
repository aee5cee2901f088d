//go:build system

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
)

// crashSample is about how many moments are tried when not all are: an end-to-end run takes seconds.
const crashSample = 30

// dyingMax is how long a process that was killed may take to be gone.
const dyingMax = 3 * time.Second

// Goal: a daemon that is killed at any durable step of launching and terminating, and started again,
// loses no machine, doubles none and leaves none. Method: a first run counts the appends of a pool's
// life (2 workers, 3, 1, terminate-all); then each run kills epud with SIGKILL before or after one of
// them, starts it again as a service manager would, and goes on as if nothing had happened. After each
// step the journal is held against the machine. Only real processes show that what the daemon had begun
// outside of itself fits what its journal says.
func TestSystemCrashPoints(t *testing.T) {
	whole := &story{node: newNode(t)}
	whole.tell()
	appends := strings.Count(whole.first.log.String(), `"msg":"append"`)
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
			s := &story{node: newNode(t), at: at}
			s.tell()
		})
	}
}

// story is the life of a pool, during which epud dies at most once.
type story struct {
	*node
	at    string
	first *life
	over  chan struct{} // closed when the watch has ended
}

func (s *story) tell() {
	s.t.Helper()
	var err error
	if s.first, err = s.launch("EPU_CRASH_AT=" + s.at); err != nil {
		s.t.Fatal(err)
	}
	s.over = make(chan struct{})
	go s.again()
	s.await()
	machines := 0
	for _, step := range []struct {
		workers, machines int // now, and ever
		command           []string
	}{
		{2, 2, nil},
		{3, 3, []string{"scale", pool, "3"}},
		{1, 3, []string{"scale", pool, "1"}},
		{0, 3, []string{"terminate-all", "--confirm=ALL", "--timeout", "20s"}},
	} {
		s.insist(step.command, step.workers)
		if machines = len(s.look().Instances); machines != step.machines {
			s.t.Errorf("with %d workers: got %d machines ever launched, want %d", step.workers, machines, step.machines)
		}
	}
	s.empty(s.t)
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

// insist gives a command, and waits until the pool is as it should be. If epud died meanwhile it does
// both again: every command is absolute.
func (s *story) insist(command []string, workers int) {
	s.t.Helper()
	for {
		again := s.life() != s.first
		if again {
			s.await()
		}
		problem := s.attempt(command, workers)
		switch {
		case problem == "":
			return
		case again || !s.died():
			s.t.Fatalf("with %d workers wanted: %s\non the machine:\n%s", workers, problem, summary(s.look()))
		}
	}
}

// attempt gives a command once; the answer says what is not as it should be then.
func (s *story) attempt(command []string, workers int) string {
	s.t.Helper()
	if command != nil {
		if out, errs, code := s.run("epumgmt", command...); code != 0 {
			return fmt.Sprintf("%v: exit status %d\n%s%s", command, code, out, errs)
		}
	}
	if err := follow(s.node, quiet(workers), "status", pool, "-w"); err != nil {
		return err.Error()
	}
	ws, problems := s.compare()
	if len(ws) != workers {
		problems = append(problems, fmt.Sprintf("workers %v, want %d", ws, workers))
	}
	return strings.Join(problems, "\n")
}

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

// last is the append at which epud died.
func (s *story) last() string {
	out := "none: it ended first"
	if !killed(s.first.err) {
		return out
	}
	for line := range strings.Lines(s.first.log.String()) {
		var a struct{ Msg, Stream, Events string }
		if json.Unmarshal([]byte(line), &a) == nil && a.Msg == "append" {
			out = a.Stream + " " + a.Events
		}
	}
	return out
}
