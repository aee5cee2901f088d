package policy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/clitest"
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
	os.Exit(clitest.Program(epumgmt.Main, still))
}

// still stops the clock. A watch looks again when its standard input says so, or at once when there is none.
func still(e *cli.Env) {
	now := time.Date(2026, 11, 21, 14, 32, 10, 0, time.UTC)
	e.Now, e.Zone, e.Version = func() time.Time { return now }, time.UTC, "1.0.0"
	e.User = "anna"
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": clitest.Exits, "watch": watch},
	})
}

// watch runs a command that has no end of its own. It waits for a text, copies one file over another, lets
// the command look again, waits for a second text, interrupts it and wants the exit code 130:
// watch TEXT1 FROM TO TEXT2 COMMAND ARG...
func watch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 {
		ts.Fatalf("usage: watch TEXT1 FROM TO TEXT2 COMMAND ARG...")
	}
	r := clitest.Start(ts, []string{"TEST_STEPS=1"}, args[4:]...)
	r.Await(args[0])
	raw, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), raw, 0o644))
	r.Say(".")
	r.Await(args[3])
	r.Interrupt()
}

// Each command has a script of its own that runs all its examples and an error.
func TestEveryCommandHasAScriptWithItsExamples(t *testing.T) {
	clitest.EachHasScript(t, group(t), "epumgmt policy", filepath.Join("testdata", "script"))
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
