package badger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// batchMax bounds the requests in one transaction, and those that wait for one; callers beyond it
// wait before the queue until their context ends.
const batchMax = 256

// The pauses between two attempts to open a database whose write failed: doubled from first to last.
const (
	reopenFirst = time.Second
	reopenLast  = time.Minute
)

// request is one change that waits for the writer. apply looks at the plan and adds to it; it may
// run again if the plan was too large or its outcome had to be found out.
type request struct {
	apply  func(p *plan) (epu.Revision, error)
	begun  atomic.Bool // set by the writer or by a caller that gives up, whoever is first
	rev    epu.Revision
	err    error
	answer chan struct{}
}

// submit hands a change to the writer and waits for its outcome. ctx only ends waiting before the
// writer took it.
func (j *Journal) submit(ctx context.Context, op string, apply func(p *plan) (epu.Revision, error)) (epu.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, unavailable(op, j.dir, err)
	}
	r := &request{apply: apply, answer: make(chan struct{})}
	select {
	case j.queue <- r:
	case <-j.stop:
		return 0, unavailable(op, j.dir, errClosed)
	case <-ctx.Done():
		return 0, unavailable(op, j.dir, ctx.Err())
	}
	select {
	case <-r.answer:
	case <-ctx.Done():
		if r.begun.CompareAndSwap(false, true) {
			return 0, unavailable(op, j.dir, ctx.Err())
		}
		<-r.answer
	case <-j.done:
		// The writer ended. What it had not taken by then it never will.
		if r.begun.CompareAndSwap(false, true) {
			return 0, unavailable(op, j.dir, errClosed)
		}
		<-r.answer
	}
	return r.rev, r.err
}

// run is the one writer.
func (j *Journal) run() {
	defer close(j.done)
	for {
		select {
		case r := <-j.queue:
			j.write(j.collect(r))
		case <-j.stop:
			for {
				select {
				case r := <-j.queue:
					j.write(j.collect(r))
				default:
					return
				}
			}
		}
	}
}

// collect takes what is queued. Callers that the last batch has just answered are likely to ask
// again: yielding the processor lets them, and costs nothing when there are none.
func (j *Journal) collect(first *request) []*request {
	batch := make([]*request, 0, batchMax)
	take := func(r *request) {
		if r.begun.CompareAndSwap(false, true) {
			batch = append(batch, r)
		}
	}
	take(first)
	for quiet := 0; quiet < 3 && len(batch) < batchMax; quiet++ {
		for more := true; more && len(batch) < batchMax; {
			select {
			case r := <-j.queue:
				take(r)
				quiet = 0
			default:
				more = false
			}
		}
		runtime.Gosched()
	}
	return batch
}

// write carries out a batch and answers it.
func (j *Journal) write(batch []*request) {
	j.mu.Lock()
	inDoubt := j.commit(batch)
	old := j.db
	if inDoubt {
		j.db = nil
	}
	j.mu.Unlock()
	if inDoubt {
		j.reopen(old, batch)
		return
	}
	answer(batch)
}

func answer(batch []*request) {
	for _, r := range batch {
		close(r.answer)
	}
}

func refuse(batch []*request, err error) {
	for _, r := range batch {
		r.rev, r.err = 0, err
	}
}

// commit puts a batch into one transaction, or into several when it is too large, and sets the
// results. It reports true if it can't tell whether a transaction happened.
func (j *Journal) commit(batch []*request) (inDoubt bool) {
	if j.db == nil {
		refuse(batch, unavailable("write journal", j.dir, j.reason))
		return false
	}
	if err := j.room("write journal"); err != nil {
		refuse(batch, err)
		return false
	}
	p := j.plan()
	defer p.txn.Discard()
	for _, r := range batch {
		r.rev, r.err = r.apply(p)
	}
	err := p.commit()
	switch {
	case err == nil:
		return false
	case errors.Is(err, bdg.ErrTxnTooBig) && len(batch) > 1:
		half := len(batch) / 2
		return j.commit(batch[:half]) || j.commit(batch[half:])
	case errors.Is(err, bdg.ErrTxnTooBig):
		refuse(batch, epu.E(epu.Invalid, "write journal", j.dir, err))
		return false
	}
	j.reason = err
	return true
}

// plan is a transaction being made, with the state as it will be after it.
type plan struct {
	j     *Journal
	txn   *bdg.Txn
	heads map[epu.StreamID]head
	next  commit
	meta  *metaRecord
	wrote bool
	err   error
}

func (j *Journal) plan() *plan {
	return &plan{j: j, txn: j.db.NewTransaction(true), heads: map[epu.StreamID]head{}, next: j.state.commit}
}

