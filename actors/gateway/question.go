package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/shadow"
	"github.com/nimbus-epu/epu/policies/snapshot"
)

// ofPool asks a pool's controller a question, once it has heard of what was applied.
func ofPool[T any](ctx context.Context, g *Gateway, pool string, question any) (T, msg.PoolEntry, error) {
	var none T
	v, err := g.defined(ctx, epu.PoolID(pool))
	if err != nil {
		return none, msg.PoolEntry{}, err
	}
	applied, known := v.Pools[epu.PoolID(pool)]
	if !known {
		return none, applied, noPool(pool, v)
	}
	t, err := ask[T](ctx, g, msg.ControllerAddress(epu.DefaultOwner, epu.PoolID(pool)), question)
	return t, applied, err
}

// whatIf says what a pool's policy would decide with other readings or settings, and what would come of it.
func (g *Gateway) whatIf(ctx context.Context, q *msg.WhatIfQuery) (proto.Message, error) {
	w, applied, err := ofPool[actors.WhatIf](ctx, g, q.GetPool(), q)
	if err != nil {
		return nil, err
	}
	out := &msg.WhatIf{Actions: answers.Did(&w.Then), NowActions: answers.Did(&w.Now)}
	if out.Decision, err = drawn(w.Then, applied.Spec.Sensors); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(q.GetSensors())) {
		spec := applied.Spec.Sensors[name]
		if why := spec.Outside(q.GetSensors()[name]); why != "" {
			out.Notes = append(out.Notes, name+": "+why+"; taken as unknown")
		}
	}
	out.Now, err = drawn(w.Now, applied.Spec.Sensors)
	return out, err
}

// differencesMax is how many differences of a candidate are shown, of more the newest.
const differencesMax = 100

// shadow says how the candidate in the shadow of a pool's policy does, and where it wanted something else.
func (g *Gateway) shadow(ctx context.Context, q *msg.ShadowQuery) (proto.Message, error) {
	out, _, err := ofPool[*msg.ShadowReport](ctx, g, q.GetPool(), q)
	if err != nil {
		return nil, err
	}
	past, err := g.eventsSince(ctx, epu.PoolID(q.GetPool()), out.GetSince().AsTime())
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(past) {
		var f shadow.Found
		if r.Name == shadow.Difference && json.Unmarshal(r.Data, &f) == nil && f.Hash == out.GetHash() && len(out.Differences) < differencesMax {
			out.Differences = append(out.Differences, f.Told(r.Time))
		}
	}
	return out, nil
}

// snapshot gives what a pool's policy sees now, or saw at a decision that the history has.
func (g *Gateway) snapshot(ctx context.Context, req *msg.Request, q *msg.SnapshotQuery) (proto.Message, error) {
	out := &msg.SnapshotReply{}
	var seen snapshot.Seen
	var conf map[string]any
	hash := ""
	if q.GetDecision() != "" {
		if err := g.knownPool(ctx, q.GetPool()); err != nil {
			return nil, err
		}
		d, err := g.decision(ctx, &msg.ExplainQuery{Pool: q.GetPool(), Decision: q.GetDecision()})
		if err != nil {
			return nil, err
		}
		seen.Record, conf, out.PolicyName, hash = d, d.Conf, d.Policy, d.PolicyHash
	} else {
		now, _, err := ofPool[actors.Glimpse](ctx, g, q.GetPool(), q)
		if err != nil {
			return nil, err
		}
		series := map[string]snapshot.Series{}
		for _, name := range slices.Sorted(maps.Keys(now.Readings)) {
			series[name] = snapshot.Series{Spec: now.Sensors[name], Series: now.Readings[name]}
		}
		seen, conf, out.PolicyName = snapshot.Of(now.Policy.Snapshot, series), now.Policy.Conf, now.Policy.Policy
		hash = now.Policy.Version // the pool may pin another one than the current
	}
	if s, err := g.Ask(ctx, req, &msg.PolicySourceQuery{Name: out.PolicyName, Hash: hash}); err == nil {
		out.Policy = s.(*msg.PolicySource).GetFiles() // who asks may have the policy where this node has not
	}
	raw, err := json.Marshal(seen)
	if err == nil {
		out.Snapshot = raw
		out.Conf, err = structOf(conf)
	}
	if err != nil {
		return nil, epu.E(epu.Internal, "write the snapshot of", q.GetPool(), err)
	}
	return out, nil
}

// structOf is plain data as a message.
func structOf(m map[string]any) (*structpb.Struct, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	out := &structpb.Struct{}
	if string(raw) == "null" {
		return out, nil
	}
	return out, out.UnmarshalJSON(raw)
}
