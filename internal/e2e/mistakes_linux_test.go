//go:build system

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fiveMistakes are the settings of a node, and the lines of which each has one mistake.
const nodeMistakes = `listen: nowhere
http: 127.0.0.1:99999
tick: 5
history:
  days: many
dota_dir: /tmp/epu
`

// poolMistakes is a pool with one mistake in each of five lines.
const poolMistakes = `schema: epu/v1
kind: pool
name: epu-bad
deployable_type: sleeeper
tick: 1
policy:
  name: npreserving
placement:
  - {site: locall}
limits:
  max: lots
  lunches: 3 per 1m
`

// Goal: a file with five mistakes yields five messages with their lines in one run, and nothing is
// changed. Method: epud validate of settings, and epumgmt apply of a pool to a running node.
func TestSystemFiveMistakes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	settings := filepath.Join(n.dir, "epud.yaml")
	pools := filepath.Join(n.dir, "bad.yaml")
	for file, text := range map[string]string{settings: nodeMistakes, pools: poolMistakes} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.environ = withoutNode(n.environ)
	_, errs, code := n.run("epud", "validate", "-c", settings)
	expectLines(t, "epud validate", errs, code, "epud.yaml", 1, 2, 3, 5, 6)
	_, errs, code = n.run("epud", "validate", "-f", pools)
	expectLines(t, "epud validate -f", errs, code, "bad.yaml", 4, 5, 9, 11, 12)

	running := newNode(t)
	running.start()
	running.settle(2)
	_, errs, code = running.run("epumgmt", "apply", "-f", pools)
	expectLines(t, "epumgmt apply", errs, code, "bad.yaml", 4, 5, 9, 11, 12)
	if out := running.must("status", "-o", "name"); strings.Contains(out, "epu-bad") {
		t.Errorf("the pool with mistakes was applied: %s", out)
	}
	running.settle(2)
}

// withoutNode leaves out the node's own settings, so that the file's are the ones that hold.
func withoutNode(environ []string) []string {
	var out []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "EPU_") {
			out = append(out, v)
		}
	}
	return out
}

// expectLines fails the test unless there is one message for each line and for no other.
func expectLines(t *testing.T, command, text string, code int, file string, lines ...int) {
	t.Helper()
	if code == 0 {
		t.Errorf("%s: got exit status 0, want a refusal", command)
	}
	var want []string
	for _, line := range lines {
		want = append(want, fmt.Sprintf("%s:%d", file, line))
	}
	got := regexp.MustCompile(regexp.QuoteMeta(file)+`:\d+`).FindAllString(text, -1)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got messages for %v, want %v:\n%s", command, got, want, text)
	}
}
