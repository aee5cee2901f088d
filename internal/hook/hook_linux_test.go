package hook_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/hook"
)

// Goal: a program gets the worker, its failure is told with its last words, and nothing of it is left when
// its time is over. Method: shell programs with real processes; a fifo says when the deaf one has begun.
func TestProgramGetsItsWorker(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := hook.Program{
		Run: []string{"sh", "-c", `printf '%s at %s' "$EPU_WORKER" "$EPU_ADDRESS" >"$0"`, out},
		Env: map[string]string{"EPU_WORKER": "epu-web-1-1/0", "EPU_ADDRESS": "127.0.0.2"},
	}
	if err := p.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "epu-web-1-1/0 at 127.0.0.2" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFailureSaysWhy(t *testing.T) {
	for _, c := range []struct {
		run  []string
		want string
	}{
		{[]string{"sh", "-c", "echo first; echo no such target >&2; exit 3"}, "exit status 3: no such target"},
		{[]string{"/no/such/program"}, "no such file"},
		{nil, "names no program"},
	} {
		if err := (hook.Program{Run: c.run}).Do(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q in it", c.run, err, c.want)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	result := make(chan error, 1)
	go func() {
		p := hook.Program{Run: []string{"sh", "-c", `trap '' TERM; (exec 3>"$0"; echo on >&3; exec sleep 1000) & wait`, fifo}}
		result <- p.Do(ctx)
	}()
	f, err := os.Open(fifo) // until the grandchild has it open too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begun := make([]byte, 3)
	if _, err := f.Read(begun); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "had not ended in time") {
		t.Errorf("got %v", err)
	}
	if n, err := f.Read(begun); n != 0 || err == nil { // the end: nobody holds it open any more
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Goal: a program does not outlive a node that is killed, for the next one runs it again. Method: this test
// in a process of its own runs a program that holds a fifo, and is killed; then nobody holds it any more.
func TestNothingOutlivesTheNode(t *testing.T) {
	if fifo := os.Getenv("HOOK_TEST_FIFO"); fifo != "" { // the process that is killed
		t.Fatal(hook.Program{Run: []string{"sh", "-c", `exec 3>"$0"; echo on >&3; while :; do :; done`, fifo}}.Do(t.Context()))
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.Command(os.Args[0], "-test.run", "^TestNothingOutlivesTheNode$")
	node.Env = append(os.Environ(), "HOOK_TEST_FIFO="+fifo)
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begun := make([]byte, 3)
	if _, err := f.Read(begun); err != nil {
		t.Fatal(err)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = node.Wait() // it was killed
	if n, err := f.Read(begun); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v: the program goes on", n, err)
	}
}
