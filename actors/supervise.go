package actors

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Restarts are supervised by one rule for every child: a panic restarts it, after a wait that doubles
// from restartFirst to restartCap with up to half of it as jitter, and is forgotten after restartForget
// without one. A child is never silently stopped. What is lost: the message being handled, and volatile
// state; durable state is loaded again.
const (
	restartFirst  = 100 * time.Millisecond
	restartCap    = 30 * time.Second
	restartForget = time.Minute
)

// supervisor is the strategy of every parent.
type supervisor struct {
	clock    Clock
	log      *slog.Logger
	restarts *atomic.Uint64
}

// HandleFailure restarts a failed child after its backoff.
func (s *supervisor) HandleFailure(_ *actor.ActorSystem, parent actor.Supervisor, child *actor.PID, rs *actor.RestartStatistics, reason, message any) {
	if rs.NumberOfFailures(restartForget) == 0 {
		rs.Reset()
	}
	rs.Fail()
	wait := restartWait(rs.FailureCount())
	s.restarts.Add(1)
	s.log.Error("actor failed", "actor", child.Id, "reason", fmt.Sprint(reason),
		"message", fmt.Sprintf("%T", message), "restart_in", wait)
	s.clock.AfterFunc(wait, func() { parent.RestartChildren(child) })
}

// restartWait is the backoff before the n-th restart in a row, from 1.
func restartWait(n int) time.Duration {
	wait := restartFirst
	for i := 1; i < n && wait < restartCap; i++ {
		wait *= 2
	}
	wait = min(wait, restartCap)
	return wait + time.Duration(rand.Int64N(int64(wait)/2+1))
}

// Clock is where shells get the time and their timers from. Cores receive now instead.
type Clock interface {
	// Now is the current time.
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
