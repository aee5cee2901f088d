package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"

	bdg "github.com/dgraph-io/badger/v4"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// deletesMax bounds the keys that one transaction deletes: a snapshot that covers more events drops
// the rest in further ones.
const deletesMax = 1000

// Meta implements persistence.Journal.
func (j *Journal) Meta() persistence.Meta {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.meta.Meta
}

// SetRecovery implements persistence.Journal.
func (j *Journal) SetRecovery(ctx context.Context, on bool) error {
	return j.changeMeta(ctx, "set recovery", func(m *persistence.Meta) { m.Recovery = on })
}

// BeginEpoch implements persistence.Journal.
func (j *Journal) BeginEpoch(ctx context.Context, epoch epu.Epoch) error {
	const op = "begin epoch"
	tried := false
	_, err := j.submit(ctx, op, func(p *plan) (epu.Revision, error) {
		if err := p.usable(op); err != nil {
			return 0, err
		}
		meta := p.metaNow()
		switch {
		case tried && meta.Epoch == epoch:
			return 0, nil // in doubt at first, it was written after all
		case epoch <= meta.Epoch:
			return 0, persistence.Conflictf(op, "", "store at epoch %d, and %d is not above it", meta.Epoch, epoch)
		}
		tried = true
		meta.Epoch, meta.Recovery = epoch, false
		p.setMeta(meta)
		return 0, nil
	})
	return err
}

// metaNow is the store's description with what the batch has changed of it so far.
func (p *plan) metaNow() persistence.Meta {
	if p.meta != nil {
		return p.meta.Meta
	}
	return p.j.state.meta.Meta
}

// Seal makes the store refuse every later change and every later Open; why says where it has gone, such
// as "moved to host-2". It is the first step of a move, so that no two nodes own one set of machines.
func (j *Journal) Seal(ctx context.Context, why string) error {
	if why == "" {
		return epu.E(epu.Invalid, "seal journal", j.dir, fmt.Errorf("say where it has gone"))
	}
	return j.changeMeta(ctx, "seal journal", func(m *persistence.Meta) { m.Sealed = why })
}

func (j *Journal) changeMeta(ctx context.Context, op string, change func(*persistence.Meta)) error {
	_, err := j.submit(ctx, op, func(p *plan) (epu.Revision, error) {
		if err := p.usable(op); err != nil {
			return 0, err
		}
		meta := p.metaNow()
		change(&meta)
		p.setMeta(meta)
		return 0, nil
	})
	return err
}

// usable refuses changes of a sealed store, also those in the batch that seals it.
func (p *plan) usable(op string) error {
	meta := &p.j.state.meta
	if p.meta != nil {
		meta = p.meta
	}
	if meta.Sealed == "" {
		return nil
	}
	return unavailable(op, p.j.dir, fmt.Errorf("sealed: %s", meta.Sealed))
}

// Append implements persistence.Journal.
func (j *Journal) Append(ctx context.Context, epoch epu.Epoch, id epu.StreamID, expected epu.Revision, events ...persistence.Event) (epu.Revision, error) {
	if err := persistence.CheckAppend(id, events); err != nil {
		return 0, err
	}
	keys, values := make([][]byte, len(events)), make([][]byte, len(events))
	ids := make([]string, len(events))
	for i, ev := range events {
		keys[i], values[i], ids[i] = eventKey(id, expected+epu.Revision(i)+1), encodeEvent(ev), ev.ID
	}
	return j.submit(ctx, "append", func(p *plan) (epu.Revision, error) {
		if err := p.fence("append", epoch, id); err != nil {
			return 0, err
		}
		h := p.head(id)
		if h.rev != expected {
			if same, err := p.stands(h, keys, ids, expected); same || err != nil {
				return expected + epu.Revision(len(ids)), err
			}
			return 0, persistence.Conflictf("append", id, "at revision %d, expected %d", h.rev, expected)
		}
		if len(keys) == 0 {
			return expected, nil
		}
		for i := range keys {
			p.set(keys[i], values[i])
		}
		h.rev += epu.Revision(len(keys))
		p.setHead(id, h)
		return h.rev, nil
	})
}

