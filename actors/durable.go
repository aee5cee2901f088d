package actors

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Core is the pure heart of an actor that persists: no clock, no I/O, no goroutine. The shell calls it
// from one goroutine at a time, and never while an append is in flight.
type Core interface {
	// Apply changes durable state by one event; it runs the same live and replayed, and nothing else
	// changes durable state.
	Apply(ev any)
	// Handle takes in one message: it emits events and replies, and may change volatile state. Wake
	// comes when the time that Due gave has come; CallResult when a call has ended.
	Handle(tx *Tx, m any)
	// Due derives from state what is still to be done, and when to ask again at the latest (zero: when
	// something happens). The order of todo is the order in which new ones start.
	Due(now time.Time, rev epu.Revision) (todo []Todo, next time.Time)
	// State is the durable state for a snapshot, as JSON-able data; Restore takes it back.
	State() any
	Restore(raw json.RawMessage) error
}

// Todo is one thing that durable state says is still to be done: a message to send or a call to make,
// repeated until Due no longer lists its Key.
type Todo struct {
	Key   string // tells todos apart; contents that must go out at once get a new key
	To    msg.Address
	Send  any           // a message for To, or
	Call  any           // data for the host's executor
	Every time.Duration // until the first repeat: after sending, or after the call's result
	Cap   time.Duration // repeats back off by doubling up to this; 0 = always Every
	After time.Time     // not before this time
}

// Wake tells a core that the time it asked for has come.
type Wake struct{}

// CallResult is the outcome of a Todo's call.
type CallResult struct {
	Key     string
	Call    any
	Result  any
	Err     error
	Began   time.Time
	Attempt int // from 1, of this incarnation
}

// Activated is every incarnation's first event. Before it is durable nothing is due.
type Activated struct {
	Incarnation string `json:"incarnation"`
}

// Host is what a durable shell stands on: protoactor in the daemon, a deterministic simulator in
// campaigns. Each incarnation has its own Host; the functions given to it run in the actor's turn, and
// never once the incarnation is over.
type Host interface {
	Now() time.Time
	// NewID returns an ID that no other incarnation has.
	NewID() string
	Load(stream epu.StreamID, done func(persistence.Loaded, error))
	Append(stream epu.StreamID, expected epu.Revision, events []persistence.Event, done func(epu.Revision, error))
	Snapshot(stream epu.StreamID, at epu.Revision, state json.RawMessage, done func(error))
	Send(to msg.Address, m any)
	After(d time.Duration, f func())
	Go(call any, done func(result any, err error))
	// Record keeps a history record; it may be lost.
	Record(r persistence.Record)
	// Unknown counts and logs a message that no case took.
	Unknown(u UnknownMessage)
	// Fail ends this incarnation; the parent starts another, with backoff.
	Fail(err error)
}

// Bounds of a durable shell.
const (
	queuedMax      = 10_000 // messages waiting while an append is in flight; more are refused or dropped
	batchEventsMax = 256    // events of one append
	snapshotEvery  = 256    // events between snapshots
	appendRetryMin = 100 * time.Millisecond
	appendRetryMax = 10 * time.Second
)

// Durable runs a Core over a Host: it loads and replays, batches messages into appends, lets replies
// out once they are durable, and after every change starts what Due lists and forgets what it does not.
type Durable struct {
	core   Core
	host   Host
	codec  *persistence.Codec
	stream epu.StreamID

	incarnation string
	events      uint64 // made by this incarnation
	round       uint64 // of settling
	rev         epu.Revision
	snapshotAt  epu.Revision
	ready       bool // activated
	busy        bool // an append is in flight: nobody looks at the state
	degraded    error
	snapping    bool

	queue   []queued
	dropped uint64
	tasks   map[string]*task
	wakeAt  time.Time
	wakeGen uint64
}

type queued struct {
	m    any
	from msg.Address
}

type task struct {
	todo    Todo
	attempt int
	running bool      // a call is out
	next    time.Time // of the next send or call
	began   time.Time
	round   uint64 // of the last Due that listed it
}

// NewDurable makes the shell of one incarnation. Start begins it.
func NewDurable(core Core, host Host, codec *persistence.Codec, stream epu.StreamID) *Durable {
	return &Durable{core: core, host: host, codec: codec, stream: stream, tasks: map[string]*task{}}
}

// Start loads the stream, replays it and commits Activated.
func (d *Durable) Start() {
	d.incarnation = d.host.NewID()
	d.busy = true
	d.load(appendRetryMin)
}

