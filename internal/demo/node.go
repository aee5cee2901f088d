//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/internal/loopback"
	"github.com/nimbus-epu/epu/internal/process"
)

// node is a running epud.
type node struct {
	cmd     *exec.Cmd
	started time.Time
	up      chan struct{} // closed when it has greeted
	ended   chan struct{} // closed when it has ended, with err
	err     error
	log     *process.Tail
}

// surroundings is the environment of both programs: the user's own settings of EPU are left out, and the
// node has two addresses that nobody else listens on, the same after a restart, as a real one has.
func surroundings(environ []string, color bool) ([]string, error) {
	var out []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "EPU_") {
			out = append(out, v)
		}
	}
	at, err := loopback.Addresses(2)
	if err != nil {
		return nil, err
	}
	out = append(out, "EPU_LISTEN="+at[0], "EPU_NODE="+at[0], "EPU_HTTP="+at[1])
	if color {
		out = append(out, "CLICOLOR_FORCE=1")
	}
	return out, nil
}

// startNode starts epud dev, waits until it answers, and follows its events.
func (s *stage) startNode(ctx context.Context) error {
	s.say("epud dev")
	n := &node{started: s.now(), up: make(chan struct{}), ended: make(chan struct{}), log: process.NewTail(tailBytesMax)}
	n.cmd = exec.Command(filepath.Join(s.bin, "epud"), "dev")
	n.cmd.Dir, n.cmd.Env, n.cmd.Stderr = s.dir, s.environ, n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	s.node = n
	go n.watch(out)
	ctx, cancel := context.WithTimeout(ctx, factMax)
	defer cancel()
	select {
	case <-n.up:
		s.ok("epud answers %s after its start", seconds(s.now().Sub(n.started)))
	case <-n.ended:
		return failure{"epud dev runs", "it greets", fmt.Sprintf("%v: %s", n.err, n.log)}
	case <-ctx.Done():
		return failure{"epud dev runs", "it greets within " + factMax.String(), n.log.String()}
	}
	s.events, err = s.follow(context.WithoutCancel(ctx), "events", s.pool, "--follow")
	return err
}

// watch reads the greeting, and then waits for the end.
func (n *node) watch(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "epud dev:") {
			close(n.up)
			break
		}
	}
	_, _ = io.Copy(io.Discard, out)
	n.err = n.cmd.Wait()
	close(n.ended)
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// killNode kills epud without any warning.
func (s *stage) killNode() error {
	s.events.stop()
	s.node.kill()
	var exit *exec.ExitError
	if !errors.As(s.node.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return failure{"epud was killed", "signal: killed", fmt.Sprint(s.node.err)}
	}
	return nil
}

// stopNode asks epud to stop.
func (s *stage) stopNode(ctx context.Context) error {
	s.say("kill -TERM %d   (epud)", s.node.cmd.Process.Pid)
	s.events.stop()
	asked := s.now()
	if err := s.node.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, factMax)
	defer cancel()
	select {
	case <-s.node.ended:
	case <-ctx.Done():
		return failure{"epud stops when told to", "its end within " + factMax.String(), "it runs"}
	}
	return s.check("epud has stopped, "+seconds(s.now().Sub(asked))+" after it was told to", s.node.err == nil, "exit status 0", fmt.Sprint(s.node.err))
}

// linesMax is how many lines may wait to be read; then epumgmt waits.
const linesMax = 1000

// follower reads what an epumgmt that goes on prints, one JSON object per line.
type follower struct {
	cmd    *exec.Cmd
	lines  chan []byte
	passed []event // read, and not asked for yet
	stop   func()
}

func (s *stage) follow(ctx context.Context, args ...string) (*follower, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{lines: make(chan []byte, linesMax)}
	f.cmd = exec.CommandContext(ctx, filepath.Join(s.bin, "epumgmt"), append(args, "-o", "jsonl")...)
	f.cmd.Dir, f.cmd.Env = s.dir, s.environ
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := f.cmd.StdoutPipe()
	if err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan struct{})
	f.stop = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		defer close(f.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case f.lines <- bytes.Clone(lines.Bytes()):
			case <-ctx.Done():
			}
		}
		_ = f.cmd.Wait() // it ends by being stopped, or with its node
	}()
	return f, nil
}

// event is a line of epumgmt events.
type event struct {
	Name string         `json:"name"`
	Data map[string]any `json:"data"`
}

func (e event) text(key string) string {
	t, _ := e.Data[key].(string)
	return t
}

// named selects an event of a worker.
func named(name, worker string) func(event) bool {
	return func(e event) bool { return e.Name == name && e.text("worker") == worker }
}

// ofOthers selects an event of any worker but these.
func ofOthers(name string, ws []worker) func(event) bool {
	return func(e event) bool {
		return e.Name == name && !slices.ContainsFunc(ws, func(w worker) bool { return w.Worker == e.text("worker") })
	}
}

// await waits for an event. Those that come before it are kept for later questions.
func (f *follower) await(ctx context.Context, what string, wanted func(event) bool) (event, error) {
	if i := slices.IndexFunc(f.passed, wanted); i >= 0 {
		e := f.passed[i]
		f.passed = slices.Delete(f.passed, i, i+1)
		return e, nil
	}
	for {
		e, err := next[event](ctx, f, what)
		if err != nil || wanted(e) {
			return e, err
		}
		f.passed = append(f.passed, e)
	}
}

func next[T any](ctx context.Context, f *follower, what string) (T, error) {
	var t T
	bounded, cancel := context.WithTimeout(ctx, factMax)
	defer cancel()
	select {
	case line, ok := <-f.lines:
		if !ok {
			return t, failure{"waited for " + what, "that", "epumgmt ended"}
		}
		if err := json.Unmarshal(line, &t); err != nil {
			return t, fmt.Errorf("epumgmt %v: %w in %s", f.cmd.Args[1:], err, line)
		}
		return t, nil
	case <-bounded.Done():
		return t, failure{"waited for " + what, "within " + factMax.String(), "nothing of the kind"}
	}
}

// tailBytesMax bounds what is kept of a program's log.
const tailBytesMax = 4 << 10
