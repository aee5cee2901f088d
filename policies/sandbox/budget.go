package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"runtime/metrics"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const (
	arrayIndexMax = 1 << 16 // a larger number as a key goes to the table's hash part

	// More time than this between two looks is mostly waiting for the processor, for which a policy can't
	// be blamed: no more counts. Looks are then made after fewer steps, so that steps which are slow
	// themselves, such as the length of a list that was emptied, count in full.
	waitMax = time.Millisecond

	lookEvery     = 64 // steps between looks at the clock, at most
	heapEverySlow = 4  // looks between samples of what was allocated when there is no clock

	// stepMost is how long a step that a host function charges for may take, generously: so much of a wait
	// after a charge is the function's own doing and counts.
	stepMost = time.Microsecond

	// weighMost is how long each byte that is weighed may take, generously; a weighing counts against the deadline.
	weighMost = 5 * time.Nanosecond
)

// heapMetric is all that the process ever allocated. Unlike the size of the heap it never falls, so that what it
// grew by is an upper bound of what an evaluation can have made, whatever others do meanwhile.
const heapMetric = "/gc/heap/allocs:bytes"

// A store to t[67108863] would make gopher-lua allocate a gigabyte in one instruction, which nothing
// could interrupt. The variable is the library's only switch for that and is process-wide; it is set
// here, before any state can exist, because setting it later would be a data race (so this breaks
// STYLE 4.5 on purpose).
func init() { lua.MaxArrayIndex = arrayIndexMax }

// Limits bound one evaluation.
type Limits struct {
	Deadline time.Duration    // wall time, without long waits for the processor; needs Now
	Steps    int              // VM instructions
	Heap     uint64           // bytes that the values of the state may take
	Now      func() time.Time // the clock; nil = no deadline

	// Weigh tells how many bytes the values of the state take, and stops counting beyond most. It is asked only
	// when the whole process has allocated so much that the evaluation can have made too much of it.
	Weigh func(most uint64) uint64
}

// Budget is what is left of an evaluation's limits; it is a Meter but for Tools. It is the context that
// gopher-lua asks before every instruction, which makes it a step counter: cheaper than a timer's
// context, and, unlike a deadline, the same on every machine and alive where time stands still. Every
// look (lookEvery steps) also reads the clock and, about once per millisecond, what was allocated.
type Budget struct {
	limits   Limits
	steps    int
	next     int // steps at which to look
	every    int // steps between looks
	text     int // bytes of strings made so far
	started  time.Time
	lookedAt time.Time
	ran      time.Duration // counts against the deadline
	charged  time.Duration // what host functions may take of the time until the next look
	heapAt   time.Time
	looks    int
	heap     [1]metrics.Sample
	heapBase uint64 // allocated when the evaluation began
	heapNext uint64 // allocated when the state is to be weighed
	why      error  // set when the budget is used up; nothing runs after that
}

var errNotRunning = errors.New("no evaluation is running")

// closed is what Done returns once a budget is used up.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Begin starts a new evaluation with full budgets.
func (b *Budget) Begin(l Limits) {
	b.limits = l
	b.steps, b.text, b.looks, b.why = 0, 0, 0, nil
	b.ran, b.charged, b.every = 0, 0, lookEvery
	b.heapBase = b.allocated()
	b.heapNext = b.heapBase + l.Heap
	b.next = min(lookEvery, b.limits.Steps)
	if b.limits.Now != nil {
		b.started = b.limits.Now()
		b.heapAt, b.lookedAt = b.started, b.started
	}
}

// Done is called by gopher-lua before every instruction.
func (b *Budget) Done() <-chan struct{} {
	b.steps++
	if b.steps < b.next {
		return nil
	}
	return b.look()
}

// look does what is too slow for every instruction.
func (b *Budget) look() <-chan struct{} {
	if b.why == nil {
		b.why = b.exceeded()
	}
	if b.why != nil {
		b.next = 0
		return closed
	}
	b.next = min(b.steps+b.every, b.limits.Steps)
	return nil
}

