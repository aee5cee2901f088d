package sandbox_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/policies/sandbox"
)

// Goal: a wait for the processor is nobody's fault, but time that a host function was paid for counts, as long as it
// may take. Method: a clock that stands still but for one jump between two looks.
func TestTimeThatCounts(t *testing.T) {
	for _, c := range []struct {
		name    string
		charged int
		jump    time.Duration
		stopped bool
	}{
		{"a long wait", 0, time.Hour, false},
		{"a wait after little work", 2_000, time.Hour, false},
		{"much work", 100_000, 60 * time.Millisecond, true},
		{"much work done in no time", 100_000, 0, false},
	} {
		var b sandbox.Budget
		now := time.Unix(1000, 0)
		b.Begin(sandbox.Limits{Deadline: 50 * time.Millisecond, Steps: 1 << 30, Heap: 1 << 30, Now: func() time.Time { return now }})
		b.Work(nil, c.charged)
		now = now.Add(c.jump)
		for range 1000 {
			b.Done()
		}
		if (b.Spent() != nil) != c.stopped {
			t.Errorf("%s: got %v, want stopped: %v", c.name, b.Spent(), c.stopped)
		}
	}
}

// Goal: weighing a state counts against the deadline, as long as what was weighed may take; a wait meanwhile does not.
// Method: weighings of 20 ms and more by a clock that does not move otherwise, each after enough was allocated.
func TestWeighingCounts(t *testing.T) {
	for _, c := range []struct {
		holds   uint64
		takes   time.Duration
		weighed int // until it is stopped; 10 = never
	}{
		{48 << 20, 20 * time.Millisecond, 3},
		{48 << 20, time.Hour, 1},
		{1 << 10, time.Hour, 10},
	} {
		var b sandbox.Budget
		now, weighed := time.Unix(1000, 0), 0
		b.Begin(sandbox.Limits{
			Deadline: 50 * time.Millisecond, Steps: 1 << 30, Heap: 64 << 20, Now: func() time.Time { return now },
			Weigh: func(uint64) uint64 { weighed++; now = now.Add(c.takes); return c.holds },
		})
		for weighed < 10 && b.Spent() == nil {
			runtime.KeepAlive(make([]byte, 64<<20))
			now = now.Add(time.Millisecond)
			for range 64 {
				b.Done()
			}
		}
		if weighed != c.weighed {
			t.Errorf("%d MiB in %v: got %d weighings, want %d (%v)", c.holds>>20, c.takes, weighed, c.weighed, b.Spent())
		}
	}
}

// Goal: no pattern takes long to be read or made, and those that policies write are not refused. Method: the
// patterns that Go's parser is slow with, and ordinary ones, some at the edge.
func TestPatterns(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{`(?i)^gpu-[a-z0-9]+$`, ""},
		{`(?i)größe|Ärger`, ""},
		{`[à-ý]+\\pL{3}`, ""},
		{`(?P<i>[à-ý])`, ""},
		{`^(a|b|ab)*c{10,20}$`, ""},
		{`(abcdefghij){160}`, ""},
		{`(abcdefghij){201}`, "it makes more than 2000 instructions: repeat less"},
		{`((a{10}){10}){10}b{999,}`, "it makes more than 2000 instructions"},
		{`(?:a?){600}`, ""},
		{`(?i)[b-\\x{10fff0}]`, "letters beyond ASCII, a class and (?i)"},
		{`(?s-i)a(?mi:[à-\\x{ffff}])`, "letters beyond ASCII, a class and (?i)"},
		{strings.Repeat(`\\pL|`, 9), "more than 8 classes such as"},
		{`(`, "missing closing )"},
	} {
		_, err := run(`return tostring(text.match("a", "` + c.pattern + `"))`)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.pattern, err, c.want)
		}
	}
}
