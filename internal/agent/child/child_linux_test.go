package child

// Goal: show that real programs are started, ended, reaped and reported as documented.
// Method: small shell programs; every wait is on an exit or a pipe.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// roleEnv makes this test binary play another process, so that adoption does not touch the tests.
const roleEnv = "EPU_CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "parent":
		parentRole()
	case "reaper":
		reaperRole()
	default:
		os.Exit(m.Run())
	}
}

// parentRole starts a program that prints its pid, and stays until it is killed.
func parentRole() {
	_, err := NewSet().Start(Spec{
		Args: []string{"sh", "-c", "echo $$; exec sleep 1000"}, Env: []string{"PATH=" + os.Getenv("PATH")},
		Stdout: NewOutput(os.Stdout), Stderr: NewOutput(os.Stderr),
	})
	if err != nil {
		fmt.Println("failed:", err)
	}
	select {}
}

// daemonScript starts a daemon in a session of its own, waits until it has printed its pid, and exits.
func daemonScript(dir string) string {
	return "cd " + dir + "; mkfifo f; setsid sh -c 'echo $$; echo go >f; exec sleep 1000' & read x <f; exit 7"
}

// reaperRole runs a program that leaves a daemon in a session of its own, and ends what is left.
func reaperRole() {
	set := NewSet()
	release, err := set.Adopt()
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	p, err := set.Start(Spec{
		Args: []string{"sh", "-c", daemonScript(os.Args[len(os.Args)-1])}, Env: os.Environ(),
		Stdout: NewOutput(os.Stdout), Stderr: NewOutput(os.Stderr),
	})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	p.Wait()
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	release()
	if err := set.EndOrphans(context.Background()); err != nil {
		fmt.Println("failed:", err)
	}
	fmt.Println("left:", len(set.orphans()))
	os.Exit(0)
}

func start(t *testing.T, out, errs io.Writer, script string) *Process {
	t.Helper()
	p, err := NewSet().Start(Spec{
		Args: []string{"sh", "-c", script}, Env: os.Environ(), Stdout: NewOutput(out), Stderr: NewOutput(errs),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		script string
		want   Exit
	}{
		{"exit 0", Exit{}},
		{"echo boom >&2; exit 3", Exit{Status: 3, Stderr: "boom\n"}},
		{"kill -KILL $$", Exit{Status: -1, Signal: "SIGKILL"}},
		{"printf 'caf\\351: \\377\\376' >&2; exit 4", Exit{Status: 4, Stderr: "caf?: ?"}},
		{"printf half >&2; kill -SEGV $$", Exit{Status: -1, Signal: "SIGSEGV", Stderr: "half"}},
	} {
		if got := start(t, io.Discard, io.Discard, c.script).Wait(); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.script, got, c.want)
		}
	}
}

func TestStderrTail(t *testing.T) {
	var errs bytes.Buffer
	p := start(t, io.Discard, &errs, "i=0; while [ $i -lt 2000 ]; do echo \"line $i of the story\" >&2; i=$((i+1)); done; printf end >&2; exit 1")
	got := p.Wait().Stderr
	if len(got) != TailMax || !strings.HasSuffix(got, "line 1999 of the story\nend") {
		t.Errorf("tail: got %d bytes ending %q, want %d ending with the last lines", len(got), got[max(0, len(got)-40):], TailMax)
	}
	if n := strings.Count(errs.String(), "\n"); n != 2001 {
		t.Errorf("passed through: got %d lines, want 2001", n)
	}
}

func TestSignalReachesTheGroupAndNothingStays(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, w, io.Discard, "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait")
	var helper int
	if _, err := fmt.Fscan(r, &helper); err != nil {
		t.Fatal(err)
	}
	helperEnds := watch(t, helper)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := p.Wait(); got.Signal != "SIGTERM" {
		t.Errorf("got %+v, want SIGTERM", got)
	}
	if !helperEnds() {
		t.Errorf("pid %d of the group, which ignores SIGTERM, lives on", helper)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal after the end: got %v, want nothing", err)
	}
}

// watch gives a function that waits for a process's end, for at most 20 s.
func watch(t *testing.T, pid int) func() bool {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() bool {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
			if !errors.Is(err, unix.EINTR) {
				return n == 1
			}
		}
	}
}

func TestDaemonThatKeepsThePipeDoesNotDelayTheExit(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, w, io.Discard, daemonScript(t.TempDir()))
	var daemon int
	if _, err := fmt.Fscan(r, &daemon); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(daemon, unix.SIGKILL) }()
	if got := p.Wait(); got.Status != 7 || got.Err != nil {
		t.Errorf("got %+v, want status 7", got)
	}
}

func TestStartFails(t *testing.T) {
	_, err := NewSet().Start(Spec{Args: []string{"/no/such/program"}, Stdout: NewOutput(io.Discard), Stderr: NewOutput(io.Discard)})
	if !errors.Is(err, os.ErrNotExist) || Ours(err) {
		t.Errorf("got %v (ours %v), want not exist, not ours", err, Ours(err))
	}
	if !Ours(fmt.Errorf("start x: %w", unix.EAGAIN)) {
		t.Error("EAGAIN: got not ours, want ours")
	}
}

// role runs this test binary as another process.
func role(t *testing.T, name string) (*exec.Cmd, io.WriteCloser, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, t.TempDir())
	cmd.Env = append(os.Environ(), roleEnv+"="+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewReader(out)
}

func TestChildDiesWithItsParent(t *testing.T) {
	cmd, _, out := role(t, "parent")
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	ends := watch(t, pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !ends() {
		t.Errorf("pid %d lives on after its parent was killed", pid)
	}
}

func TestOrphansAreReapedAndEnded(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid")
	}
	cmd, in, out := role(t, "reaper")
	line, err := out.ReadString('\n')
	var daemon int
	if _, scanErr := fmt.Sscan(line, &daemon); scanErr != nil {
		t.Fatalf("got %q %v, want a pid", line, err)
	}
	ends := watch(t, daemon)
	_, _ = io.WriteString(in, "go\n")
	rest, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(rest), "left: 0") {
		t.Errorf("got %q %v, want left: 0", rest, err)
	}
	if !ends() {
		t.Errorf("daemon %d lives on", daemon)
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"whole", []string{"a\n", "b\n"}, []string{"a\n", "b\n"}},
		{"split", []string{"a", "b\nc", "\n"}, []string{"ab\n", "c\n"}},
		{"unfinished", []string{"a\nb"}, []string{"a\n", "b\n"}},
		{"long", []string{strings.Repeat("x", lineMax+1)}, []string{strings.Repeat("x", lineMax) + "\n", "x\n"}},
	} {
		var got record
		l := NewOutput(&got).lines()
		for _, w := range c.writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: got %d %v, want %d", c.name, n, err, len(w))
			}
		}
		l.flush()
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

type record []string

func (r *record) Write(p []byte) (int, error) {
	*r = append(*r, string(p))
	return 0, errors.New("nobody reads") // must not matter
}

func BenchmarkLines(b *testing.B) {
	l := NewOutput(io.Discard).lines()
	line := []byte(strings.Repeat("x", 99) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Write(line)
	}
}
