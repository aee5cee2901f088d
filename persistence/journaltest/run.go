package journaltest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// Opener opens one store, always the same one. What it returned before has been closed by then.
type Opener func(t testing.TB) persistence.Journal

// Run tests a journal. fresh makes a new empty store each time; the suite opens it, closes it, and
// may open it again. Nothing that was answered with success may be missing then.
func Run(t *testing.T, fresh func(t testing.TB) Opener) {
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"a new store is empty and describes itself", testEmpty},
		{"events come back as they went in", testRoundTrip},
		{"the compare-and-swap refuses the rest", testConflicts},
		{"another epoch is refused", testEpoch},
		{"a repeated append succeeds once", testRepeat},
		{"a snapshot replaces the events it covers", testSnapshot},
		{"large snapshots come back whole", testBigSnapshot},
		{"a snapshot may cover thousands of events", testManyCovered},
		{"streams are listed by prefix in byte order", testStreams},
		{"one of many rivals wins each revision", testRivals},
		{"readers see whole batches only", testAtomic},
		{"64 writers lose nothing", testWriters},
		{"everything is there after reopening", testReopen},
		{"a new epoch begins once and fences the older one", testBeginEpoch},
		{"a cancelled context writes nothing", testCancelled},
		{"nothing is shared with the caller", testOwnership},
		{"what no store can hold is refused", testInvalid},
		{"it behaves as the model does", testModel},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, fresh(t)) })
	}
}

// start opens a store for one test and closes it after.
func start(t testing.TB, open Opener) persistence.Journal {
	t.Helper()
	j := open(t)
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

// event makes an event whose every field follows from its ID.
func event(id string) persistence.Event {
	return persistence.Event{
		Type: "tested", V: 1, ID: id, Time: time.Unix(1_760_000_000, 123_456_789).UTC(), Cause: "cause of " + id,
		Data: json.RawMessage(fmt.Sprintf(`{"id":%q,"text":"a<b> & ü","n":1.50}`, id)),
	}
}

func events(first, n int) []persistence.Event {
	out := make([]persistence.Event, n)
	for i := range out {
		out[i] = event(fmt.Sprintf("e%d", first+i))
	}
	return out
}

// appendOK appends and fails the test unless the answer is success with the right revision.
func appendOK(t testing.TB, j persistence.Journal, id epu.StreamID, expected epu.Revision, evs ...persistence.Event) {
	t.Helper()
	rev, err := j.Append(t.Context(), j.Meta().Epoch, id, expected, evs...)
	if want := expected + epu.Revision(len(evs)); err != nil || rev != want {
		t.Fatalf("append %d events to %s at %d: got %d, %v, want %d", len(evs), id, expected, rev, err, want)
	}
}

func load(t testing.TB, j persistence.Journal, id epu.StreamID) persistence.Loaded {
	t.Helper()
	l, err := j.Load(t.Context(), id)
	if err != nil {
		t.Fatalf("load %s: %v", id, err)
	}
	return l
}
