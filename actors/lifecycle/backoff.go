package lifecycle

import (
	"cmp"
	"time"
)

// Streak counts launches that failed in a row. The first few back off by doubling from a second; from
// the limit on the pool waits for the full backoff, so an image that keeps failing costs little.
type Streak struct {
	Failures int       `json:"n,omitempty"`
	First    time.Time `json:"first,omitzero"` // of this row
	Last     time.Time `json:"last,omitzero"`
}

// backoffFirst is the wait after the first failure.
const backoffFirst = time.Second

// Fail counts one failed launch.
func (s Streak) Fail(now time.Time) Streak {
	return Streak{Failures: s.Failures + 1, First: cmp.Or(s.Since(), now), Last: now}
}

// Since is when the row began; zero when there is none. Of one that was stored when its beginning was not yet kept
// it is the newest failure that is known.
func (s Streak) Since() time.Time {
	if s.Failures == 0 {
		return time.Time{}
	}
	return cmp.Or(s.First, s.Last)
}

// Until is when launches may be tried again: limit failures in a row wait for the whole of max. A failure
// that lies further ahead of now than that is of a clock that was wrong, and does not count.
func (s Streak) Until(now time.Time, limit int, max time.Duration) time.Time {
	if s.Failures == 0 || s.Last.Sub(now) > max {
		return time.Time{}
	}
	if limit > 0 && s.Failures >= limit {
		return s.Last.Add(max)
	}
	wait := backoffFirst
	for i := 1; i < s.Failures && wait < max; i++ {
		wait *= 2
	}
	return s.Last.Add(min(wait, max))
}
