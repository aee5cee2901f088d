package actors

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	Call  any           // data for the host's executor, or
	Make  func() any    // builds one of the two when its time comes: a message if To is set
	Every time.Duration // until the first repeat: after sending, or after the call's result
	Cap   time.Duration // repeats back off by doubling up to this; 0 = always Every
	Group string        // of calls that share the bound Max
	Max   int           // calls of Group that are out at once; 0 = no bound. Who waited longest comes first
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

// Bounds of a durable shell.
const (
	queuedMax      = 10_000 // messages waiting while an append is in flight; more are refused
	batchEventsMax = 256    // events after which a batch takes in no further message
	appendBytesMax = persistence.AppendMax / 2
	snapshotEvery  = 256 // events between snapshots
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
	degradedAt  time.Time // since when
	snapping    bool

	queue   []queued
	dropped uint64
	tasks   map[string]*task
	out     map[string]int // calls of each group that are out
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
	round   uint64    // of the last Due that listed it
}

// NewDurable makes the shell of one incarnation. Start begins it.
func NewDurable(core Core, host Host, codec *persistence.Codec, stream epu.StreamID) *Durable {
	return &Durable{core: core, host: host, codec: codec, stream: stream, tasks: map[string]*task{}, out: map[string]int{}}
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
			d.degrade(err)
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
		d.core.Handle(tx, Wake{}) // what follows from the state alone
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
	d.take(m, from)
	return true
}

// take queues a message. The shell's own have no bound but the number of calls that are out.
func (d *Durable) take(m any, from msg.Address) {
	d.queue = append(d.queue, queued{m, from})
	d.turn()
}

// Rev is the stream's durable revision.
func (d *Durable) Rev() epu.Revision { return d.rev }

func (d *Durable) degrade(err error) {
	if d.degraded == nil {
		d.degradedAt = d.host.Now()
	}
	d.degraded = err
}

// Degraded is why the store can't be written, or nil.
func (d *Durable) Degraded() error { return d.degraded }

// Ready reports that the incarnation has been activated.
func (d *Durable) Ready() bool { return d.ready }

// Settled reports that the core's state is durable: it is loaded, and no append is in flight.
func (d *Durable) Settled() bool { return d.ready && !d.busy }

// Queued counts the messages that wait for the store.
func (d *Durable) Queued() int { return len(d.queue) }

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

// commit appends a batch, in parts where it is too large for one append: every event is a valid step by
// itself, and nothing is said before the last is durable. An unavailable store keeps the batch and says
// nothing until it is back.
func (d *Durable) commit(tx *Tx, backoff time.Duration) {
	d.busy = true
	part, bytes := 0, 0
	for part < len(tx.events) && (part == 0 || bytes+len(tx.events[part].Data) <= appendBytesMax) {
		bytes += len(tx.events[part].Data)
		part++
	}
	d.host.Append(d.stream, d.rev, tx.events[:part:part], func(rev epu.Revision, err error) {
		switch {
		case errors.Is(err, persistence.ErrUnavailable):
			d.degrade(err)
			d.host.After(backoff, func() { d.commit(tx, min(2*backoff, appendRetryMax)) })
			return
		case err != nil:
			d.host.Fail(fmt.Errorf("append %s at %d: %w", d.stream, d.rev, err))
			return
		}
		d.degraded, d.rev = nil, rev
		if tx.events = tx.events[part:]; len(tx.events) > 0 {
			d.commit(tx, appendRetryMin)
			return
		}
		d.busy, d.ready = false, true
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
	var ready []*task
	for _, t := range todo {
		k := d.tasks[t.Key]
		if k == nil {
			k = &task{}
			d.tasks[t.Key] = k
		}
		k.todo, k.round = t, d.round
		switch {
		case k.running:
		case k.next.After(now):
			next = earlier(next, k.next)
		default:
			ready = append(ready, k)
		}
	}
	slices.SortStableFunc(ready, func(a, b *task) int { return a.next.Compare(b.next) })
	for _, k := range ready {
		if k.todo.Max > 0 && d.out[k.todo.Group] >= k.todo.Max {
			continue // the end of one of its group's calls leads here again
		}
		if d.start(k, now); !k.running {
			next = earlier(next, k.next)
		}
	}
	for key, k := range d.tasks {
		if k.round != d.round && !k.running {
			delete(d.tasks, key)
		}
	}
	d.wake(now, next)
}

// earlier is the earlier of two times; a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (d *Durable) start(k *task, now time.Time) {
	k.attempt++
	every := k.todo.Every
	for i := 1; i < k.attempt && every < k.todo.Cap; i++ {
		every = min(2*every, k.todo.Cap)
	}
	send, call := k.todo.Send, k.todo.Call
	if k.todo.Make != nil {
		if send = k.todo.Make(); k.todo.To == "" {
			send, call = nil, send
		}
	}
	if call == nil {
		k.next = now.Add(every)
		d.host.Send(k.todo.To, send)
		return
	}
	k.running = true
	group := k.todo.Group
	d.out[group]++
	result := CallResult{Key: k.todo.Key, Call: call, Began: now, Attempt: k.attempt}
	d.host.Go(call, func(r any, err error) {
		k.running = false
		d.out[group]--
		k.next = d.host.Now().Add(every)
		result.Result, result.Err = r, err
		d.take(result, "")
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
			d.take(Wake{}, "")
		}
	})
}