func (p *plan) head(id epu.StreamID) head {
	if h, ok := p.heads[id]; ok {
		return h
	}
	return p.j.state.heads[id]
}

func (p *plan) set(key, value []byte) {
	if p.err == nil {
		p.wrote, p.err = true, p.txn.Set(key, value)
	}
}

func (p *plan) delete(key []byte) {
	if p.err == nil {
		p.wrote, p.err = true, p.txn.Delete(key)
	}
}

func (p *plan) setHead(id epu.StreamID, h head) {
	p.next.total += uint64(h.rev) - uint64(p.head(id).rev)
	p.heads[id] = h
	p.set(headKey(id), h.encode())
}

func (p *plan) setMeta(meta persistence.Meta) {
	p.next.metaRev++
	p.meta = &metaRecord{Schema: schema, Rev: p.next.metaRev, Meta: meta}
	value, err := json.Marshal(p.meta)
	if p.err == nil {
		p.err = err
	}
	p.set([]byte(keyMeta), value)
}

// commit makes the plan durable and then the state of the journal.
func (p *plan) commit() error {
	j := p.j
	if p.err != nil || !p.wrote {
		return p.err
	}
	p.next.n++
	if p.set([]byte(keyCommit), p.next.encode()); p.err != nil {
		return p.err
	}
	if err := p.txn.Commit(); err != nil {
		return err
	}
	if err := j.syncFolder(); err != nil {
		return err
	}
	maps.Copy(j.state.heads, p.heads)
	j.state.commit = p.next
	if p.meta != nil {
		j.state.meta = *p.meta
	}
	return j.wit.note(testimony{p.next.n, j.state.meta.Epoch})
}

// syncFolder makes a new log's name durable before anything in it is acknowledged: Badger syncs what it
// writes to a log, but not the folder that names it. Badger numbers its logs without gaps.
func (j *Journal) syncFolder() error {
	folder := filepath.Join(j.dir, dbFolder)
	for {
		_, err := os.Stat(logName(folder, j.newestLog+1))
		if missing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := syncDir(folder); err != nil {
			return err
		}
		j.newestLog++
	}
}

func logName(folder string, number int) string {
	return filepath.Join(folder, fmt.Sprintf("%05d%s", number, logExt))
}

// reopen closes a database whose write failed, opens it again with all checks, and only then carries
// out the batch in doubt, in which what was written after all is found by its event IDs. Others are
// told at once that the store is unavailable.
func (j *Journal) reopen(old *bdg.DB, inDoubt []*request) {
	why := j.reason // only the writer sets it
	closed := make(chan struct{})
	go func() {
		// Closing waits for Badger to write out its memory, which takes until the disk allows it. Its
		// error says no more than the one before.
		defer close(closed)
		_ = old.Close()
	}()
	pause := reopenFirst
	for wait := (<-chan struct{})(closed); ; wait, pause = after(pause), min(2*pause, reopenLast) {
		if !j.idle(wait, why) {
			// Closing: the outcome stays unknown, and the caller's next life finds out.
			refuse(inDoubt, unavailable("write journal", j.dir, errors.Join(errClosed, why)))
			answer(inDoubt)
			return
		}
		j.mu.Lock()
		err := j.room("reopen journal")
		if err == nil {
			err = j.probe()
		}
		if err == nil {
			err = j.openDB("reopen journal")
		}
		if err != nil {
			j.reason = err
		}
		j.mu.Unlock()
		if errors.Is(err, persistence.ErrCorrupt) {
			refuse(inDoubt, err)
			answer(inDoubt)
			return
		}
		if err == nil {
			j.write(inDoubt)
			return
		}
	}
}

// probe makes a file as large as a log, and removes it: Badger's Open leaks memory and goroutines each
// time when it can't make its own.
func (j *Journal) probe() error {
	name := filepath.Join(j.dir, "probe")
	f, err := os.Create(name)
	if err != nil {
		return unavailable("reopen journal", j.dir, err)
	}
	if err := errors.Join(f.Truncate(2*j.opt.MemTableBytes), f.Close(), os.Remove(name)); err != nil {
		return unavailable("reopen journal", j.dir, err)
	}
	return nil
}

// idle refuses what comes in until wait is closed; false if the journal is closed first.
func (j *Journal) idle(wait <-chan struct{}, why error) bool {
	for {
		select {
		case <-wait:
			return true
		case <-j.stop:
			return false
		case r := <-j.queue:
			if r.begun.CompareAndSwap(false, true) {
				refuse([]*request{r}, unavailable("write journal", j.dir, why))
				answer([]*request{r})
			}
		}
	}
}

func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}
