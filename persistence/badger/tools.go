package badger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/archive"
)

// Report is what Check found.
type Report struct {
	Dir           string           `json:"dir"`
	Meta          persistence.Meta `json:"meta"` // zero if the files are too damaged to read it
	Streams       int              `json:"streams"`
	Events        int              `json:"events"` // after the snapshots
	SnapshotBytes uint64           `json:"snapshot_bytes"`
	Commits       uint64           `json:"commits"`
	Leftover      int              `json:"leftover"` // entries that a crash left; swept at the next start, no damage
	Problems      []Problem        `json:"problems,omitempty"`
}

// Check looks at a closed store for damage and reports all that it finds, which is no error. Files
// are checked first and, if any is damaged, left alone: Badger would drop what lies behind the damage.
// All that happens to a stand-in: Badger can't open a store for reading that a killed process left, and
// what is to be looked into must stay as it was found.
func Check(dir string) (Report, error) {
	const op = "check journal"
	r := Report{Dir: dir}
	if _, err := os.Stat(dir); err != nil {
		return r, epu.E(epu.NotFound, op, dir, err)
	}
	l, err := acquire(dir, op)
	if err != nil {
		return r, err
	}
	defer l.release()
	folder, remove, err := standIn(filepath.Join(dir, dbFolder))
	if err != nil {
		return r, unavailable(op, dir, err)
	}
	defer remove()
	said, err := readWitness(dir)
	if err != nil {
		r.Problems = append(r.Problems, Problem{witnessFile, err.Error()})
	}
	problems, err := checkFiles(folder, said.n)
	if err != nil {
		return r, unavailable(op, dir, err)
	}
	if r.Problems = append(r.Problems, problems...); len(r.Problems) > 0 {
		return r, nil
	}
	db, err := bdg.Open(standInOptions(folder))
	if err != nil {
		return r, unavailable(op, dir, err)
	}
	found, err := verify(db, said)
	if err != nil {
		return r, errors.Join(unavailable(op, dir, err), db.Close())
	}
	r.Meta, r.Streams, r.Commits = found.state.meta.Meta, len(found.state.heads), found.state.commit.n
	r.Events, r.SnapshotBytes, r.Leftover = found.events, found.bytes, len(found.garbage)
	r.Problems = found.problems
	err = checkContents(db, dir, &r, found)
	return r, errors.Join(err, db.Close())
}

