package badger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/persistence/journaltest"
)

func recordsAt() time.Time { return journaltest.Record(0, "", "").Time }

func openHistory(t testing.TB, dir string, opt badger.HistoryOptions) *badger.History {
	t.Helper()
	if opt.Now == nil {
		opt.Now = recordsAt
	}
	h, err := badger.OpenHistory(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// Goal: the Badger history keeps the port's promises. Method: the conformance suite.
func TestHistory(t *testing.T) {
	journaltest.RunHistory(t, func(t testing.TB) journaltest.HistoryOpener {
		dir := t.TempDir()
		return func(t testing.TB) persistence.History { return openHistory(t, dir, badger.HistoryOptions{}) }
	})
}

// found lists the numbers of all records, oldest first.
func found(t testing.TB, h *badger.History, q persistence.Query) []string {
	t.Helper()
	var got []string
	for r, err := range h.Find(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Data))
	}
	return got
}

func flush(t testing.TB, h *badger.History) {
	t.Helper()
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Goal: what is too old goes, oldest first, and its indexes with it. Method: a clock that is moved.
func TestHistoryKeepsByAge(t *testing.T) {
	var now atomic.Int64
	dir := t.TempDir()
	opt := badger.HistoryOptions{KeepFor: 10 * time.Second}
	opt.Now = func() time.Time { return recordsAt().Add(time.Duration(now.Load())) }
	h := openHistory(t, dir, opt)
	for n := range 10 {
		h.Record(journaltest.Record(n, persistence.KindEvent, "epu-web"))
	}
	flush(t, h)
	now.Store(int64(15 * time.Second))
	h.Record(journaltest.Record(15, persistence.KindEvent, "epu-web"))
	flush(t, h)
	want := `[{"n":5} {"n":6} {"n":7} {"n":8} {"n":9} {"n":15}]`
	for _, q := range []persistence.Query{{}, {Kind: persistence.KindEvent}, {Pool: "epu-web"}, {Kind: persistence.KindEvent, Pool: "epu-web"}} {
		if got := fmt.Sprint(found(t, h, q)); got != want {
			t.Errorf("%+v: got %s, want %s", q, got, want)
		}
	}
	if got := found(t, h, persistence.Query{ID: journaltest.Record(3, "", "").ID}); got != nil {
		t.Errorf("got %s by its ID, want nothing", got)
	}
}

// Goal: the size is kept, also across a restart. Method: many records, a small bound.
func TestHistoryKeepsBySize(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		h := openHistory(t, dir, badger.HistoryOptions{KeepBytes: 100 << 10})
		for n := range 300 {
			r := journaltest.Record(round*300+n, persistence.KindDecision, "epu-web")
			r.Data = []byte(fmt.Sprintf(`{"n":%d,"pad":"%s"}`, round*300+n, strings.Repeat("p", 1000)))
			h.Record(r)
		}
		flush(t, h)
		got := found(t, h, persistence.Query{})
		if len(got) < 70 || len(got) > 100 || !strings.HasPrefix(got[len(got)-1], fmt.Sprintf(`{"n":%d,`, round*300+299)) {
			t.Errorf("round %d: got %d records in 100 KiB, the last %.20s", round, len(got), got[len(got)-1])
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Goal: losses are counted: past the bound, on a full disk, and of records that can't be stored. Method:
// a writer that is held at its question for free space.
func TestHistoryDrops(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan uint64)
	ask := atomic.Bool{}
	opt := badger.HistoryOptions{PendingMax: 5}
	opt.FreeBytes = func(string) (uint64, error) {
		if !ask.Load() {
			return 1 << 40, nil
		}
		asked <- struct{}{}
		return <-answer, nil
	}
	h := openHistory(t, t.TempDir(), opt)
	ask.Store(true)
	record := func(n int) { h.Record(journaltest.Record(n, persistence.KindEvent, "epu-web")) }
	record(0)
	<-asked // the writer has record 0
	for n := range 7 {
		record(n + 1) // 6 and 7 are past the bound
	}
	h.Record(persistence.Record{Kind: "no ID"})
	h.Record(persistence.Record{ID: "not JSON", Data: []byte("{")})
	answer <- 0 // full: record 0 is lost
	<-asked
	ask.Store(false)
	answer <- 1 << 40
	flush(t, h)
	if got, want := fmt.Sprint(found(t, h, persistence.Query{})), `[{"n":1} {"n":2} {"n":3} {"n":4} {"n":5}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := h.Dropped(); got != 5 {
		t.Errorf("got %d dropped, want 5", got)
	}
}

// Goal: a damaged history begins anew and leaves the old one aside. Method: flip a byte of a table.
func TestHistoryDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := openHistory(t, dir, badger.HistoryOptions{})
	h.Record(journaltest.Record(1, persistence.KindEvent, "epu-web"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, one(t, dir, "db/*.sst"), flip(30))
	h = openHistory(t, dir, badger.HistoryOptions{})
	if got := found(t, h, persistence.Query{}); got != nil {
		t.Errorf("got %v in a new history", got)
	}
	h.Record(journaltest.Record(2, persistence.KindEvent, "epu-web"))
	flush(t, h)
	if got := found(t, h, persistence.Query{}); len(got) != 1 {
		t.Errorf("got %v, want one record", got)
	}
	if _, err := os.Stat(dir + ".damaged-1/db/MANIFEST"); err != nil {
		t.Errorf("the damaged history is not kept: %v", err)
	}
	if _, err := badger.OpenHistory(dir, badger.HistoryOptions{}); !errors.Is(err, badger.ErrLocked) || epu.KindOf(err) != epu.Conflict {
		t.Errorf("opened twice: got %v, want it locked", err)
	}
}

// BenchmarkHistoryNewest finds the 20 newest decisions of one pool among 200 000 records.
func BenchmarkHistoryNewest(b *testing.B) {
	h := openHistory(b, b.TempDir(), badger.HistoryOptions{PendingMax: 1 << 20})
	for n := range 200_000 {
		h.Record(journaltest.Record(n, persistence.KindDecision, epu.PoolID(fmt.Sprintf("epu-%03d", n%200))))
	}
	flush(b, h)
	q := persistence.Query{Kind: persistence.KindDecision, Pool: "epu-007", NewestFirst: true, Limit: 20}
	for b.Loop() {
		if got := found(b, h, q); len(got) != 20 {
			b.Fatalf("got %d records, want 20", len(got))
		}
	}
}
