package persistence

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/nimbus-epu/epu"
)

// RecordKind sorts history records.
type RecordKind string

// The kinds of records.
const (
	KindDecision RecordKind = "decision" // Data is an epu.Decision
	KindEvent    RecordKind = "event"    // a life-cycle event
	KindAudit    RecordKind = "audit"    // a command: who, when, from where, what
)

// Record is one entry of the history.
type Record struct {
	ID    string          `json:"id"` // a ULID: sorts by time; of a decision its DecisionID
	Kind  RecordKind      `json:"kind"`
	Name  string          `json:"name,omitempty"` // of an event: "worker_running", "launch_failed", ...
	Owner epu.Owner       `json:"owner"`
	Pool  epu.PoolID      `json:"pool,omitempty"`
	Time  time.Time       `json:"time"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// Query selects records. Zero fields select everything.
type Query struct {
	Kind         RecordKind
	Pool         epu.PoolID
	ID           string
	Since, Until time.Time // Since inclusive, Until exclusive
	NewestFirst  bool
	Limit        int
}

// History keeps records for 30 days or 1 GiB, whichever is less, dropping the oldest first. Losing it
// never loses a machine, so Record may lag: it returns before the record is durable, and drops and
// counts records past its bound.
type History interface {
	Record(r Record)
	// Find yields matching records in time order.
	Find(ctx context.Context, q Query) iter.Seq2[Record, error]
	// Flush waits until all that was recorded before is durable.
	Flush(ctx context.Context) error
	// Dropped counts records lost to the bound or to a failing store since the start.
	Dropped() uint64
	Close() error
}
