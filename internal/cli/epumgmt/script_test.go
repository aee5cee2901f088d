package epumgmt_test

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
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/epumgmt"
)

// Every command runs as a process of its own against a node that listens on loopback. Only what stands
// behind the relay is scripted, and the clock stands still.

var rewrite = flag.Bool("rewrite", false, "rewrite golden files and scripts with what the program prints")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"epumgmt": program})
}

// program is cmd/epumgmt with the surroundings of a test.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	e := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	still(&e)
	if w, err := strconv.Atoi(os.Getenv("TEST_TTY")); err == nil {
		e.StdoutTTY, e.StderrTTY, e.StdinTTY, e.Width = true, true, true, w
	}
	os.Exit(epumgmt.Main(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, e))
}

// still stops the clock: it moves only when somebody waits, and then at once.
func still(e *cli.Env) {
	var mu sync.Mutex
	at, ids := now, 0
	e.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	e.After = func(d time.Duration) <-chan time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(d)
		c := make(chan time.Time, 1)
		c <- at
		return c
	}
	e.NewID = func() string {
		mu.Lock()
		defer mu.Unlock()
		ids++
		return fmt.Sprintf("id-%d", ids)
	}
	e.Guess = time.Minute // the machine may be busy with other tests
	e.Zone, e.User, e.Version, e.Commit = time.UTC, "anna", "1.0.0", "0123456789abcdef"
}

type nodeKey struct{}

func TestScripts(t *testing.T) {
	dead := deadAddress(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *rewrite, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			address, node, err := startNode(env.Defer)
			if err != nil {
				return err
			}
			env.Values[nodeKey{}] = node
			env.Setenv("EPU_NODE", address)
			env.Setenv("ALIVE", address)
			env.Setenv("DEAD", dead)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("LANG", "C.UTF-8")
			return os.MkdirAll(filepath.Join(env.WorkDir, "tmp"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sent": sent, "interrupt": interrupt},
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

// sent wants a command that reached the node, as a regular expression: sent 'Scale n=5'. With ! none may
// have.
func sent(ts *testscript.TestScript, neg bool, args []string) {
	n := ts.Value(nodeKey{}).(*fakeNode)
	n.mu.Lock()
	defer n.mu.Unlock()
	all := strings.Join(n.log, "\n")
	if regexp.MustCompile("(?m)^"+args[0]).MatchString(all) == neg {
		ts.Fatalf("the node got:\n%s\nwant %q, negated %v", all, args[0], neg)
	}
}

// interrupt runs a command that has no end of its own, sends it what Ctrl-C does once it has printed a
// line with a word, and wants the exit code 130: interrupt WORD COMMAND ARG...
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt WORD COMMAND ARG...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // then it is killed, and the word never came
	defer cancel()
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "EPU_NODE="+ts.Getenv("EPU_NODE"), "HOME="+ts.Getenv("HOME"), "TEST_TTY="+ts.Getenv("TEST_TTY"), "LANG=C.UTF-8")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	var seen strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), args[0]) {
		n, err := out.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			ts.Fatalf("%q never came, only:\n%s", args[0], seen.String())
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	fmt.Fprint(ts.Stdout(), seen.String())
	if code := cmd.ProcessState.ExitCode(); code != cli.CodeInterrupted {
		ts.Fatalf("exits with %d when interrupted, want %d", code, cli.CodeInterrupted)
	}
}

// Each command has a script of its own that runs all its examples and an error.
func TestEveryCommandHasAScriptWithItsExamples(t *testing.T) {
	for _, c := range epumgmt.Root().Commands() {
		if c.Hidden {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("testdata", "script", c.Name()+".txtar"))
		if err != nil {
			t.Errorf("%s has no script: %v", c.Name(), err)
			continue
		}
		script := string(raw)
		for _, example := range examples(c) {
			if !regexp.MustCompile(`(?m)^(exec|exits \d+) ` + regexp.QuoteMeta(example) + `$`).MatchString(script) {
				t.Errorf("the script of %s does not run its example %q", c.Name(), example)
			}
		}
		if !regexp.MustCompile(`(?m)^exits (1|4|10|11|12|13|14|20) epumgmt ` + c.Name()).MatchString(script) {
			t.Errorf("the script of %s has no error", c.Name())
		}
	}
}

// examples are the command lines a command shows; there is at least one.
func examples(c *cobra.Command) []string {
	var lines []string
	for line := range strings.Lines(c.Example) {
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) == 0 {
		return []string{"(" + c.Name() + " has no example)"}
	}
	return lines
}

// rangeInto collects the fields of a message as name=value.
func rangeInto(parts *[]string) func(protoreflect.FieldDescriptor, protoreflect.Value) bool {
	return func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		text := fmt.Sprint(v.Interface())
		switch {
		case f.IsList() && f.Message() != nil:
			text = strconv.Itoa(v.List().Len())
		case f.IsList():
			var items []string
			for i := range v.List().Len() {
				items = append(items, v.List().Get(i).String())
			}
			text = strings.Join(items, ",")
		case f.Message() != nil:
			text = pretty(v.Message().Interface())
		}
		*parts = append(*parts, string(f.Name())+"="+text)
		return true
	}
}
