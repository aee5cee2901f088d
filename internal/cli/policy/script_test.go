package policy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/epumgmt"
)

// Every command runs as a process of its own, and those that need a node ask the one of node_test.go. The clock
// stands still.

var rewrite = flag.Bool("rewrite", false, "rewrite golden files and scripts with what the program prints")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"epumgmt": program})
}

// program is cmd/epumgmt with the surroundings of a test.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	e := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	now := time.Date(2026, 11, 21, 14, 32, 10, 0, time.UTC)
	e.Now, e.Zone, e.Version = func() time.Time { return now }, time.UTC, "1.0.0"
	e.User = "anna"
	// A watch looks again when its standard input says so, or at once when there is none.
	e.After = func(time.Duration) <-chan time.Time {
		c := make(chan time.Time, 1)
		if os.Getenv("TEST_STEPS") == "" {
			c <- now
			return c
		}
		go func() {
			if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
				c <- now
			}
		}()
		return c
	}
	if w, err := strconv.Atoi(os.Getenv("TEST_TTY")); err == nil {
		e.StdoutTTY, e.StderrTTY, e.StdinTTY, e.Width = true, true, true, w
	}
	os.Exit(epumgmt.Main(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, e))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *rewrite, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			address, err := startNode(env.Defer)
			env.Setenv("EPU_NODE", address)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("LANG", "C.UTF-8")
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "watch": watch},
	})
}

// exits runs a command and wants an exit code: exits CODE COMMAND ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
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

// watch runs a command that has no end of its own. It waits for a text, copies one file over another, lets
// the command look again, waits for a second text, interrupts it and wants the exit code 130:
// watch TEXT1 FROM TO TEXT2 COMMAND ARG...
func watch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 {
		ts.Fatalf("usage: watch TEXT1 FROM TO TEXT2 COMMAND ARG...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // then it is killed, and a text never came
	defer cancel()
	cmd := exec.CommandContext(ctx, args[4], args[5:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "LANG=C.UTF-8", "TEST_STEPS=1")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	in, err := cmd.StdinPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	var seen strings.Builder
	wait := func(text string) {
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), text) {
			n, err := out.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				ts.Fatalf("%q never came, only:\n%s", text, seen.String())
			}
		}
		seen.Reset()
	}
	wait(args[0])
	raw, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), raw, 0o644))
	_, err = in.Write([]byte("."))
	ts.Check(err)
	wait(args[3])
	ts.Check(cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != cli.CodeInterrupted {
		ts.Fatalf("exits with %d when interrupted, want %d", code, cli.CodeInterrupted)
	}
}

// Each command has a script of its own that runs all its examples and an error.
func TestEveryCommandHasAScriptWithItsExamples(t *testing.T) {
	for _, c := range group(t).Commands() {
		raw, err := os.ReadFile(filepath.Join("testdata", "script", c.Name()+".txtar"))
		if err != nil {
			t.Errorf("%s has no script: %v", c.Name(), err)
			continue
		}
		script := string(raw)
		if c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
		for line := range strings.Lines(c.Example) {
			example := strings.TrimSpace(line)
			if !regexp.MustCompile(`(?m)^(exec|exits \d+) ` + regexp.QuoteMeta(example) + `$`).MatchString(script) {
				t.Errorf("the script of %s does not run its example %q", c.Name(), example)
			}
		}
		if !regexp.MustCompile(`(?m)^exits (1|4|11|12) epumgmt policy ` + c.Name()).MatchString(script) {
			t.Errorf("the script of %s has no error", c.Name())
		}
	}
}

func group(t *testing.T) *cobra.Command {
	t.Helper()
	for _, c := range epumgmt.Root().Commands() {
		if c.Name() == "policy" {
			return c
		}
	}
	t.Fatal(fmt.Errorf("there is no command policy"))
	return nil
}
