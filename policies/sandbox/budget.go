package policies

import (
	"errors"
	"fmt"
	"runtime/metrics"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/sandbox"
)

// The bounds of a policy. The deadline and the step budget can be set per engine; the others are
// fixed, because no honest policy comes near them.
const (
	deadlineDefault = 50 * time.Millisecond
	stepsDefault    = 5_000_000 // VM instructions of one evaluation; about ten times the deadline's worth of plain work
	heapDefault     = 256 << 20
	arrayIndexMax   = 1 << 16 // a larger number as a key goes to the table's hash part
	callDepthMax    = 120
	registryMax     = 16 << 10 // values on the Lua stack
	sourceMax       = 256 << 10

	// A policy that did less than this within its deadline was starved of the processor rather than
	// caught in a loop; it is a few milliseconds of work, and stopping it would help nobody.
	starvedSteps = 100_000

	lookEvery     = 64 // steps between looks at the clock
	heapEverySlow = 16 // looks between samples of the heap when there is no clock
)

const heapMetric = "/memory/classes/heap/objects:bytes"

// A store to t[67108863] would make gopher-lua allocate a gigabyte in one instruction, which nothing
// could interrupt. The variable is the library's only switch for that and is process-wide; it is set
// here, before any state can exist, because setting it later would be a data race (so this breaks
// STYLE 4.5 on purpose).
func init() { lua.MaxArrayIndex = arrayIndexMax }

// budget bounds one evaluation. It is the context that gopher-lua asks before every instruction,
// which makes it a step counter: cheaper than a timer's context, and, unlike a deadline, the same on
// every machine and alive where time stands still. Every look (lookEvery steps) also reads the clock
// and, about once per millisecond, the size of the heap.
type budget struct {
	steps, stepsMax int
	next            int // steps at which to look
	text            int // bytes of strings made so far
	started         time.Time
	deadline        time.Duration
	now             func() time.Time // nil: steps alone bound the evaluation
	heapAt          time.Time
	looks           int
	heap            [1]metrics.Sample
	heapBase        uint64
	heapMax         uint64
	why             error // set when the budget is used up; nothing runs after that
}

var errNotRunning = errors.New("no evaluation is running")

// closed is what Done returns once a budget is used up.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// begin starts a new evaluation with full budgets.
func (b *budget) begin() {
	b.steps, b.text, b.looks, b.why, b.heapBase = 0, 0, 0, nil, 0
	b.next = min(lookEvery, b.stepsMax)
	if b.now != nil {
		b.started = b.now()
		b.heapAt = b.started
	}
}

// Done is called by gopher-lua before every instruction.
func (b *budget) Done() <-chan struct{} {
	b.steps++
	if b.steps < b.next {
		return nil
	}
	return b.look()
}

// look does what is too slow for every instruction.
func (b *budget) look() <-chan struct{} {
	if b.why == nil {
		b.why = b.exceeded()
	}
	if b.why != nil {
		b.next = 0
		return closed
	}
	b.next = min(b.steps+lookEvery, b.stepsMax)
	return nil
}

func (b *budget) exceeded() error {
	if b.steps >= b.stepsMax {
		return fmt.Errorf("stopped after %d steps: a loop that never ends, or too much work for one tick", b.steps)
	}
	b.looks++
	sample := b.now == nil && b.looks%heapEverySlow == 0
	if b.now != nil {
		t := b.now()
		if t.Sub(b.started) > b.deadline && b.steps > starvedSteps {
			return fmt.Errorf("stopped after %v: a loop that never ends, or too much work for one tick", b.deadline)
		}
		if t.Sub(b.heapAt) >= time.Millisecond {
			b.heapAt, sample = t, true
		}
	}
	if !sample {
		return nil
	}
	b.heap[0].Name = heapMetric
	metrics.Read(b.heap[:])
	size := b.heap[0].Value.Uint64()
	if b.heapBase == 0 {
		b.heapBase = size
	}
	if size > b.heapBase+b.heapMax {
		return fmt.Errorf("stopped because memory grew by more than %d MiB during the evaluation", b.heapMax>>20)
	}
	return nil
}

// Work charges for what a host function does outside the instruction count, before it does it.
func (b *budget) Work(L *lua.LState, steps int) {
	b.steps += steps
	if b.steps >= b.next && b.look() != nil {
		L.RaiseError("%s", b.why.Error())
	}
}

// Made charges for a string of n bytes, before it is made.
func (b *budget) Made(L *lua.LState, n int) {
	if n > sandbox.TextMax {
		L.RaiseError("a text of %d bytes is too long: at most %d", n, sandbox.TextMax)
	}
	b.text += n
	if b.text > sandbox.TextTotalMax {
		b.why = fmt.Errorf("stopped after making %d MiB of text", sandbox.TextTotalMax>>20)
		b.next = 0
		L.RaiseError("%s", b.why.Error())
	}
}

// Err says why the evaluation was stopped.
func (b *budget) Err() error {
	if b.why == nil {
		return errNotRunning
	}
	return b.why
}

// Deadline is unknown to gopher-lua: it only asks Done.
func (b *budget) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value holds nothing.
func (b *budget) Value(any) any { return nil }

// hostOf finds the evaluation behind a state. The host is the state's context, so that the host
// functions themselves hold no state and are shared by all engines of a policy.
func hostOf(L *lua.LState) *host { return L.Context().(*host) }
