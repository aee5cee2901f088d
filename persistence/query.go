package persistence

import (
	"encoding/json"

	"github.com/nimbus-epu/epu"
)

// Matches reports whether a query selects a record. Limit and order are not looked at.
func (q Query) Matches(r Record) bool {
	switch {
	case q.Kind != "" && q.Kind != r.Kind,
		q.Pool != "" && q.Pool != r.Pool,
		q.ID != "" && q.ID != r.ID,
		!q.Since.IsZero() && r.Time.Before(q.Since),
		!q.Until.IsZero() && !r.Time.Before(q.Until):
		return false
	}
	return true
}

// DecisionRecord is the history record of a decision; its ID is the decision's.
func DecisionRecord(d epu.Decision) (Record, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return Record{}, epu.E(epu.Internal, "record decision", string(d.ID), err)
	}
	return Record{ID: string(d.ID), Kind: KindDecision, Owner: d.Owner, Pool: d.Pool, Time: d.Time, Data: data}, nil
}

// Decision reads the decision in a record of KindDecision.
func (r Record) Decision() (epu.Decision, error) {
	var d epu.Decision
	if r.Kind != KindDecision {
		return d, epu.E(epu.Invalid, "read decision", r.ID, nil)
	}
	if err := json.Unmarshal(r.Data, &d); err != nil {
		return d, epu.E(epu.Internal, "read decision", r.ID, err)
	}
	return d, nil
}
