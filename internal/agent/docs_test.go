package agent

// Goal: the reference says what the program does.
// Method: compare it with the command tree, the environment variables, exit codes and limits.

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/actors/msg"
)

func TestReferenceIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/epu-agent.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	want := func(what, piece string) {
		t.Helper()
		if !strings.Contains(doc, piece) {
			t.Errorf("the reference lacks %s: %q", what, piece)
		}
	}
	code, began := 0, false
	root := newRoot(nil, io.Discard, io.Discard, &code, &began)
	for _, c := range root.Commands() {
		want("a command", "## "+c.CommandPath())
		c.InitDefaultHelpFlag()
		flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(c.Flags().FlagUsages(), -1)
		if len(flags) == 0 {
			t.Errorf("flags of %s: got none, want at least --help", c.CommandPath())
		}
		for _, f := range flags {
			want("a flag", "| `"+f[1])
		}
	}
	for _, e := range []string{EnvUserData, EnvInstance, EnvDrainCommand, EnvLogLevel, EnvStatusFile, EnvWorker, EnvName, EnvProgramPID} {
		want("a variable", "`"+e+"`")
	}
	for _, c := range []int{ExitDone, ExitFailed, ExitUsage, ExitWorkerEnded, ExitInterrupted} {
		want("an exit code", fmt.Sprintf("\n| %d |", c))
	}
	for _, s := range []string{stateProcessError, stateMonitorError, commandBeatNow, commandDrain, commandCancelDrain, commandStop} {
		want("a word of the wire", "`"+s+"`")
	}
	for _, l := range []struct{ what, piece string }{
		{"the restart delays", fmt.Sprintf("after %.0f s, then 2,\n4, 8 ... up to %.0f s", restartDelayMin.Seconds(), restartDelayMax.Seconds())},
		{"the healthy life", fmt.Sprintf("has lived for %.0f s again", lifeHealthy.Seconds())},
		{"the limit in a row", fmt.Sprintf("more than %d failures in a row", failuresInRowMax)},
		{"the long life", fmt.Sprintf("has lived for %.0f s, so", lifeReset.Seconds())},
		{"the grace", fmt.Sprintf("SIGKILL after %.0f s, exit code 0", stopGrace.Seconds())},
		{"the kept failures", fmt.Sprintf("At most %d unanswered failures are kept, at most %d new ones", failuresKeptMax, failuresPerBeatMax)},
		{"the period's bounds", fmt.Sprintf("between %g s and %g h", beatPeriodMin.Seconds(), beatPeriodMax.Hours())},
		{"the default period", fmt.Sprintf("default %g", beatPeriodDefault.Seconds())},
		{"the longest wait", fmt.Sprintf("up to %g s, for ever", retryDelayMax.Seconds())},
		{"the beat's deadline", fmt.Sprintf("shorter of one period and %g s", beatDeadlineMax.Seconds())},
		{"the known commands", fmt.Sprintf("the last %d\nIDs", commandsKnownMax)},
		{"the most nodes", fmt.Sprintf("at most %d,", nodesMax)},
		{"the longest user data", fmt.Sprintf("at most %d KiB", msg.AgentBodyMax>>10)},
	} {
		want(l.what, l.piece)
	}
}
