package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Bounds of answers.
const (
	decisionsDefault = 20
	eventsDefault    = 50
	recordsMax       = 10_000
)

// status says how every pool, site and node is.
func (g *Gateway) status(ctx context.Context, q *msg.StatusQuery) (proto.Message, error) {
	v, names, err := g.poolsOf(ctx, q.GetPools()...)
	if err != nil {
		return nil, err
	}
	now := g.tree.Clock.Now()
	out := &msg.Status{}
	views, failed := g.pools(ctx, names)
	for _, name := range names {
		if err := failed[name]; err != nil {
			out.Pools = append(out.Pools, &msg.PoolStatus{
				Name: string(name), Owner: string(epu.DefaultOwner), Converged: "no", Health: "unknown", Error: err.Error(),
			})
			continue
		}
		shown := views[name]
		if shown.Last, err = g.last(ctx, shown); err != nil {
			return nil, err
		}
		out.Pools = append(out.Pools, answers.Pool(v.Pools[name], shown, now))
	}
	sites := map[epu.SiteID]msg.SiteView{}
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		view, err := ask[msg.SiteView](ctx, g, msg.SiteAddress(site), msg.SiteQuery{})
		sites[site] = view
		s := answers.Site(v.Sites[site], view, err)
		if g.info.APIBudget != nil {
			s.ApiBudget = int32(g.info.APIBudget(site))
		}
		out.Sites = append(out.Sites, s)
	}
	node, degraded := g.node(ctx)
	out.Nodes = append(out.Nodes, node)
	out.Alerts = answers.Alerts(out, answers.Views{Pools: views, Sites: sites, Started: g.info.Started, Degraded: degraded})
	for _, name := range names {
		if failed[name] == nil {
			out.Alerts = append(out.Alerts, answers.PoolAlerts(views[name], now)...)
		}
	}
	out.Alerts = append(out.Alerts, g.policies.Alerts()...)
	return out, nil
}

// node says how this node is, and since when its store can't be written.
func (g *Gateway) node(ctx context.Context) (n *msg.NodeStatus, degraded time.Time) {
	meta := g.tree.Journal.Meta()
	n = &msg.NodeStatus{
		Name: g.info.Name, Version: g.info.Version.GetVersion(), Started: timestamppb.New(g.info.Started), Roles: g.info.Roles,
		Store: "ok", Installation: string(meta.Installation), Epoch: uint64(meta.Epoch),
	}
	if meta.Recovery {
		n.Store = "recovery"
	}
	if s, err := ask[actors.DurableState](ctx, g, actors.RegistryAddress, actors.DurableStatus{}); err == nil && s.Degraded != nil {
		n.Store, degraded = "degraded: "+s.Degraded.Error(), s.Since
	}
	return n, degraded
}

// instances lists workers.
func (g *Gateway) instances(ctx context.Context, q *msg.InstancesQuery) (proto.Message, error) {
	_, names, err := g.poolsOf(ctx, q.GetPool())
	if err != nil {
		return nil, err
	}
	views, failed := g.pools(ctx, names)
	if len(failed) > 0 {
		for _, err := range failed {
			return nil, err
		}
	}
	out := &msg.Instances{}
	for _, name := range names {
		for _, w := range views[name].Workers {
			i := answers.Instance(name, w)
			if views[name].Spec.Health.Source == epu.HealthAgent {
				g.fromWorker(ctx, name, w, i)
			}
			out.Instances = append(out.Instances, i)
		}
		if q.GetAll() {
			ended, err := g.ended(ctx, name)
			if err != nil {
				return nil, err
			}
			out.Instances = append(out.Instances, ended...)
		}
	}
	return out, nil
}

// fromWorker adds what only the worker's actor knows; silence of a volatile actor is no error.
func (g *Gateway) fromWorker(ctx context.Context, pool epu.PoolID, w *epu.Worker, i *msg.Instance) {
	v, err := ask[msg.WorkerView](ctx, g, msg.WorkerAddress(epu.DefaultOwner, pool, w.ID), msg.WorkerQuery{})
	if err != nil {
		return
	}
	if !v.LastHeard.IsZero() {
		i.LastBeat = timestamppb.New(v.LastHeard)
	}
	for n, e := range v.Errors {
		i.Errors = append(i.Errors, &msg.ProcessError{
			Program: e.Program, ExitStatus: int32(e.ExitStatus), Signal: e.Signal, Time: timestamppb.New(v.ErrorsAt[n]),
			StderrTail: e.Stderr,
		})
	}
}

// ended lists the workers that ended within the last hour, from the history.
func (g *Gateway) ended(ctx context.Context, pool epu.PoolID) ([]*msg.Instance, error) {
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
	}
	q := persistence.Query{Kind: persistence.KindEvent, Pool: pool, Since: g.tree.Clock.Now().Add(-time.Hour), Limit: recordsMax}
	var out []*msg.Instance
	for r, err := range g.tree.History.Find(ctx, q) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
		}
		if r.Name != "worker_terminated" && r.Name != "worker_failed" {
			continue
		}
		var d struct{ Worker, Instance, Site, Address, Reason string }
		if err := json.Unmarshal(r.Data, &d); err != nil {
			continue
		}
		state := epu.Terminated
		if r.Name == "worker_failed" {
			state = epu.Failed
		}
		out = append(out, &msg.Instance{
			Worker: d.Worker, Pool: string(pool), Instance: d.Instance, Site: d.Site, Address: d.Address,
			State: state.String(), StateSince: timestamppb.New(r.Time), Ended: true, EndReason: d.Reason,
			Health: epu.HealthUnknown.String(),
		})
	}
	return out, nil
}

