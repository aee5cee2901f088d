package journaltest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

const pool = epu.StreamID("pool/default/epu-web")

func testEmpty(t *testing.T, open Opener) {
	j := start(t, open)
	m := j.Meta()
	if m.Installation == "" || m.Epoch < 1 || m.Recovery || m.Sealed != "" {
		t.Errorf("got meta %+v of a new store", m)
	}
	if diff := cmp.Diff(persistence.Loaded{}, load(t, j, pool)); diff != "" {
		t.Errorf("load of a stream that does not exist: %s", diff)
	}
	for id, err := range j.Streams(t.Context(), "") {
		t.Errorf("got stream %q, %v in a new store", id, err)
	}
	if rev, err := j.Append(t.Context(), m.Epoch, pool, 0); rev != 0 || err != nil {
		t.Errorf("append of no events: got %d, %v, want 0", rev, err)
	}
	if rev, err := j.Append(t.Context(), m.Epoch, pool, 1); !errors.Is(err, persistence.ErrConflict) {
		t.Errorf("append of no events at a revision that is not: got %d, %v, want a conflict", rev, err)
	}
}

func testRoundTrip(t *testing.T, open Opener) {
	j := start(t, open)
	want := events(1, 3)
	want[1].Data, want[1].Cause = nil, ""
	want[2].Data = json.RawMessage(`{"big":12345678901234567890,"deep":[[1],[2]],"s":"\"\\ é"}`)
	appendOK(t, j, pool, 0, want[0])
	appendOK(t, j, pool, 1, want[1:]...)
	got := load(t, j, pool)
	if diff := cmp.Diff(persistence.Loaded{Tail: want, Revision: 3}, got); diff != "" {
		t.Error(diff)
	}
}

func testConflicts(t *testing.T, open Opener) {
	j := start(t, open)
	appendOK(t, j, pool, 0, events(1, 2)...)
	for _, expected := range []epu.Revision{0, 1, 3, 1 << 40} {
		_, err := j.Append(t.Context(), j.Meta().Epoch, pool, expected, event("other"))
		if !errors.Is(err, persistence.ErrConflict) || epu.KindOf(err) != epu.Conflict {
			t.Errorf("append at %d of a stream at 2: got %v, want a conflict", expected, err)
		}
	}
	if diff := cmp.Diff(persistence.Loaded{Tail: events(1, 2), Revision: 2}, load(t, j, pool)); diff != "" {
		t.Errorf("a refused append left a trace: %s", diff)
	}
}

func testEpoch(t *testing.T, open Opener) {
	j := start(t, open)
	appendOK(t, j, pool, 0, event("e1"))
	for _, epoch := range []epu.Epoch{0, j.Meta().Epoch - 1, j.Meta().Epoch + 1} {
		if _, err := j.Append(t.Context(), epoch, pool, 1, event("e2")); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("append in epoch %d: got %v, want a conflict", epoch, err)
		}
		if _, err := j.Append(t.Context(), epoch, pool, 0, event("e1")); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("repeat in epoch %d: got %v, want a conflict", epoch, err)
		}
		if err := j.Snapshot(t.Context(), epoch, pool, 1, json.RawMessage(`1`)); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("snapshot in epoch %d: got %v, want a conflict", epoch, err)
		}
	}
	if got := load(t, j, pool); got.Revision != 1 || got.Snapshot != nil {
		t.Errorf("got %+v, want one event and no snapshot", got)
	}
}

func testRepeat(t *testing.T, open Opener) {
	j := start(t, open)
	epoch := j.Meta().Epoch
	batch := events(1, 3)
	appendOK(t, j, pool, 0, batch...)
	for round := range 2 {
		rev, err := j.Append(t.Context(), epoch, pool, 0, batch...)
		if err != nil || rev != 3 {
			t.Fatalf("repeat with %d events after it: got %d, %v, want 3", round, rev, err)
		}
		appendOK(t, j, pool, epu.Revision(3+round), event("later"+string(rune('0'+round))))
	}
	mixed := slices.Clone(batch)
	mixed[2] = event("another")
	for name, evs := range map[string][]persistence.Event{"other event": mixed, "longer": events(1, 6), "shifted": batch[1:]} {
		if rev, err := j.Append(t.Context(), epoch, pool, 0, evs...); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("%s: got %d, %v, want a conflict", name, rev, err)
		}
	}
	if got := load(t, j, pool).Revision; got != 5 {
		t.Errorf("got revision %d, want 5", got)
	}
}

func testStreams(t *testing.T, open Opener) {
	j := start(t, open)
	all := []epu.StreamID{"pool/a/x", "pool/a/x-1", "pool/a/x/1", "pool/b/x", "site/ü", "site/a", "Pool", "p", "pool/a/x!"}
	for _, id := range all {
		appendOK(t, j, id, 0, event("e1"))
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "pool/", "pool/a/x", "site/", "nothing", "site/ü"} {
		var got, want []epu.StreamID
		for id, err := range j.Streams(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, id)
		}
		for _, id := range all {
			if strings.HasPrefix(string(id), prefix) {
				want = append(want, id)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefix %q: %s", prefix, diff)
		}
	}
	for range j.Streams(t.Context(), "") {
		break // stopping early must not harm
	}
	if got := load(t, j, "pool/a/x"); got.Revision != 1 {
		t.Errorf("got %d events in a stream whose ID is another's prefix, want 1", got.Revision)
	}
}

