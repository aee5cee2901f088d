package epu_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
)

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 workers", 1: "1 worker", 2: "2 workers"} {
		if got := epu.Plural(n, "worker"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A span is written in short, and reads as the same duration.
func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h",
		10*time.Hour + 30*time.Minute: "10h30m", time.Hour + time.Second: "1h0m1s", 90 * time.Second: "1m30s",
		1500 * time.Millisecond: "1.5s", 100 * time.Millisecond: "100ms", -time.Minute: "-1m", 168 * time.Hour: "168h",
	} {
		got := epu.Span(d)
		if back, err := time.ParseDuration(got); got != want || back != d || err != nil {
			t.Errorf("%v: got %q, which reads as %v (%v), want %q", d, got, back, err, want)
		}
	}
}