// decisions lists a pool's recorded decisions, newest first, and the launches between them that repeated
// one without asking the policy.
func (g *Gateway) decisions(ctx context.Context, q *msg.DecisionsQuery) (proto.Message, error) {
	if err := g.knownPool(ctx, q.GetPool()); err != nil {
		return nil, err
	}
	limit := int(q.GetLimit())
	if limit <= 0 {
		limit = decisionsDefault
	}
	var since time.Time
	if q.GetSince() != nil {
		since = q.GetSince().AsTime()
	}
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history of", q.GetPool(), err)
	}
	// One more than asked for says from which target the oldest line went on, and how far back events are
	// looked for.
	find := persistence.Query{Kind: persistence.KindDecision, Pool: epu.PoolID(q.GetPool()), NewestFirst: true, Limit: limit + 1}
	var list []*msg.DecisionSummary
	var before *msg.DecisionSummary
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", q.GetPool(), err)
		}
		var d epu.Decision
		if err := json.Unmarshal(r.Data, &d); err != nil {
			continue // a newer version wrote it; the others can still be shown
		}
		if before = answers.Summary(&d); r.Time.Before(since) || len(list) == limit {
			break
		}
		list, before = append(list, before), nil
	}
	if before != nil && before.GetTime().AsTime().After(since) {
		since = before.GetTime().AsTime()
	}
	past, err := g.eventsSince(ctx, epu.PoolID(q.GetPool()), since)
	if err != nil {
		return nil, err
	}
	return &msg.Decisions{Decisions: answers.WithHealings(list, answers.Healings(past), before, limit)}, nil
}

// events lists past life-cycle events and audit records, oldest first.
func (g *Gateway) events(ctx context.Context, q *msg.EventsQuery) (proto.Message, error) {
	find := persistence.Query{Pool: epu.PoolID(q.GetPool()), NewestFirst: true, Limit: int(q.GetLimit())}
	if find.Limit <= 0 {
		find.Limit = eventsDefault
	}
	wanted := find.Limit
	find.Limit = recordsMax // decisions stand among them
	if q.GetSince() != nil {
		find.Since = q.GetSince().AsTime()
	}
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history", q.GetPool(), err)
	}
	out := &msg.Events{}
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history", q.GetPool(), err)
		}
		if r.Kind == persistence.KindDecision {
			continue
		}
		if out.Events = append(out.Events, answers.Event(r)); len(out.Events) == wanted {
			break
		}
	}
	slices.Reverse(out.Events)
	return out, nil
}

// Watch streams events as they happen, after those that the query asks for.
func (g *Gateway) Watch(ctx context.Context, _ *msg.Request, body proto.Message, send func(proto.Message) error) error {
	q, ok := body.(*msg.EventsQuery)
	if !ok {
		return epu.E(epu.Invalid, "watch", msg.NameOf(body), errors.New("only events can be watched"))
	}
	records, cancel := g.tree.Events.Subscribe()
	defer cancel()
	past, err := g.events(ctx, q)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range past.(*msg.Events).GetEvents() {
		seen[e.GetId()] = true
		if err := send(e); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r, ok := <-records:
			if !ok {
				return nil
			}
			if r.Kind == persistence.KindDecision || seen[r.ID] || q.GetPool() != "" && string(r.Pool) != q.GetPool() {
				continue
			}
			if err := send(answers.Event(r)); err != nil {
				return err
			}
		}
	}
}

// Changes tells soon after anything was recorded, until cancel is called: who watches an answer asks again
// then, and sees what lasts shorter than a period too.
func (g *Gateway) Changes() (changed <-chan struct{}, cancel func()) {
	records, cancel := g.tree.Events.Subscribe()
	c := make(chan struct{}, 1)
	go func() { // ends when cancel closes the records
		for range records {
			select {
			case c <- struct{}{}:
			default: // it is told already
			}
		}
	}()
	return c, cancel
}

// actorsCheck reports restarts and messages that no actor took: both should stay at zero.
func (g *Gateway) actorsCheck() *msg.Check {
	c := &msg.Check{Code: string(msg.CheckActors), Name: "actors", Result: "ok", Text: "no failures"}
	restarts, unknown, dropped := g.tree.Restarts.Load(), g.tree.Unknowns.Load(), g.tree.History.Dropped()
	if restarts+unknown+dropped > 0 {
		c.Result = "warning"
		c.Text = fmt.Sprintf("%d restarts, %d unknown messages, %d history records lost since the start", restarts, unknown, dropped)
		c.Try = "look at the node's log"
	}
	return c
}

// doctor checks the node from the inside.
func (g *Gateway) doctor(ctx context.Context) (proto.Message, error) {
	answer, err := g.status(ctx, &msg.StatusQuery{})
	if err != nil {
		return nil, err
	}
	d := answers.Doctor(answer.(*msg.Status), g.info.Name)
	d.Checks = append(d.Checks, g.actorsCheck())
	return d, nil
}
