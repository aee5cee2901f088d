package journaltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// HistoryOpener opens one history, always the same one. What it returned before has been closed.
type HistoryOpener func(t testing.TB) persistence.History

// historyStart is the time of record 0; record n is n seconds later.
var historyStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Record makes the n-th of a series of records, n seconds after its start, with an ID that sorts so.
func Record(n int, kind persistence.RecordKind, pool epu.PoolID) persistence.Record {
	return persistence.Record{
		ID: fmt.Sprintf("01TEST%020d", n), Kind: kind, Owner: epu.DefaultOwner, Pool: pool,
		Time: historyStart.Add(time.Duration(n) * time.Second), Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

// RunHistory tests a history. fresh makes a new empty one each time.
func RunHistory(t *testing.T, fresh func(t testing.TB) HistoryOpener) {
	t.Run("records are found by every query", func(t *testing.T) { testFind(t, fresh(t)) })
	t.Run("flushed records are there after reopening", func(t *testing.T) { testFlush(t, fresh(t)) })
}

func testFind(t *testing.T, open HistoryOpener) {
	h := open(t)
	defer closeHistory(t, h)
	var all []persistence.Record
	for n := range 60 {
		kind := []persistence.RecordKind{persistence.KindDecision, persistence.KindEvent, persistence.KindAudit}[n%3]
		pool := []epu.PoolID{"epu-web", "epu-web-2", "epu", ""}[n%4]
		all = append(all, Record(n/2, kind, pool)) // two at a time
		all[n].ID = fmt.Sprintf("%s-%02d", all[n].ID, n)
		h.Record(all[n])
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := func(n int) time.Time { return historyStart.Add(time.Duration(n) * time.Second) }
	for _, q := range []persistence.Query{
		{},
		{NewestFirst: true},
		{Limit: 5},
		{Limit: 5, NewestFirst: true},
		{Kind: persistence.KindDecision, Pool: "epu-web", NewestFirst: true, Limit: 3},
		{Kind: persistence.KindDecision, Pool: "epu-web"},
		{Pool: "epu"},
		{Pool: "epu-web", NewestFirst: true},
		{Pool: "none"},
		{Kind: persistence.KindAudit, NewestFirst: true, Limit: 4},
		{Kind: "none"},
		{Since: at(7)},
		{Until: at(7)},
		{Since: at(7), Until: at(9)},
		{Since: at(7), Until: at(9), NewestFirst: true},
		{Since: at(9), Until: at(7)},
		{Kind: persistence.KindEvent, Pool: "epu-web", Since: at(3), Until: at(20), NewestFirst: true},
		{ID: all[17].ID},
		{ID: all[17].ID, Kind: all[17].Kind},
		{ID: all[17].ID, Kind: all[18].Kind},
		{ID: "none"},
		{ID: all[17].ID[:20]},
	} {
		var want, got []persistence.Record
		for _, r := range all {
			if q.Matches(r) {
				want = append(want, r)
			}
		}
		if q.NewestFirst {
			slices.Reverse(want)
		}
		if q.Limit > 0 {
			want = want[:min(q.Limit, len(want))]
		}
		for r, err := range h.Find(t.Context(), q) {
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			got = append(got, r)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %s", q, diff)
		}
	}
	if got := h.Dropped(); got != 0 {
		t.Errorf("got %d records dropped, want 0", got)
	}
}

func testFlush(t *testing.T, open HistoryOpener) {
	h := open(t)
	for n := range 10 {
		h.Record(Record(n, persistence.KindEvent, "epu-web"))
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeHistory(t, h)
	h = open(t)
	defer closeHistory(t, h)
	n := 0
	for r, err := range h.Find(t.Context(), persistence.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Record(n, persistence.KindEvent, "epu-web"), r); diff != "" {
			t.Error(diff)
		}
		n++
	}
	if n != 10 {
		t.Errorf("got %d records after reopening, want 10", n)
	}
	for range h.Find(t.Context(), persistence.Query{}) {
		break
	}
}

func closeHistory(t testing.TB, h persistence.History) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
