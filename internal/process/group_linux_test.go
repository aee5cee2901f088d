package process_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu/internal/process"
)

// Goal: nothing of a group outlives its leader or its time. Method: real shells whose grandchildren hold a fifo open;
// its end is the end of them all. That a bound program dies with its parent is shown by the tests of those who bind one.

// holder makes a fifo, and gives a command whose script has it as $0.
func holder(t *testing.T, script string) (*exec.Cmd, string) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command("sh", "-c", script, fifo), fifo
}

// opened opens a fifo once somebody writes to it, and waits for the first byte.
func opened(t *testing.T, fifo string) *os.File {
	t.Helper()
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return f
}

const stays = `trap '' TERM; exec 3>"$0"; printf x >&3; exec sleep 1000`

func TestWhatIsLeftOfAGroupEndsWithItsLeader(t *testing.T) {
	cmd, fifo := holder(t, `(`+stays+`) & read line; exit 3`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	g, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	f := opened(t, fifo)
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := g.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v: the grandchild goes on", n, err)
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal after the end gives %v", err)
	}
}

func TestAGroupWhoseTimeIsOverIsKilled(t *testing.T) {
	cmd, fifo := holder(t, `trap '' TERM; (`+stays+`) & wait`)
	g, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	f := opened(t, fifo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if killed, err := g.WaitOrKill(ctx); !killed || err == nil {
		t.Errorf("killed %v, %v", killed, err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v: the grandchild goes on", n, err)
	}
}

func TestAProgramThatEndsInTime(t *testing.T) {
	tail := process.NewTail(most)
	cmd := exec.Command("sh", "-c", "echo done")
	cmd.Stdout = tail
	g, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if killed, err := g.WaitOrKill(t.Context()); killed || err != nil || tail.String() != "done\n" {
		t.Errorf("killed %v, %v, and it said %q", killed, err, tail)
	}
}

// Goal: a program that ended well as its time ran out counts as ended well. Method: the context is over once it has
// ended, and before anybody waits for it.
func TestAProgramThatEndsAsItsTimeRunsOut(t *testing.T) {
	g, err := process.Start(exec.Command("true"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, g.Pid(), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if killed, err := g.WaitOrKill(ctx); killed || err != nil {
		t.Errorf("killed %v, %v", killed, err)
	}
}

func TestNoSuchProgram(t *testing.T) {
	for _, start := range []func(*exec.Cmd) (*process.Group, error){process.Start, process.StartBound} {
		if g, err := start(exec.Command("/no/such/program")); g != nil || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, %v", g, err)
		}
	}
}
