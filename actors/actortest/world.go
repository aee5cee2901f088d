package actortest

import (
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Epoch is when every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Faults say how badly the world behaves; each is a probability from 0 to 1.
type Faults struct {
	Lose    float64 // a message between actors is lost
	Double  float64 // it arrives twice
	Slow    float64 // it takes up to SlowMax
	SlowMax time.Duration
	Crash   float64 // the node dies at a durable step: before it, or before its outcome is known
	Refuse  float64 // the store is unavailable for one append
}

// Exec carries out a call as data and answers; it runs at the moment the request arrives.
type Exec func(call any) (any, error)

// Latency says how long a call's request and answer are on their way, and what a caller hears who gave
// up at its deadline.
type Latency struct {
	Request, Answer time.Duration
	Deadline        time.Duration // 0 = none
	Late            error
}

// World is one node, its store and the network around it.
type World struct {
	Journal persistence.Journal
	Faults  Faults
	Records []persistence.Record
	// Unknown holds messages that no actor had a case for. It should stay empty.
	Unknown []actors.UnknownMessage
	// OnCrash is called when a crash hits, OnStart when the node starts again.
	OnCrash, OnStart func()
	Crashes, Steps   int
	// OnAppend is called when events have become durable, also when nobody will know.
	OnAppend func(stream epu.StreamID, events []persistence.Event)
	// Trace, if set, is told of every step and message: two runs of one seed tell the same.
	Trace func(line string)

	rng    *rand.Rand
	now    time.Time
	queue  eventQueue
	seq    uint64
	ids    uint64
	life   int // incarnation of the node; what belongs to an older one is void
	up     bool
	actors map[msg.Address]func(m any, from msg.Address)
	failed error
	still  int // steps since time last went on
}

// NewWorld makes a world from a seed. Its node is down until Start.
func NewWorld(seed uint64, journal persistence.Journal) *World {
	return &World{Journal: journal, rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), now: epoch}
}

// stillMax is how many steps may happen at one instant before it must be a loop.
const stillMax = 100_000

type event struct {
	at  time.Time
	seq uint64
	run func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// Now is the virtual time.
func (w *World) Now() time.Time { return w.now }

// Rand is the world's randomness.
func (w *World) Rand() *rand.Rand { return w.rng }

// Up reports that the node runs.
func (w *World) Up() bool { return w.up }

// Failed is the first error that ended an incarnation of an actor, if any did.
func (w *World) Failed() error { return w.failed }

// After runs f at a later virtual time, whatever becomes of the node.
func (w *World) After(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, event{at: w.now.Add(d), seq: w.seq, run: f})
}

// Run lets virtual time pass.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		if w.still++; e.at.After(w.now) {
			w.still = 0
		}
		if w.still > stillMax {
			panic(fmt.Sprintf("actortest: time stands still at %v: something is due again and again", w.now))
		}
		w.now = e.at
		w.Steps++
		if w.Trace != nil {
			w.Trace(fmt.Sprintf("%d %v %d", w.Steps, e.at, e.seq))
		}
		e.run()
	}
	w.now = end
}

// Stall stops the node for a while, as SIGSTOP does: nothing happens, then all that was due at once.
func (w *World) Stall(d time.Duration) {
	w.now = w.now.Add(d)
	for i := range w.queue {
		if w.queue[i].at.Before(w.now) {
			w.queue[i].at = w.now
		}
	}
	heap.Init(&w.queue)
}

// Start starts the node; its actors register by Spawn and SpawnPlain within OnStart.
func (w *World) Start() {
	w.life++
	w.up, w.actors = true, map[msg.Address]func(any, msg.Address){}
	if w.OnStart != nil {
		w.OnStart()
	}
}

// Crash kills the node at once, as kill -9 does. Requests on their way still arrive.
func (w *World) Crash() {
	if !w.up {
		return
	}
	w.up = false
	w.life++
	w.Crashes++
	w.actors = nil
	if w.OnCrash != nil {
		w.OnCrash()
	}
}

// Spawn starts a durable actor. Make is called again when an incarnation of it fails.
func (w *World) Spawn(addr msg.Address, stream epu.StreamID, codec *persistence.Codec, make func() actors.Core, exec func(call any) (Exec, Latency), after func(actors.Core)) {
	h := &host{w: w, self: addr, life: w.life, exec: exec}
	core := make()
	d := actors.NewDurable(core, h, codec, stream)
	h.fail = func(err error) {
		if w.failed == nil {
			w.failed = fmt.Errorf("%s: %w", addr, err)
		}
		h.over = true
		w.After(time.Second, func() {
			if w.life == h.life {
				w.Spawn(addr, stream, codec, make, exec, after)
			}
		})
	}
	h.turn = func() {
		if after != nil {
			after(core)
		}
	}
	w.actors[addr] = func(m any, from msg.Address) {
		if !h.over {
			d.Receive(m, from)
			h.turn()
		}
	}
	d.Start()
}

