package decision_test

import (
	"testing"

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
