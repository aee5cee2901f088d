package badger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// Options tune a store. The zero value is right for a node.
type Options struct {
	Now    func() time.Time // default time.Now
	Rand   io.Reader        // of a new store's installation ID; default crypto/rand
	Logger *slog.Logger     // gets Badger's own warnings; default none
	// MemTableBytes is Badger's unit of memory; default 8 MiB, which keeps a store at some 40 MiB.
	MemTableBytes int64
	// ReserveBytes is the free space below which nothing is written; default 128 MiB, and at least six
	// times MemTableBytes, which is what Badger may need at once for tables that it merges. The history
	// stops at twice that. Badger writes through mapped memory, so a disk that somebody else fills while
	// it merges ends the process with SIGBUS, which no program can catch; the next start finds all that
	// was acknowledged. The reserve is what keeps that from happening in any other case.
	ReserveBytes uint64
	// FreeBytes says how much space is free; default: what the file system of the folder says.
	FreeBytes func(dir string) (uint64, error)
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 8 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = max(128<<20, 6*uint64(o.MemTableBytes))
	}
	if o.FreeBytes == nil {
		o.FreeBytes = freeBytes
	}
	return o
}

func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// badgerOptions is the small-memory profile. No value is as large as the threshold, so all values
// are in the tables, and the value log stays empty and needs no collection.
func badgerOptions(dir string, o Options) bdg.Options {
	var logger bdg.Logger
	if o.Logger != nil {
		logger = badgerLogger{o.Logger.With("store", dir)}
	}
	return bdg.DefaultOptions(dir).WithLogger(logger).WithMetricsEnabled(false).
		WithMemTableSize(o.MemTableBytes).WithNumMemtables(2).
		WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(4).WithNumCompactors(2).
		WithValueThreshold(min(1<<20, o.MemTableBytes/8)).WithValueLogFileSize(1 << 20).
		WithBlockCacheSize(4 << 20).WithIndexCacheSize(4 << 20).WithCompression(options.None).
		WithDetectConflicts(false).WithChecksumVerificationMode(options.OnBlockRead)
}

