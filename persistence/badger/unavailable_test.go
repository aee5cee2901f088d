package badger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// Goal: a full disk stops writes, not reads, says so, and ends by itself. Method: free space is what the
// test says.
func TestDiskFull(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	opt := badger.Options{FreeBytes: func(string) (uint64, error) { return free.Load(), nil }}
	dir := t.TempDir()
	j, err := badger.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	appendN(t, j, "pool/a", 2)
	free.Store(127 << 20)
	_, errAppend := j.Append(t.Context(), 1, "pool/a", 2, event("x"))
	for op, err := range map[string]error{
		"append": errAppend, "snapshot": j.Snapshot(t.Context(), 1, "pool/a", 1, json.RawMessage(`1`)),
		"recovery": j.SetRecovery(t.Context(), true),
	} {
		if !errors.Is(err, persistence.ErrUnavailable) || !strings.Contains(err.Error(), "disk full") || !strings.Contains(epu.TryOf(err), "make room") {
			t.Errorf("%s: got %v with advice %q, want unavailable because the disk is full", op, err, epu.TryOf(err))
		}
	}
	if l, err := j.Load(t.Context(), "pool/a"); err != nil || l.Revision != 2 || l.SnapshotAt != 0 || j.Meta().Recovery {
		t.Errorf("got %+v, %v: reads go on and nothing has changed", l, err)
	}
	if _, err := badger.Open(t.TempDir(), opt); !errors.Is(err, persistence.ErrUnavailable) {
		t.Errorf("open on a full disk: got %v, want unavailable", err)
	}
	free.Store(129 << 20)
	appendN(t, j, "pool/a", 1)
	if err := j.SetRecovery(t.Context(), true); err != nil || !j.Meta().Recovery {
		t.Errorf("set recovery: got %v", err)
	}
}

// Goal: a context ends waiting, and what has begun is answered truly. Method: the writer is held at its
// question for free space while one append has begun and another waits.
func TestCancelWhileWaiting(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	j, err := badger.Open(t.TempDir(), badger.Options{FreeBytes: func(string) (uint64, error) {
		if hold.Load() {
			asked <- struct{}{}
			<-answer
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	hold.Store(true)
	type result struct {
		rev epu.Revision
		err error
	}
	start := func(ctx context.Context, id epu.StreamID) chan result {
		c := make(chan result, 1)
		go func() {
			rev, err := j.Append(ctx, 1, id, 0, event("e"))
			c <- result{rev, err}
		}()
		return c
	}
	first, cancelFirst := context.WithCancel(t.Context())
	begun := start(first, "pool/begun")
	<-asked
	second, cancelSecond := context.WithCancel(t.Context())
	waiting := start(second, "pool/waiting")
	cancelFirst()
	cancelSecond()
	if r := <-waiting; !errors.Is(r.err, persistence.ErrUnavailable) || !errors.Is(r.err, context.Canceled) {
		t.Errorf("the waiting append: got %v, want cancelled", r.err)
	}
	hold.Store(false)
	close(answer)
	if r := <-begun; r.err != nil || r.rev != 1 {
		t.Errorf("the append that had begun: got %d, %v, want success", r.rev, r.err)
	}
	for id, want := range map[epu.StreamID]epu.Revision{"pool/begun": 1, "pool/waiting": 0} {
		if l, err := j.Load(t.Context(), id); err != nil || l.Revision != want {
			t.Errorf("%s: got revision %d, %v, want %d", id, l.Revision, err, want)
		}
	}
}

// Goal: a batch larger than a transaction is split, not refused. Method: the writer is held while many
// large appends queue; every one must succeed.
func TestLargeBatchIsSplit(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	j, err := badger.Open(t.TempDir(), badger.Options{FreeBytes: func(string) (uint64, error) {
		if hold.CompareAndSwap(true, false) {
			asked <- struct{}{}
			<-answer
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	big := event("big")
	big.Data = json.RawMessage(`"` + strings.Repeat("x", persistence.EventMax-2) + `"`)
	hold.Store(true)
	results := make(chan error)
	const writers = 20
	for w := range writers {
		go func() {
			_, err := j.Append(context.Background(), 1, epu.StreamID('a'+rune(w)), 0, big, event("second"))
			results <- err
		}()
		if w == 0 {
			<-asked
		}
	}
	close(answer)
	for range writers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// Goal: a change whose outcome was unknown is told as it is once the database has been opened again. Method:
// while a change is written the name of Badger's next log is a link to itself, so that the journal can't
// make sure of it; the link is gone when the journal looks again.
func TestOutcomeIsFoundOut(t *testing.T) {
	dir := t.TempDir()
	var armed atomic.Bool
	laid := ""
	j, err := badger.Open(dir, badger.Options{FreeBytes: func(string) (uint64, error) {
		switch {
		case laid != "":
			if err := os.Remove(laid); err != nil {
				return 0, err
			}
			laid = ""
		case armed.CompareAndSwap(true, false):
			newest := one(t, dir, "db/*.mem")
			var n int
			if _, err := fmt.Sscanf(filepath.Base(newest), "%d.mem", &n); err != nil {
				return 0, err
			}
			laid = filepath.Join(dir, "db", fmt.Sprintf("%05d.mem", n+1))
			return 1 << 40, os.Symlink(laid, laid)
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"append", func() error { _, err := j.Append(t.Context(), 1, "pool/a", 0, event("1")); return err }},
		{"snapshot", func() error { return j.Snapshot(t.Context(), 1, "pool/a", 1, json.RawMessage(`{}`)) }},
		{"recovery", func() error { return j.SetRecovery(t.Context(), true) }},
		{"epoch", func() error { return j.BeginEpoch(t.Context(), 3) }},
	} {
		armed.Store(true)
		if err := c.change(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if armed.Load() || laid != "" {
			t.Fatalf("%s: the database was not opened again", c.name)
		}
	}
	if m := j.Meta(); m.Epoch != 3 || m.Recovery {
		t.Errorf("got %+v, want epoch 3", m)
	}
	if err := j.BeginEpoch(t.Context(), 3); !errors.Is(err, persistence.ErrConflict) {
		t.Errorf("the same epoch again: got %v, want a conflict", err)
	}
}
