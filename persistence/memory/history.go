package memory

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/nimbus-epu/epu/persistence"
)

// historyMax is the default bound of records kept.
const historyMax = 100_000

// History keeps records in memory: the newest ones, in time order.
type History struct {
	mu      sync.Mutex // guards all below: owners of many pools record at once
	max     int
	records []persistence.Record // by time, equal times by ID
}

// NewHistory keeps up to keep records, oldest dropped first; 0 means 100 000.
func NewHistory(keep int) *History {
	if keep <= 0 {
		keep = historyMax
	}
	return &History{max: keep}
}

// Record implements persistence.History. A record with an ID that stands already replaces it.
func (h *History) Record(r persistence.Record) {
	r.Data = bytes.Clone(r.Data)
	r.Time = r.Time.UTC().Round(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	i, found := slices.BinarySearchFunc(h.records, r, compareRecords)
	if found {
		h.records[i] = r
		return
	}
	h.records = slices.Insert(h.records, i, r)
	if len(h.records) > h.max {
		h.records = slices.Delete(h.records, 0, 1)
	}
}

func compareRecords(a, b persistence.Record) int {
	if c := a.Time.Compare(b.Time); c != 0 {
		return c
	}
	return bytes.Compare([]byte(a.ID), []byte(b.ID))
}

// Find implements persistence.History on the records of the moment of the call.
func (h *History) Find(ctx context.Context, q persistence.Query) iter.Seq2[persistence.Record, error] {
	return func(yield func(persistence.Record, error) bool) {
		h.mu.Lock()
		all := slices.Clone(h.records)
		h.mu.Unlock()
		if q.NewestFirst {
			slices.Reverse(all)
		}
		found := 0
		for _, r := range all {
			if err := ctx.Err(); err != nil {
				yield(persistence.Record{}, err)
				return
			}
			if !q.Matches(r) {
				continue
			}
			r.Data = bytes.Clone(r.Data)
			if !yield(r, nil) {
				return
			}
			if found++; found == q.Limit {
				return
			}
		}
	}
}

// Flush implements persistence.History: everything is as durable as it gets.
func (h *History) Flush(ctx context.Context) error { return ctx.Err() }

// Dropped implements persistence.History: memory does not fail, and the bound drops old records only.
func (*History) Dropped() uint64 { return 0 }

// Close does nothing.
func (h *History) Close() error { return nil }
