package badger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu/persistence"
)

// The layout of the history's keys. A time is nanoseconds since 1970 with the sign bit turned, so that
// byte order is time order; what follows it is the record's ID. Index entries are empty, but for the
// one by ID, which holds the time.
//
//	t/<time><ID>                    a record, JSON
//	i/<ID>                          its time
//	k/<kind>\0<pool>\0<time><ID>    index by kind and pool
//	c/<kind>\0<time><ID>            index by kind
//	o/<pool>\0<time><ID>            index by pool
const (
	prefixRecord = "t/"
	prefixID     = "i/"
)

// recordIDMax bounds a record's ID, kind and pool.
const recordIDMax = 256

// pruneMax bounds the records dropped between two batches.
const pruneMax = 1000

// storable reports that a record's keys are unambiguous and that it can be written as JSON.
func storable(r persistence.Record) bool {
	if r.ID == "" || r.Time.Year() < 0 || r.Time.Year() > 9999 || (len(r.Data) > 0 && !json.Valid(r.Data)) {
		return false
	}
	for _, s := range []string{r.ID, string(r.Kind), string(r.Pool)} {
		if len(s) > recordIDMax || strings.ContainsRune(s, 0) {
			return false
		}
	}
	return len(r.Data) <= persistence.AppendMax
}

func timeKey(t time.Time) []byte {
	nanos := t.UnixNano()
	if t.Year() < 1678 || t.Year() > 2261 { // outside of what 64 bits of nanoseconds hold
		nanos = math.MinInt64
		if t.Year() > 2261 {
			nanos = math.MaxInt64
		}
	}
	return binary.BigEndian.AppendUint64(nil, uint64(nanos)^1<<63)
}

// keysOf gives a record's own key and those of its indexes. suffix is its time and ID.
func keysOf(r persistence.Record) (own []byte, indexes [][]byte, byID []byte) {
	suffix := append(timeKey(r.Time), r.ID...)
	key := func(prefix string) []byte { return append([]byte(prefix), suffix...) }
	indexes = [][]byte{key("k/" + string(r.Kind) + "\x00" + string(r.Pool) + "\x00"), key("c/" + string(r.Kind) + "\x00")}
	if r.Pool != "" {
		indexes = append(indexes, key("o/"+string(r.Pool)+"\x00"))
	}
	return key(prefixRecord), indexes, []byte(prefixID + r.ID)
}

// searchRange gives the narrowest index of a query, and where to begin in it.
func searchRange(q persistence.Query) (prefix, from []byte) {
	switch {
	case q.Kind != "" && q.Pool != "":
		prefix = []byte("k/" + string(q.Kind) + "\x00" + string(q.Pool) + "\x00")
	case q.Kind != "":
		prefix = []byte("c/" + string(q.Kind) + "\x00")
	case q.Pool != "":
		prefix = []byte("o/" + string(q.Pool) + "\x00")
	default:
		prefix = []byte(prefixRecord)
	}
	from = append([]byte(nil), prefix...)
	switch {
	case !q.NewestFirst && !q.Since.IsZero():
		from = append(from, timeKey(q.Since)...)
	case q.NewestFirst && !q.Until.IsZero():
		from = append(from, timeKey(q.Until)...)
	case q.NewestFirst:
		from = append(from, "\xff\xff\xff\xff\xff\xff\xff\xff\xff"...)
	}
	return prefix, from
}

// recordOf reads the record behind a time and ID.
func recordOf(txn *bdg.Txn, suffix []byte) (r persistence.Record, ok bool, err error) {
	value, err := get(txn, append([]byte(prefixRecord), suffix...))
	if err != nil || value == nil {
		return r, false, err
	}
	return r, json.Unmarshal(value, &r) == nil, nil
}

func recordByID(txn *bdg.Txn, id string) (r persistence.Record, ok bool, err error) {
	at, err := get(txn, []byte(prefixID+id))
	if err != nil || at == nil {
		return r, false, err
	}
	return recordOf(txn, append(at, id...))
}

// tally is what the writer knows of the records without reading them.
type tally struct {
	known  bool
	bytes  int64
	oldest time.Time // no record is older; zero if there is none
}