// Hold makes the shell keep messages for Start, which comes later.
func (d *Durable) Hold() { d.busy = true }

func (d *Durable) load(backoff time.Duration) {
	d.host.Load(d.stream, func(l persistence.Loaded, err error) {
		if errors.Is(err, persistence.ErrUnavailable) {
			d.degraded = err
			d.host.After(backoff, func() { d.load(min(2*backoff, appendRetryMax)) })
			return
		}
		if err == nil {
			err = d.replay(l)
		}
		if err != nil {
			d.host.Fail(fmt.Errorf("load %s: %w", d.stream, err))
			return
		}
		d.degraded = nil
		tx := d.begin()
		tx.Emit(Activated{Incarnation: d.incarnation})
		d.commit(tx, appendRetryMin)
	})
}

func (d *Durable) replay(l persistence.Loaded) error {
	if len(l.Snapshot) > 0 {
		if err := d.core.Restore(l.Snapshot); err != nil {
			return fmt.Errorf("snapshot at %d: %w", l.SnapshotAt, err)
		}
	}
	for i, e := range l.Tail {
		ev, err := d.codec.Decode(e)
		if err != nil {
			return fmt.Errorf("event %d: %w", uint64(l.SnapshotAt)+uint64(i)+1, err)
		}
		d.core.Apply(ev)
	}
	d.rev, d.snapshotAt = l.Revision, l.SnapshotAt
	return nil
}

// Receive takes in a message. It reports false when the bound on waiting messages was reached and the
// message was dropped; the caller answers "busy" where somebody waits.
func (d *Durable) Receive(m any, from msg.Address) bool {
	if len(d.queue) >= queuedMax {
		d.dropped++
		return false
	}
	d.queue = append(d.queue, queued{m, from})
	d.turn()
	return true
}

// Rev is the stream's durable revision.
func (d *Durable) Rev() epu.Revision { return d.rev }

// Degraded is why the store can't be written, or nil.
func (d *Durable) Degraded() error { return d.degraded }

// Ready reports that the incarnation has been activated.
func (d *Durable) Ready() bool { return d.ready }

// Dropped counts messages that the bound on the queue refused.
func (d *Durable) Dropped() uint64 { return d.dropped }

func (d *Durable) begin() *Tx { return &Tx{d: d, now: d.host.Now(), rev: d.rev} }

// turn handles what is queued, as one batch, unless an append is in flight.
func (d *Durable) turn() {
	for !d.busy && len(d.queue) > 0 {
		tx := d.begin()
		for len(d.queue) > 0 && len(tx.events) < batchEventsMax {
			q := d.queue[0]
			d.queue[0] = queued{}
			d.queue = d.queue[1:]
			tx.from = q.from
			d.core.Handle(tx, q.m)
		}
		if len(d.queue) == 0 {
			d.queue = nil
		}
		if len(tx.events) == 0 {
			d.release(tx)
			d.settle()
			continue
		}
		d.commit(tx, appendRetryMin)
	}
}

// commit appends a batch. An unavailable store keeps the batch and says nothing until it is back.
func (d *Durable) commit(tx *Tx, backoff time.Duration) {
	d.busy = true
	d.host.Append(d.stream, d.rev, tx.events, func(rev epu.Revision, err error) {
		switch {
		case errors.Is(err, persistence.ErrUnavailable):
			d.degraded = err
			d.host.After(backoff, func() { d.commit(tx, min(2*backoff, appendRetryMax)) })
			return
		case err != nil:
			d.host.Fail(fmt.Errorf("append %s at %d: %w", d.stream, d.rev, err))
			return
		}
		d.degraded, d.busy, d.ready = nil, false, true
		d.rev = rev
		d.release(tx)
		d.snapshot()
		d.settle()
		d.turn()
	})
}

// release lets out what a durable batch had to say.
func (d *Durable) release(tx *Tx) {
	for _, r := range tx.records {
		d.host.Record(r)
	}
	for _, o := range tx.outs {
		d.host.Send(o.to, o.m)
	}
}

// snapshot stores the state now and then; failing to is no harm, the events are still there.
func (d *Durable) snapshot() {
	if d.snapping || d.rev-d.snapshotAt < snapshotEvery {
		return
	}
	raw, err := json.Marshal(d.core.State())
	if err != nil {
		d.host.Fail(fmt.Errorf("snapshot %s: %w", d.stream, err))
		return
	}
	at := d.rev
	d.snapping = true
	d.host.Snapshot(d.stream, at, raw, func(err error) {
		d.snapping = false
		if err == nil {
			d.snapshotAt = at
		} else {
			d.snapshotAt += snapshotEvery / 2 // tries again after some more events
		}
	})
}

