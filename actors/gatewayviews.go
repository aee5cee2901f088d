package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
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
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(v.Pools))
	if len(q.GetPools()) > 0 {
		names = nil
		for _, p := range q.GetPools() {
			if _, ok := v.Pools[epu.PoolID(p)]; !ok {
				return nil, noPool(p, v)
			}
			names = append(names, epu.PoolID(p))
		}
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
		out.Pools = append(out.Pools, poolStatus(v.Pools[name], views[name], now))
	}
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		view, err := ask[msg.SiteView](ctx, g, msg.SiteAddress(site), msg.SiteQuery{})
		s := siteStatus(v.Sites[site], view, err)
		if g.info.APIBudget != nil {
			s.ApiBudget = int32(g.info.APIBudget(site))
		}
		out.Sites = append(out.Sites, s)
	}
	out.Nodes = append(out.Nodes, g.node(ctx))
	out.Alerts = alerts(out)
	return out, nil
}

func (g *Gateway) node(ctx context.Context) *msg.NodeStatus {
	meta := g.tree.Journal.Meta()
	n := &msg.NodeStatus{
		Name: g.info.Name, Version: g.info.Version.GetVersion(), Started: timestamppb.New(g.info.Started), Roles: g.info.Roles,
		Store: "ok", Installation: string(meta.Installation), Epoch: uint64(meta.Epoch),
	}
	if meta.Recovery {
		n.Store = "recovery"
	}
	if s, err := ask[DurableState](ctx, g, RegistryAddress, DurableStatus{}); err == nil && s.Degraded != nil {
		n.Store = "degraded: " + s.Degraded.Error()
	}
	return n
}

// poolStatus is a pool's line: what was applied, as the registry has it, and how far its controller is.
func poolStatus(applied msg.PoolEntry, v msg.PoolView, now time.Time) *msg.PoolStatus {
	p := &msg.PoolStatus{
		Name: string(applied.Spec.Name), Owner: string(applied.Spec.Owner), Want: int32(v.Wish.Target), Engine: v.Engine,
		Policy: applied.Spec.Policy.Name, Error: v.Failure,
	}
	if v.EndAll || v.Removing {
		p.Want = 0
	}
	for _, w := range v.Workers {
		switch {
		case !w.Open():
			p.Ending++
			continue
		case w.Draining:
			p.Draining++
		case w.State >= epu.Running:
			p.Have++
		default:
			p.Starting++
		}
		if w.Unhealthy() {
			p.Unhealthy++
		}
	}
	p.Gap = p.Want - p.Have
	if conf, err := toStruct(v.Conf); err == nil {
		p.Conf = conf
	}
	if v.Last != nil {
		p.PolicyHash = v.Last.PolicyHash
		p.LastDecision = summary(v.Last)
	}
	if wait := v.Backoff.Sub(now); wait > 0 {
		p.Backoff = durationpb.New(wait)
	}
	if f := v.Freeze; f != nil {
		p.Freeze = &msg.Freeze{By: f.By, Reason: f.Reason, Since: timestamppb.New(f.Since), Healing: f.Healing}
		if !f.Until.IsZero() {
			p.Freeze.Until = timestamppb.New(f.Until)
		}
	}
	if !decidedSince(v) {
		p.Engine = "PENDING" // the wish is from before an operator's change
	}
	p.Converged, p.Health = converged(applied, v, p), healthWord(v, p)
	return p
}

func converged(applied msg.PoolEntry, v msg.PoolView, p *msg.PoolStatus) string {
	met := p.GetGap() == 0 && p.GetStarting() == 0 && p.GetUnhealthy() == 0 && p.GetDraining() == 0 && decidedSince(v)
	switch {
	case v.Recovery:
		return "recovery"
	case v.Gen < applied.Gen: // its controller has not heard of the last change yet
		return "no"
	case v.Removing:
		return "removing"
	case v.Freeze != nil:
		return "frozen"
	case met && v.Last != nil && len(v.Last.Clamps) > 0 && v.Last.Wanted.Target > v.Last.Wish.Target:
		return "capped"
	case met && (v.Last != nil || v.EndAll) && !(v.EndAll && len(v.Workers) > 0):
		return "yes"
	}
	return "no"
}

