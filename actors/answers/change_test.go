package answers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: whatever a policy looked at, explain says what would change its answer. Method: decisions with one input each,
// as the engine records them.
func TestWouldChangeFollowsWhatWasRead(t *testing.T) {
	left := epu.Reading{Sensor: "frames", Value: 7, Quality: epu.QualityOK}
	for want, inputs := range map[string][]epu.Input{
		"other readings of depth": {{Name: "sensor depth", Value: epu.Reading{Sensor: "depth", Value: 3, Quality: epu.QualityOK}}, {Name: "window depth 1m0s"}},
		"other readings of load":  {{Name: "window load 1m0s"}, {Name: "window load 5m0s"}},
		"another time":            {{Name: "time Europe/Berlin", Value: "Sat"}, {Name: "time UTC", Value: "Sat"}},
		"other readings of frames, another deadline than 2026-12-01T06:00:00Z": {{Name: "work", Value: epu.Work{Left: &left, Deadline: time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)}}},
		"other settings of its policy (epumgmt reconfigure web KEY=VALUE)":     {{Name: "running", Value: 3}},
	} {
		d := &epu.Decision{Inputs: inputs}
		v := msg.PoolView{Spec: epu.PoolSpec{Name: "web"}}
		if got := strings.Join(answers.WouldChange(d, v, msg.Turns{}, "preserve_n"), ", "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Goal: while a policy learns how fast work is done it is said what it waits for, and neither deadline nor rest, which
// would change nothing yet. Method: one decision about work, by the rule of learning and by another.
func TestWouldChangeWhileLearning(t *testing.T) {
	left := epu.Reading{Sensor: "frames", Value: 7, Quality: epu.QualityOK}
	work := epu.Work{Left: &left, Deadline: time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)}
	for rule, want := range map[string]string{"learn": "samples of how fast the work left becomes less", "deadline": "another deadline"} {
		d := &epu.Decision{Inputs: []epu.Input{{Name: "work", Value: work}}, Reasons: []epu.Reason{{Rule: rule, Text: "x"}}}
		got := strings.Join(answers.WouldChange(d, msg.PoolView{}, msg.Turns{}, "preserve_n"), ", ")
		if !strings.Contains(got, want) || rule == "learn" && strings.Contains(got, "deadline") {
			t.Errorf("%s: got %q, want %q in it", rule, got, want)
		}
	}
}
