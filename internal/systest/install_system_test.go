//go:build system

package systest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/systest"
)

// Goal: what `make install` puts in place is a unit that systemd accepts, whose program exists.
// Method: install below a temporary prefix and let systemd's own checker read the result. Only the
// real checker knows which keys its version understands.
func TestSystemInstallUnit(t *testing.T) {
	analyze := systest.Need(t, "systemd-analyze", "systemd")
	systest.Need(t, "make", "make")
	prefix := t.TempDir()
	install := exec.Command("make", "-C", "../..", "install", "PREFIX="+prefix)
	install.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	unit := filepath.Join(prefix, "lib/systemd/system/epud.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(prefix, "bin/epud")
	if !strings.Contains(string(text), "ExecStart="+program+" run") {
		t.Errorf("the unit does not start %s:\n%s", program, text)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), "epud.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
