package actors

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
)

// Goal: a node that ran with its clock ahead is not held up, once the clock is right, by what it noted then.
// Method: limits and a backoff whose times were noted with a clock a day ahead, which a restart has read back.
func TestTimesAheadHoldNothingUp(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		noted time.Time
		held  bool
	}{
		{"just now", now, true},
		{"within the window", now.Add(-9 * time.Minute), true},
		{"out of the window", now.Add(-11 * time.Minute), false},
		{"by a clock a second ahead", now.Add(time.Second), true},
		{"by a clock a day ahead", now.Add(24 * time.Hour), false},
	} {
		if u := used([]stamp{{tt.noted, 3}}, now, 10*time.Minute); (u.N == 3) != tt.held || (u.N == 0) == tt.held {
			t.Errorf("launches, %s: got %+v, want them to count: %v", tt.name, u, tt.held)
		}
		if n := len(recent([]time.Time{tt.noted}, now)); (n == 1) != tt.held {
			t.Errorf("condemned, %s: got %d, want it to count: %v", tt.name, n, tt.held)
		}
	}
	place := epu.Placement{Site: "cloud"}
	c := &Controller{clock: now}
	c.st.Define.Spec.Limits = epu.Limits{FailuresInRow: 1, FailureBackoff: time.Hour}
	for _, tt := range []struct {
		last time.Time
		want time.Duration // from now; 0 = it has passed
	}{
		{now.Add(-time.Minute), 59 * time.Minute},
		{now.Add(-2 * time.Hour), 0},
		{now.Add(24 * time.Hour), 0},
	} {
		c.st.Streaks = map[string]lifecycle.Streak{placeKey(place.Site, place.Allocation, place.Market): {Failures: 1, Last: tt.last}}
		if got := max(0, c.backoffOf(place).Sub(now)); got != tt.want {
			t.Errorf("a launch that failed at %v: got a wait of %v, want %v", tt.last, got, tt.want)
		}
	}
}