// run is the one writer.
func (h *History) run() {
	defer close(h.done)
	for stopping := false; !stopping; {
		select {
		case <-h.wake:
		case <-h.stop:
			stopping = true
		}
		h.mu.Lock()
		batch := h.pending
		h.pending = nil
		h.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		err := h.write(batch)
		if err != nil && h.opt.Logger != nil {
			h.opt.Logger.Warn("history records lost", "records", len(batch), "error", err.Error())
		}
		h.mu.Lock()
		if err != nil {
			h.dropped += uint64(len(batch))
		}
		h.written += uint64(len(batch))
		close(h.progress)
		h.progress = make(chan struct{})
		h.mu.Unlock()
	}
}

// write stores a batch and drops what is too old or too much. After an error nothing is known of the
// database, and Badger may end the process over the next write: it is closed, and opened by a later batch.
func (h *History) write(batch []persistence.Record) error {
	const op = "write history"
	if err := h.room(op); err != nil {
		return err
	}
	if h.db == nil { // only this goroutine sets it while it runs
		select {
		case <-h.failed:
		default:
			return unavailable(op, h.dir, errors.New("waiting for the database to close after a failed write"))
		}
		db, err := openHistoryDB(h.dir, h.opt)
		if err != nil {
			return err
		}
		h.dbMu.Lock()
		h.db, h.tally = db, tally{}
		h.dbMu.Unlock()
	}
	err := h.count()
	if err == nil {
		err = h.put(batch)
	}
	for more := true; more && err == nil; {
		more, err = h.prune(h.opt.Now())
	}
	if err != nil {
		h.abandon()
		return unavailable(op, h.dir, err)
	}
	return nil
}

// abandon closes the database in the background, since that may have to wait for room on the disk.
func (h *History) abandon() {
	h.dbMu.Lock()
	old := h.db
	h.db = nil
	h.dbMu.Unlock()
	failed := make(chan struct{})
	h.failed = failed
	go func() {
		defer close(failed)
		_ = old.Close() // its error says no more than the one before
	}()
}

func (h *History) put(batch []persistence.Record) error {
	w := h.db.NewWriteBatch()
	defer w.Cancel()
	for _, r := range batch {
		value, err := json.Marshal(r)
		if err != nil {
			return err // not for a record that is storable
		}
		own, indexes, byID := keysOf(r)
		err = w.Set(own, value)
		for _, key := range indexes {
			if err == nil {
				err = w.Set(key, nil)
			}
		}
		if err == nil {
			err = w.Set(byID, timeKey(r.Time))
		}
		if err != nil {
			return err
		}
		h.tally.bytes += int64(len(own) + len(value))
		if h.tally.oldest.IsZero() || r.Time.Before(h.tally.oldest) {
			h.tally.oldest = r.Time
		}
	}
	return w.Flush()
}

// count reads the sizes of all records once after opening.
func (h *History) count() error {
	if h.tally.known {
		return nil
	}
	txn := h.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte(prefixRecord)})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if h.tally.bytes == 0 {
			h.tally.oldest = keyTime(it.Item().Key())
		}
		h.tally.bytes += it.Item().KeySize() + it.Item().ValueSize()
	}
	h.tally.known = true
	return nil
}

// keyTime reads the time out of a record's key.
func keyTime(key []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(key[len(prefixRecord):])^1<<63)).UTC()
}

// prune drops the oldest records while they are too old or all together too large; more reports that
// there are others to drop.
func (h *History) prune(now time.Time) (more bool, err error) {
	cutoff := now.Add(-h.opt.KeepFor)
	if h.tally.oldest.IsZero() || (!h.tally.oldest.Before(cutoff) && h.tally.bytes <= h.opt.KeepBytes) {
		return false, nil
	}
	w := h.db.NewWriteBatch()
	defer w.Cancel()
	txn := h.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte(prefixRecord)})
	defer it.Close()
	h.tally.oldest = time.Time{}
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		own := item.KeyCopy(nil)
		at := keyTime(own)
		if n == pruneMax || (!at.Before(cutoff) && h.tally.bytes <= h.opt.KeepBytes) {
			h.tally.oldest = at
			break
		}
		keys := [][]byte{own}
		if r, ok, err := recordOf(txn, own[len(prefixRecord):]); err != nil {
			return false, err
		} else if ok {
			_, indexes, byID := keysOf(r)
			keys = append(append(keys, indexes...), byID)
		}
		for _, key := range keys {
			if err := w.Delete(key); err != nil {
				return false, err
			}
		}
		h.tally.bytes -= item.KeySize() + item.ValueSize()
		n++
	}
	return n == pruneMax, w.Flush()
}