func (p *plan) fence(op string, epoch epu.Epoch, id epu.StreamID) error {
	if err := p.usable(op); err != nil {
		return err
	}
	if have := p.metaNow().Epoch; have != epoch {
		return persistence.Conflictf(op, id, "store at epoch %d, expected %d", have, epoch)
	}
	return nil
}

// stands reports that the very events were appended before.
func (p *plan) stands(h head, keys [][]byte, ids []string, expected epu.Revision) (bool, error) {
	n := epu.Revision(len(keys))
	if n == 0 || expected < h.snapAt || expected+n > h.rev {
		return false, nil
	}
	for i, key := range keys {
		value, err := get(p.txn, key)
		if err != nil {
			return false, unavailable("append", string(key), err)
		}
		ev, err := decodeEvent(value)
		if err != nil {
			return false, corrupt("append", p.j.dir, []Problem{{fmt.Sprintf("event %q", key), err.Error()}})
		}
		if ev.ID != ids[i] {
			return false, nil
		}
	}
	return true, nil
}

// Snapshot implements persistence.Journal. A state of several parts is written before the
// transaction that makes it valid, and events beyond deletesMax are dropped after it; what a crash
// leaves of either is not visible, and is swept at the next start.
func (j *Journal) Snapshot(ctx context.Context, epoch epu.Epoch, id epu.StreamID, at epu.Revision, state json.RawMessage) error {
	if err := persistence.CheckSnapshot(id, state); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return unavailable("snapshot", j.dir, err)
	}
	parts := slices.Collect(slices.Chunk(bytes.Clone(state), partBytes))
	h := head{
		snapAt: at, generation: j.generation.Add(1), parts: uint32(len(parts)),
		size: uint64(len(state)), crc: crc32.Checksum(state, castagnoli),
	}
	check := func(p *plan) (head, error) {
		old := p.head(id)
		if err := p.fence("snapshot", epoch, id); err != nil {
			return old, err
		}
		switch {
		case at > old.rev || at == 0:
			return old, persistence.Conflictf("snapshot", id, "stream has not reached revision %d", at)
		case at < old.snapAt:
			return old, persistence.Conflictf("snapshot", id, "a snapshot at %d is newer than %d", old.snapAt, at)
		}
		return old, nil
	}
	for i, part := range parts[:len(parts)-1] {
		if _, err := j.submit(ctx, "snapshot", func(p *plan) (epu.Revision, error) {
			_, err := check(p)
			if err == nil {
				p.set(partKey(id, h.generation, uint32(i)), part)
			}
			return 0, err
		}); err != nil {
			return err
		}
	}
	var leftover [][]byte
	_, err := j.submit(ctx, "snapshot", func(p *plan) (epu.Revision, error) {
		old, err := check(p)
		if err != nil {
			return 0, err
		}
		p.set(partKey(id, h.generation, h.parts-1), parts[len(parts)-1])
		h.rev = old.rev
		p.setHead(id, h)
		covered := coveredKeys(id, old, h)
		now := min(len(covered), deletesMax)
		for _, key := range covered[:now] {
			p.delete(key)
		}
		leftover = covered[now:]
		return h.rev, nil
	})
	if err != nil {
		return err
	}
	for keys := range slices.Chunk(leftover, deletesMax) {
		if _, err := j.submit(context.WithoutCancel(ctx), "snapshot", func(p *plan) (epu.Revision, error) {
			for _, key := range keys {
				p.delete(key)
			}
			return 0, nil
		}); err != nil {
			return nil // the snapshot stands; what is left is swept at the next start
		}
	}
	return nil
}

