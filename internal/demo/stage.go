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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/rabbitmqtest"
)

const (
	factMax  = 20 * time.Second // that a fact may be waited for
	cleanMax = 15 * time.Second
	// programMax is how long an agent may take to start its program after its check-in, on a busy machine.
	programMax = 5 * time.Second
)

// failure is a fact that is not so.
type failure struct{ fact, want, saw string }

func (f failure) Error() string {
	return fmt.Sprintf("not so: %s\n  expected  %s\n  saw       %s", f.fact, f.want, f.saw)
}

// stage is where the story takes place: a folder of its own, a node in it, and who watches.
type stage struct {
	screen
	story
	bin, dir, data string
	environ        []string
	node           *node
	events         *follower
	enter          chan struct{} // the reader's key
}

// demo tells every chapter and clears away, whatever happened.
func demo(ctx context.Context, env cli.Env, environ, args []string) (err error) {
	s := &stage{screen: newScreen(env, os.Stdout), enter: make(chan struct{})}
	switch {
	case len(args) == 1:
		s.story = sleepers()
	case len(args) == 2 && args[1] == "queue":
		if err := rabbitmqtest.Missing(); err != nil {
			if env.Getenv("CI") == "true" {
				return err
			}
			fmt.Fprintf(os.Stderr, "demo: nothing is shown: %v\n", err)
			return nil
		}
		s.story = follows(s, environ)
	default:
		return errors.New("usage: demo FOLDER-OF-PROGRAMS [queue] (make demo, make demo-queue)")
	}
	if s.bin, err = filepath.Abs(args[0]); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "epu-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clear(context.WithoutCancel(ctx), err != nil && ctx.Err() == nil)) }()
	// The folder's real name: /proc knows no symbolic links.
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return err
	}
	s.data = filepath.Join(s.dir, ".epu")
	if s.environ, err = surroundings(environ, s.color); err != nil {
		return err
	}
	if !s.auto {
		go s.keys(os.Stdin)
	}
	for i, c := range s.chapters {
		if i > 0 {
			if err := s.turn(ctx); err != nil {
				return err
			}
		}
		s.title(i+1, c.title, c.about)
		if err := c.tell(ctx, s); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			s.bad(err)
			return errors.New("the story ended early: " + c.title)
		}
	}
	s.bye(s.hint)
	return nil
}

// keys turns lines of the terminal into signs to go on.
func (s *stage) keys(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			close(s.enter) // no more keys: go on by itself
			return
		}
		s.enter <- struct{}{}
	}
}

// turn waits for the reader.
func (s *stage) turn(ctx context.Context) error {
	if s.auto {
		return nil
	}
	s.prompt()
	select {
	case <-s.enter:
		return nil
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// run asks the node as a user would, and gives what epumgmt printed.
func (s *stage) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*factMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "epumgmt"), args...)
	cmd.Dir, cmd.Env = s.dir, s.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the demo's to handle
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), failure{"epumgmt " + strings.Join(args, " "), "exit status 0", err.Error() + ": " + strings.TrimSpace(errs.String())}
	}
	return out.String(), nil
}

// ask gives the answer of a question in machine form.
func (s *stage) ask(ctx context.Context, into any, args ...string) error {
	out, err := s.run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("epumgmt %s -o json: %w in %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// shown runs a command that the reader sees, with what it prints.
func (s *stage) shown(ctx context.Context, args ...string) (string, error) {
	s.say("epumgmt %s", strings.Join(args, " "))
	out, err := s.run(ctx, args...)
	if err == nil {
		s.output(out)
	}
	return out, err
}

func (s *stage) show(ctx context.Context, args ...string) error {
	_, err := s.shown(ctx, args...)
	return err
}

// clear takes away everything that was started. After a failure it first shows the end of epud's log.
func (s *stage) clear(ctx context.Context, failed bool) error {
	ctx, cancel := context.WithTimeout(ctx, cleanMax)
	defer cancel()
	if s.events != nil {
		s.events.stop()
	}
	if s.node != nil {
		if failed {
			s.output(s.node.log.String())
		}
		s.node.kill()
	}
	if s.end != nil {
		s.end()
	}
	if err := census.End(ctx, s.data, s.program); err != nil {
		return err
	}
	return os.RemoveAll(s.dir)
}
