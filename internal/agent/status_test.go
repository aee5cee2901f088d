package agent

// Goal: show how what a program says of its work reaches the node, and that nonsense says nothing.
// Method: the world of state_test.go, a table of texts, and real files.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBusyAndIdleAreTold(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace = nil
	w.says = said{busy: true, lease: 20 * time.Second}
	w.pass(time.Second) // busy is told at once
	w.says.age = time.Second
	w.pass(6 * time.Second)
	w.says = said{idle: true}
	w.pass(5 * time.Second)
	w.check(`
		  3.0s beat 2 OK busy=20s
		  8.0s beat 3 OK busy=18s
		 13.0s beat 4 OK idle=1s`)
}

func TestBusyWithoutATimeIsRenewed(t *testing.T) {
	w := newWorld(t, false)
	w.says = said{busy: true}
	w.pass(12 * time.Second)
	for _, b := range w.beats[1:] {
		if b.BusyUntilSeconds != 15 || b.IdleSeconds != 0 {
			t.Errorf("got busy %g idle %g, want busy for 3 heartbeats", b.BusyUntilSeconds, b.IdleSeconds)
		}
	}
}

func TestALeaseEndsAndAProgramThatEndedIsNotBusy(t *testing.T) {
	w := newWorld(t, false)
	w.says = said{busy: true, lease: time.Second, age: 2 * time.Second}
	w.pass(2 * time.Second)
	w.says = said{busy: true}
	w.pass(time.Second)
	if !w.c.status.busy(w.now) {
		t.Error("got not busy, want busy")
	}
	w.exit(failure{Status: 1})
	if w.c.status.busy(w.now) {
		t.Error("after the program's end: got busy, want nothing")
	}
	if w.beats[0].BusyUntilSeconds != 0 {
		t.Errorf("of a lease that is over: got %g, want nothing", w.beats[0].BusyUntilSeconds)
	}
}

// A file from the future is one that was written when it was first seen: its lease ends, and isn't renewed.
func TestALeaseFromTheFutureEnds(t *testing.T) {
	file := StatusFile(filepath.Join(t.TempDir(), "status"))
	if err := file.Write("busy 1m"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(string(file), testStart.AddDate(100, 0, 0), testStart.AddDate(100, 0, 0)); err != nil {
		t.Fatal(err)
	}
	var s status
	for second := range 120 {
		now := testStart.Add(time.Duration(second) * time.Second)
		in, err := file.read(now)
		if err != nil {
			t.Fatal(err)
		}
		s.take(now, in, true)
		if got, want := s.busy(now), second < 60; got != want {
			t.Fatalf("after %d s: got busy %v, want %v", second, got, want)
		}
	}
}

func TestDrainForever(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.c.link.forever, w.c.link.drain = true, 0
	w.obedient = false
	w.command("c1", "drain")
	w.trace = nil
	w.pass(30 * 24 * time.Hour)
	for _, line := range w.trace {
		if strings.Contains(line, "end kill") {
			t.Fatalf("got %q, want the program to have all the time it needs", line)
		}
	}
	w.exit(failure{})
	w.pass(0)
	if b := w.beats[len(w.beats)-1]; !b.Drained {
		t.Errorf("after the program's end: got %+v, want drained", b)
	}
}

// A program that says it is busy has until the end of its lease, also beyond the drain time.
func TestDrainWaitsForABusyProgram(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.obedient = false
	w.says = said{busy: true, lease: 100 * time.Second} // from the third second
	w.pass(time.Second)
	w.command("c1", "drain") // for 60 s
	w.trace = nil
	for range 110 {
		w.says.age += time.Second
		w.pass(time.Second)
	}
	var ends []string
	for _, line := range w.trace {
		if strings.Contains(line, "end kill") {
			ends = append(ends, line)
		}
	}
	if got, want := strings.Join(ends, "; "), "103.0s end kill=true"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		text string
		want said
		err  string
	}{
		{"", said{}, ""},
		{"idle\n", said{idle: true}, ""},
		{"busy", said{busy: true}, ""},
		{" busy  90s ", said{busy: true, lease: 90 * time.Second}, ""},
		{"busy 600", said{busy: true, lease: 10 * time.Minute}, ""},
		{"busy 1.5", said{busy: true, lease: 1500 * time.Millisecond}, ""},
		{"busy -1s", said{}, "between"},
		{"busy -5", said{}, "between"},
		{"busy NaN", said{}, "between"},
		{"busy 1e300", said{}, "between"},
		{"busy 10000h", said{}, "between"},
		{"busy later", said{}, "no time"},
		{"bsy", said{}, "none of"},
		{"idle 10m", said{}, "none of"},
	} {
		got, err := parseStatus(c.text)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: got %+v %v, want %+v and an error with %q", c.text, got, err, c.want, c.err)
		}
	}
}

func TestStatusFile(t *testing.T) {
	f := StatusFile(filepath.Join(t.TempDir(), "status"))
	now := time.Now()
	if got, err := f.read(now); got != (said{}) || err != nil {
		t.Errorf("without a file: got %+v %v, want nothing", got, err)
	}
	if err := f.Write("busy 10m"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(string(f), time.Time{}, now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got, err := f.read(now); !got.busy || got.lease != 10*time.Minute || got.age.Round(time.Second) != time.Minute || err != nil {
		t.Errorf("got %+v %v, want busy for 10m, said a minute ago", got, err)
	}
	if err := f.Clear(); err != nil {
		t.Fatal(err)
	}
	if err := f.Clear(); err != nil {
		t.Errorf("cleared twice: got %v, want nothing", err)
	}
	if err := os.WriteFile(string(f), make([]byte, statusMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(now); err == nil {
		t.Error("a long file: got no error")
	}
	if left, _ := filepath.Glob(filepath.Dir(string(f)) + "/.epu-status-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add("busy 10m")
	f.Add("idle")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStatus(text)
		if err != nil && s != (said{}) || s.lease < 0 || s.lease > leaseMax || s.busy && s.idle {
			t.Errorf("%q: got %+v %v", text, s, err)
		}
	})
}
