package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

func testSnapshot(t *testing.T, open Opener) {
	j := start(t, open)
	epoch := j.Meta().Epoch
	snap := func(at epu.Revision, state string) error {
		return j.Snapshot(t.Context(), epoch, pool, at, json.RawMessage(state))
	}
	if err := snap(0, `0`); !errors.Is(err, persistence.ErrConflict) {
		t.Errorf("snapshot of a stream that does not exist: got %v, want a conflict", err)
	}
	appendOK(t, j, pool, 0, events(1, 5)...)
	for _, tc := range []struct {
		at       epu.Revision
		state    string
		conflict bool
	}{
		{6, `"ahead"`, true},
		{2, `"two"`, false},
		{1, `"older"`, true},
		{2, `"two again"`, false},
		{4, `{"last":"one"}`, false},
	} {
		if err := snap(tc.at, tc.state); errors.Is(err, persistence.ErrConflict) != tc.conflict || (err != nil) != tc.conflict {
			t.Errorf("snapshot at %d: got %v, want conflict %v", tc.at, err, tc.conflict)
		}
	}
	want := persistence.Loaded{Snapshot: json.RawMessage(`{"last":"one"}`), SnapshotAt: 4, Tail: events(5, 1), Revision: 5}
	if diff := cmp.Diff(want, load(t, j, pool)); diff != "" {
		t.Error(diff)
	}
	if err := snap(5, `"all"`); err != nil {
		t.Fatal(err)
	}
	want = persistence.Loaded{Snapshot: json.RawMessage(`"all"`), SnapshotAt: 5, Revision: 5}
	if diff := cmp.Diff(want, load(t, j, pool)); diff != "" {
		t.Error(diff)
	}
	appendOK(t, j, pool, 5, event("e6"))
	if got := load(t, j, pool); got.Revision != 6 || len(got.Tail) != 1 || got.Tail[0].ID != "e6" {
		t.Errorf("after a snapshot of everything: got %+v", got)
	}
}

func testBigSnapshot(t *testing.T, open Opener) {
	j := open(t)
	appendOK(t, j, pool, 0, events(1, 3)...)
	appendOK(t, j, pool+"2", 0, event("e1")) // a neighbour whose ID only extends the stream's
	for i, size := range []int{3 << 20, 10, 1 << 20, 5<<20 + 1} {
		at := epu.Revision(min(i+1, 3))
		state := json.RawMessage(`"` + strings.Repeat(string(rune('a'+i)), size) + `"`)
		if err := j.Snapshot(t.Context(), j.Meta().Epoch, pool, at, state); err != nil {
			t.Fatalf("snapshot of %d bytes: %v", size, err)
		}
		if got := load(t, j, pool); string(got.Snapshot) != string(state) || got.SnapshotAt != at {
			t.Fatalf("snapshot of %d bytes: got %d bytes at %d", len(state), len(got.Snapshot), got.SnapshotAt)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, open)
	if got := load(t, j, pool); len(got.Snapshot) != 5<<20+3 || got.Revision != 3 || len(got.Tail) != 0 {
		t.Errorf("after reopening: got %d bytes, revision %d, tail of %d", len(got.Snapshot), got.Revision, len(got.Tail))
	}
	if got := load(t, j, pool+"2"); got.Revision != 1 || len(got.Tail) != 1 {
		t.Errorf("the neighbour: got %+v", got)
	}
}

func testManyCovered(t *testing.T, open Opener) {
	const batches, size = 120, 150
	j := open(t)
	for b := range batches {
		appendOK(t, j, pool, epu.Revision(b*size), events(b*size+1, size)...)
	}
	const at = batches*size - 10
	if err := j.Snapshot(t.Context(), j.Meta().Epoch, pool, at, json.RawMessage(`"most"`)); err != nil {
		t.Fatal(err)
	}
	want := persistence.Loaded{Snapshot: json.RawMessage(`"most"`), SnapshotAt: at, Tail: events(at+1, 10), Revision: batches * size}
	if diff := cmp.Diff(want, load(t, j, pool)); diff != "" {
		t.Error(diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, load(t, start(t, open), pool)); diff != "" {
		t.Errorf("after reopening: %s", diff)
	}
}

func testRivals(t *testing.T, open Opener) {
	const rivals, rounds = 8, 25
	j := start(t, open)
	won := make([]int, rivals)
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex // guards winners
		winners := 0
		for r := range rivals {
			wg.Go(func() {
				_, err := j.Append(t.Context(), j.Meta().Epoch, pool, epu.Revision(round), event(fmt.Sprintf("r%d-%d", r, round)))
				switch {
				case err == nil:
					mu.Lock()
					winners++
					won[r]++
					mu.Unlock()
				case !errors.Is(err, persistence.ErrConflict):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if winners != 1 {
			t.Fatalf("round %d: %d rivals appended at one revision, want 1", round, winners)
		}
	}
	got := load(t, j, pool)
	for _, ev := range got.Tail {
		var r, round int
		if _, err := fmt.Sscanf(ev.ID, "r%d-%d", &r, &round); err != nil {
			t.Fatal(err)
		}
		won[r]--
	}
	if diff := cmp.Diff(make([]int, rivals), won); diff != "" || got.Revision != rounds {
		t.Errorf("revision %d, want %d; told to have won and stored differ: %s", got.Revision, rounds, diff)
	}
}

func testAtomic(t *testing.T, open Opener) {
	const batches, size = 40, 7
	j := start(t, open)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for b := range batches {
			if _, err := j.Append(t.Context(), j.Meta().Epoch, pool, epu.Revision(b*size), events(b*size, size)...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for finished := false; !finished; {
			select {
			case <-done:
				finished = true
			default:
			}
			l, err := j.Load(t.Context(), pool)
			if err != nil || l.Revision%size != 0 || int(l.Revision) != len(l.Tail) {
				t.Errorf("a reader saw revision %d with %d events, %v", l.Revision, len(l.Tail), err)
				return
			}
		}
	})
	wg.Wait()
}

func testWriters(t *testing.T, open Opener) {
	const writers, each = 64, 20
	j := open(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			id := epu.StreamID(fmt.Sprintf("pool/default/p%02d", w))
			for i := range each {
				rev, err := j.Append(t.Context(), j.Meta().Epoch, id, epu.Revision(i), event(fmt.Sprintf("w%d-%d", w, i)))
				if err != nil || rev != epu.Revision(i+1) {
					t.Errorf("writer %d, event %d: got %d, %v", w, i, rev, err)
					return
				}
				if i == each/2 {
					if err := j.Snapshot(t.Context(), j.Meta().Epoch, id, rev, json.RawMessage(`"half"`)); err != nil {
						t.Errorf("writer %d, snapshot: %v", w, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, open)
	for w := range writers {
		l := load(t, j, epu.StreamID(fmt.Sprintf("pool/default/p%02d", w)))
		if l.Revision != each || l.SnapshotAt != each/2+1 || len(l.Tail) != each-each/2-1 {
			t.Errorf("writer %d: got revision %d, snapshot at %d, tail of %d", w, l.Revision, l.SnapshotAt, len(l.Tail))
		}
		for i, ev := range l.Tail {
			if want := fmt.Sprintf("w%d-%d", w, each/2+1+i); ev.ID != want {
				t.Errorf("writer %d: got event %s, want %s", w, ev.ID, want)
			}
		}
	}
}
