package systest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// record is a sink that keeps the verdict instead of ending a test.
type record struct{ skipped, failed string }

func (r *record) Helper()                       {}
func (r *record) Skipf(format string, a ...any) { r.skipped = fmt.Sprintf(format, a...) }

func (r *record) Fatalf(format string, a ...any) { r.failed = fmt.Sprintf(format, a...) }

// Goal: a missing program skips on a desk and fails in CI, and both say what to install.
// Method: ask for a program that cannot exist, with and without CI.
func TestNeedMissing(t *testing.T) {
	var desk, ci record
	need(&desk, "no-such-program-epu", "some-package", false)
	need(&ci, "no-such-program-epu", "some-package", true)
	if desk.failed != "" || !strings.Contains(desk.skipped, "apt-get install -y some-package") {
		t.Errorf("on a desk: got %+v, want a skip that names the package", desk)
	}
	if ci.skipped != "" || !strings.Contains(ci.failed, "apt-get install -y some-package") {
		t.Errorf("in CI: got %+v, want a failure that names the package", ci)
	}
}

// Goal: a program that is there is found, by name and outside PATH's usual folders alike.
// Method: put an executable into a folder of its own and make that the PATH.
func TestNeedPresent(t *testing.T) {
	dir := t.TempDir()
	want := filepath.Join(dir, "epu-there")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if got := Need(t, "epu-there", "some-package"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