// checkContents reads every stream as a node would, if the keys are in order.
func checkContents(db *bdg.DB, dir string, r *Report, found *findings) error {
	if len(found.problems) > 0 {
		return nil
	}
	txn := db.NewTransaction(false)
	defer txn.Discard()
	for id := range found.state.heads {
		if _, err := loadStream(txn, dir, id); errors.Is(err, persistence.ErrCorrupt) {
			r.Problems = append(r.Problems, Problem{"stream " + string(id), err.Error()})
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Scan opens a store's database without any check and reads every key and value: what Badger alone takes,
// for benchmarks to hold a restart against. The store must be closed.
func Scan(dir string) (records, bytes int, err error) {
	db, err := bdg.Open(badgerOptions(filepath.Join(dir, dbFolder), Options{}.withDefaults()))
	if err != nil {
		return 0, 0, unavailable("scan", dir, err)
	}
	err = db.View(func(txn *bdg.Txn) error {
		it := txn.NewIterator(bdg.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			records++
			if err := it.Item().Value(func(v []byte) error { bytes += len(v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	return records, bytes, errors.Join(err, db.Close())
}

// dumpLine is one line of Dump: an event, or the snapshot before the events.
type dumpLine struct {
	Stream   epu.StreamID       `json:"stream"`
	Revision epu.Revision       `json:"revision"`
	Snapshot json.RawMessage    `json:"snapshot,omitempty"`
	Event    *persistence.Event `json:"event,omitempty"`
}

// Dump writes the streams whose ID begins with prefix as JSON lines for people and tools to read: of each
// stream its snapshot, if any, then each event. The store must be closed.
func Dump(ctx context.Context, dir string, w io.Writer, prefix string) error {
	return withStore(dir, "dump journal", func(j *Journal) error { return j.Dump(ctx, w, prefix) })
}

// Dump is the function Dump for an open store.
func (j *Journal) Dump(ctx context.Context, w io.Writer, prefix string) error {
	j.mu.RLock()
	db := j.db
	if db == nil {
		defer j.mu.RUnlock()
		return unavailable("dump journal", j.dir, j.reason)
	}
	txn := db.NewTransaction(false)
	j.mu.RUnlock()
	defer txn.Discard()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return j.eachStream(ctx, db, txn, prefix, func(id epu.StreamID, l persistence.Loaded) error {
		if l.SnapshotAt > 0 {
			if err := enc.Encode(dumpLine{Stream: id, Revision: l.SnapshotAt, Snapshot: l.Snapshot}); err != nil {
				return err
			}
		}
		for i := range l.Tail {
			if err := enc.Encode(dumpLine{Stream: id, Revision: l.SnapshotAt + epu.Revision(i) + 1, Event: &l.Tail[i]}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Backup writes the store as it is at one moment as an archive, while the node goes on. It fails when the
// database has to be reopened meanwhile; such an archive has no end, and readers refuse it.
func (j *Journal) Backup(ctx context.Context, w io.Writer) error {
	j.mu.RLock()
	db, meta := j.db, j.state.meta.Meta
	if db == nil {
		defer j.mu.RUnlock()
		return unavailable("back up journal", j.dir, j.reason)
	}
	txn := db.NewTransaction(false)
	j.mu.RUnlock()
	defer txn.Discard()
	a := archive.NewWriter(w, meta)
	err := j.eachStream(ctx, db, txn, "", func(id epu.StreamID, l persistence.Loaded) error { return a.Stream(id, l) })
	if err != nil {
		return err
	}
	return a.Close()
}

// eachStream gives all streams as they are in a transaction. It holds the lock for one stream at a
// time, so that commits wait no longer than for a Load.
func (j *Journal) eachStream(ctx context.Context, db *bdg.DB, txn *bdg.Txn, prefix string, visit func(epu.StreamID, persistence.Loaded) error) error {
	held := func(read func() error) error { return j.held(ctx, db, read) }
	var ids []epu.StreamID
	if err := held(func() error {
		return scan(txn, prefixHead+prefix, false, func(key, _ []byte) {
			ids = append(ids, epu.StreamID(key[len(prefixHead):]))
		})
	}); err != nil {
		return err
	}
	for _, id := range ids {
		var l persistence.Loaded
		if err := held(func() (err error) { l, err = loadStream(txn, j.dir, id); return err }); err != nil {
			return err
		}
		if err := visit(id, l); err != nil {
			return err
		}
	}
	return nil
}

// held reads from a database while nobody closes it.
func (j *Journal) held(ctx context.Context, db *bdg.DB, read func() error) error {
	if err := ctx.Err(); err != nil {
		return unavailable("read journal", j.dir, err)
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.db != db {
		return unavailable("read journal", j.dir, errors.New("the database was reopened meanwhile"))
	}
	return read()
}

// Backup archives the closed store in a folder. A damaged store is refused; a sealed one is not.
func Backup(ctx context.Context, dir string, w io.Writer) error {
	return withStore(dir, "back up journal", func(j *Journal) error { return j.Backup(ctx, w) })
}

// Seal seals the closed store in a folder: see Journal.Seal.
func Seal(ctx context.Context, dir, why string) error {
	return withStore(dir, "seal journal", func(j *Journal) error { return j.Seal(ctx, why) })
}

// withStore opens an existing store for a tool.
func withStore(dir, op string, use func(*Journal) error) error {
	if _, err := os.Stat(dir); err != nil {
		return epu.E(epu.NotFound, op, dir, err)
	}
	j, err := open(dir, Options{}, op, nil)
	if err != nil {
		return err
	}
	return errors.Join(use(j), j.Close())
}

// restoring is what is behind a folder's name while a store is built that will take its place.
const restoring = ".restoring"

// RestoreOptions say what only the operator can know.
type RestoreOptions struct {
	Options
	// EpochFloor is the highest epoch known to have been in use, such as the highest on the tags of
	// the machines. The restored store's epoch is above it, above the archive's and above that of the
	// store that it replaces: two lives of one installation must never share an epoch.
	EpochFloor epu.Epoch
}

// Restored says what Restore made.
type Restored struct {
	Meta     persistence.Meta `json:"meta"`
	Streams  int              `json:"streams"`
	Replaced string           `json:"replaced,omitempty"` // where the store that was in the folder is now
}

// Restore makes a store in a folder from an archive: in recovery, unsealed, at a higher epoch. A store
// that is there already, damaged or not, is moved aside, never deleted; one that is in use is refused at
// once. Nothing changes in the folder until the whole archive has been read and has proved complete.
func Restore(ctx context.Context, r io.Reader, dir string, opt RestoreOptions) (Restored, error) {
	var done Restored
	a, err := archive.NewReader(r)
	if err != nil {
		return done, err
	}
	old, err := readWitness(dir)
	exists := err == nil || !missing(err)
	if exists {
		l, err := acquire(dir, "restore journal")
		if err == nil {
			err = l.release() // moveAside takes it again: whoever comes between is told then
		}
		if err != nil {
			return done, err
		}
	}
	done.Meta = a.Meta()
	done.Meta.Epoch = max(done.Meta.Epoch, old.epoch, opt.EpochFloor) + 1
	done.Meta.Recovery, done.Meta.Sealed = true, ""
	building := filepath.Clean(dir) + restoring
	if err := os.RemoveAll(building); err != nil { // what a killed Restore left
		return done, unavailable("restore journal", building, err)
	}
	j, err := open(building, opt.Options, "restore journal", &done.Meta)
	if err != nil {
		return done, err
	}
	done.Streams, err = j.importAll(ctx, a)
	if err = errors.Join(err, j.Close()); err != nil {
		return done, errors.Join(err, os.RemoveAll(building))
	}
	if exists {
		if done.Replaced, err = moveAside(dir, "replaced"); err != nil {
			return done, errors.Join(err, os.RemoveAll(building))
		}
	} else if err := os.Remove(dir); err != nil && !missing(err) {
		return done, unavailable("restore journal", dir, fmt.Errorf("the folder is not empty and holds no journal: %w", err))
	}
	if err := errors.Join(os.Rename(building, dir), syncDir(filepath.Dir(filepath.Clean(dir)))); err != nil {
		return done, unavailable("restore journal", dir, err)
	}
	return done, nil
}

// moveAside renames a store's folder to the first free name with a suffix, unless somebody uses it.
func moveAside(dir, suffix string) (string, error) {
	l, err := acquire(dir, "move journal aside")
	if err != nil {
		return "", err
	}
	defer l.release()
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.%s-%d", filepath.Clean(dir), suffix, n)
		if _, err := os.Lstat(to); !missing(err) {
			continue
		}
		if err := os.Rename(dir, to); err != nil {
			return "", unavailable("move journal aside", dir, err)
		}
		return to, nil
	}
}

// importAll reads an archive into a new store. Each stream becomes visible by its head, which is
// written last.
func (j *Journal) importAll(ctx context.Context, a *archive.Reader) (int, error) {
	for n := 0; ; n++ {
		id, l, err := a.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			err = j.importStream(ctx, id, l)
		}
		if err != nil {
			return n, err
		}
	}
}

func (j *Journal) importStream(ctx context.Context, id epu.StreamID, l persistence.Loaded) error {
	const op = "restore journal"
	if err := persistence.CheckAppend(id, nil); err != nil {
		return err
	}
	h := head{rev: l.Revision, snapAt: l.SnapshotAt}
	type entry struct{ key, value []byte }
	var entries []entry
	if l.SnapshotAt > 0 {
		if err := persistence.CheckSnapshot(id, l.Snapshot); err != nil {
			return err
		}
		h.generation, h.size, h.crc = j.generation.Add(1), uint64(len(l.Snapshot)), crc32.Checksum(l.Snapshot, castagnoli)
		for part := range slices.Chunk(bytes.Clone(l.Snapshot), partBytes) {
			entries = append(entries, entry{partKey(id, h.generation, h.parts), part})
			h.parts++
		}
	}
	for i, ev := range l.Tail {
		if err := persistence.CheckAppend(id, l.Tail[i:i+1]); err != nil {
			return err
		}
		entries = append(entries, entry{eventKey(id, l.SnapshotAt+epu.Revision(i)+1), encodeEvent(ev)})
	}
	for len(entries) > 0 {
		n, size := 0, 0
		for n < min(len(entries), deletesMax) && (n == 0 || size+len(entries[n].value) <= persistence.AppendMax) {
			size += len(entries[n].value)
			n++
		}
		chunk := entries[:n]
		entries = entries[n:]
		if _, err := j.submit(ctx, op, func(p *plan) (epu.Revision, error) {
			for _, e := range chunk {
				p.set(e.key, e.value)
			}
			return 0, nil
		}); err != nil {
			return err
		}
	}
	_, err := j.submit(ctx, op, func(p *plan) (epu.Revision, error) {
		p.setHead(id, h)
		return h.rev, nil
	})
	return err
}
