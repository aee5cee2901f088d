//go:build system

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
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

// nonsensePool follows a reading, and its hooks do everything that a hook should not.
const nonsensePool = bookPool + `policy:
  name: queuelen
  conf: {queuelen_high_water: 10, queuelen_low_water: 5, min_instances: 4, max_instances: 5, stabilisation: 0s}
sensors: {queue-length: {source: push, every: 1s, stale_after: 1m}}
`

// badHook is deaf to its deadline, says too much, dies of a signal or writes to the terminal, by the slot.
const badHook = `#!/bin/sh
echo "$EPU_EVENT $EPU_WORKER" >>"${0%/*}/book"
case $EPU_WORKER in
*/0) trap '' TERM; sleep 1000;;
*/1) head -c 100000000 /dev/zero | tr '\0' x; exit 3;;
*/2) kill -SEGV $$;;
*/3) printf '\033[31mred\007'; exit 1;;
esac
`

// Goal: nonsense is refused with what is wrong and changes nothing, and hooks that do everything wrong cost
// their workers no more than the tries. Method: a real node with such a pool; commands and posts that
// nobody should send, then orders from several operators at once.
func TestSystemNonsense(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start()
	b := newBook(t, n, strings.ReplaceAll(nonsensePool, "[./hook.sh]", "[./hook.sh], timeout: 1s, tries: 2"))
	b.write(t, "hook.sh", badHook)
	n.settle(2)
	n.must("scale", pool, "0")
	n.settle(0)
	n.must("apply", "-f", b.dir)
	ws := n.settle(4)
	givenUp := func(hook string, times int) {
		t.Helper()
		type event struct {
			Name string
			Data struct{ Hook, Worker string }
		}
		seen := map[string]bool{}
		err := follow(n, func(e event) bool {
			if e.Name == "hook_given_up" && e.Data.Hook == hook {
				seen[e.Data.Worker] = true
			}
			return len(seen) == times
		}, "events", pool, "-f", "--limit", "1000")
		if err != nil {
			t.Fatalf("hooks that were given up: %v: %v", seen, err)
		}
	}
	givenUp("running", 4)
	if out := n.must("alerts"); strings.ContainsAny(out, "\x1b\a") || !strings.Contains(out, "segmentation fault") {
		t.Errorf("got alerts %q", out)
	}

	first := ws[0].Worker
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{4, "neither a number nor unknown", []string{"sensor", "push", pool, "queue-length=NaN"}},
		{4, "neither a number nor unknown", []string{"sensor", "push", pool, "queue-length=-Inf"}},
		{4, "neither a number nor unknown", []string{"sensor", "push", pool, "queue-length=1e999"}},
		{4, "no sensor \"depth\"", []string{"sensor", "push", pool, "queue-length=0", "depth=1"}},
		{4, "out of range", []string{"sensor", "push", pool, "queue-length=0", "--age", "-1h"}},
		{4, "out of range", []string{"sensor", "push", pool, "queue-length=0", "--age", "876000h"}},
		{4, "decides by itself", []string{"scale", pool, "1"}},
		{4, "below zero", []string{"scale", pool, "-1"}},
		{11, "no such pool", []string{"sensor", "push", "epu-none", "queue-length=0"}},
		{11, "no pool has such a worker", []string{"drain", "epu-none-1-1/0"}},
		{11, "no pool has such a worker", []string{"replace", "i-foreign"}},
		{11, "no pool has such a worker", []string{"protect", first + "0"}},
	} {
		if out, errs, code := n.run("epumgmt", c.args...); code != c.code || out != "" || !strings.Contains(errs, c.says) {
			t.Errorf("%v: got exit status %d\n%s%swant %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
	million := strings.Repeat(`{"sensor":"queue-length","value":0},`, 1_000_000)
	for values, want := range map[string]int{
		`{"sensor":"queue-length"}`:                             http.StatusBadRequest,
		`{"sensor":"queue-length","value":"NaN"}`:               http.StatusBadRequest,
		`{"sensor":"queue-length","value":0,"time":"1960"}`:     http.StatusBadRequest,
		`{"sensor":"queue-length","value":0,"age":"1e99s"}`:     http.StatusBadRequest,
		million + `{"sensor":"queue-length","value":0}`:         http.StatusRequestEntityTooLarge,
		`{"sensor":"queue-length","value":0,"age":"31557600s"}`: http.StatusOK, // too old: dropped, and said
	} {
		body := `{"type":"SensorPush","body":{"pool":"` + pool + `","values":[` + values + `]}}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.http+"/v1/command", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-EPU-User", "a test")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("post of %.100s: got %s, want %d", values, resp.Status, want)
		}
	}
	if out := n.must("sensor", "list", pool, "-o", "json"); !strings.Contains(out, `"quality": "unknown"`) {
		t.Errorf("something of it was taken:\n%s", out)
	}
	if got := ids(n.settle(4)); got[0] != first {
		t.Errorf("got workers %v, want those from before: %v", got, ids(ws))
	}

	var operators sync.WaitGroup
	for i, verb := range []string{"protect", "replace", "drain", "resume", "unprotect", "replace", "kill", "kill", "drain"} {
		operators.Go(func() {
			if out, errs, code := n.run("epumgmt", verb, ws[i%2].Worker); code != 0 && code != 11 && code != 12 {
				t.Errorf("%s %s: exit status %d\n%s%s", verb, ws[i%2].Worker, code, out, errs)
			}
		})
	}
	operators.Wait()
	n.settle(4)
	n.must("terminate-all", "--confirm=ALL", "--timeout", "25s")
	n.empty(t)
	lines, _ := b.read()
	for _, w := range ws {
		if got := count(lines, "ending "+w.Worker); got == 0 {
			t.Errorf("the hook before the end of %s was never tried", w.Worker)
		}
	}
}
