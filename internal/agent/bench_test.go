package agent

// Goal: a beat stays small and cheap. Method: the usual beat and one with a failure, made, encoded and
// answered; "wire-B" is its size.

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
)

func benchmarkBeat(b *testing.B, prepare func(*world)) {
	w := newWorld(b, false)
	w.pass(time.Second)
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		prepare(w)
		beat := w.c.report.beat(w.now, w.c.programs, "epu-web-1-7/0", "i-0123456789abcdef0")
		text, err := json.Marshal(beat)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
		w.c.beatAnswered(w.now, msg.BeatReply{})
	}
	b.ReportMetric(float64(size), "wire-B")
}

func BenchmarkBeat(b *testing.B) { benchmarkBeat(b, func(*world) {}) }

func BenchmarkBeatWithFailure(b *testing.B) {
	tail := strings.Repeat("a line of a stack trace, as they are\n", 8<<10/37)
	benchmarkBeat(b, func(w *world) {
		w.c.report.failed(&failure{Program: "work", Status: 3, At: w.now, Stderr: tail})
	})
}

func BenchmarkQuietStep(b *testing.B) {
	w := newWorld(b, false)
	w.pass(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if todo := w.c.step(w.now); todo != nil {
			b.Fatalf("got %v, want nothing to do", todo)
		}
	}
}

// The size is a promise to whoever pays for 100 000 of them.
func TestUsualBeatIsSmall(t *testing.T) {
	w := newWorld(t, false)
	w.pass(time.Second)
	text, err := json.Marshal(w.c.report.beat(w.now, w.c.programs, "epu-web-1-7/0", "i-0123456789abcdef0"))
	if err != nil || len(text) > 128 {
		t.Errorf("got %d bytes (%v), want at most 128: %s", len(text), err, text)
	}
}
