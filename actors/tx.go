package actors

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Host is what a durable shell stands on: protoactor in the daemon, a deterministic simulator in
// campaigns. Each incarnation has its own Host; the functions given to it run in the actor's turn, and
// never once the incarnation is over.
type Host interface {
	// Now is the node's time.
	Now() time.Time
	// NewID returns an ID that no other incarnation has.
	NewID() string
	// Load, Append and Snapshot are the journal's, at its epoch, without waiting: done has the outcome.
	Load(stream epu.StreamID, done func(persistence.Loaded, error))
	Append(stream epu.StreamID, expected epu.Revision, events []persistence.Event, done func(epu.Revision, error))
	Snapshot(stream epu.StreamID, at epu.Revision, state json.RawMessage, done func(error))
	// Send delivers a message, or loses it.
	Send(to msg.Address, m any)
	// After calls f once d has passed.
	After(d time.Duration, f func())
	// Go carries out a call; done has its outcome, at the latest when its deadline has passed.
	Go(call any, done func(result any, err error))
	// Record keeps a history record; it may be lost.
	Record(r persistence.Record)
	// Unknown counts and logs a message that no case took.
	Unknown(u UnknownMessage)
	// Fail ends this incarnation; the parent starts another, with backoff.
	Fail(err error)
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

// Fits says why no stream takes an event: it is too large. Whoever emits what others made asks first, for an
// event that is refused fails its actor.
func (tx *Tx) Fits(ev any) error {
	e, err := tx.d.codec.Encode(ev)
	if err == nil && len(e.Data) > persistence.EventMax {
		err = fmt.Errorf("it takes %d KiB, at most %d KiB can be kept", len(e.Data)>>10, persistence.EventMax>>10)
	}
	return err
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

// UnknownMessage is recorded when an actor receives a message that it has no case for.
type UnknownMessage struct {
	Actor string
	Type  string
}

func unknownMessage(tx *Tx, actor string, m any) {
	tx.d.host.Unknown(UnknownMessage{Actor: actor, Type: fmt.Sprintf("%T", m)})
}

// subscriberMax bounds what a slow subscriber may lag behind; past it the oldest records are dropped.
const subscriberMax = 1024

// Bus hands life-cycle events, decisions and audit records to whoever watches. It is not an actor's
// state: the mutex guards the list of subscribers, which come and go with connections.
type Bus struct {
	mu   sync.Mutex
	subs map[chan persistence.Record]struct{}
}

// Subscribe begins a subscription. The records come in order; cancel ends it and closes the channel.
func (b *Bus) Subscribe() (records <-chan persistence.Record, cancel func()) {
	ch := make(chan persistence.Record, subscriberMax)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan persistence.Record]struct{}{}
	}
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[ch]; ok {
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// Publish gives a record to every subscriber without waiting for any.
func (b *Bus) Publish(r persistence.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		for sent := false; !sent; {
			select {
			case ch <- r:
				sent = true
			default:
				select { // full: the oldest goes
				case <-ch:
				default:
				}
			}
		}
	}
}