func (b *Budget) exceeded() error {
	if b.steps >= b.limits.Steps {
		return fmt.Errorf(stoppedAfter+"%d steps"+endless, b.steps)
	}
	b.looks++
	sample := b.limits.Now == nil && b.looks%heapEverySlow == 0
	if b.limits.Now != nil {
		t := b.limits.Now()
		since := t.Sub(b.lookedAt)
		b.lookedAt = t
		b.every = min(2*b.every, lookEvery)
		if most := max(waitMax, b.charged); since > most {
			since, b.every = most, max(b.every/16, 1)
		}
		b.charged = 0
		b.ran += since
		if err := b.late(); err != nil {
			return err
		}
		if t.Sub(b.heapAt) >= time.Millisecond {
			b.heapAt, sample = t, true
		}
	}
	if !sample {
		return nil
	}
	return b.weigh()
}

// late says that the deadline is over.
func (b *Budget) late() error {
	if b.ran > b.limits.Deadline {
		return fmt.Errorf(stoppedAfter+"%v"+endless, b.limits.Deadline)
	}
	return nil
}

// What stands around how much a script had used when it was stopped.
const (
	stoppedAfter = "stopped after "
	endless      = ": a loop that never ends, or too much work for one tick"
)

// stop is where a script was stopped that worked too long, and after how much.
var stop = regexp.MustCompile(`(:\d+)?: ` + stoppedAfter + `[^:]*` + endless)

// SameFailure reports that two failures of one version of a policy tell the same in their first lines; the source
// and what was read stand below. Where a loop is stopped, and whether by its steps or by the clock, depends on how
// busy the machine is.
func SameFailure(a, b string) bool {
	a, _, _ = strings.Cut(a, "\n")
	b, _, _ = strings.Cut(b, "\n")
	return a == b || stop.ReplaceAllLiteralString(a, endless) == stop.ReplaceAllLiteralString(b, endless)
}

// weigh finds out whether the state holds too much, once enough was allocated for that, by whomever.
func (b *Budget) weigh() error {
	now := b.allocated()
	if now < b.heapNext || b.limits.Weigh == nil {
		return nil
	}
	holds := b.limits.Weigh(b.limits.Heap)
	if holds > b.limits.Heap {
		return fmt.Errorf("stopped because its tables and functions take more than %d MiB", b.limits.Heap>>20)
	}
	b.heapNext = now + max(b.limits.Heap-holds, b.limits.Heap/8)
	if b.limits.Now == nil {
		return nil // steps are no measure of it: when a state is weighed depends on what others do
	}
	t := b.limits.Now()
	b.ran += min(t.Sub(b.lookedAt), max(waitMax, time.Duration(holds)*weighMost))
	b.lookedAt = t
	return b.late()
}

func (b *Budget) allocated() uint64 {
	b.heap[0].Name = heapMetric
	metrics.Read(b.heap[:])
	return b.heap[0].Value.Uint64()
}

// Grown is how many bytes the process has allocated since the evaluation began: at least as many as the
// evaluation.
func (b *Budget) Grown() uint64 { return b.allocated() - b.heapBase }

// Work charges for what a host function does outside the instruction count, before it does it.
func (b *Budget) Work(L *lua.LState, steps int) {
	b.steps += steps
	if b.steps >= b.next && b.look() != nil {
		L.RaiseError("%s", b.why.Error())
	}
	b.charged += time.Duration(steps) * stepMost
}

// Made charges for a string of n bytes, before it is made.
func (b *Budget) Made(L *lua.LState, n int) {
	if n > TextMax {
		L.RaiseError("a text of %d bytes is too long: at most %d", n, TextMax)
	}
	b.text += n
	if b.text > TextTotalMax {
		b.why = fmt.Errorf("stopped after making %d MiB of text", TextTotalMax>>20)
		b.next = 0
		L.RaiseError("%s", b.why.Error())
	}
}

// Err says why the evaluation was stopped.
func (b *Budget) Err() error {
	if b.why == nil {
		return errNotRunning
	}
	return b.why
}

// Deadline is unknown to gopher-lua: it only asks Done.
func (b *Budget) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value holds nothing.
func (b *Budget) Value(any) any { return nil }

// Steps is how many VM instructions the evaluation has taken.
func (b *Budget) Steps() int { return b.steps }

// Spent says why the evaluation was stopped; nil while it may go on.
func (b *Budget) Spent() error { return b.why }

// Took is how long the evaluation has run; 0 without a clock.
func (b *Budget) Took() time.Duration {
	if b.limits.Now == nil {
		return 0
	}
	return b.limits.Now().Sub(b.started)
}