func testReopen(t *testing.T, open Opener) {
	j := open(t)
	meta := j.Meta()
	appendOK(t, j, pool, 0, events(1, 5)...)
	appendOK(t, j, "site/local", 0, event("s1"))
	if err := j.Snapshot(t.Context(), meta.Epoch, pool, 3, json.RawMessage(`{"at":3}`)); err != nil {
		t.Fatal(err)
	}
	if err := j.SetRecovery(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, open)
	meta.Recovery = true
	if diff := cmp.Diff(meta, j.Meta()); diff != "" {
		t.Error(diff)
	}
	want := persistence.Loaded{Snapshot: json.RawMessage(`{"at":3}`), SnapshotAt: 3, Tail: events(4, 2), Revision: 5}
	if diff := cmp.Diff(want, load(t, j, pool)); diff != "" {
		t.Error(diff)
	}
	appendOK(t, j, pool, 5, event("e6"))
	appendOK(t, j, "site/local", 1, event("s2"))
	if err := j.SetRecovery(t.Context(), false); err != nil || j.Meta().Recovery {
		t.Errorf("clear recovery: got %v, %v", j.Meta().Recovery, err)
	}
}

func testBeginEpoch(t *testing.T, open Opener) {
	j := open(t)
	old := j.Meta().Epoch
	appendOK(t, j, pool, 0, event("e1"))
	if err := j.SetRecovery(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := j.BeginEpoch(t.Context(), old); !errors.Is(err, persistence.ErrConflict) || !j.Meta().Recovery {
		t.Errorf("beginning the present epoch again gave %v and %+v, want a conflict", err, j.Meta())
	}
	if err := j.BeginEpoch(t.Context(), old+3); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if m := j.Meta(); m.Epoch != old+3 || m.Recovery {
			t.Errorf("got %+v, want epoch %d and no recovery", m, old+3)
		}
		if _, err := j.Append(t.Context(), old, pool, 1, event("e2")); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("an append of the older epoch gave %v, want a conflict", err)
		}
		if err := j.Snapshot(t.Context(), old, pool, 1, json.RawMessage(`1`)); !errors.Is(err, persistence.ErrConflict) {
			t.Errorf("a snapshot of the older epoch gave %v, want a conflict", err)
		}
	}
	check()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, open)
	check()
	if _, err := j.Append(t.Context(), old+3, pool, 1, event("e2")); err != nil {
		t.Error(err)
	}
}

func testCancelled(t *testing.T, open Opener) {
	j := start(t, open)
	epoch := j.Meta().Epoch
	appendOK(t, j, pool, 0, event("e1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, errAppend := j.Append(ctx, epoch, pool, 1, event("e2"))
	_, errLoad := j.Load(ctx, pool)
	for op, err := range map[string]error{
		"append": errAppend, "load": errLoad,
		"snapshot": j.Snapshot(ctx, epoch, pool, 1, json.RawMessage(`1`)),
		"recovery": j.SetRecovery(ctx, true), "begin epoch": j.BeginEpoch(ctx, epoch+1),
	} {
		if !errors.Is(err, persistence.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want unavailable because cancelled", op, err)
		}
	}
	n := 0
	for _, err := range j.Streams(ctx, "") {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("streams: got %v, want cancelled", err)
		}
	}
	if n != 1 {
		t.Errorf("streams: got %d answers, want one error", n)
	}
	if got := load(t, j, pool); got.Revision != 1 || got.SnapshotAt != 0 || j.Meta().Recovery || j.Meta().Epoch != epoch {
		t.Errorf("got %+v, %+v: a cancelled call was carried out", got, j.Meta())
	}
}

func testOwnership(t *testing.T, open Opener) {
	j := start(t, open)
	evs, state := events(1, 3), json.RawMessage(`{"n":1}`)
	appendOK(t, j, pool, 0, evs...)
	if err := j.Snapshot(t.Context(), j.Meta().Epoch, pool, 1, state); err != nil {
		t.Fatal(err)
	}
	evs[1].ID, evs[1].Data[2], state[2] = "spoilt", 'X', 'X'
	got := load(t, j, pool)
	got.Tail[0].Data[2], got.Tail[1].ID, got.Snapshot[2] = 'Y', "spoilt", 'Y'
	want := persistence.Loaded{Snapshot: json.RawMessage(`{"n":1}`), SnapshotAt: 1, Tail: events(2, 2), Revision: 3}
	if diff := cmp.Diff(want, load(t, j, pool)); diff != "" {
		t.Error(diff)
	}
}

func testInvalid(t *testing.T, open Opener) {
	j := start(t, open)
	big := json.RawMessage(`"` + strings.Repeat("x", persistence.EventMax) + `"`)
	for name, tc := range map[string]struct {
		id epu.StreamID
		ev persistence.Event
	}{
		"no stream":     {"", event("e1")},
		"zero byte":     {"pool/\x00", event("e1")},
		"long stream":   {epu.StreamID(strings.Repeat("x", persistence.StreamIDMax+1)), event("e1")},
		"no event ID":   {pool, persistence.Event{Type: "tested", V: 1}},
		"no type":       {pool, persistence.Event{ID: "e1", V: 1}},
		"far future":    {pool, persistence.Event{ID: "e1", Type: "tested", V: 1, Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"data too big":  {pool, persistence.Event{ID: "e1", Type: "tested", V: 1, Data: big}},
		"data not JSON": {pool, persistence.Event{ID: "e1", Type: "tested", V: 1, Data: json.RawMessage(`{"a":`)}},
	} {
		if _, err := j.Append(t.Context(), j.Meta().Epoch, tc.id, 0, tc.ev); epu.KindOf(err) != epu.Invalid {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
	appendOK(t, j, pool, 0, event("e1"))
	for name, state := range map[string]json.RawMessage{"none": nil, "not JSON": json.RawMessage(`{`)} {
		if err := j.Snapshot(t.Context(), j.Meta().Epoch, pool, 1, state); epu.KindOf(err) != epu.Invalid {
			t.Errorf("snapshot %s: got %v, want invalid", name, err)
		}
	}
}
