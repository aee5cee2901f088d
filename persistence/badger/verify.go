package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// problemsMax bounds the list of damage: more does not help anybody.
const problemsMax = 100

// findings is what a whole read of the database gave.
type findings struct {
	state    state
	problems []Problem
	garbage  [][]byte // keys that nothing refers to: left by a crash between two steps of a snapshot
	events   int
	bytes    uint64 // of snapshots
}

func (f *findings) problem(where, format string, args ...any) {
	if len(f.problems) < problemsMax {
		f.problems = append(f.problems, Problem{where, fmt.Sprintf(format, args...)})
	}
}

// verify reads every key of the database and holds it against what else is known. Blocks were
// verified by checkFiles, so this is about what is missing.
func verify(db *bdg.DB, said testimony) (*findings, error) {
	f := &findings{state: state{heads: map[epu.StreamID]head{}}}
	txn := db.NewTransaction(false)
	defer txn.Discard()
	if err := f.readHeads(txn); err != nil {
		return nil, err
	}
	if err := f.readEvents(txn); err != nil {
		return nil, err
	}
	if err := f.readParts(txn); err != nil {
		return nil, err
	}
	f.compare(said)
	return f, nil
}

// readHeads reads what the store says of itself and of each stream.
func (f *findings) readHeads(txn *bdg.Txn) error {
	if err := f.readCounters(txn); err != nil {
		return err
	}
	return scan(txn, prefixHead, true, func(key, value []byte) {
		id := epu.StreamID(key[len(prefixHead):])
		h, err := decodeHead(value)
		if err != nil {
			f.problem("stream "+string(id), "%v", err)
			return
		}
		f.state.heads[id] = h
	})
}

func (f *findings) readCounters(txn *bdg.Txn) error {
	for key, read := range map[string]func([]byte) error{
		keyCommit: func(b []byte) (err error) { f.state.commit, err = decodeCommit(b); return err },
		keyMeta:   func(b []byte) (err error) { f.state.meta, err = decodeMeta(b); return err },
	} {
		switch value, err := get(txn, []byte(key)); {
		case err != nil:
			return err
		case value == nil:
		default:
			if err := read(value); err != nil {
				f.problem("record "+key, "%v", err)
			}
		}
	}
	return nil
}

// readEvents checks that each stream's events are contiguous from its snapshot to its head.
func (f *findings) readEvents(txn *bdg.Txn) error {
	var id epu.StreamID
	var h head
	var at epu.Revision // newest revision seen of the stream
	finish := func() {
		if id != "" && at != h.rev {
			f.problem("stream "+string(id), "events %d to %d are missing", at+1, h.rev)
		}
	}
	seen := map[epu.StreamID]bool{}
	err := scan(txn, prefixEvent, false, func(key, _ []byte) {
		next, number, ok := splitKey(key, 8)
		if !ok {
			f.problem("events", "key %q", key)
			return
		}
		rev := epu.Revision(binary.BigEndian.Uint64(number))
		if next != id {
			finish()
			id, h = next, f.state.heads[next]
			at, seen[id] = h.snapAt, true
			if h.rev == 0 {
				f.problem("stream "+string(id), "it has events, but its head is missing")
			}
		}
		if rev <= h.snapAt {
			f.garbage = append(f.garbage, key)
			return
		}
		f.events++
		if rev != at+1 && h.rev > 0 {
			f.problem("stream "+string(id), "event %d is followed by event %d, head at %d", at, rev, h.rev)
		}
		at = rev
	})
	finish()
	for id, h := range f.state.heads {
		if !seen[id] && h.rev > h.snapAt {
			f.problem("stream "+string(id), "events %d to %d are missing", h.snapAt+1, h.rev)
		}
	}
	return err
}

// readParts checks that all parts of each stream's snapshot are there.
func (f *findings) readParts(txn *bdg.Txn) error {
	got := map[epu.StreamID]uint32{}
	err := scan(txn, prefixPart, false, func(key, _ []byte) {
		id, numbers, ok := splitKey(key, 12)
		if !ok {
			f.problem("snapshots", "key %q", key)
			return
		}
		h := f.state.heads[id]
		if h.parts == 0 || binary.BigEndian.Uint64(numbers) != h.generation || binary.BigEndian.Uint32(numbers[8:]) >= h.parts {
			f.garbage = append(f.garbage, key)
			return
		}
		got[id]++
	})
	for id, h := range f.state.heads {
		f.bytes += h.size
		if got[id] != h.parts {
			f.problem("stream "+string(id), "%d of %d parts of its snapshot are missing", h.parts-got[id], h.parts)
		}
	}
	return err
}

