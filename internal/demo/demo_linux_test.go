package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/cli"
)

// Goal: an event that comes before the one asked for is not lost. Method: two events in the other order.
func TestAwaitKeepsWhatItPasses(t *testing.T) {
	f := &follower{lines: make(chan []byte, 2)}
	f.lines <- []byte(`{"name":"worker_running","data":{"worker":"a"}}`)
	f.lines <- []byte(`{"name":"worker_running","data":{"worker":"b"}}`)
	for _, want := range []string{"b", "a"} {
		e, err := f.await(context.Background(), "it", named("worker_running", want))
		if err != nil || e.text("worker") != want {
			t.Errorf("got %v, %v, want the event of %s", e, err, want)
		}
	}
	close(f.lines)
	if _, err := f.await(context.Background(), "it", named("worker_running", "a")); err == nil {
		t.Error("an event was given twice")
	}
}

// Goal: explain's lines are compared without their colours. Method: a coloured line.
func TestPlain(t *testing.T) {
	if got := plain("\x1b[2m  doing     \x1b[0mreplaced w"); got != "  doing     replaced w" {
		t.Errorf("got %q", got)
	}
}

// Goal: keys are asked for only where there are any. Method: every combination of the environment.
func TestAutomatic(t *testing.T) {
	for _, c := range []struct {
		ci, demo string
		tty      bool
		want     bool
	}{
		{want: true}, {tty: true}, {tty: true, ci: "true", want: true}, {tty: true, demo: "auto", want: true}, {tty: true, demo: "slow"},
	} {
		env := cli.Env{Now: func() time.Time { return time.Time{} }, StdinTTY: c.tty, StdoutTTY: c.tty, Getenv: func(name string) string {
			return map[string]string{"CI": c.ci, "DEMO": c.demo}[name]
		}}
		if got := newScreen(env, &strings.Builder{}).auto; got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
