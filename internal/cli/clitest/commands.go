package clitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nimbus-epu/epu/internal/cli"
)

// Exits is a command of scripts that runs another one and wants its exit code: exits CODE COMMAND ARG...
func Exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exits with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// Interrupt is a command of scripts that runs another one which has no end of its own, sends it what Ctrl-C does
// once it has printed a text, and wants the exit code of that: interrupt TEXT COMMAND ARG...
func Interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt TEXT COMMAND ARG...")
	}
	r := Start(ts, nil, args[1:]...)
	r.Await(args[0])
	r.Interrupt()
}

// handed are the variables that go on from a script to a program that Start runs.
var handed = []string{"EPU_NODE", "HOME", "TEST_TTY", "LANG"}

// patience bounds the life of a program without an end of its own: then it is killed, and what it was to print never
// came.
const patience = time.Minute

// Running is a program that has no end of its own.
type Running struct {
	ts   *testscript.TestScript
	cmd  *exec.Cmd
	out  io.Reader
	in   io.WriteCloser
	all  strings.Builder // that it has printed
	read int             // of that, up to the end of the newest text that was awaited
	stop context.CancelFunc
}

// Start runs a program in a script's folder; environ is added to its environment.
func Start(ts *testscript.TestScript, environ []string, args ...string) *Running {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	r := &Running{ts: ts, cmd: exec.CommandContext(ctx, args[0], args[1:]...), stop: stop}
	ts.Defer(stop)
	r.cmd.Dir, r.cmd.Env = ts.MkAbs("."), r.cmd.Environ()
	for _, name := range handed {
		r.cmd.Env = append(r.cmd.Env, name+"="+ts.Getenv(name))
	}
	r.cmd.Env = append(r.cmd.Env, environ...)
	var err error
	r.out, err = r.cmd.StdoutPipe()
	ts.Check(err)
	r.in, err = r.cmd.StdinPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	return r
}

// Await waits until the program has printed a text after the one that was awaited before.
func (r *Running) Await(text string) {
	buf := make([]byte, 4096)
	for !strings.Contains(r.all.String()[r.read:], text) {
		n, err := r.out.Read(buf)
		r.all.Write(buf[:n])
		if err != nil {
			r.ts.Fatalf("%q never came, only:\n%s", text, r.all.String()[r.read:])
		}
	}
	r.read = r.all.Len()
}

// Say writes to the program's standard input.
func (r *Running) Say(text string) {
	_, err := io.WriteString(r.in, text)
	r.ts.Check(err)
}

// Interrupt sends what Ctrl-C does and wants the exit code of that. What the program has printed stands in the
// script's log.
func (r *Running) Interrupt() {
	r.ts.Check(r.cmd.Process.Signal(os.Interrupt))
	_ = r.cmd.Wait() // its exit code says it all
	r.stop()
	fmt.Fprint(r.ts.Stdout(), r.all.String())
	if code := r.cmd.ProcessState.ExitCode(); code != cli.CodeInterrupted {
		r.ts.Fatalf("exits with %d when interrupted, want %d", code, cli.CodeInterrupted)
	}
}
