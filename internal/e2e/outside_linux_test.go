//go:build system

package e2e_test

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: the example of a program outside drives a pool of a real node through HTTP, within the pool's limits, and the
// pool holds on to its workers when the program is gone. Method: the example's own files, and demands as the program
// reads them.
func TestSystemOutsideController(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	example, err := filepath.Abs("../../examples/outside-controller")
	if err != nil {
		t.Fatal(err)
	}
	n.must("policy", "apply", filepath.Join(example, "outside.lua"))
	n.must("apply", "-f", example)

	cmd := exec.CommandContext(deadline(t), filepath.Join(programs, "outside-controller"), "--node", "http://"+n.http, "--per", "20")
	cmd.Dir, cmd.Env = n.dir, n.environ
	errs := &lockedBuffer{}
	cmd.Stderr = errs
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
	said := bufio.NewScanner(out)
	demand := func(line, answer string) {
		t.Helper()
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		for said.Scan() {
			if strings.Contains(said.Text(), answer) {
				return
			}
		}
		t.Fatalf("the program never said %q\n%s", answer, errs)
	}
	has := func(workers int) {
		t.Helper()
		if err := follow(n, quiet(workers), "status", "epu-outside", "-w"); err != nil {
			t.Fatal(err)
		}
	}
	demand("55", "preserve_n = 3")
	has(3)
	demand("20", "preserve_n = 1")
	has(1)
	demand("2000", "preserve_n = 100")
	if err := follow(n, func(p poolLine) bool { return p.Want == 5 && p.Have == 5 && p.Converged == "capped" }, "status", "epu-outside", "-w"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v\n%s", err, errs)
	}
	// Its silence shows once the reading is stale; the policy's words for that are asked for, not waited for.
	told := n.must("whatif", "epu-outside", "--sensor", "outside=unknown", "--set", "preserve_n=0")
	if !strings.Contains(told, "nothing is heard of the program") || !strings.Contains(told, "would want 5 instances") {
		t.Errorf("with the program silent:\n%s", told)
	}
	if audit := n.must("events", "epu-outside"); !strings.Contains(audit, "outside-controller") {
		t.Errorf("the audit does not name who changed the pool:\n%s", audit)
	}
}