// decidedSince reports that the policy has decided since an operator last changed what it is told:
// whoever scales and then waits must not be answered with the wish from before.
func decidedSince(v msg.PoolView) bool {
	for _, o := range v.Overrides {
		if v.Last != nil && o.Time.After(v.Last.Time) {
			return false
		}
	}
	return true
}

func healthWord(v msg.PoolView, p *msg.PoolStatus) string {
	switch {
	case v.Failure != "":
		return "policy-failing"
	case v.Suspect:
		return "suspect"
	case p.GetUnhealthy() > 0, !v.Backoff.IsZero() && p.GetGap() > 0:
		return "degraded"
	case v.Last == nil && !v.EndAll: // after terminate-all the policy is not asked
		return "unknown"
	}
	return "ok"
}

func siteStatus(spec epu.SiteSpec, v msg.SiteView, err error) *msg.SiteStatus {
	s := &msg.SiteStatus{Name: string(spec.Name), Driver: string(spec.Driver), State: "ok", InstancesMax: int32(spec.InstancesMax)}
	if err != nil {
		s.State, s.Error = "unreachable", err.Error()
		return s
	}
	s.Instances, s.Stuck, s.Condemned = int32(v.Instances), int32(v.Stuck), int32(v.Condemned)
	s.Error = v.Fault
	s.ApiBurst = int32(spec.APIBurst)
	for _, st := range v.Strays {
		if !st.Condemned {
			s.Foreign++
		}
	}
	if !v.LastListing.IsZero() {
		s.LastListing = timestamppb.New(v.LastListing)
	}
	switch {
	case v.Recovery:
		s.State = "recovery"
	case spec.DryRun:
		s.State = "dry run"
	case !v.Synced:
		s.State = "unreachable"
		if v.Fault == "" {
			s.State = "starting"
		}
	case v.Disabled:
		s.State = "disabled"
	}
	return s
}

// summary is a decision in one line.
func summary(d *epu.Decision) *msg.DecisionSummary {
	dir := d.Direction()
	text := fmt.Sprintf("%s %d->%d", dir, d.Before, d.Wish.Target)
	if dir == epu.Hold {
		text = string(dir)
	}
	if len(d.Clamps) > 0 && d.Wanted.Target > d.Wish.Target {
		text = fmt.Sprintf("%s to %d cut to %d", dir, d.Wanted.Target, d.Wish.Target)
	}
	switch {
	case d.Error != "":
		text = "policy failed: " + d.Error
	case len(d.Clamps) > 0:
		c := d.Clamps[len(d.Clamps)-1]
		text += ": " + c.Rule
		if c.Origin != "" {
			text += " (" + c.Origin + ")"
		}
	case len(d.Reasons) > 0:
		text += ": " + d.Reasons[0].Text
	}
	return &msg.DecisionSummary{
		Id: string(d.ID), Time: timestamppb.New(d.Time), Direction: string(dir), Before: int32(d.Before),
		After: int32(d.Wish.Target), Text: text,
	}
}

// instances lists workers.
func (g *Gateway) instances(ctx context.Context, q *msg.InstancesQuery) (proto.Message, error) {
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(v.Pools))
	if q.GetPool() != "" {
		if _, ok := v.Pools[epu.PoolID(q.GetPool())]; !ok {
			return nil, noPool(q.GetPool(), v)
		}
		names = []epu.PoolID{epu.PoolID(q.GetPool())}
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
			i := instance(name, w)
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

func instance(pool epu.PoolID, w *epu.Worker) *msg.Instance {
	return &msg.Instance{
		Worker: string(w.ID), Pool: string(pool), Name: w.Name, Instance: string(w.Instance), Site: string(w.Site),
		Zone: w.Zone, Allocation: string(w.Allocation), Market: string(w.Market), State: w.State.String(),
		StateSince: timestamppb.New(w.StateSince), Health: w.Health.String(), Suspect: w.Suspect, Draining: w.Draining,
		Ended: w.Ended, EndReason: w.EndReason, Address: w.Address, Created: timestamppb.New(w.Created), Error: w.Error,
		Vars: w.Vars,
	}
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

func toStruct(m map[string]any) (*structpb.Struct, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(raw)
}
