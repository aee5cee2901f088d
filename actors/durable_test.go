package actors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// script is a Host whose every outcome the test decides. Nothing happens by itself.
type script struct {
	now     time.Time
	loads   []func(persistence.Loaded, error)
	appends []appended
	snaps   []func(error)
	sent    []string
	calls   []called
	timers  []timer
	records int
	unknown int
	failed  error
	ids     int
}

type appended struct {
	expected epu.Revision
	events   []persistence.Event
	done     func(epu.Revision, error)
}

type called struct {
	call any
	done func(any, error)
}

type timer struct {
	at time.Time
	f  func()
}

func (s *script) Now() time.Time { return s.now }

func (s *script) NewID() string {
	s.ids++
	return fmt.Sprint("id", s.ids)
}

func (s *script) Load(_ epu.StreamID, done func(persistence.Loaded, error)) {
	s.loads = append(s.loads, done)
}

func (s *script) Append(_ epu.StreamID, expected epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	s.appends = append(s.appends, appended{expected, slices.Clone(events), done})
}

func (s *script) Snapshot(_ epu.StreamID, _ epu.Revision, _ json.RawMessage, done func(error)) {
	s.snaps = append(s.snaps, done)
}

func (s *script) Send(to msg.Address, m any) { s.sent = append(s.sent, fmt.Sprintf("%s: %v", to, m)) }

func (s *script) After(d time.Duration, f func()) {
	s.timers = append(s.timers, timer{s.now.Add(d), f})
}

func (s *script) Go(call any, done func(any, error)) { s.calls = append(s.calls, called{call, done}) }

func (s *script) Record(persistence.Record) { s.records++ }

func (s *script) Unknown(actors.UnknownMessage) { s.unknown++ }

func (s *script) Fail(err error) { s.failed = err }

// wait lets virtual time pass and timers fire in their order.
func (s *script) wait(d time.Duration) {
	end := s.now.Add(d)
	for fired := 0; ; fired++ {
		if fired > 1000 {
			panic("a timer is due again and again")
		}
		next := -1
		for i, t := range s.timers {
			if !t.at.After(end) && (next < 0 || t.at.Before(s.timers[next].at)) {
				next = i
			}
		}
		if next < 0 {
			s.now = end
			return
		}
		t := s.timers[next]
		s.timers = slices.Delete(s.timers, next, next+1)
		if t.at.After(s.now) {
			s.now = t.at
		}
		t.f()
	}
}

// commit lets the append that is out succeed.
func (s *script) commit(t *testing.T) {
	t.Helper()
	if len(s.appends) != 1 {
		t.Fatalf("got %d appends out, want one", len(s.appends))
	}
	a := s.appends[0]
	s.appends = nil
	a.done(a.expected+epu.Revision(len(a.events)), nil)
}

// take gives what was sent since, and forgets it.
func (s *script) take() []string {
	sent := s.sent
	s.sent = nil
	return sent
}

// counter is a core that counts, replies, and does what the test told it to be due.
type counter struct {
	N     int `json:"n"`
	woken int
	ended []actors.CallResult
	due   func(now time.Time) ([]actors.Todo, time.Time)
}

type (
	counted struct {
		By  int    `json:"by"`
		Pad string `json:"pad,omitempty"`
	}
	add struct {
		by, times int
		pad       string
	}
)

func counterCodec() *persistence.Codec {
	c := persistence.NewCodec()
	persistence.Register[actors.Activated](c, "activated", 1)
	persistence.Register[counted](c, "counted", 1)
	return c
}

func (c *counter) Apply(ev any) {
	if e, ok := ev.(counted); ok {
		c.N += e.By
	}
}

func (c *counter) Handle(tx *actors.Tx, m any) {
	switch m := m.(type) {
	case add:
		for range max(1, m.times) {
			tx.Emit(counted{By: m.by, Pad: m.pad})
		}
		tx.Answer(fmt.Sprint("now ", c.N))
	case string:
		tx.Answer(fmt.Sprint(m, " ", c.N))
	case actors.CallResult:
		c.ended = append(c.ended, m)
	case actors.Wake:
		c.woken++
	}
}

