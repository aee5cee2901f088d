package actors

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
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

// mailbox is the library's, opened once its actor can be run. The library makes an actor's name known
// before its mailbox has somebody to run it, so that a message sent meanwhile by another goroutine, such
// as a beat to a worker whose actor is just being started, would end the process.
type mailbox struct {
	actor.Mailbox
	open  atomic.Bool
	mu    sync.Mutex // guards what follows: senders of early messages are other goroutines
	early *early     // what came before the mailbox was open; nil when nothing did
}

type early struct{ system, user []any }

// newMailbox makes a mailbox that keeps what comes too early.
func newMailbox() actor.Mailbox { return &mailbox{Mailbox: actor.Unbounded()()} }

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(x any) {
	if m.open.Load() || !m.keep(x, false) {
		m.Mailbox.PostUserMessage(x)
	}
}

// PostSystemMessage implements actor.Mailbox. The first one is the actor's start.
func (m *mailbox) PostSystemMessage(x any) {
	_, start := x.(*actor.Started)
	if start || m.open.Load() || !m.keep(x, true) {
		m.Mailbox.PostSystemMessage(x)
	}
}

// keep keeps an early message, unless the mailbox has been opened meanwhile.
func (m *mailbox) keep(x any, system bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open.Load() {
		return false
	}
	if m.early == nil {
		m.early = &early{}
	}
	if system {
		m.early.system = append(m.early.system, x)
	} else {
		m.early.user = append(m.early.user, x)
	}
	return true
}

// Start implements actor.Mailbox: the actor's start has been posted, and now what came before it.
func (m *mailbox) Start() {
	m.Mailbox.Start()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.early != nil {
		for _, x := range m.early.system {
			m.Mailbox.PostSystemMessage(x)
		}
		for _, x := range m.early.user {
			m.Mailbox.PostUserMessage(x)
		}
	}
	m.early = nil
	m.open.Store(true)
}

// inbox is the mailbox of actors of which there are very many and whose work is shorter than the start
// of a goroutine: whoever sends runs the actor, unless somebody does already. It holds nothing while
// nothing waits. Such an actor must not block, nor hold on to whoever sends to it.
type inbox struct {
	invoker actor.MessageInvoker

	mu        sync.Mutex // guards what follows: senders are any goroutines
	open      bool       // the actor has been started; what came before waits
	running   bool       // somebody runs the actor
	suspended bool       // it failed: only system messages until it is begun anew
	waits     *early     // nil when nothing does
}

func newInbox() actor.Mailbox { return &inbox{} }

// RegisterHandlers implements actor.Mailbox. There is nothing to dispatch.
func (m *inbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
}

// Start implements actor.Mailbox. The message Started opens it.
func (*inbox) Start() {}

// UserMessageCount implements actor.Mailbox.
func (m *inbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waits == nil {
		return 0
	}
	return len(m.waits.user)
}

// PostUserMessage implements actor.Mailbox.
func (m *inbox) PostUserMessage(x any) {
	m.mu.Lock()
	if !m.open || m.running || m.suspended {
		m.waiting().user = append(m.waits.user, x)
		m.mu.Unlock()
		return
	}
	m.running = true
	m.mu.Unlock()
	m.run(x, false)
}

// PostSystemMessage implements actor.Mailbox. The first one of an actor is its start, which goes before
// what other goroutines sent earlier.
func (m *inbox) PostSystemMessage(x any) {
	m.mu.Lock()
	if _, start := x.(*actor.Started); start {
		m.open = true
	} else if !m.open || m.running {
		m.waiting().system = append(m.waits.system, x)
		m.mu.Unlock()
		return
	}
	m.running = true
	m.mu.Unlock()
	m.run(x, true)
}

func (m *inbox) waiting() *early {
	if m.waits == nil {
		m.waits = &early{}
	}
	return m.waits
}

// run handles a message, and then what came meanwhile.
func (m *inbox) run(x any, system bool) {
	for ok := true; ok; x, system, ok = m.next() {
		m.invoke(x, system)
	}
}

// next takes the next message; ok is false when the actor can rest.
func (m *inbox) next() (x any, system, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.waits
	switch {
	case w == nil:
	case len(w.system) > 0:
		x, w.system = w.system[0], w.system[1:]
		return x, true, true
	case len(w.user) > 0 && !m.suspended:
		x, w.user = w.user[0], w.user[1:]
		return x, false, true
	case len(w.user) == 0:
		m.waits = nil
	}
	m.running = false
	return nil, false, false
}

// invoke has the actor take a message. Its panic is its parent's to judge.
func (m *inbox) invoke(x any, system bool) {
	defer func() {
		if r := recover(); r != nil {
			m.invoker.EscalateFailure(r, x)
		}
	}()
	if !system {
		m.invoker.InvokeUserMessage(x)
		return
	}
	switch x.(type) {
	case *actor.SuspendMailbox:
		m.suspend(true)
	case *actor.ResumeMailbox:
		m.suspend(false)
	default:
		m.invoker.InvokeSystemMessage(x)
	}
}

func (m *inbox) suspend(on bool) {
	m.mu.Lock()
	m.suspended = on
	m.mu.Unlock()
}

// callsGrace is how long calls may go on once the node stops. Then they are told to end: what became of
// them is found out at the next start.
const callsGrace = 5 * time.Second

// crew is what works for a node's actors off their mailboxes: the calls of the store and of executors.
// Each has a deadline, and the node's stop awaits them, so that nobody uses a store that is closed.
type crew struct {
	ctx    context.Context // of calls that may be broken off
	cancel context.CancelFunc

	mu   sync.Mutex // guards what follows: actors begin work, goroutines end it
	n    int
	over bool          // nothing new begins
	idle chan struct{} // closed once it is over and nothing runs
}

func newCrew() *crew {
	c := &crew{idle: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// run begins a piece of work, unless the node is stopping: then nobody would hear of it.
func (c *crew) run(f func(ctx context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.n++
	go func() {
		defer c.left()
		f(c.ctx)
	}()
}

func (c *crew) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.over {
		close(c.idle)
	}
}

// stop awaits what runs, at most until the longest deadline has passed; it gives the number of those that
// did not heed theirs.
func (c *crew) stop(clock Clock) (left int) {
	c.mu.Lock()
	if !c.over {
		if c.over = true; c.n == 0 {
			close(c.idle)
		}
	}
	c.mu.Unlock()
	defer c.cancel()
	defer clock.AfterFunc(callsGrace, c.cancel)()
	gone := make(chan struct{})
	defer clock.AfterFunc(storeTimeout+callsGrace, func() { close(gone) })()
	select {
	case <-c.idle:
	case <-gone:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