// settle compares what is due with what is going on: new things start, others repeat or are forgotten.
func (d *Durable) settle() {
	if !d.ready || d.busy {
		return
	}
	now := d.host.Now()
	todo, next := d.core.Due(now, d.rev)
	d.round++
	for _, t := range todo {
		k := d.tasks[t.Key]
		if k == nil {
			k = &task{next: t.After}
			d.tasks[t.Key] = k
		}
		k.todo, k.round = t, d.round
		if !k.running && !k.next.After(now) {
			d.start(k, now)
		}
		if !k.running && (next.IsZero() || k.next.Before(next)) {
			next = k.next
		}
	}
	for key, k := range d.tasks {
		if k.round != d.round && !k.running {
			delete(d.tasks, key)
		}
	}
	d.wake(now, next)
}

func (d *Durable) start(k *task, now time.Time) {
	k.attempt++
	k.began = now
	every := k.todo.Every
	for i := 1; i < k.attempt && every < k.todo.Cap; i++ {
		every = min(2*every, k.todo.Cap)
	}
	if k.todo.Call == nil {
		k.next = now.Add(every)
		d.host.Send(k.todo.To, k.todo.Send)
		return
	}
	k.running = true
	call := k.todo
	d.host.Go(call.Call, func(result any, err error) {
		k.running = false
		k.next = d.host.Now().Add(every)
		d.Receive(CallResult{
			Key: call.Key, Call: call.Call, Result: result, Err: err, Began: k.began, Attempt: k.attempt,
		}, "")
	})
}

// wake sets the one timer. A timer that was overtaken has an old generation and does nothing.
func (d *Durable) wake(now, next time.Time) {
	if next.IsZero() {
		return
	}
	if d.wakeAt.After(now) && !next.Before(d.wakeAt) {
		return // the timer that runs comes soon enough
	}
	d.wakeGen++
	gen := d.wakeGen
	d.wakeAt = next
	d.host.After(max(next.Sub(now), 0), func() {
		if gen == d.wakeGen {
			d.wakeAt = time.Time{}
			d.Receive(Wake{}, "")
		}
	})
}

// Tx collects what handling a batch of messages leads to. Nothing of it is seen outside before it is
// durable.
type Tx struct {
	d       *Durable
	now     time.Time
	rev     epu.Revision
	from    msg.Address
	cause   string
	events  []persistence.Event
	outs    []outgoing
	records []persistence.Record
}

type outgoing struct {
	to msg.Address
	m  any
}

// Now is the time of the batch.
func (tx *Tx) Now() time.Time { return tx.now }

// Rev is the revision that the stream will have with what was emitted so far.
func (tx *Tx) Rev() epu.Revision { return tx.rev }

// From is where the message being handled came from; empty when nobody waits for an answer.
func (tx *Tx) From() msg.Address { return tx.from }

// Because sets the cause that the following events carry: a decision, command or launch.
func (tx *Tx) Because(cause string) { tx.cause = cause }

// NewID returns a new unique ID.
func (tx *Tx) NewID() string { return tx.d.host.NewID() }

// Emit applies an event and adds it to the batch.
func (tx *Tx) Emit(ev any) {
	e, err := tx.d.codec.Encode(ev)
	if err != nil {
		panic(fmt.Sprintf("actors: encode %T: %v", ev, err)) // an unregistered event is a fault in the program
	}
	tx.d.events++
	e.ID = fmt.Sprintf("%s-%d", tx.d.incarnation, tx.d.events)
	e.Time, e.Cause = tx.now, tx.cause
	tx.d.core.Apply(ev)
	tx.events = append(tx.events, e)
	tx.rev++
}

// Reply sends a message when the batch is durable.
func (tx *Tx) Reply(to msg.Address, m any) {
	if to != "" {
		tx.outs = append(tx.outs, outgoing{to, m})
	}
}

// Answer replies to whoever sent the message being handled, if anybody waits.
func (tx *Tx) Answer(m any) { tx.Reply(tx.from, m) }

// Record adds a history record when the batch is durable.
func (tx *Tx) Record(r persistence.Record) { tx.records = append(tx.records, r) }
