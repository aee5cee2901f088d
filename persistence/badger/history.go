package badger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu/persistence"
)

// HistoryOptions tune a history. The zero value is right for a node.
type HistoryOptions struct {
	Options
	KeepFor    time.Duration // age at which records are dropped; default 30 days
	KeepBytes  int64         // size of all records above which the oldest are dropped; default 1 GiB
	PendingMax int           // records that wait to be written; default 8192. Beyond it they are lost and counted
}

func (o HistoryOptions) withDefaults() HistoryOptions {
	o.Options = o.Options.withDefaults()
	if o.KeepFor == 0 {
		o.KeepFor = 30 * 24 * time.Hour
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = 1 << 30
	}
	if o.PendingMax == 0 {
		o.PendingMax = 8192
	}
	return o
}

// History keeps records in a folder of its own. It implements persistence.History. Only Flush and
// Close wait for the disk: a loss of power may cost the records of the last half minute.
type History struct {
	dir  string
	opt  HistoryOptions
	lock *lock

	dbMu sync.RWMutex // guards db: readers share it, closing and reopening excludes them
	db   *bdg.DB      // nil after a failed write, until it is open again

	mu       sync.Mutex // guards what follows
	pending  []persistence.Record
	recorded uint64        // records taken in so far
	written  uint64        // of those, written or lost
	progress chan struct{} // closed and made anew when written grows
	dropped  uint64
	closed   bool

	wake   chan struct{} // there is something pending
	stop   chan struct{}
	done   chan struct{}
	failed chan struct{} // closed once a database whose write failed is closed; only the writer uses it
	tally  tally         // only the writer uses it

	closeOnce sync.Once
	closeErr  error
}

// OpenHistory opens the history in a folder, which is made if there is none. A damaged history is moved
// aside, with a warning in the log, and a new one begun: losing history never loses a machine.
func OpenHistory(dir string, opt HistoryOptions) (*History, error) {
	const op = "open history"
	h := &History{
		dir: dir, opt: opt.withDefaults(), progress: make(chan struct{}),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := h.room(op); err != nil && !missing(err) {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, unavailable(op, dir, err)
		}
		l, err := acquire(dir, op)
		if err != nil {
			return nil, err
		}
		if h.db, err = openHistoryDB(dir, h.opt); err == nil {
			h.lock = l
			go h.run()
			return h, nil
		}
		if err = errors.Join(err, l.release()); !errors.Is(err, persistence.ErrCorrupt) || attempt > 1 {
			return nil, err
		}
		aside, moveErr := moveAside(dir, "damaged")
		if moveErr != nil {
			return nil, errors.Join(err, moveErr)
		}
		if log := h.opt.Logger; log != nil {
			log.Warn("history was damaged and begins anew", "folder", dir, "moved_to", aside, "error", err.Error())
		}
	}
}

// openHistoryDB opens the database after the checks without which damage would end the process.
func openHistoryDB(dir string, opt HistoryOptions) (*bdg.DB, error) {
	const op = "open history"
	folder := filepath.Join(dir, dbFolder)
	problems, err := checkFiles(folder, 0)
	if err != nil {
		return nil, unavailable(op, dir, err)
	}
	if len(problems) > 0 {
		return nil, corrupt(op, dir, problems)
	}
	db, err := bdg.Open(badgerOptions(folder, opt.Options))
	if err != nil {
		return nil, unavailable(op, dir, err)
	}
	return db, nil
}

// room refuses when less than twice the reserve is free, so that a journal on the same disk lasts longer.
func (h *History) room(op string) error {
	free, err := h.opt.FreeBytes(h.dir)
	if err == nil && free < 2*h.opt.ReserveBytes {
		err = fmt.Errorf("disk full: %d MiB are free, %d are kept in reserve", free>>20, 2*h.opt.ReserveBytes>>20)
	}
	if err != nil {
		return unavailable(op, h.dir, err)
	}
	return nil
}

