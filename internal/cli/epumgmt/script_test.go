package epumgmt_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/clitest"
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
	os.Exit(clitest.Program(epumgmt.Main, still))
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": clitest.Exits, "sent": sent, "interrupt": clitest.Interrupt},
	})
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

// Each command has a script of its own that runs all its examples and an error.
func TestEveryCommandHasAScriptWithItsExamples(t *testing.T) {
	clitest.EachHasScript(t, epumgmt.Root(), "epumgmt", filepath.Join("testdata", "script"))
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
