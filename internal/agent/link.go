package agent

import (
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// The link's timing.
const (
	beatPeriodDefault = 5 * time.Second // when neither user data nor node names one
	beatPeriodMin     = 100 * time.Millisecond
	beatPeriodMax     = time.Hour
	beatDeadlineMax   = 10 * time.Second
	beatJitter        = 0.1 // of the period, to either side
	checkInDeadline   = 10 * time.Second
	tooEarlyDelay     = time.Second
	retryDelayMin     = time.Second
	retryDelayMax     = 15 * time.Second
	pollWait          = 30 * time.Second
	pollDeadline      = pollWait + 10*time.Second
	pollGapMin        = time.Second // between the beginnings of two polls
)

// outcome is what became of a request that got no good answer.
type outcome int

const (
	away     outcome = iota + 1 // no connection, no answer in time, or an answer that makes no sense
	tooEarly                    // 425: not yet bound to a slot
	denied                      // 401: the token is not valid
	gone                        // 410: the worker has ended
)

// link is the timing of everything sent to the nodes. One request at a time is under way, and beside it
// one long poll.
type link struct {
	nodes  int // how many there are
	node   int // the one in use
	tried  int // nodes that failed in this round
	rounds int // rounds in a row in which every node failed

	token   string // empty until checked in
	worker  epu.WorkerID
	name    string
	vars    map[string]string
	period  time.Duration
	drain   time.Duration // that programs have to end after a drain command
	forever bool          // they have all the time they need
	command []string      // that drains, from the node; empty: the agent's own
	denials int           // in a row, with no answered beat between them

	busy  bool // a check-in or beat is under way
	again bool // something urgent happened meanwhile
	at    time.Time

	polling   bool
	pollBegan time.Time
	pollAt    time.Time
	pollFails int
	after     string // ID of the newest command
}

// urge makes the next request go out at once, or as soon as the one under way has ended.
func (l *link) urge(now time.Time) {
	if l.busy {
		l.again = true
	} else if l.token != "" {
		l.at = now
	}
}

// checkedIn takes over a worker's identity. It refuses another worker's: the programs run as this one.
func (l *link) checkedIn(now time.Time, c msg.CheckedIn, rnd func() float64) bool {
	l.busy = false
	if l.worker != "" && c.Worker != l.worker {
		l.failed(now, rnd)
		return false
	}
	l.worker, l.token, l.name, l.vars = c.Worker, c.Token, c.Name, c.Vars
	l.setPeriod(c.HeartbeatSeconds)
	l.drain, l.forever, l.command = seconds(c.DrainSeconds), c.DrainForever, c.DrainCommand
	l.tried, l.rounds, l.again = 0, 0, false
	l.at, l.pollAt, l.pollFails = now, now, 0
	return true
}

func (l *link) setPeriod(s float64) {
	if s > 0 {
		l.period = min(max(seconds(s), beatPeriodMin), beatPeriodMax)
	}
}

// drainEnd is when programs that are told to drain now must have ended; zero is never.
func (l *link) drainEnd(now time.Time) time.Time {
	switch {
	case l.forever:
		return time.Time{}
	case l.drain > 0:
		return now.Add(l.drain)
	}
	return now.Add(stopGrace)
}

func (l *link) beatDeadline() time.Duration { return min(l.period, beatDeadlineMax) }

// answered schedules the next beat.
func (l *link) answered(now time.Time, more bool, rnd func() float64) {
	l.busy, l.tried, l.rounds, l.denials = false, 0, 0, 0
	l.at = now.Add(jittered(l.period, beatJitter, rnd))
	if more || l.again {
		l.at = now
	}
	l.again = false
	if !l.polling && l.pollFails > 0 { // the node is back: listen to it at once
		l.pollFails, l.pollAt = 0, now
	}
}

// failed turns to the next node, and after the last to waiting.
func (l *link) failed(now time.Time, rnd func() float64) {
	l.busy, l.again = false, false
	l.node = (l.node + 1) % l.nodes
	l.tried++
	if l.tried < l.nodes {
		l.at = now
		return
	}
	l.tried = 0
	l.rounds++
	l.at = now.Add(retryDelay(l.rounds, rnd))
}

// deny drops a token that a node did not accept. A second denial in a row waits, so that two nodes of
// different opinion don't make a tight loop.
func (l *link) deny(now time.Time, rnd func() float64) {
	l.token, l.again = "", false
	l.at = now
	if l.denials++; l.denials > 1 {
		l.at = now.Add(retryDelay(l.denials-1, rnd))
	}
}

// pollEnded schedules the next long poll.
func (l *link) pollEnded(now time.Time, ok bool, rnd func() float64) {
	l.polling = false
	l.pollAt = l.pollBegan.Add(pollGapMin)
	if ok {
		l.pollFails = 0
		return
	}
	l.pollFails++
	l.pollAt = now.Add(retryDelay(l.pollFails, rnd))
}

// retryDelay is the n-th wait for a node that is away: doubling, and spread over its upper half so that
// a fleet does not come back as one.
func retryDelay(n int, rnd func() float64) time.Duration {
	d := doubling(retryDelayMin, retryDelayMax, n)
	return d/2 + time.Duration(rnd()*float64(d/2))
}

func jittered(d time.Duration, part float64, rnd func() float64) time.Duration {
	return d + time.Duration(part*(2*rnd()-1)*float64(d))
}

// seconds turns a number of seconds from the wire into a duration. It was checked when it was decoded.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
