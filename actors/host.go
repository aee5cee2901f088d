package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Executor carries out a call of a durable actor, off its mailbox. The context has the call's deadline.
type Executor func(ctx context.Context, call any) (any, error)

// System is what every actor of a node stands on.
type System struct {
	Actors   *actor.ActorSystem
	Clock    Clock
	Journal  persistence.Journal
	History  persistence.History
	Log      *slog.Logger
	NewID    func() string // unique and sortable by time
	Events   *Bus
	Unknowns atomic.Uint64 // messages that no case took
	Restarts atomic.Uint64 // of failed actors
	work     *crew
	durables durables
}

// storeTimeout bounds one call of the store; what happened to an append is then found out by event ID.
const storeTimeout = 30 * time.Second

// durableActor runs a durable shell on protoactor. A failed incarnation is followed by another in the
// same place, so its mailbox is kept.
type durableActor struct {
	sys     *System
	stream  epu.StreamID
	codec   *persistence.Codec
	core    func() Core
	exec    Executor
	timeout time.Duration                   // of calls
	after   func(ctx actor.Context, c Core) // runs after every turn
	onLost  func(ctx actor.Context)         // an incarnation ended: its children's state is void

	self     *actor.PID
	current  Core
	shell    *Durable
	host     *actorHost
	failures int       // in a row, each soon after the one before
	began    time.Time // of the incarnation
	shown    shown
}

// posted brings the result of work off the mailbox back into the actor's turn.
type posted struct {
	host *actorHost
	f    func()
}

// DurableStatus asks a durable actor for the state of its shell; the answer is DurableState.
type DurableStatus struct{}

// DurableState is the state of a durable actor's shell.
type DurableState struct {
	Ready    bool
	Rev      epu.Revision
	Degraded error
	Since    time.Time // of Degraded
	Dropped  uint64
}

// Receive hands messages to the shell.
func (a *durableActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.self = ctx.Self()
		a.sys.durables.add(a)
		a.activate()
	case *actor.Stopping, *actor.Restarting:
		if a.host != nil {
			a.host.over.Store(true)
		}
	case *actor.Stopped:
		a.sys.durables.drop(a)
	case *actor.Terminated, *actor.DeadLetterResponse: // what is due is sent again
	case posted:
		if m.host == a.host && !m.host.over.Load() {
			m.f()
		}
	case DurableStatus:
		ctx.Respond(DurableState{a.shell.Ready(), a.shell.Rev(), a.shell.Degraded(), a.shell.degradedAt, a.shell.Dropped()})
	default:
		from := msg.Address("")
		if s := ctx.Sender(); s != nil {
			from = msg.Address(s.Id)
		}
		if !a.shell.Receive(m, from) && strings.HasPrefix(string(from), futurePrefix) { // actors repeat by themselves
			ctx.Respond(refuse(epu.Unavailable, "receive", a.self.Id, "too many messages wait for the store"))
		}
	}
	if a.host != nil && a.host.failed {
		a.again(ctx)
	} else if a.after != nil && a.shell != nil && a.shell.Settled() { // outside hears of what is durable only
		a.after(ctx, a.current)
	}
	a.shown.show(a.shell)
}

// activate begins an incarnation.
func (a *durableActor) activate() {
	a.began = a.sys.Clock.Now()
	a.host = &actorHost{a: a}
	a.current = a.core()
	a.shell = NewDurable(a.current, a.host, a.codec, a.stream)
	a.shell.Start()
}

// again replaces an incarnation that failed, after a backoff in which messages are kept by the next.
func (a *durableActor) again(ctx actor.Context) {
	a.host.over.Store(true)
	if a.sys.Clock.Now().Sub(a.began) > restartForget {
		a.failures = 0
	}
	a.failures++
	a.began = a.sys.Clock.Now()
	wait := restartWait(a.failures)
	a.sys.Restarts.Add(1)
	if a.onLost != nil {
		a.onLost(ctx)
	}
	a.host = &actorHost{a: a}
	a.current = a.core()
	a.shell = NewDurable(a.current, a.host, a.codec, a.stream)
	a.shell.Hold()
	shell := a.shell
	a.host.After(wait, shell.Start)
}

