package agent

// Goal: what only real processes, signals and sockets can show about epu-agent.
// Method: this test binary plays epu-agent in a process of its own, against a real HTTP server; tests
// wait on beats, on lines of output and on exits.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
	"golang.org/x/sys/unix"
)

const roleEnv = "EPU_AGENT_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "agent" {
		os.Exit(Main(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// ServeHTTP answers a real request as RoundTrip answers one in memory.
func (n *memNode) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	resp, err := n.RoundTrip(req)
	if err != nil {
		return // the agent has left
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// site is a real agent with a real node.
type site struct {
	t      *testing.T
	ctx    context.Context
	node   *memNode
	addr   string
	server *http.Server
	cmd    *exec.Cmd
	out    *bufio.Reader
	outEnd *os.File
	log    strings.Builder
}

func newSite(t *testing.T, script string, args ...string) *site {
	t.Helper()
	return newSiteOf(t, newMemNode(), script, args...)
}

func newSiteOf(t *testing.T, node *memNode, script string, args ...string) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s := &site{t: t, ctx: ctx, node: node, addr: "127.0.0.1:0"}
	s.node.seen = make(chan msg.Beat, 10_000)
	s.node.greeting.HeartbeatSeconds = 0.2
	s.serve()
	user := msg.UserData{
		Nodes: []string{"http://" + s.addr}, Bootstrap: "boot", Launch: "epu-web-1-7", Run: []string{"/bin/sh", "-c", script},
	}
	text, err := json.Marshal(user)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user-data.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.CommandContext(ctx, exe, append([]string{"worker"}, args...)...)
	s.cmd.Env = append(os.Environ(), roleEnv+"=agent", EnvUserData+"="+file, EnvInstance+"=i-1")
	s.cmd.Stdout, s.cmd.Stderr = w, &s.log
	s.out, s.outEnd = bufio.NewReader(r), r
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.server.Close()
		r.Close()
		cancel()
		if t.Failed() {
			t.Logf("the agent's standard error:\n%s", s.log.String())
		}
	})
	return s
}

func (s *site) serve() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.server = &http.Server{Handler: s.node}
	go func() { _ = s.server.Serve(l) }()
}

// until waits for a beat.
func (s *site) until(what string, want func(msg.Beat) bool) msg.Beat {
	s.t.Helper()
	for {
		select {
		case b := <-s.node.seen:
			if want(b) {
				return b
			}
		case <-s.ctx.Done():
			s.t.Fatalf("no beat that is %s", what)
		}
	}
}

// line gives the next line of the program's output, read with a format.
func (s *site) line(format string, to ...any) {
	s.t.Helper()
	text, err := s.out.ReadString('\n')
	if _, scanErr := fmt.Sscanf(text, format, to...); scanErr != nil {
		s.t.Fatalf("got line %q (%v), want %q", text, err, format)
	}
}

func (s *site) order(id, kind string) {
	s.t.Helper()
	select {
	case s.node.orders <- msg.AgentCommand{ID: id, Kind: kind}:
	case <-s.ctx.Done():
		s.t.Fatalf("nobody took the order %s", kind)
	}
}

func (s *site) exit(want int) {
	s.t.Helper()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		s.t.Errorf("exit code: got %d (%v), want %d", got, s.cmd.ProcessState, want)
	}
}

func ok(b msg.Beat) bool     { return b.State == stateOK }
func failed(b msg.Beat) bool { return b.State == stateProcessError }