// badgerLogger passes on what an operator may want to know tomorrow.
type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) say(level slog.Level, format string, args []any) {
	l.log.Log(context.Background(), level, "badger", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
func (l badgerLogger) Errorf(f string, a ...any)   { l.say(slog.LevelError, f, a) }
func (l badgerLogger) Warningf(f string, a ...any) { l.say(slog.LevelWarn, f, a) }
func (l badgerLogger) Infof(string, ...any)        {}
func (l badgerLogger) Debugf(string, ...any)       {}

// Journal is a journal in a folder. It implements persistence.Journal.
type Journal struct {
	dir  string
	opt  Options
	lock *lock
	wit  *witness

	// mu guards what follows. The writer holds it while it commits and reopens, readers share it while
	// they read: a database whose write failed must not be read, since Badger then reads through nil.
	mu        sync.RWMutex
	db        *bdg.DB // nil while it is being reopened
	reason    error   // why db is nil
	state     state
	newestLog int // number of the newest log whose name is durable

	generation atomic.Uint64 // of snapshots' parts
	queue      chan *request
	stop       chan struct{}
	done       chan struct{}
	closeOnce  sync.Once
	closeErr   error
}

// state is what is known of the whole store without reading it.
type state struct {
	meta   metaRecord
	commit commit
	heads  map[epu.StreamID]head
}

const dbFolder = "db"

// Open opens the journal in a folder, which is made if there is none. A damaged store is refused with
// ErrCorrupt, a sealed one and one that another process has open with an error of kind Conflict.
func Open(dir string, opt Options) (*Journal, error) {
	if _, err := os.Stat(filepath.Clean(dir) + restoring); err == nil {
		if _, err := readWitness(dir); missing(err) {
			// A new store here would be a new installation, which knows none of the machines.
			return nil, &epu.Error{
				Kind: epu.Conflict, Op: "open journal", On: dir, Err: errors.New("a restore into this folder was not finished"),
				Try: "restore the backup again",
			}
		}
	}
	j, err := open(dir, opt, "open journal", nil)
	if err != nil {
		return nil, err
	}
	if sealed := j.state.meta.Sealed; sealed != "" {
		err := &epu.Error{
			Kind: epu.Conflict, Op: "open journal", On: dir, Err: fmt.Errorf("sealed: %s", sealed),
			Try: "run EPU where the store has gone to; to use this copy, restore a backup of it into a new folder",
		}
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// open opens a store for a node or a tool, sealed ones too. birth describes a store that is new.
func open(dir string, opt Options, op string, birth *persistence.Meta) (*Journal, error) {
	opt = opt.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unavailable(op, dir, err)
	}
	l, err := acquire(dir, op)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		dir: dir, opt: opt, lock: l,
		queue: make(chan *request, batchMax), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := j.start(op, birth); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return j, nil
}

func (j *Journal) start(op string, birth *persistence.Meta) error {
	if err := j.room(op); err != nil {
		return err
	}
	if _, err := readWitness(j.dir); missing(err) {
		if _, err := os.Stat(filepath.Join(j.dir, dbFolder)); !missing(err) {
			return corrupt(op, j.dir, []Problem{{witnessFile, "the file is missing"}})
		}
		if err := createWitness(j.dir); err != nil {
			return unavailable(op, j.dir, err)
		}
	}
	if err := j.openDB(op); err != nil {
		return err
	}
	wit, err := openWitness(j.dir)
	if err != nil {
		return errors.Join(unavailable(op, j.dir, err), j.db.Close())
	}
	j.wit = wit
	if j.state.meta.Installation == "" {
		if err := j.bear(birth); err != nil {
			return errors.Join(unavailable(op, j.dir, err), j.db.Close(), wit.close())
		}
	}
	go j.run()
	return nil
}

// bear writes the description of a new store.
func (j *Journal) bear(birth *persistence.Meta) error {
	meta := persistence.Meta{Epoch: 1, Created: j.opt.Now().UTC().Round(0)}
	if birth != nil {
		meta = *birth
	}
	if meta.Installation == "" {
		id, err := ulid.New(ulid.Timestamp(j.opt.Now()), j.opt.Rand)
		if err != nil {
			return err
		}
		meta.Installation = epu.InstallationID(id.String())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.plan()
	defer p.txn.Discard()
	p.setMeta(meta)
	if err := p.commit(); err != nil {
		return err
	}
	return j.wit.f.Sync()
}

// openDB checks the files, opens the database and checks what is in it. It is called with mu held,
// or before anybody else knows the journal.
func (j *Journal) openDB(op string) error {
	folder := filepath.Join(j.dir, dbFolder)
	said, err := readWitness(j.dir)
	if err != nil {
		return corrupt(op, j.dir, []Problem{{witnessFile, err.Error()}})
	}
	problems, err := checkFiles(folder, said.n)
	if err != nil {
		return unavailable(op, j.dir, err)
	}
	if len(problems) > 0 {
		return corrupt(op, j.dir, problems)
	}
	db, err := bdg.Open(badgerOptions(folder, j.opt).WithSyncWrites(true))
	if err != nil {
		return unavailable(op, j.dir, err)
	}
	found, err := verify(db, said)
	if err != nil || len(found.problems) > 0 {
		if err == nil {
			err = corrupt(op, j.dir, found.problems)
		}
		return errors.Join(err, db.Close())
	}
	newest, err := newestLog(folder)
	if err := errors.Join(err, sweep(db, found.garbage), syncDir(folder), syncDir(j.dir)); err != nil {
		return errors.Join(unavailable(op, j.dir, err), db.Close())
	}
	j.db, j.state, j.reason, j.newestLog = db, found.state, nil, newest
	j.generation.Store(found.state.commit.n)
	return nil
}

// newestLog finds the highest number of Badger's write-ahead logs.
func newestLog(folder string) (int, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*"+logExt))
	newest := 0
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), logExt))
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	return newest, err
}

// room refuses when less than the reserve is free.
func (j *Journal) room(op string) error {
	free, err := j.opt.FreeBytes(j.dir)
	if err != nil {
		return unavailable(op, j.dir, err)
	}
	if free < j.opt.ReserveBytes {
		err := unavailable(op, j.dir, fmt.Errorf("disk full: %d MiB are free, %d are kept in reserve", free>>20, j.opt.ReserveBytes>>20))
		err.Try = "make room on the disk; EPU goes on by itself"
		return err
	}
	return nil
}

// Close answers what is queued, flushes and releases the store.
func (j *Journal) Close() error {
	j.closeOnce.Do(func() {
		close(j.stop)
		<-j.done
		j.mu.Lock()
		defer j.mu.Unlock()
		var errs []error
		if j.db != nil {
			errs = append(errs, j.db.Close())
			j.db, j.reason = nil, errClosed
		}
		if err := errors.Join(append(errs, j.wit.close(), j.lock.release())...); err != nil {
			j.closeErr = unavailable("close journal", j.dir, err)
		}
	})
	return j.closeErr
}
