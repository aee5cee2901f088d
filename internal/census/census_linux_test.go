package census_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nimbus-epu/epu/internal/census"
)

// Goal: a process that works in the folder is found, told from others, and its end is noticed.
// Method: a real shell in a folder, with another one beside it; each says when it runs.
func TestLookFindsStrays(t *testing.T) {
	data := t.TempDir()
	inside, outside := shell(t, data), shell(t, t.TempDir())
	c, err := census.Look(data, "worker.sh")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Strays) != 1 || c.Strays[0].PID != inside.Process.Pid {
		t.Fatalf("got strays %v, want only %d (not %d)", c.Strays, inside.Process.Pid, outside.Process.Pid)
	}
	if c, err = census.Look(data, "worker.sh", inside.Process.Pid); err != nil || len(c.Strays) != 0 {
		t.Errorf("with the process excepted: got %v, %v, want none", c.Strays, err)
	}
	p, ok := census.Find(inside.Process.Pid)
	if !ok || len(p.Args) == 0 {
		t.Fatalf("got %v, %v, want the shell", p, ok)
	}
	ended := make(chan error, 1)
	go func() { ended <- census.Await(context.Background(), p) }()
	if err := census.End(context.Background(), data, "worker.sh"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("got %v, want the end", err)
	}
	if p, ok := census.Find(outside.Process.Pid); !ok || len(p.Args) == 0 {
		t.Error("the shell outside of the folder was ended too")
	}
}

// Goal: an instance's folder is read as the local site writes it. Method: a folder written by hand, one
// slot ended and one not.
func TestLookReadsFolders(t *testing.T) {
	data := t.TempDir()
	launch := filepath.Join(data, "sites", "local", "launches", "abc")
	for _, dir := range []string{"0", "1"} {
		if err := os.MkdirAll(filepath.Join(launch, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(launch, "launch.json"),
		`{"request":{"tags":{"epu:launch":"epu-x-1-1"}},"instances":[{"id":"i-abc-0"},{"id":"i-abc-1"}]}`)
	write(t, filepath.Join(launch, "0", "state.json"), `{"phase":"ended"}`)
	write(t, filepath.Join(launch, "1", "state.json"), `{"phase":"running"}`)
	c, err := census.Look(data, "worker.sh")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Instances) != 2 || !c.Instances[0].Ended || c.Instances[1].Ended || c.Instances[1].ID != "i-abc-1" || c.Instances[0].Launch != "epu-x-1-1" {
		t.Errorf("got %+v, want i-abc-0 ended and i-abc-1 not, of launch epu-x-1-1", c.Instances)
	}
	if alive := c.Alive(); len(alive) != 0 {
		t.Errorf("got %v alive, want none: no process is there", alive)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shell starts a shell in a folder that waits for the end of its input, and returns once it runs.
func shell(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "echo up; read _")
	cmd.Dir = dir
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
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("got %q, %v from the shell", line, err)
	}
	return cmd
}
