package resource

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
)

// Goal: the example's worker shows its work and ends at once, cleanly, when it is told to. Method: the
// real script; the test waits for its lines and its end only.
func TestSleeperWorker(t *testing.T) {
	cmd := exec.Command("sh", "../../examples/sleeper/worker.sh")
	cmd.Env = append(cmd.Environ(), "GREETING=hello")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func() string {
		lines.Scan()
		return lines.Text()
	}
	if got, want := next(), "hello 1"; got != want {
		t.Errorf("got line %q, want %q", got, want)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, want := next(), "hello: told to stop after 1"; got != want {
		t.Errorf("got line %q, want %q", got, want)
	}
	if got := next(); got != "" {
		t.Errorf("got line %q after the last", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want exit status 0", err)
	}
}
