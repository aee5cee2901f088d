package agent

import (
	"path/filepath"
	"time"
)

// The supervisor's rule, documented in docs/reference/epu-agent.md: a program that ends unasked, with
// whatever status, has failed. It is started again after a delay that doubles; it counts as healthy
// again after lifeHealthy, or after lifeReset once it has failed more than failuresInRowMax times in a row.
const (
	restartDelayMin  = time.Second
	restartDelayMax  = time.Minute
	lifeHealthy      = 10 * time.Second
	lifeReset        = time.Minute
	failuresInRowMax = 5
	stopGrace        = 10 * time.Second // from SIGTERM to SIGKILL
)

type phase int

const (
	idle     phase = iota // not running; startAt says when to start
	starting              // being started
	running
)

// program is one supervised program. Deadlines are zero when there is none.
type program struct {
	name  string
	args  []string
	phase phase

	startAt time.Time // idle: not before
	since   time.Time // running: when it started
	killAt  time.Time // running: SIGKILL then
	told    bool      // this run was asked to end: its end is no failure
	asked   bool      // asked by the order in force
	termed  bool      // SIGTERM was sent under the order in force
	killed  bool

	draining    bool // its drain command runs
	drainKilled bool // and was told to end

	starts  int
	inRow   int      // failures in a row
	failure *failure // the newest, until it counts as healthy again
}

func newProgram(args []string) *program {
	return &program{name: cut(filepath.Base(args[0]), nameMax), args: args}
}

func (p *program) stopped() bool { return p.phase == idle && !p.draining }

// healthyAt is when a running program that has failed before will have proved itself.
func (p *program) healthyAt() time.Time {
	if p.inRow > failuresInRowMax {
		return p.since.Add(lifeReset)
	}
	return p.since.Add(lifeHealthy)
}

// step gives what is to be done about one program now.
func (p *program) step(i int, now time.Time, o order) []action {
	if p.phase == running && p.failure != nil && !now.Before(p.healthyAt()) {
		p.failure = nil
	}
	var todo []action
	switch o.goal {
	case goalRun:
		todo = p.resume(i, now)
	case goalDrain:
		todo = p.drain(i, now, o)
	case goalStop:
		todo = p.stop(i, now, o)
	}
	if p.phase == running && !p.killed && !p.killAt.IsZero() && !now.Before(p.killAt) {
		p.killed = true
		todo = append(todo, endProgram{Program: i, Kill: true})
	}
	return todo
}

func (p *program) resume(i int, now time.Time) (todo []action) {
	p.asked, p.termed = false, false
	if !p.killed {
		p.killAt = time.Time{}
	}
	todo = p.endDrainCommand(i)
	if p.stopped() && !now.Before(p.startAt) {
		p.phase = starting
		p.starts++
		todo = append(todo, startProgram{Program: i, Args: p.args})
	}
	return todo
}

func (p *program) drain(i int, now time.Time, o order) (todo []action) {
	late := !o.drainBy.IsZero() && !now.Before(o.drainBy)
	if late {
		todo = p.endDrainCommand(i)
	}
	if p.phase != running {
		return todo
	}
	if !p.asked {
		p.told, p.asked = true, true
		if o.drainCommand && !p.draining && !late {
			p.draining = true
			return append(todo, startDrainCommand{Program: i})
		}
		if !p.draining { // from a drain that was cancelled: its end decides
			return append(todo, p.term(i, o.drainBy))
		}
	}
	if !p.killAt.IsZero() && o.drainBy.After(p.killAt) {
		p.killAt = o.drainBy
	}
	if late && !p.termed {
		todo = append(todo, p.term(i, now.Add(stopGrace)))
	}
	return todo
}

func (p *program) stop(i int, now time.Time, o order) (todo []action) {
	todo = p.endDrainCommand(i)
	if p.phase != running {
		return todo
	}
	p.told, p.asked = true, true
	by := o.stopBy
	if !p.killAt.IsZero() && p.killAt.Before(by) {
		by = p.killAt
	}
	p.killAt = by
	if !p.termed && now.Before(by) {
		todo = append(todo, p.term(i, by))
	}
	return todo
}

func (p *program) endDrainCommand(i int) []action {
	if !p.draining || p.drainKilled {
		return nil
	}
	p.drainKilled = true
	return []action{killDrainCommand{Program: i}}
}

// drainCommandEnded notes the end of a drain command. One that failed leaves it to SIGTERM; after
// one that did not, the program has until the deadline to end by itself.
func (p *program) drainCommandEnded(i int, o order, ok bool) []action {
	p.draining, p.drainKilled = false, false
	if ok || o.goal != goalDrain || p.phase != running || p.termed {
		return nil
	}
	return []action{p.term(i, o.drainBy)}
}

func (p *program) term(i int, killAt time.Time) action {
	p.termed, p.killAt = true, killAt
	return endProgram{Program: i}
}

// started notes that a start succeeded.
func (p *program) started(now time.Time) {
	p.phase, p.since = running, now
	p.told, p.asked, p.termed, p.killed, p.killAt = false, false, false, false, time.Time{}
}

// ended notes an end, or a start that failed. It gives the failure that this is, if it is one.
func (p *program) ended(now time.Time, o order, f failure) *failure {
	lived := time.Duration(0)
	if p.phase == running {
		lived = now.Sub(p.since)
	}
	wanted := p.told || o.goal != goalRun
	p.phase, p.startAt, p.killAt, p.told = idle, now, time.Time{}, false
	if wanted {
		p.failure = nil
		return nil
	}
	p.retry(now, lived)
	f.Program, f.At, f.Restarts = p.name, now, p.starts-1
	p.failure = &f
	return p.failure
}

// retry sets the next start after one more failure in a row.
func (p *program) retry(now time.Time, lived time.Duration) {
	if lived >= lifeReset {
		p.inRow = 0
	}
	p.inRow++
	p.phase, p.startAt = idle, now.Add(doubling(restartDelayMin, restartDelayMax, p.inRow))
}

// next is when step has something new to do, or zero.
func (p *program) next(o order) (at time.Time) {
	if p.phase == idle && !p.draining && o.goal == goalRun {
		at = p.startAt
	}
	if p.phase == running && !p.killed {
		at = earlier(at, p.killAt)
	}
	if p.phase == running && p.failure != nil {
		at = earlier(at, p.healthyAt())
	}
	if o.goal == goalDrain && (p.draining && !p.drainKilled || p.phase == running && !p.termed) {
		at = earlier(at, o.drainBy)
	}
	return at
}

// doubling is the n-th delay, from 1, of a series that doubles up to a limit.
func doubling(first, limit time.Duration, n int) time.Duration {
	d := first
	for i := 1; i < n && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}

// earlier is the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
