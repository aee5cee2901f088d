//go:build system

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
	"github.com/nimbus-epu/epu/internal/loopback"
)

const (
	pool          = "epu-sleeper"    // the sample pool of epud dev: two workers
	workerProgram = "worker.sh"      // its workers' program
	factMax       = 30 * time.Second // for anything that is waited for, on a busy machine
)

// programs is the folder of epud, built with crash points, and epumgmt. TestMain sets it once.
var programs string

// nodesMax is how many tests run side by side: they wait more than they compute.
const nodesMax = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", nodesMax); err != nil {
		panic(err)
	}
	os.Exit(withPrograms(m.Run))
}

func withPrograms(run func() int) int {
	dir, err := os.MkdirTemp("", "epu-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	build := exec.Command("go", "build", "-tags", "crashpoints", "-o", dir+"/", "../../cmd/epud", "../../cmd/epumgmt", "../../cmd/epu-agent", "../../examples/sleeper-queue", "../../examples/outside-controller", "../demo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	return run()
}

// node is an epud dev in a folder of its own, that may be started many times.
type node struct {
	t         *testing.T
	dir, data string
	http      string // where agents reach it
	environ   []string

	mu  sync.Mutex // guards life: a test that waits for crashes starts the next life by itself
	cur *life
}

// life is one process of epud.
type life struct {
	cmd   *exec.Cmd
	up    chan struct{} // closed when it has greeted
	ended chan struct{} // closed when it has ended, with err
	err   error
	log   *lockedBuffer
}

// lockedBuffer is written by who copies a process's output and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newNode makes the folder of a node. Whatever happens, nothing of it is left after the test.
func newNode(t *testing.T) *node {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir()) // /proc knows no symbolic links
	if err != nil {
		t.Fatal(err)
	}
	at, err := loopback.Addresses(2)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, dir: dir, data: filepath.Join(dir, ".epu"), http: at[1]}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "EPU_") {
			n.environ = append(n.environ, v)
		}
	}
	n.environ = append(n.environ, "EPU_LISTEN="+at[0], "EPU_NODE="+at[0], "EPU_HTTP="+at[1], "EPU_JOURNAL_MEMORY=small")
	t.Cleanup(func() {
		if l := n.life(); l != nil {
			_ = l.cmd.Process.Kill()
			<-l.ended
			if t.Failed() {
				t.Logf("the end of epud's log:\n%s", lastLines(l.log.String(), 30))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), factMax)
		defer cancel()
		if err := census.End(ctx, n.data, workerProgram); err != nil {
			t.Error(err)
		}
	})
	return n
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (n *node) life() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cur
}

// launch starts epud dev.
func (n *node) launch(environ ...string) (*life, error) {
	l := &life{up: make(chan struct{}), ended: make(chan struct{}), log: &lockedBuffer{}}
	l.cmd = exec.Command(filepath.Join(programs, "epud"), "dev")
	l.cmd.Dir, l.cmd.Env, l.cmd.Stderr = n.dir, append(n.environ, environ...), l.log
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.cur = l
	n.mu.Unlock()
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "epud dev:") {
				close(l.up)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		l.err = l.cmd.Wait()
		close(l.ended)
	}()
	return l, nil
}

// start starts epud and waits until it answers.
func (n *node) start() *life {
	n.t.Helper()
	l, err := n.launch()
	if err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-l.up:
	case <-l.ended:
		n.t.Fatalf("epud dev ended: %v\n%s", l.err, l.log)
	case <-deadline(n.t).Done():
		n.t.Fatalf("epud dev does not come up\n%s", l.log)
	}
	return l
}

// deadline is a context that ends factMax from now, or with the test.
func deadline(t *testing.T) context.Context { return deadlineOf(t, factMax) }

func deadlineOf(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// signal sends a signal to epud, and waits for its end if that is what the signal does.
func (n *node) signal(sig syscall.Signal, ends bool) error {
	n.t.Helper()
	l := n.life()
	if err := l.cmd.Process.Signal(sig); err != nil {
		n.t.Fatal(err)
	}
	if !ends {
		return nil
	}
	select {
	case <-l.ended:
	case <-deadline(n.t).Done():
		n.t.Fatalf("epud has not ended by %v\n%s", sig, l.log)
	}
	return l.err
}

// run runs a program in the node's folder.
func (n *node) run(program string, args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	cmd := exec.CommandContext(deadline(n.t), filepath.Join(programs, program), args...)
	cmd.Dir, cmd.Env = n.dir, n.environ
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs epumgmt, which must succeed.
func (n *node) must(args ...string) string {
	n.t.Helper()
	out, errs, code := n.run("epumgmt", args...)
	if code != 0 {
		n.t.Fatalf("epumgmt %s: exit status %d, want 0\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// follow runs an epumgmt that goes on, until a line of its output is the last one wanted.
func follow[T any](n *node, last func(T) bool, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), factMax)
	defer cancel()
	args = append(args, "-o", "jsonl")
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "epumgmt"), args...)
	cmd.Dir, cmd.Env = n.dir, n.environ
	errs := &lockedBuffer{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	newest := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		newest = lines.Text()
		var t T
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return fmt.Errorf("epumgmt %s: %w in %s", strings.Join(args, " "), err, newest)
		}
		if last(t) {
			return nil
		}
	}
	return fmt.Errorf("epumgmt %s: it never said what was waited for; its last line: %s\n%s", strings.Join(args, " "), newest, errs)
}