// compare holds the counters against what was found and what the witness said.
func (f *findings) compare(said testimony) {
	var total uint64
	for _, h := range f.state.heads {
		total += uint64(h.rev)
	}
	c := f.state.commit
	if total != c.total {
		f.problem("database", "all streams together have %d events, but the newest commit knows %d: the ends of some streams are lost", total, c.total)
	}
	if f.state.meta.Rev != c.metaRev {
		f.problem("database", "the store's description is at change %d, but the newest commit knows %d", f.state.meta.Rev, c.metaRev)
	}
	if err := checkTestimony(said, c); err != nil {
		f.problem("database", "%v", err)
	}
}

// Check is the function Check for an open store, while the node goes on. It reads every table's checksums
// and every stream as a node would, at one moment; what a crash may have left is not counted. The newest
// changes, which are in no table yet, are read from memory: their log is read at the next start.
func (j *Journal) Check(ctx context.Context) (Report, error) {
	const op = "check journal"
	r := Report{Dir: j.dir}
	said, err := readWitness(j.dir) // before the transaction, which then can't be behind
	if err != nil {
		r.Problems = append(r.Problems, Problem{witnessFile, err.Error()})
	}
	j.mu.RLock()
	db := j.db
	if db == nil {
		defer j.mu.RUnlock()
		return r, unavailable(op, j.dir, j.reason)
	}
	txn := db.NewTransaction(false)
	j.mu.RUnlock()
	defer txn.Discard()
	f := &findings{state: state{heads: map[epu.StreamID]head{}}}
	if err := j.held(ctx, db, func() error { return f.readHeads(txn) }); err != nil {
		return r, err
	}
	f.compare(said)
	if err := j.checkTables(ctx, db, f); err != nil {
		return r, err
	}
	if len(f.problems) > 0 {
		f.state.heads = nil // a damaged table is not read: Badger would take its end for the store's
	}
	for id, h := range f.state.heads {
		var l persistence.Loaded
		err := j.held(ctx, db, func() (err error) { l, err = loadStream(txn, j.dir, id); return err })
		switch {
		case errors.Is(err, persistence.ErrCorrupt):
			f.problem("stream "+string(id), "%v", err)
		case err != nil:
			return r, err
		}
		f.events, f.bytes = f.events+len(l.Tail), f.bytes+h.size
	}
	r.Meta, r.Commits = f.state.meta.Meta, f.state.commit.n
	r.Streams, r.Events, r.SnapshotBytes, r.Problems = len(f.state.heads), f.events, f.bytes, append(r.Problems, f.problems...)
	return r, nil
}

// checkTables checks the files of the tables of an open database. Those that a merge removes meanwhile
// have done their duty. The files are read and not mapped: Badger cuts a file before it removes it, and
// whoever reads a mapping behind its file's end is killed.
func (j *Journal) checkTables(ctx context.Context, db *bdg.DB, f *findings) error {
	var listed map[uint64]bool
	list := func() error {
		listed = map[uint64]bool{}
		for _, t := range db.Tables() {
			listed[t.ID] = true
		}
		return nil
	}
	if err := j.held(ctx, db, list); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		name := table.IDToFilename(id)
		data, bad := os.ReadFile(filepath.Join(j.dir, dbFolder, name))
		if bad == nil {
			bad = checkTable(data)
		}
		if bad == nil {
			continue
		}
		if err := j.held(ctx, db, list); err != nil {
			return err
		}
		if listed[id] {
			f.problem(dbFolder+"/"+name, "%v", bad)
		}
	}
	return nil
}

// get reads a value; nil if there is none. The caller owns it.
func get(txn *bdg.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err == bdg.ErrKeyNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := item.ValueCopy(nil)
	if value == nil && err == nil {
		value = []byte{}
	}
	return value, err
}

// scan gives every key below a prefix in order, with its value if asked for. The key is the
// callee's to keep, the value is not.
func scan(txn *bdg.Txn, prefix string, values bool, visit func(key, value []byte)) error {
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte(prefix)})
	defer it.Close()
	for it.Seek([]byte(prefix)); it.Valid(); it.Next() {
		item := it.Item()
		if !values {
			visit(item.KeyCopy(nil), nil)
			continue
		}
		if err := item.Value(func(v []byte) error {
			visit(item.KeyCopy(nil), v)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes keys that nothing refers to.
func sweep(db *bdg.DB, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	for _, k := range keys {
		if err := batch.Delete(k); err != nil {
			return err
		}
	}
	return batch.Flush()
}
