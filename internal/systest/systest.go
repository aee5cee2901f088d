package systest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Need gives the path of a program that a test cannot do without. Where it is missing the test is
// skipped, with the Debian package that has it; with CI=true it fails instead, so that what CI calls
// passed has run. Programs in the sbin folders count although they are not on everybody's PATH.
func Need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	return need(t, program, debianPackage, os.Getenv("CI") == "true")
}

// sink is the part of testing.TB that need calls.
type sink interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func need(t sink, program, debianPackage string, must bool) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	const text = "%s is not installed; install it with: sudo apt-get install -y %s (or make ci-deps)"
	if must {
		t.Fatalf(text, program, debianPackage)
		return ""
	}
	t.Skipf(text, program, debianPackage)
	return ""
}
