package answers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: what ails a pool is an alert as long as it matters. Method: one pool's view at several moments.
func TestPoolAlerts(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := msg.PoolView{
		Spec: epu.PoolSpec{Name: "epu-web"}, Workers: []*epu.Worker{{ID: "epu-web-1-1/0"}}, Last: &epu.Decision{Alerts: []string{"queue is odd"}}, AlertingSince: now,
		Sensors: []msg.SensorView{
			{Reading: epu.Reading{Sensor: "depth", Quality: epu.QualityUnknown}, Fault: "connection refused", BadSince: now},
			{Reading: epu.Reading{Sensor: "load", Quality: epu.QualityOK}},
		},
		Faults: []msg.HookFault{
			{Worker: "epu-web-1-1/0", Hook: "running", Error: "exit status 1", Time: now},
			{Worker: "epu-web-1-0/0", Hook: "ending", Error: "exit status 2", Time: now},
		},
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "hook-given-up hook-given-up policy-alert"},
		{2 * time.Minute, "sensor-failing hook-given-up hook-given-up policy-alert"},
		{2 * time.Hour, "sensor-failing hook-given-up policy-alert"},
	} {
		var codes []string
		for _, a := range answers.PoolAlerts(v, now.Add(c.after)) {
			codes = append(codes, a.GetCode())
			if a.GetSubject() != "epu-web" || a.GetTry() == "" || !a.GetSince().AsTime().Equal(now) {
				t.Errorf("got %v", a)
			}
		}
		if got := strings.Join(codes, " "); got != c.want {
			t.Errorf("after %v: got %s, want %s", c.after, got, c.want)
		}
	}
}
