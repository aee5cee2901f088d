package memory_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/journaltest"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// Goal: the memory journal keeps the port's promises. Method: the conformance suite.
func TestJournal(t *testing.T) {
	journaltest.Run(t, func(testing.TB) journaltest.Opener {
		j := memory.New(persistence.Meta{})
		return func(testing.TB) persistence.Journal { return j }
	})
}

// Goal: the memory history keeps the port's promises. Method: the conformance suite.
func TestHistory(t *testing.T) {
	journaltest.RunHistory(t, func(testing.TB) journaltest.HistoryOpener {
		h := memory.NewHistory(0)
		return func(testing.TB) persistence.History { return h }
	})
}

// Goal: a bounded history keeps the newest. Method: three records into room for two, out of order.
func TestHistoryBound(t *testing.T) {
	h := memory.NewHistory(2)
	for _, n := range []int{2, 1, 3} {
		h.Record(journaltest.Record(n, persistence.KindEvent, "epu-web"))
	}
	var got []string
	for r, err := range h.Find(t.Context(), persistence.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.ID)
	}
	want := []string{journaltest.Record(2, "", "").ID, journaltest.Record(3, "", "").ID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Goal: a restored store is older, in recovery, and in an epoch that was never in use. Method: back
// up, go on, restore twice.
func TestBackupRestore(t *testing.T) {
	j := memory.New(persistence.Meta{Installation: "i", Epoch: 4, Sealed: "moved"})
	ev := func(id string) persistence.Event { return persistence.Event{Type: "tested", V: 1, ID: id} }
	if _, err := j.Append(t.Context(), 4, "s", 0, ev("a"), ev("b")); err != nil {
		t.Fatal(err)
	}
	if err := j.Snapshot(t.Context(), 4, "s", 1, json.RawMessage(`"one"`)); err != nil {
		t.Fatal(err)
	}
	backup, err := j.Backup()
	if err != nil {
		t.Fatal(err)
	}
	image := j.Clone()
	if _, err := j.Append(t.Context(), 4, "s", 2, ev("c")); err != nil {
		t.Fatal(err)
	}
	if l, _ := image.Load(t.Context(), "s"); l.Revision != 2 {
		t.Errorf("the clone moved along: revision %d, want 2", l.Revision)
	}
	for _, tc := range []struct{ floor, want epu.Epoch }{{0, 5}, {5, 6}, {4, 5}} {
		r, err := memory.Restore(backup, tc.floor)
		if err != nil {
			t.Fatal(err)
		}
		want := persistence.Meta{Installation: "i", Epoch: tc.want, Recovery: true}
		if diff := cmp.Diff(want, r.Meta()); diff != "" {
			t.Error(diff)
		}
		l, err := r.Load(t.Context(), "s")
		if err != nil || l.Revision != 2 || l.SnapshotAt != 1 || len(l.Tail) != 1 || l.Tail[0].ID != "b" {
			t.Errorf("got %+v, %v", l, err)
		}
	}
	if _, err := memory.Restore(backup[:len(backup)-10], 0); epu.KindOf(err) != epu.Invalid {
		t.Errorf("a backup that was cut short: got %v, want invalid", err)
	}
}