func TestKilledProgramIsReportedAndStartedAgain(t *testing.T) {
	s := newSite(t, `echo "last words of $$" >&2; echo "pid $$ as $EPU_WORKER with $QUEUE"; exec sleep 1000`)
	var pid, second int
	s.line("pid %d as epu-web-1-7/0 with q", &pid)
	s.until("OK", ok)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b := s.until("a process error", failed)
	words := fmt.Sprintf("last words of %d\n", pid)
	if f := b.Failed[0]; len(b.Failed) != 1 || f.Signal != "SIGKILL" || f.ExitStatus != -1 || f.Stderr != words {
		t.Errorf("got %+v, want one failure by SIGKILL with %q", b.Failed, words)
	}
	s.line("pid %d as epu-web-1-7/0 with q", &second)
	for range 3 {
		if b := s.until("a process error", failed); b.Failed[0].Stderr != "" || b.Failed[0].Signal != "SIGKILL" {
			t.Errorf("later: got %+v, want the same failure without its words", b.Failed)
		}
	}
	if second == pid {
		t.Errorf("pid %d twice", pid)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.exit(ExitDone)
	if err := syscall.Kill(second, 0); err != syscall.ESRCH {
		t.Errorf("program %d: got %v after the agent's end, want no such process", second, err)
	}
}

func TestRealNodeAwayAndBack(t *testing.T) {
	s := newSite(t, `echo start; exec sleep 1000`)
	s.line("start")
	s.until("OK", ok)
	s.server.Close()
	s.serve()
	drained := len(s.node.seen)
	for range drained {
		<-s.node.seen
	}
	s.until("OK again", ok)
	s.order("c1", "stop")
	s.exit(ExitDone)
	if rest, _ := io.ReadAll(s.out); len(rest) != 0 {
		t.Errorf("the program was started again: %q", rest)
	}
	if b := s.until("the acknowledgement", func(b msg.Beat) bool { return len(b.Acked) > 0 }); b.Acked[0] != "c1" {
		t.Errorf("got %q, want c1", b.Acked)
	}
}

func TestRealGone(t *testing.T) {
	s := newSite(t, `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done`)
	s.line("ready")
	s.until("OK", ok)
	s.node.set(func() { s.node.status = http.StatusGone })
	s.line("bye")
	s.exit(ExitWorkerEnded)
}

func TestRealDrainCancelStop(t *testing.T) {
	s := newSite(t, `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done`)
	s.line("ready")
	s.order("c1", "drain")
	s.line("bye")
	s.until("drained", func(b msg.Beat) bool { return b.Drained })
	s.order("c2", "cancel-drain")
	s.line("ready")
	s.until("OK and at work", func(b msg.Beat) bool { return ok(b) && !b.Draining })
	s.order("c3", "stop")
	s.line("bye")
	s.exit(ExitDone)
}

// A drain runs the command that the agent was given, or else the one that the node names for the pool.
func TestRealDrainCommand(t *testing.T) {
	const script = `trap 'echo finished; exit 0' USR1; echo ready; while :; do sleep 0.1; done`
	const command = `echo "drain $EPU_PROGRAM_PID for $EPU_WORKER"; kill -USR1 $EPU_PROGRAM_PID`
	node := newMemNode()
	node.greeting.DrainCommand = []string{"/bin/sh", "-c", command}
	for who, start := range map[string]func() *site{
		"agent": func() *site { return newSite(t, script, "--drain-command", command) },
		"node":  func() *site { return newSiteOf(t, node, script) },
	} {
		s := start()
		s.line("ready")
		s.order("c1", "drain")
		var said []string // the two have a pipe each, so their lines may come in either order
		for range 2 {
			text, err := s.out.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: got %q %v, want two lines", who, said, err)
			}
			said = append(said, strings.TrimSpace(text))
		}
		slices.Sort(said)
		var pid int
		if _, err := fmt.Sscanf(said[0], "drain %d for epu-web-1-7/0", &pid); err != nil || said[1] != "finished" {
			t.Errorf("%s: got %q, want the drain command's line and the program's", who, said)
		}
		s.until("drained", func(b msg.Beat) bool { return b.Drained && ok(b) })
		s.order("c2", "stop")
		s.exit(ExitDone)
	}
}

// What a program says of its work reaches the node; the next run begins with nothing said.
func TestRealBusyAndIdle(t *testing.T) {
	s := newSite(t, `[ ! -e "$EPU_STATUS_FILE" ] || echo stale; echo "busy 1h" > "$EPU_STATUS_FILE"; echo "ready $$"
		trap 'echo idle > "$EPU_STATUS_FILE"; echo waits' USR1; while :; do sleep 0.05; done`)
	var pid int
	s.line("ready %d", &pid)
	s.until("busy", func(b msg.Beat) bool { return b.BusyUntilSeconds > 3000 && b.IdleSeconds == 0 })
	_ = unix.Kill(pid, unix.SIGUSR1)
	s.line("waits")
	s.until("idle", func(b msg.Beat) bool { return b.BusyUntilSeconds == 0 && b.IdleSeconds > 0 })
	_ = unix.Kill(pid, unix.SIGKILL)
	s.line("ready %d", &pid)
}

// A reader of the output that goes away costs output, not the worker.
func TestOutputGone(t *testing.T) {
	s := newSite(t, `echo ready; while :; do echo tick; sleep 0.05; done`)
	s.line("ready")
	s.outEnd.Close()
	for range 5 {
		if b := s.until("any", func(msg.Beat) bool { return true }); b.State != stateOK {
			t.Errorf("got %+v, want OK", b)
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.exit(ExitInterrupted)
}

// Even what has left its program's group and session ends with the agent.
func TestNothingIsLeftBehind(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid")
	}
	s := newSite(t, `setsid sh -c 'echo "daemon $$"; exec sleep 1000' & wait`)
	var daemon int
	s.line("daemon %d", &daemon)
	fd, err := unix.PidfdOpen(daemon, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s.until("OK", ok)
	s.order("c1", "stop")
	s.exit(ExitDone)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); n != 1 || err != nil {
		t.Errorf("daemon %d lives on (%d %v)", daemon, n, err)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"worker"}, ExitUsage, "no user data"},
		{[]string{"worker", "--bogus"}, ExitUsage, "try: epu-agent worker --help"},
		{[]string{"queue", "--bogus"}, ExitUsage, "try: epu-agent queue --help"},
		{[]string{"busy", "1m", "2m"}, ExitUsage, "try: epu-agent busy --help"},
		{[]string{"worker", "extra"}, ExitUsage, "extra"},
		{[]string{"wurker"}, ExitUsage, "try: epu-agent --help"},
		{[]string{"worker", "--help"}, ExitDone, ""},
	} {
		var out, errs strings.Builder
		code := Main(c.args, nil, strings.NewReader(""), &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) || c.code != ExitDone && !strings.Contains(errs.String(), "try: ") {
			t.Errorf("%q: got %d %q, want %d with %q and an advice", c.args, code, errs.String(), c.code, c.want)
		}
	}
}
