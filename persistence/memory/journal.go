package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/archive"
)

// Journal is a journal in memory. Close does nothing: the same value may be used as the store that a
// restarted node opens again.
type Journal struct {
	mu      sync.Mutex // guards all below: many goroutines may share a journal
	meta    persistence.Meta
	streams map[epu.StreamID]*stream
}

type stream struct {
	snapshot   json.RawMessage
	snapshotAt epu.Revision
	events     []persistence.Event // after snapshotAt
}

func (s *stream) revision() epu.Revision { return s.snapshotAt + epu.Revision(len(s.events)) }

// New makes an empty journal. An empty installation becomes "installation-1", a zero epoch 1.
func New(meta persistence.Meta) *Journal {
	if meta.Installation == "" {
		meta.Installation = "installation-1"
	}
	if meta.Epoch == 0 {
		meta.Epoch = 1
	}
	return &Journal{meta: meta, streams: map[epu.StreamID]*stream{}}
}

// Meta is the store's description.
func (j *Journal) Meta() persistence.Meta {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.meta
}

// SetRecovery sets or clears the recovery flag.
func (j *Journal) SetRecovery(ctx context.Context, on bool) error {
	if err := alive(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.meta.Recovery = on
	return nil
}

// BeginEpoch implements persistence.Journal.
func (j *Journal) BeginEpoch(ctx context.Context, epoch epu.Epoch) error {
	if err := alive(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if epoch <= j.meta.Epoch {
		return persistence.Conflictf("begin epoch", "", "store at epoch %d, and %d is not above it", j.meta.Epoch, epoch)
	}
	j.meta.Epoch, j.meta.Recovery = epoch, false
	return nil
}

// Append implements persistence.Journal.
func (j *Journal) Append(ctx context.Context, epoch epu.Epoch, id epu.StreamID, expected epu.Revision, events ...persistence.Event) (epu.Revision, error) {
	if err := persistence.CheckAppend(id, events); err != nil {
		return 0, err
	}
	if err := alive(ctx); err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[id]
	if s == nil {
		s = &stream{}
	}
	if epoch != j.meta.Epoch {
		return 0, persistence.Conflictf("append", id, "store at epoch %d, expected %d", j.meta.Epoch, epoch)
	}
	if s.revision() != expected {
		if s.stands(expected, events) {
			return expected + epu.Revision(len(events)), nil
		}
		return 0, persistence.Conflictf("append", id, "at revision %d, expected %d", s.revision(), expected)
	}
	if len(events) == 0 {
		return expected, nil
	}
	j.streams[id] = s
	s.events = append(s.events, cloneEvents(events)...)
	return s.revision(), nil
}

// stands reports that the very events were appended at expected before.
func (s *stream) stands(expected epu.Revision, events []persistence.Event) bool {
	n := epu.Revision(len(events))
	if n == 0 || expected < s.snapshotAt || expected+n > s.revision() {
		return false
	}
	for i, ev := range s.events[expected-s.snapshotAt:][:n] {
		if ev.ID != events[i].ID {
			return false
		}
	}
	return true
}

// Load implements persistence.Journal.
func (j *Journal) Load(ctx context.Context, id epu.StreamID) (persistence.Loaded, error) {
	if err := alive(ctx); err != nil {
		return persistence.Loaded{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[id]
	if s == nil {
		return persistence.Loaded{}, nil
	}
	return persistence.Loaded{
		Snapshot: bytes.Clone(s.snapshot), SnapshotAt: s.snapshotAt,
		Tail: cloneEvents(s.events), Revision: s.revision(),
	}, nil
}

// Snapshot implements persistence.Journal.
func (j *Journal) Snapshot(ctx context.Context, epoch epu.Epoch, id epu.StreamID, at epu.Revision, state json.RawMessage) error {
	if err := persistence.CheckSnapshot(id, state); err != nil {
		return err
	}
	if err := alive(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[id]
	switch {
	case epoch != j.meta.Epoch:
		return persistence.Conflictf("snapshot", id, "store at epoch %d, expected %d", j.meta.Epoch, epoch)
	case s == nil || at > s.revision() || at == 0:
		return persistence.Conflictf("snapshot", id, "stream has not reached revision %d", at)
	case at < s.snapshotAt:
		return persistence.Conflictf("snapshot", id, "a snapshot at %d is newer than %d", s.snapshotAt, at)
	}
	s.events = slices.Clone(s.events[at-s.snapshotAt:])
	s.snapshot, s.snapshotAt = bytes.Clone(state), at
	return nil
}

// Streams implements persistence.Journal. The list is that of the moment of the call.
func (j *Journal) Streams(ctx context.Context, prefix string) iter.Seq2[epu.StreamID, error] {
	return func(yield func(epu.StreamID, error) bool) {
		j.mu.Lock()
		ids := make([]epu.StreamID, 0, len(j.streams))
		for id := range j.streams {
			if strings.HasPrefix(string(id), prefix) {
				ids = append(ids, id)
			}
		}
		j.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			if err := alive(ctx); err != nil {
				yield("", err)
				return
			}
			if !yield(id, nil) {
				return
			}
		}
	}
}

// Close does nothing.
func (j *Journal) Close() error { return nil }

// Clone makes an independent copy, as a disk image would be.
func (j *Journal) Clone() *Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := New(j.meta)
	for id, s := range j.streams {
		c.streams[id] = &stream{snapshot: bytes.Clone(s.snapshot), snapshotAt: s.snapshotAt, events: cloneEvents(s.events)}
	}
	return c
}

// Backup is the journal as an archive.
func (j *Journal) Backup() ([]byte, error) {
	var buf bytes.Buffer
	if err := archive.Copy(context.Background(), &buf, j.Clone()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Restore makes a journal from an archive as an operator does it: in recovery, unsealed, and at an
// epoch above both the archive's and floor, the highest epoch known to have been in use. Restoring
// one backup twice needs the floor: two lives must never share an epoch.
func Restore(backup []byte, floor epu.Epoch) (*Journal, error) {
	r, err := archive.NewReader(bytes.NewReader(backup))
	if err != nil {
		return nil, err
	}
	meta := r.Meta()
	meta.Epoch, meta.Recovery, meta.Sealed = max(meta.Epoch, floor)+1, true, ""
	j := New(meta)
	for {
		id, l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return j, nil
		}
		if err != nil {
			return nil, err
		}
		j.streams[id] = &stream{snapshot: l.Snapshot, snapshotAt: l.SnapshotAt, events: l.Tail}
	}
}

func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return epu.E(epu.Unavailable, "journal", "", fmt.Errorf("%w: %w", persistence.ErrUnavailable, err))
	}
	return nil
}

// cloneEvents copies events as a store on disk would give them back: times in UTC, data owned.
func cloneEvents(events []persistence.Event) []persistence.Event {
	if len(events) == 0 {
		return nil
	}
	out := slices.Clone(events)
	for i := range out {
		out[i].Time = out[i].Time.UTC().Round(0)
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}
