package badger_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

const benchWriters = 64

// bareOptions is Badger as the journal opens it.
func bareOptions(dir string) bdg.Options {
	return bdg.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithSyncWrites(true).
		WithMemTableSize(8 << 20).WithNumMemtables(2).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(4).
		WithNumCompactors(2).WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20).
		WithBlockCacheSize(4 << 20).WithIndexCacheSize(4 << 20).WithCompression(options.None).
		WithDetectConflicts(false)
}

func benchStream(w int) epu.StreamID { return epu.StreamID(fmt.Sprintf("pool/default/epu-%02d", w)) }

// BenchmarkBudgetAppend measures durable appends of 1-KB events by 64 actors against a bare Badger
// loop that puts 64 records with the same keys in each transaction. Rounds of both alternate in one
// run; ratio is the median of ours over the median of the bare loop, budget at least 0.5.
func BenchmarkBudgetAppend(b *testing.B) {
	const each = 20 // transactions of the bare loop and appends of each writer in a round
	data := json.RawMessage(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	j := open(b, b.TempDir())
	defer j.Close()
	bare, err := bdg.Open(bareOptions(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	var ours, theirs []float64
	done := 0
	round := func() {
		start := time.Now()
		appendAll(b, j, done, each, data)
		ours = append(ours, benchWriters*each/time.Since(start).Seconds())
		start = time.Now()
		bareAll(b, bare, done, each, data)
		theirs = append(theirs, benchWriters*each/time.Since(start).Seconds())
		done += each
	}
	round()
	ours, theirs = nil, nil // the first round warms up
	for b.Loop() {
		round()
	}
	b.ReportMetric(median(ours), "appends/s")
	b.ReportMetric(median(theirs), "bare/s")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
	b.ReportMetric(0.5, "budget-least")
	b.ReportMetric(0, "ns/op")
}

func appendAll(b *testing.B, j *badger.Journal, done, each int, data json.RawMessage) {
	var wg sync.WaitGroup
	for w := range benchWriters {
		wg.Go(func() {
			for i := done; i < done+each; i++ {
				ev := persistence.Event{Type: "benched", V: 1, ID: fmt.Sprint(i), Time: time.Unix(1_760_000_000, 0), Data: data}
				if _, err := j.Append(context.Background(), 1, benchStream(w), epu.Revision(i), ev); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func bareAll(b *testing.B, db *bdg.DB, done, each int, data json.RawMessage) {
	for i := done; i < done+each; i++ {
		txn := db.NewTransaction(true)
		for w := range benchWriters {
			key := append([]byte("e/"+string(benchStream(w))), 0)
			value := fmt.Appendf(nil, `{"type":"benched","v":1,"id":"%d","time":"2025-10-09T08:53:20Z","data":%s}`, i, data)
			if err := txn.Set(binary.BigEndian.AppendUint64(key, uint64(i+1)), value); err != nil {
				b.Fatal(err)
			}
			if err := txn.Set([]byte("s/"+string(benchStream(w))), make([]byte, 41)); err != nil {
				b.Fatal(err)
			}
		}
		if err := txn.Set([]byte("m/commit"), make([]byte, 24)); err != nil {
			b.Fatal(err)
		}
		if err := txn.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBudgetOpen measures opening a store with every check and loading every stream against opening
// it bare and reading every key and value. Rounds alternate; ratio is the median of ours over the
// median of the bare scan, budget at most 3.
func BenchmarkBudgetOpen(b *testing.B) {
	const pools, launches = 200, 50
	dir := b.TempDir()
	fill(b, dir, pools, launches)
	var ours, theirs []float64
	for b.Loop() {
		start := time.Now()
		j := open(b, dir)
		n := 0
		for id, err := range j.Streams(context.Background(), "") {
			if err != nil {
				b.Fatal(err)
			}
			l, err := j.Load(context.Background(), id)
			if err != nil {
				b.Fatal(err)
			}
			n += len(l.Tail)
		}
		ours = append(ours, time.Since(start).Seconds())
		if n != pools*launches {
			b.Fatalf("got %d events, want %d", n, pools*launches)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		db, err := bdg.Open(bareOptions(filepath.Join(dir, "db")))
		if err != nil {
			b.Fatal(err)
		}
		bareScan(b, db)
		theirs = append(theirs, time.Since(start).Seconds())
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(median(ours)*1000, "ms")
	b.ReportMetric(median(theirs)*1000, "bare-ms")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
	b.ReportMetric(3, "budget-most")
	b.ReportMetric(0, "ns/op")
}

// fill makes a store as 100 000 workers leave it: 200 pools, each with a snapshot of half its workers
// and launches of ten workers each since.
func fill(b *testing.B, dir string, pools, launches int) {
	j := open(b, dir)
	data := json.RawMessage(`{"launch":"epu-web-1-7","site":"ec2-us-east-1","slots":10,"vars":"` + strings.Repeat("v", 300) + `"}`)
	state := json.RawMessage(`"` + strings.Repeat("s", 250*48) + `"`)
	var wg sync.WaitGroup
	for p := range pools {
		wg.Go(func() {
			id := epu.StreamID(fmt.Sprintf("pool/default/epu-%04d", p))
			first := persistence.Event{Type: "benched", V: 1, ID: "first", Data: data}
			if _, err := j.Append(context.Background(), 1, id, 0, first); err != nil {
				b.Error(err)
				return
			}
			if err := j.Snapshot(context.Background(), 1, id, 1, state); err != nil {
				b.Error(err)
				return
			}
			for i := range launches {
				ev := persistence.Event{Type: "benched", V: 1, ID: fmt.Sprint(i), Time: time.Unix(1_760_000_000, 0), Data: data}
				if _, err := j.Append(context.Background(), 1, id, epu.Revision(i+1), ev); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

func bareScan(b *testing.B, db *bdg.DB) {
	if err := db.View(func(txn *bdg.Txn) error {
		it := txn.NewIterator(bdg.DefaultIteratorOptions)
		defer it.Close()
		sum := 0
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func(v []byte) error { sum += len(v); return nil }); err != nil {
				return err
			}
		}
		if sum == 0 {
			b.Error("the store is empty")
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
