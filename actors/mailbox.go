package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox is the library's, opened once its actor can be run. The library makes an actor's name known
// before its mailbox has somebody to run it, so that a message sent meanwhile by another goroutine, such
// as a beat to a worker whose actor is just being started, would end the process.
type mailbox struct {
	actor.Mailbox
	open   atomic.Bool
	mu     sync.Mutex // guards what follows: senders of early messages are other goroutines
	system []any
	user   []any
}

// newMailbox makes a mailbox that keeps what comes too early.
func newMailbox() actor.Mailbox { return &mailbox{Mailbox: actor.Unbounded()()} }

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(x any) {
	if m.open.Load() || !m.keep(&m.user, x) {
		m.Mailbox.PostUserMessage(x)
	}
}

// PostSystemMessage implements actor.Mailbox. The first one is the actor's start.
func (m *mailbox) PostSystemMessage(x any) {
	_, start := x.(*actor.Started)
	if start || m.open.Load() || !m.keep(&m.system, x) {
		m.Mailbox.PostSystemMessage(x)
	}
}

// keep keeps an early message, unless the mailbox has been opened meanwhile.
func (m *mailbox) keep(early *[]any, x any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open.Load() {
		return false
	}
	*early = append(*early, x)
	return true
}

// Start implements actor.Mailbox: the actor's start has been posted, and now what came before it.
func (m *mailbox) Start() {
	m.Mailbox.Start()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.system {
		m.Mailbox.PostSystemMessage(x)
	}
	for _, x := range m.user {
		m.Mailbox.PostUserMessage(x)
	}
	m.system, m.user = nil, nil
	m.open.Store(true)
}
