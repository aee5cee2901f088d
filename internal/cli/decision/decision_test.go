package decision_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli/decision"
)

// Goal: what a decision saw is said as short as it goes, and an unknown reading has no number that somebody
// might take for one. Method: readings as they come over the wire.
func TestInputText(t *testing.T) {
	for want, v := range map[string]any{
		"none": nil, "0.5": 0.5, "unknown": map[string]any{"value": 0.0, "quality": "unknown", "unit": "jobs"},
		"25 jobs (2 s old, ok)":                                   map[string]any{"value": 25.0, "quality": "ok", "unit": "jobs", "age": 2.0},
		"7 (fallback: the sensor gives nothing)":                  map[string]any{"value": 7.0, "quality": "ok", "age": 0.0, "stand_in": "fallback"},
		"7 (9 s old, last value: the sensor gives nothing newer)": map[string]any{"value": 7.0, "quality": "ok", "age": 9.0, "stand_in": "last"},
		"2":          []any{map[string]any{"id": "a"}, map[string]any{"id": "b"}},
		"east, west": map[string]any{"places": []any{map[string]any{"site": "east"}, map[string]any{"site": "west"}}},
		"7 (1 s old, ok) until 2026-12-01T06:00:00Z": map[string]any{
			"left": map[string]any{"value": 7.0, "quality": "ok", "age": 1.0}, "deadline": "2026-12-01T06:00:00Z",
		},
		"(mean 3, count 4, ok)": map[string]any{"mean": 3.0, "count": 4.0, "quality": "ok"},
	} {
		if got := decision.Input(v); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Goal: settings read as reconfigure takes them, and a long one does not hide the rest. Method: one of each kind.
func TestSettings(t *testing.T) {
	got := decision.Settings(map[string]any{"zone": "Europe/Berlin", "keep": 3.0, "lines": []any{strings.Repeat("é", 300)}, "heal": false})
	if want := []string{"heal=false", "keep=3", "zone=Europe/Berlin"}; len(got) != 4 || !slices.Equal(append(got[:2:2], got[3]), want) {
		t.Errorf("got %q, want %q and the lines", got, want)
	}
	if !utf8.ValidString(got[2]) || !strings.HasSuffix(got[2], "...") || len(got[2]) > 200 {
		t.Errorf("got the lines %q", got[2])
	}
}

// Goal: how long launches wait is said as people say it. Method: the input of a pool and that of a site, as the wire has
// them, beside a number.
func TestInputsOfBackoff(t *testing.T) {
	got := decision.Inputs([]epu.Input{
		{Name: "backoff", Value: float64(90 * time.Second)}, {Name: "backoff own", Value: 0.0}, {Name: "target", Value: 3.0},
	})
	if want := []string{"backoff 1m30s", "backoff own 0s", "target 3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
