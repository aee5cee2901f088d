package badger

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
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
	folder := filepath.Join(dir, dbFolder)
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
	db, err := bdg.Open(badgerOptions(folder, Options{}.withDefaults()))
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
