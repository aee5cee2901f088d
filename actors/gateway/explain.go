package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// turnsWait bounds how long an explanation waits to hear which readings would change it.
const turnsWait = time.Second

// explain says why a pool wants what it wants, or wanted what it did.
func (g *Gateway) explain(ctx context.Context, q *msg.ExplainQuery) (proto.Message, error) {
	view, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	pool := epu.PoolID(q.GetPool())
	applied, known := view.Pools[pool]
	if !known {
		return nil, noPool(q.GetPool(), view)
	}
	v, err := ask[msg.PoolView](ctx, g, msg.ControllerAddress(epu.DefaultOwner, pool), msg.PoolQuery{})
	if err != nil {
		return nil, err
	}
	if v.Last, err = g.last(ctx, v); err != nil {
		return nil, err
	}
	now := g.tree.Clock.Now()
	d, past := v.Last, q.GetDecision() != "" || q.GetAt() != nil
	out := &msg.Explanation{Pool: answers.Pool(applied, v, now)}
	if past {
		if d, err = g.decision(ctx, q); err != nil {
			return nil, err
		}
		out.Doing, out.WouldChange = answers.Did(d), answers.WouldChange(d, msg.PoolView{}, msg.Turns{}, actors.SizeKey)
	} else {
		done, err := g.doneOf(ctx, v, now)
		if err != nil {
			return nil, err
		}
		out.Doing, out.WouldChange = append(answers.Doing(v), done...), answers.WouldChange(d, v, g.turns(ctx, pool), actors.SizeKey)
	}
	if d == nil {
		return out, nil
	}
	out.Decision, err = drawn(*d, applied.Spec.Sensors)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// last is the newest decision of a pool. A policy that has not been asked since the node's start, because it is not
// to be, has decided nevertheless: that stands in the history, unless its wish is not the durable one any more.
func (g *Gateway) last(ctx context.Context, v msg.PoolView) (*epu.Decision, error) {
	if v.Last != nil || answers.Asked(v) {
		return v.Last, nil
	}
	d, err := g.newest(ctx, persistence.Query{Kind: persistence.KindDecision, Pool: v.Spec.Name, NewestFirst: true, Limit: 1})
	if err != nil || d == nil || d.Wish.Target != v.Wish.Target {
		return nil, err
	}
	return d, nil
}

// newest reads the first decision that a query finds; nil when there is none.
func (g *Gateway) newest(ctx context.Context, find persistence.Query) (*epu.Decision, error) {
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history of", string(find.Pool), err)
	}
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", string(find.Pool), err)
		}
		d := &epu.Decision{}
		if err := json.Unmarshal(r.Data, d); err != nil {
			return nil, epu.E(epu.Internal, "read decision", r.ID, err)
		}
		return d, nil
	}
	return nil, nil
}

// turns are the readings that would change a pool's wish. An explanation does not wait long for them.
func (g *Gateway) turns(ctx context.Context, pool epu.PoolID) msg.Turns {
	ctx, cancel := context.WithDeadline(ctx, g.tree.Clock.Now().Add(turnsWait))
	defer cancel()
	turns, err := ask[msg.Turns](ctx, g, msg.ControllerAddress(epu.DefaultOwner, pool), msg.TurnsQuery{})
	if err != nil {
		return msg.Turns{}
	}
	return turns
}

// drawn is a decision as its JSON, with the units of what was read.
func drawn(d epu.Decision, sensors map[string]epu.SensorSpec) (*structpb.Struct, error) {
	answers.WithUnits(&d, sensors)
	out := &structpb.Struct{}
	raw, err := json.Marshal(d)
	if err == nil {
		err = out.UnmarshalJSON(raw)
	}
	if err != nil {
		return nil, epu.E(epu.Internal, "read decision", string(d.ID), err)
	}
	return out, nil
}

// decision finds the record of the asked-for decision, or of the one that was in force at a time.
func (g *Gateway) decision(ctx context.Context, q *msg.ExplainQuery) (*epu.Decision, error) {
	find := persistence.Query{Kind: persistence.KindDecision, Pool: epu.PoolID(q.GetPool()), ID: q.GetDecision(), Limit: 1}
	on, why := q.GetDecision(), "the history has none with this ID"
	if at := q.GetAt(); at != nil {
		if q.GetDecision() != "" {
			return nil, epu.E(epu.Invalid, "explain", q.GetPool(), errors.New("a decision is asked for by its ID or by a time, not by both"))
		}
		find.NewestFirst, find.Until = true, at.AsTime().Add(1)
		on, why = "of "+at.AsTime().Format(time.RFC3339), "the history has none that is as old"
	}
	if d, err := g.newest(ctx, find); d != nil || err != nil {
		return d, err
	}
	none := epu.E(epu.NotFound, "find decision", on, errors.New(why))
	none.Try = "epumgmt decisions " + q.GetPool() + " lists them; equal ones are kept once, with a count"
	return nil, none
}

// doneOf says what was done for a pool in the last minutes and why.
func (g *Gateway) doneOf(ctx context.Context, v msg.PoolView, now time.Time) ([]string, error) {
	past, err := g.eventsSince(ctx, v.Spec.Name, now.Add(-answers.DoneAge))
	return answers.Done(past, v, now), err
}

// eventsSince are a pool's life-cycle events since a time, oldest first: of very many the newest.
func (g *Gateway) eventsSince(ctx context.Context, pool epu.PoolID, since time.Time) ([]persistence.Record, error) {
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
	}
	q := persistence.Query{Kind: persistence.KindEvent, Pool: pool, Since: since, NewestFirst: true, Limit: recordsMax}
	var past []persistence.Record
	for r, err := range g.tree.History.Find(ctx, q) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
		}
		past = append(past, r)
	}
	slices.Reverse(past)
	return past, nil
}