// actorHost is the Host of one incarnation.
type actorHost struct {
	a      *durableActor
	over   atomic.Bool // read by goroutines and timers that outlive the incarnation
	failed bool
}

var _ Host = (*actorHost)(nil)

func (h *actorHost) post(f func()) {
	if !h.over.Load() {
		h.a.sys.Actors.Root.Send(h.a.self, posted{h, f})
	}
}

func (h *actorHost) Now() time.Time { return h.a.sys.Clock.Now() }

func (h *actorHost) NewID() string { return h.a.sys.NewID() }

func (h *actorHost) Load(stream epu.StreamID, done func(persistence.Loaded, error)) {
	h.a.sys.work.run(func(context.Context) { // the store's answer counts, also while the node stops
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		l, err := h.a.sys.Journal.Load(ctx, stream)
		h.post(func() { done(l, err) })
	})
}

func (h *actorHost) Append(stream epu.StreamID, expected epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	h.a.sys.work.run(func(context.Context) { // the store's answer counts, also while the node stops
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		rev, err := h.a.sys.Journal.Append(ctx, h.a.sys.Journal.Meta().Epoch, stream, expected, events...)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
		}
		h.post(func() {
			done(rev, err)
		})
	})
}

func (h *actorHost) Snapshot(stream epu.StreamID, at epu.Revision, state json.RawMessage, done func(error)) {
	h.a.sys.work.run(func(context.Context) { // the store's answer counts, also while the node stops
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		err := h.a.sys.Journal.Snapshot(ctx, h.a.sys.Journal.Meta().Epoch, stream, at, state)
		if err != nil {
			h.a.sys.Log.Warn("snapshot failed", "stream", stream, "revision", at, "error", err)
		}
		h.post(func() { done(err) })
	})
}

func (h *actorHost) Send(to msg.Address, m any) {
	h.a.sys.send(to, h.a.self, m)
}

func (h *actorHost) After(d time.Duration, f func()) {
	h.a.sys.Clock.AfterFunc(d, func() { h.post(f) })
}

// bounded is a call with a deadline of its own instead of its actor's.
type bounded interface{ Deadline() time.Duration }

func (h *actorHost) Go(call any, done func(any, error)) {
	timeout := h.a.timeout
	if b, ok := call.(bounded); ok {
		timeout = b.Deadline()
	}
	h.a.sys.work.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		answer := make(chan func(), 1) // takes a late answer, which nobody hears
		h.a.sys.work.run(func(context.Context) {
			result, err := h.a.sys.try(ctx, h.a.exec, call)
			answer <- func() { done(result, err) }
		})
		select {
		case f := <-answer:
			h.post(f)
		case <-ctx.Done():
			h.post(func() {
				done(nil, epu.E(epu.UnknownOutcome, "carry out", typeName(call), fmt.Errorf("no answer within %s", timeout)))
			})
		}
	})
}

func (h *actorHost) Record(r persistence.Record) {
	h.a.sys.History.Record(r)
	h.a.sys.Events.Publish(r)
}

func (h *actorHost) Unknown(u UnknownMessage) {
	h.a.sys.Unknowns.Add(1)
	h.a.sys.Log.Warn("unknown message", "actor", h.a.self.Id, "type", u.Type)
}

func (h *actorHost) Fail(err error) {
	h.failed = true
	h.a.sys.Log.Error("incarnation failed", "actor", h.a.self.Id, "error", err)
}

// send delivers a message to an actor of this node.
func (s *System) send(to msg.Address, from *actor.PID, m any) {
	s.Actors.Root.RequestWithCustomSender(s.Actors.NewLocalPID(string(to)), m, from)
}

// try runs an executor; a panic of a provider or policy is that call's error and nothing more.
func (s *System) try(ctx context.Context, exec Executor, call any) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("call panicked", "call", fmt.Sprintf("%T", call), "panic", fmt.Sprint(r))
			err = epu.E(epu.Internal, "carry out", fmt.Sprintf("%T", call), fmt.Errorf("panic: %v", r))
		}
	}()
	return exec(ctx, call)
}