// SpawnPlain starts an actor that keeps nothing.
func (w *World) SpawnPlain(addr msg.Address, receive func(m any, from msg.Address)) {
	w.actors[addr] = receive
}

// Stop ends an actor.
func (w *World) Stop(addr msg.Address) { delete(w.actors, addr) }

// Send delivers a message to an actor, through the bad network.
func (w *World) Send(to, from msg.Address, m any) {
	copies := 1
	if w.Trace != nil {
		w.Trace(fmt.Sprintf("send %s to %s: %T", from, to, m))
	}
	if w.rng.Float64() < w.Faults.Lose {
		copies = 0
	} else if w.rng.Float64() < w.Faults.Double {
		copies = 2
	}
	for range copies {
		delay := time.Duration(w.rng.Int64N(int64(time.Millisecond)))
		if w.rng.Float64() < w.Faults.Slow {
			delay = time.Duration(w.rng.Int64N(int64(w.Faults.SlowMax) + 1))
		}
		life := w.life
		w.After(delay, func() {
			if w.life != life && w.rng.Float64() < 0.9 {
				return // most messages die with the node; some were in other queues and come late
			}
			if receive := w.actors[to]; w.up && receive != nil {
				receive(m, from)
			}
		})
	}
}

// host is the Host of one incarnation of one actor.
type host struct {
	w    *World
	self msg.Address
	life int
	over bool
	exec func(call any) (Exec, Latency)
	fail func(error)
	turn func()
}

var _ actors.Host = (*host)(nil)

func (h *host) live() bool { return h.w.up && h.w.life == h.life && !h.over }

// later runs f in the actor's turn, unless its incarnation is over by then.
func (h *host) later(d time.Duration, f func()) {
	h.w.After(d, func() {
		if h.live() {
			f()
			if h.live() {
				h.turn()
			}
		}
	})
}

func (h *host) Now() time.Time { return h.w.now }

func (h *host) NewID() string {
	h.w.ids++
	return fmt.Sprintf("%010d", h.w.ids)
}

func (h *host) Load(stream epu.StreamID, done func(persistence.Loaded, error)) {
	h.later(time.Millisecond, func() {
		l, err := h.w.Journal.Load(context.Background(), stream)
		done(l, err)
	})
}

// Append is a durable step: the node may crash before it, or after it and before anybody knows.
func (h *host) Append(stream epu.StreamID, expected epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	w := h.w
	wait := time.Millisecond + time.Duration(w.rng.Int64N(int64(4*time.Millisecond)))
	h.later(wait, func() {
		if w.rng.Float64() < w.Faults.Refuse {
			done(0, persistence.ErrUnavailable)
			return
		}
		before := w.rng.Float64() < w.Faults.Crash/2
		after := w.rng.Float64() < w.Faults.Crash/2
		if before {
			w.Crash()
			return
		}
		if w.Trace != nil {
			for _, e := range events {
				w.Trace(fmt.Sprintf("append %v %s %s %s", w.now, stream, e.Type, e.Data))
			}
		}
		rev, err := w.Journal.Append(context.Background(), w.Journal.Meta().Epoch, stream, expected, events...)
		if err == nil && w.OnAppend != nil {
			w.OnAppend(stream, events)
		}
		if after {
			w.Crash()
			return
		}
		done(rev, err)
	})
}

func (h *host) Snapshot(stream epu.StreamID, at epu.Revision, state json.RawMessage, done func(error)) {
	h.later(time.Millisecond, func() {
		done(h.w.Journal.Snapshot(context.Background(), h.w.Journal.Meta().Epoch, stream, at, state))
	})
}

func (h *host) Send(to msg.Address, m any) { h.w.Send(to, h.self, m) }

func (h *host) After(d time.Duration, f func()) { h.later(d, f) }

// Go sends a request that arrives whatever becomes of the node, and answers in the actor's turn.
func (h *host) Go(call any, done func(any, error)) {
	exec, lat := h.exec(call)
	answered := false
	answer := func(result any, err error) {
		if !answered {
			answered = true
			done(result, err)
		}
	}
	if lat.Deadline > 0 {
		h.later(lat.Deadline, func() { answer(nil, lat.Late) })
	}
	h.w.After(lat.Request, func() {
		result, err := exec(call)
		h.later(lat.Answer, func() { answer(result, err) })
	})
}

func (h *host) Record(r persistence.Record) { h.w.Records = append(h.w.Records, r) }

func (h *host) Unknown(u actors.UnknownMessage) { h.w.Unknown = append(h.w.Unknown, u) }

func (h *host) Fail(err error) { h.fail(err) }
