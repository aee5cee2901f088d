package persistence

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/nimbus-epu/epu"
)

// Event is one durable fact of a stream. Fields of Data that a reader does not know are kept, since
// events are never rewritten; a Type that it does not know is refused by its codec.
type Event struct {
	Type  string          `json:"type"`
	V     int             `json:"v"`
	ID    string          `json:"id"` // unique in its stream; tells an append of unknown outcome from another's
	Time  time.Time       `json:"time"`
	Cause string          `json:"cause,omitempty"` // decision, command or message that led to it
	Data  json.RawMessage `json:"data,omitempty"`
}

// Errors of a Journal. Callers see these two and success; anything else is a broken store (ErrCorrupt).
var (
	// ErrConflict: the store is not at that epoch or the stream not at that revision. Nothing was written.
	ErrConflict = errors.New("journal: conflict")
	// ErrUnavailable: the store can't be written or read now. Nothing was written: an adapter that can't
	// tell whether its write happened finds out, by event ID, before it answers.
	ErrUnavailable = errors.New("journal: unavailable")
	// ErrCorrupt: what was read is damaged. The text says where, and what to do.
	ErrCorrupt = errors.New("journal: corrupt")
)

// Meta describes a store.
type Meta struct {
	Installation epu.InstallationID `json:"installation"`     // born with the store
	Epoch        epu.Epoch          `json:"epoch"`            // from 1; raised by restore, import and BeginEpoch
	Recovery     bool               `json:"recovery"`         // restored: machines decide with the operator's help
	Sealed       string             `json:"sealed,omitempty"` // "moved to ...": must not be started
	Created      time.Time          `json:"created"`
}

// Loaded is a stream as read: the newest snapshot's state (nil if none), the events after it, and
// the stream's revision (0 for a stream that does not exist, which is no error).
type Loaded struct {
	Snapshot   json.RawMessage
	SnapshotAt epu.Revision
	Tail       []Event
	Revision   epu.Revision
}

// Journal keeps streams of events. Implementations are safe for use by many goroutines and must pass
// journaltest.Run. A stream's revision is the number of events ever appended to it, contiguous from 1.
type Journal interface {
	// Meta is the store's description; it changes while the store is open by SetRecovery and BeginEpoch alone.
	Meta() Meta
	// SetRecovery durably sets or clears the recovery flag.
	SetRecovery(ctx context.Context, on bool) error
	// BeginEpoch durably begins a higher epoch and clears the recovery flag, in one step: what an older life
	// of the store may have named is never named again. Appends at the older epoch conflict from then on. An
	// epoch that is not above the present one is ErrConflict.
	BeginEpoch(ctx context.Context, epoch epu.Epoch) error
	// Append makes events durable and visible, all or none, if and only if the store is at epoch and the
	// stream at expected; otherwise ErrConflict. It returns the new revision. The journal keeps no
	// reference to events after it returned. A cancelled ctx only ends waiting before the write began.
	// Appending the very events (by ID) that already stand at expected+1.. answers success: a repeat
	// after an unknown outcome is harmless.
	Append(ctx context.Context, epoch epu.Epoch, stream epu.StreamID, expected epu.Revision, events ...Event) (epu.Revision, error)
	// Load reads a stream. The caller owns what is returned.
	Load(ctx context.Context, stream epu.StreamID) (Loaded, error)
	// Snapshot stores the state at a revision that the stream has reached, and drops the events it
	// covers in the same transaction. An older snapshot than the stored one is ErrConflict, and so is
	// another epoch. State may be larger than one store entry: adapters cut it into parts.
	Snapshot(ctx context.Context, epoch epu.Epoch, stream epu.StreamID, at epu.Revision, state json.RawMessage) error
	// Streams lists the streams whose ID begins with prefix, in byte order.
	Streams(ctx context.Context, prefix string) iter.Seq2[epu.StreamID, error]
	// Close flushes and releases the store.
	Close() error
}