// Ask sends a question or command to an actor and waits for its answer, until the context ends and no
// longer than askTimeout. A Refused answer is an error.
func (s *System) Ask(ctx context.Context, to msg.Address, m any) (any, error) {
	wait := askTimeout
	if end, ok := ctx.Deadline(); ok {
		wait = max(0, min(wait, end.Sub(s.Clock.Now())))
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	asker := &asking{answer: make(chan any, 1)}
	self, ok := s.Actors.ProcessRegistry.Add(asker, futurePrefix+s.Actors.ProcessRegistry.NextId())
	if !ok {
		return nil, epu.E(epu.Internal, "ask", string(to), errors.New("the name of the asker is taken"))
	}
	defer s.Actors.ProcessRegistry.Remove(self)
	s.send(to, self, m)
	var answer any
	select {
	case answer = <-asker.answer:
	case <-ctx.Done():
		return nil, epu.E(epu.Unavailable, "ask", string(to), fmt.Errorf("no answer: %w", ctx.Err()))
	}
	switch r := answer.(type) {
	case *actor.DeadLetterResponse:
		return nil, epu.E(epu.NotFound, "ask", string(to), errors.New("no such actor on this node"))
	case msg.Refused:
		return nil, r.Reason()
	}
	return answer, nil
}

// asking stands for one question among the actors. The library's future can't serve: it waits for its
// own time only, so a node that stops would wait for every poll.
type asking struct{ answer chan any }

// SendUserMessage takes the first answer; what comes after it is nobody's.
func (a *asking) SendUserMessage(_ *actor.PID, m any) {
	select {
	case a.answer <- actor.UnwrapEnvelopeMessage(m):
	default:
	}
}

// SendSystemMessage has nothing to say to what is no actor.
func (a *asking) SendSystemMessage(*actor.PID, any) {}

// Stop has nothing to end: Ask does.
func (a *asking) Stop(*actor.PID) {}

// futurePrefix begins the names of those who wait for an answer and are no actors.
const futurePrefix = "future"

// askTimeout bounds the wait for an actor's answer where the asker has no shorter deadline.
const askTimeout = 10 * time.Second

// durables are the durable actors of a node that run, for those who count what waits in them.
type durables struct {
	mu  sync.Mutex // guards all: scrapes are other goroutines
	all map[*durableActor]struct{}
}

func (d *durables) add(a *durableActor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[*durableActor]struct{}{}
	}
	d.all[a] = struct{}{}
}

func (d *durables) drop(a *durableActor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, a)
}

// shown is what other goroutines may see of a durable actor.
type shown struct {
	box      atomic.Pointer[mailbox]
	queued   atomic.Int64 // messages that wait for the store
	degraded atomic.Bool  // the store can't be written
}

// mailbox makes the actor's mailbox.
func (s *shown) mailbox() actor.Mailbox {
	m := &mailbox{Mailbox: actor.Unbounded()()}
	s.box.Store(m)
	return m
}

func (s *shown) show(d *Durable) {
	if d != nil {
		s.queued.Store(int64(d.Queued()))
		s.degraded.Store(d.Degraded() != nil)
	}
}

// Waiting gives the number of messages that wait in durable actors, by kind: registry, site, controller.
func (s *System) Waiting() map[string]int {
	n := map[string]int{"registry": 0, "site": 0, "controller": 0}
	s.durables.mu.Lock()
	defer s.durables.mu.Unlock()
	for a := range s.durables.all {
		if box := a.shown.box.Load(); box != nil {
			n[a.kind()] += box.UserMessageCount()
		}
		n[a.kind()] += int(a.shown.queued.Load())
	}
	return n
}

// Degraded reports that the store can't be written now, as one actor at least has found.
func (s *System) Degraded() bool {
	s.durables.mu.Lock()
	defer s.durables.mu.Unlock()
	for a := range s.durables.all {
		if a.shown.degraded.Load() {
			return true
		}
	}
	return false
}

// kind is the word for an actor in metrics.
func (a *durableActor) kind() string {
	switch {
	case strings.HasPrefix(string(a.stream), string(epu.SiteStream(""))):
		return "site"
	case a.stream == RegistryStream:
		return "registry"
	}
	return "controller"
}
