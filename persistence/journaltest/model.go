package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// model is the dumbest journal: it keeps every event for ever.
type model struct {
	events     map[epu.StreamID][]persistence.Event
	snapshot   map[epu.StreamID]string
	snapshotAt map[epu.StreamID]epu.Revision
}

// testModel drives the store and the model with the same random commands, reopening the store now
// and then, and compares every answer. One store serves all sequences, each with streams of its own.
func testModel(t *testing.T, open Opener) {
	j := open(t)
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &model{map[epu.StreamID][]persistence.Event{}, map[epu.StreamID]string{}, map[epu.StreamID]epu.Revision{}}
		stream := func(rt *rapid.T) epu.StreamID {
			return epu.StreamID(fmt.Sprintf("run%d/%s", run, rapid.SampledFrom([]string{"a", "a/b", "b"}).Draw(rt, "stream")))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append":   func(rt *rapid.T) { m.append(rt, t, j, stream(rt)) },
			"snapshot": func(rt *rapid.T) { m.takeSnapshot(rt, t, j, stream(rt)) },
			"load":     func(rt *rapid.T) { m.compare(rt, t, j, stream(rt)) },
			"reopen": func(rt *rapid.T) {
				if rapid.IntRange(0, 19).Draw(rt, "rarely") > 0 {
					rt.Skip("opening is slow")
				}
				if err := j.Close(); err != nil {
					rt.Fatal(err)
				}
				j = open(t)
			},
			"list": func(rt *rapid.T) {
				var got, want []epu.StreamID
				for id, err := range j.Streams(t.Context(), fmt.Sprintf("run%d/", run)) {
					if err != nil {
						rt.Fatal(err)
					}
					got = append(got, id)
				}
				for id := range m.events {
					want = append(want, id)
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatal(diff)
				}
			},
		})
	})
}

func (m *model) append(rt *rapid.T, t *testing.T, j persistence.Journal, id epu.StreamID) {
	rev := len(m.events[id])
	expected := rapid.IntRange(max(0, rev-3), rev+1).Draw(rt, "expected")
	if rapid.Bool().Draw(rt, "at the right revision") {
		expected = rev
	}
	n := rapid.IntRange(1, 4).Draw(rt, "events")
	evs := make([]persistence.Event, n)
	for i := range evs {
		name := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "name")
		evs[i] = event(fmt.Sprintf("%s%d", name, expected+i))
	}
	wantRev, ok := 0, false
	switch {
	case expected == rev:
		wantRev, ok = rev+n, true
	case expected+n <= rev && epu.Revision(expected) >= m.snapshotAt[id]:
		ok = slices.EqualFunc(m.events[id][expected:expected+n], evs, func(a, b persistence.Event) bool { return a.ID == b.ID })
		wantRev = expected + n
	}
	got, err := j.Append(t.Context(), j.Meta().Epoch, id, epu.Revision(expected), evs...)
	if ok != (err == nil) || (ok && got != epu.Revision(wantRev)) || (!ok && !errors.Is(err, persistence.ErrConflict)) {
		rt.Fatalf("append %d at %d of a stream at %d: got %d, %v, want %d, success %v", n, expected, rev, got, err, wantRev, ok)
	}
	if expected == rev {
		m.events[id] = append(m.events[id], evs...)
	}
}

func (m *model) takeSnapshot(rt *rapid.T, t *testing.T, j persistence.Journal, id epu.StreamID) {
	rev := len(m.events[id])
	at := epu.Revision(rapid.IntRange(0, rev+1).Draw(rt, "at"))
	state := fmt.Sprintf(`"state at %d"`, at)
	ok := at >= 1 && at <= epu.Revision(rev) && at >= m.snapshotAt[id]
	err := j.Snapshot(t.Context(), j.Meta().Epoch, id, at, json.RawMessage(state))
	if ok != (err == nil) || (!ok && !errors.Is(err, persistence.ErrConflict)) {
		rt.Fatalf("snapshot at %d of a stream at %d with one at %d: got %v, want success %v", at, rev, m.snapshotAt[id], err, ok)
	}
	if ok {
		m.snapshot[id], m.snapshotAt[id] = state, at
	}
}

func (m *model) compare(rt *rapid.T, t *testing.T, j persistence.Journal, id epu.StreamID) {
	got, err := j.Load(t.Context(), id)
	if err != nil {
		rt.Fatal(err)
	}
	want := persistence.Loaded{SnapshotAt: m.snapshotAt[id], Revision: epu.Revision(len(m.events[id]))}
	if s := m.snapshot[id]; s != "" {
		want.Snapshot = json.RawMessage(s)
	}
	if tail := m.events[id][m.snapshotAt[id]:]; len(tail) > 0 {
		want.Tail = tail
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatal(diff)
	}
}
