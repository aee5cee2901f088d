package actors

import "time"

// Clock is where shells get the time and their timers from. Cores receive now instead.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d, unless stop was called before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// WallClock is the real clock; in a test bubble it is the bubble's.
type WallClock struct{}

// Now is the current time.
func (WallClock) Now() time.Time { return time.Now() }

// AfterFunc calls f after d.
func (WallClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}