// Record implements persistence.History. A record with an ID and a time that stand already replaces it.
func (h *History) Record(r persistence.Record) {
	r.Data = append(json.RawMessage(nil), r.Data...)
	r.Time = r.Time.UTC().Round(0)
	h.mu.Lock()
	if h.closed || len(h.pending) >= h.opt.PendingMax || !storable(r) {
		h.dropped++
		h.mu.Unlock()
		return
	}
	h.pending = append(h.pending, r)
	h.recorded++
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Dropped implements persistence.History.
func (h *History) Dropped() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

// Flush implements persistence.History.
func (h *History) Flush(ctx context.Context) error {
	const op = "flush history"
	h.mu.Lock()
	for goal := h.recorded; h.written < goal; {
		progress := h.progress
		h.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return unavailable(op, h.dir, ctx.Err())
		}
		h.mu.Lock()
	}
	h.mu.Unlock()
	h.dbMu.RLock()
	defer h.dbMu.RUnlock()
	if h.db == nil {
		return unavailable(op, h.dir, errNoHistory)
	}
	if err := h.db.Sync(); err != nil {
		return unavailable(op, h.dir, err)
	}
	return nil
}

var errNoHistory = errors.New("the history is closed or its last write failed")

// Close writes what is pending and releases the folder.
func (h *History) Close() error {
	h.closeOnce.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		close(h.stop)
		<-h.done
		h.dbMu.Lock()
		defer h.dbMu.Unlock()
		var err error
		if h.db != nil {
			err = h.db.Close()
			h.db = nil
		}
		if err = errors.Join(err, h.lock.release()); err != nil {
			h.closeErr = unavailable("close history", h.dir, err)
		}
	})
	return h.closeErr
}

// pageMax is how many records Find reads while nobody may close the database.
const pageMax = 64

// Find implements persistence.History. It sees what was written before it read so far.
func (h *History) Find(ctx context.Context, q persistence.Query) iter.Seq2[persistence.Record, error] {
	return func(yield func(persistence.Record, error) bool) {
		left := q.Limit
		if left <= 0 {
			left = math.MaxInt
		}
		var after []byte // the key of the last page's last entry
		for {
			page, last, err := h.page(ctx, q, after, min(left, pageMax))
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(persistence.Record{}, err)
				return
			}
			if left -= len(page); left == 0 || last == nil {
				return
			}
			after = last
		}
	}
}

// page reads up to n matching records behind a key; last is nil when there are no more.
func (h *History) page(ctx context.Context, q persistence.Query, after []byte, n int) (page []persistence.Record, last []byte, err error) {
	const op = "search history"
	h.dbMu.RLock()
	defer h.dbMu.RUnlock()
	if h.db == nil {
		return nil, nil, unavailable(op, h.dir, errNoHistory)
	}
	txn := h.db.NewTransaction(false)
	defer txn.Discard()
	if q.ID != "" {
		r, ok, err := recordByID(txn, q.ID)
		if err == nil && ok && q.Matches(r) {
			page = append(page, r)
		}
		return page, nil, err
	}
	prefix, from := searchRange(q)
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: prefix, Reverse: q.NewestFirst})
	defer it.Close()
	if after != nil {
		from = after
	}
	for it.Seek(from); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if string(key) == string(after) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return page, nil, unavailable(op, h.dir, err)
		}
		r, ok, err := recordOf(txn, key[len(prefix):])
		if err != nil {
			return page, nil, unavailable(op, h.dir, err)
		}
		if !ok {
			continue // an index entry that a crash left
		}
		if past(q, r.Time) {
			return page, nil, nil
		}
		if !q.Matches(r) {
			continue
		}
		if page = append(page, r); len(page) == n {
			return page, key, nil
		}
	}
	return page, nil, nil
}

// past reports that nothing behind a record of that time can match.
func past(q persistence.Query, at time.Time) bool {
	if q.NewestFirst {
		return !q.Since.IsZero() && at.Before(q.Since)
	}
	return !q.Until.IsZero() && !at.Before(q.Until)
}