// coveredKeys are those that nothing refers to once the new head stands.
func coveredKeys(id epu.StreamID, old, h head) [][]byte {
	keys := make([][]byte, 0, int(h.snapAt-old.snapAt)+int(old.parts))
	if old.generation != h.generation {
		for i := range old.parts {
			keys = append(keys, partKey(id, old.generation, i))
		}
	}
	for rev := old.snapAt + 1; rev <= h.snapAt; rev++ {
		keys = append(keys, eventKey(id, rev))
	}
	return keys
}

// Load implements persistence.Journal.
func (j *Journal) Load(ctx context.Context, id epu.StreamID) (persistence.Loaded, error) {
	if err := ctx.Err(); err != nil {
		return persistence.Loaded{}, unavailable("load", string(id), err)
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.db == nil {
		return persistence.Loaded{}, unavailable("load", string(id), j.reason)
	}
	txn := j.db.NewTransaction(false)
	defer txn.Discard()
	return loadStream(txn, j.dir, id)
}

// loadStream reads a stream as it is in a transaction.
func loadStream(txn *bdg.Txn, dir string, id epu.StreamID) (persistence.Loaded, error) {
	var l persistence.Loaded
	damaged := func(format string, args ...any) (persistence.Loaded, error) {
		return persistence.Loaded{}, corrupt("load", dir, []Problem{{"stream " + string(id), fmt.Sprintf(format, args...)}})
	}
	value, err := get(txn, headKey(id))
	if err != nil {
		return l, unavailable("load", string(id), err)
	}
	if value == nil {
		return l, nil
	}
	h, err := decodeHead(value)
	if err != nil {
		return damaged("%v", err)
	}
	l.Revision, l.SnapshotAt = h.rev, h.snapAt
	if h.parts > 0 {
		l.Snapshot = make([]byte, 0, h.size)
	}
	for i := range h.parts {
		item, err := txn.Get(partKey(id, h.generation, i))
		if err == nil {
			err = item.Value(func(part []byte) error { l.Snapshot = append(l.Snapshot, part...); return nil })
		}
		if err != nil && !errors.Is(err, bdg.ErrKeyNotFound) {
			return l, unavailable("load", string(id), err)
		}
	}
	if uint64(len(l.Snapshot)) != h.size || crc32.Checksum(l.Snapshot, castagnoli) != h.crc {
		return damaged("the snapshot at %d does not fit its checksum", h.snapAt)
	}
	it := txn.NewIterator(bdg.IteratorOptions{Prefix: eventKey(id, 0)[:len(prefixEvent)+len(id)+1]})
	defer it.Close()
	next := h.snapAt
	for it.Seek(eventKey(id, next+1)); it.Valid(); it.Next() {
		next++
		item := it.Item()
		if rev := epu.Revision(binary.BigEndian.Uint64(item.Key()[len(item.Key())-8:])); rev != next {
			return damaged("event %d is missing", next)
		}
		var ev persistence.Event
		if err := item.Value(func(v []byte) (err error) { ev, err = decodeEvent(v); return err }); err != nil {
			return damaged("event %d: %v", next, err)
		}
		l.Tail = append(l.Tail, ev)
	}
	if next != h.rev {
		return damaged("events %d to %d are missing", next+1, h.rev)
	}
	return l, nil
}

// Streams implements persistence.Journal. The list is that of the moment of the call.
func (j *Journal) Streams(ctx context.Context, prefix string) iter.Seq2[epu.StreamID, error] {
	return func(yield func(epu.StreamID, error) bool) {
		ids, err := j.list(prefix)
		for _, id := range ids {
			if err = ctx.Err(); err != nil {
				err = unavailable("list streams", j.dir, err)
				break
			}
			if !yield(id, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

func (j *Journal) list(prefix string) ([]epu.StreamID, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.db == nil {
		return nil, unavailable("list streams", j.dir, j.reason)
	}
	var ids []epu.StreamID
	for id := range j.state.heads {
		if strings.HasPrefix(string(id), prefix) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
