package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// restartPool is how many workers a pool of the restarted store has.
const restartPool = 10_000

// storeHost is a Host on a real journal that waits for it, so that each actor has a goroutine.
type storeHost struct {
	benchHost
	epoch epu.Epoch
}

func (h *storeHost) Append(s epu.StreamID, at epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	done(h.journal.Append(context.Background(), h.epoch, s, at, events...))
}

// fillStore makes the store of a node with n workers, in pools with a site each.
func fillStore(b *testing.B, dir string, n int) {
	j := openStore(b, dir)
	put := func(id epu.StreamID, core Core) {
		raw, err := json.Marshal(core.State())
		if err == nil {
			_, err = j.Append(context.Background(), 1, id, 0, persistence.Event{Type: "activated", V: 1, ID: "a", Data: json.RawMessage(`{}`)})
		}
		if err == nil {
			err = j.Snapshot(context.Background(), 1, id, 1, raw)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; i*restartPool < n; i++ {
		c, _, _ := benchController(min(n, restartPool))
		put(epu.StreamID(fmt.Sprintf("pool/default/web-%d", i)), c)
		put(epu.StreamID(fmt.Sprintf("site/cloud-%d", i)), benchSite(c))
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

func openStore(b *testing.B, dir string) *badger.Journal {
	j, err := badger.Open(dir, badger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// restart opens a store and activates all its actors; it gives the number of workers that they know.
func restart(b *testing.B, dir string) int {
	j := openStore(b, dir)
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	var mu sync.Mutex
	workers := 0
	for id, err := range j.Streams(context.Background(), "") {
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			h := &storeHost{benchHost: benchHost{now: now, journal: j}, epoch: 1}
			var core Core
			codec := PoolCodec()
			if id[0] == 's' {
				core, codec = NewSite(epu.SiteSpec{Name: "cloud"}, SiteIdentity{Epoch: 1}, now), SiteCodec()
			} else {
				core = NewController(epu.DefaultOwner, "web", SiteIdentity{Installation: "bench", Epoch: 1}, now)
			}
			d := NewDurable(core, h, codec, id)
			if d.Start(); !d.Ready() {
				b.Errorf("%s is not ready", id)
			}
			mu.Lock()
			defer mu.Unlock()
			if c, ok := core.(*Controller); ok {
				workers += len(c.Workers())
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	return workers
}

// scanStore opens a store without any check and reads every key and value.
func scanStore(b *testing.B, dir string) {
	db, err := bdg.Open(bdg.DefaultOptions(filepath.Join(dir, "db")).WithLogger(nil).WithMetricsEnabled(false).
		WithMemTableSize(8 << 20).WithNumMemtables(2).WithNumCompactors(2).WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20).
		WithBlockCacheSize(4 << 20).WithIndexCacheSize(4 << 20).WithCompression(options.None).WithDetectConflicts(false))
	if err != nil {
		b.Fatal(err)
	}
	sum := 0
	if err := db.View(func(txn *bdg.Txn) error {
		it := txn.NewIterator(bdg.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func(v []byte) error { sum += len(v); return nil }); err != nil {
				return err
			}
		}
		return nil
	}); err != nil || sum == 0 {
		b.Fatalf("read %d bytes, error %v", sum, err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRestart(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			fillStore(b, dir, n)
			ratio(b, n, func() {
				if got := restart(b, dir); got != n {
					b.Fatalf("got %d workers, want %d", got, n)
				}
			}, func() { scanStore(b, dir) })
		})
	}
}