func (c *counter) Due(now time.Time, _ epu.Revision) ([]actors.Todo, time.Time) {
	if c.due == nil {
		return nil, time.Time{}
	}
	return c.due(now)
}

func (c *counter) State() any { return struct{ N int }{c.N} }

func (c *counter) Restore(raw json.RawMessage) error {
	var s struct{ N int }
	err := json.Unmarshal(raw, &s)
	c.N = s.N
	return err
}

// activated makes a shell that has committed its activation on an empty stream.
func activated(t *testing.T, c *counter) (*script, *actors.Durable) {
	t.Helper()
	s := &script{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	d := actors.NewDurable(c, s, counterCodec(), "pool/default/x")
	d.Start()
	s.loads[0](persistence.Loaded{}, nil)
	if d.Ready() || len(s.calls) > 0 || len(s.sent) > 0 {
		t.Fatal("something was done before the activation was durable")
	}
	s.commit(t)
	return s, d
}

// Goal: nothing is said before it is durable, and what comes meanwhile is one batch.
// Method: three messages while an append is out.
func TestDurableSpeaksAfterCommit(t *testing.T) {
	s, d := activated(t, &counter{})
	for i := range 4 {
		d.Receive(add{by: 1}, msg.Address(fmt.Sprint("c", i)))
	}
	d.Receive("asked", "q")
	if len(s.sent) > 0 || len(s.appends) != 1 || len(s.appends[0].events) != 1 {
		t.Fatalf("before the commit: sent %v, %d appends", s.sent, len(s.appends))
	}
	s.commit(t)
	if diff := cmp.Diff([]string{"c0: now 1"}, s.take()); diff != "" {
		t.Error(diff)
	}
	if n := len(s.appends[0].events); n != 3 {
		t.Errorf("got %d events in the second batch, want 3", n)
	}
	s.commit(t)
	if diff := cmp.Diff([]string{"c1: now 2", "c2: now 3", "c3: now 4", "q: asked 4"}, s.take()); diff != "" {
		t.Error(diff)
	}
}

// Goal: a batch too large for one append goes in parts, in order, and replies wait for the last.
func TestDurableCutsLargeBatches(t *testing.T) {
	s, d := activated(t, &counter{})
	d.Receive(add{by: 1, times: 100, pad: strings.Repeat("x", 20_000)}, "c")
	parts, events := 0, 0
	for len(s.appends) > 0 {
		sum := 0
		for _, e := range s.appends[0].events {
			sum += len(e.Data)
		}
		if sum > persistence.AppendMax || len(s.sent) > 0 {
			t.Fatalf("a part of %d bytes, said %v", sum, s.sent)
		}
		parts, events = parts+1, events+len(s.appends[0].events)
		s.commit(t)
	}
	if events != 100 || parts < 4 || d.Rev() != 101 {
		t.Errorf("got %d events in %d parts, revision %d", events, parts, d.Rev())
	}
	if diff := cmp.Diff([]string{"c: now 100"}, s.take()); diff != "" {
		t.Error(diff)
	}
}

// Goal: a store that is away keeps the batch, its events and IDs, and shows; messages are refused only
// beyond the bound; the shell's own still get in.
func TestDurableWithoutStore(t *testing.T) {
	core := &counter{due: func(time.Time) ([]actors.Todo, time.Time) {
		return []actors.Todo{{Key: "call", Call: "list", Every: time.Hour}}, time.Time{}
	}}
	s, d := activated(t, core)
	d.Receive(add{by: 1}, "c")
	first := s.appends[0]
	for range 5 {
		a := s.appends[0]
		s.appends = nil
		a.done(0, fmt.Errorf("disk: %w", persistence.ErrUnavailable))
		if d.Degraded() == nil || len(s.sent) > 0 {
			t.Fatalf("degraded %v, sent %v", d.Degraded(), s.sent)
		}
		if s.wait(20 * time.Second); len(s.appends) != 1 || s.appends[0].events[0].ID != first.events[0].ID {
			t.Fatal("the batch was not tried again as it was")
		}
	}
	refused := 0
	for range 10_010 {
		if !d.Receive("asked", "") {
			refused++
		}
	}
	s.calls[0].done("listed", nil)
	s.commit(t)
	if d.Degraded() != nil || refused != 10 || d.Dropped() != 10 || len(core.ended) != 1 {
		t.Errorf("degraded %v, refused %d, dropped %d, %d results", d.Degraded(), refused, d.Dropped(), len(core.ended))
	}
}

// Goal: another writer ends the incarnation: its state must not be used any more.
func TestDurableConflict(t *testing.T) {
	s, d := activated(t, &counter{})
	d.Receive(add{by: 1}, "c")
	s.appends[0].done(0, persistence.Conflictf("append", "x", "at 9"))
	if s.failed == nil || !errors.Is(s.failed, persistence.ErrConflict) || len(s.sent) > 0 {
		t.Errorf("got %v and %v, want a conflict and silence", s.failed, s.sent)
	}
	d.Receive("asked", "q")
	if len(s.sent) > 0 {
		t.Errorf("answered %v from a state that is void", s.sent)
	}
}

// Goal: an incarnation begins with what its stream holds, and only with that.
func TestDurableReplays(t *testing.T) {
	codec := counterCodec()
	event := func(ev any) persistence.Event {
		e, err := codec.Encode(ev)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		name   string
		loaded persistence.Loaded
		err    error
		n      int
		failed bool
	}{
		{"empty", persistence.Loaded{}, nil, 0, false},
		{"events", persistence.Loaded{Tail: []persistence.Event{event(counted{By: 2}), event(counted{By: 3})}, Revision: 2}, nil, 5, false},
		{"snapshot and events", persistence.Loaded{Snapshot: json.RawMessage(`{"N":7}`), SnapshotAt: 9, Tail: []persistence.Event{event(counted{By: 3})}, Revision: 10}, nil, 10, false},
		{"a snapshot that can't be read", persistence.Loaded{Snapshot: json.RawMessage(`{"N":"x"}`), SnapshotAt: 9, Revision: 9}, nil, 0, true},
		{"an event of a newer version", persistence.Loaded{Tail: []persistence.Event{{Type: "magic", V: 1}}, Revision: 1}, nil, 0, true},
		{"a damaged store", persistence.Loaded{}, errors.New("checksum"), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			core := &counter{}
			s := &script{}
			d := actors.NewDurable(core, s, codec, "x")
			d.Start()
			d.Receive("asked", "q")
			s.loads[0](c.loaded, c.err)
			if (s.failed != nil) != c.failed {
				t.Fatalf("failed with %v, want a failure: %v", s.failed, c.failed)
			}
			if c.failed {
				return
			}
			if s.appends[0].expected != c.loaded.Revision {
				t.Errorf("appends at %d, want %d", s.appends[0].expected, c.loaded.Revision)
			}
			s.commit(t)
			if diff := cmp.Diff([]string{fmt.Sprint("q: asked ", c.n)}, s.take()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Goal: while the store can't be read the shell waits and tries again.
func TestDurableLoadsAgain(t *testing.T) {
	s := &script{}
	d := actors.NewDurable(&counter{}, s, counterCodec(), "x")
	d.Start()
	for range 3 {
		s.loads[len(s.loads)-1](persistence.Loaded{}, persistence.ErrUnavailable)
		if d.Degraded() == nil || s.failed != nil {
			t.Fatalf("degraded %v, failed %v", d.Degraded(), s.failed)
		}
		s.wait(time.Minute)
	}
	if len(s.loads) != 4 {
		t.Errorf("loaded %d times, want 4", len(s.loads))
	}
}

// Goal: a snapshot is taken every so many events, one at a time, and one that fails is tried again.
func TestDurableSnapshots(t *testing.T) {
	s, d := activated(t, &counter{})
	several := func(n int) {
		for range n {
			d.Receive(add{by: 1}, "")
			s.commit(t)
		}
	}
	several(400)
	if len(s.snaps) != 1 {
		t.Fatalf("got %d snapshots out, want one at a time", len(s.snaps))
	}
	s.snaps[0](errors.New("disk full"))
	several(400)
	if len(s.snaps) != 2 || s.failed != nil {
		t.Fatalf("got %d snapshots, want another try", len(s.snaps))
	}
	s.snaps[1](nil)
	several(300)
	if len(s.snaps) != 3 {
		t.Errorf("got %d snapshots, want one more", len(s.snaps))
	}
}
