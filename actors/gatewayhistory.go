package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// decisions lists a pool's recorded decisions, newest first.
func (g *Gateway) decisions(ctx context.Context, q *msg.DecisionsQuery) (proto.Message, error) {
	if err := g.knownPool(ctx, q.GetPool()); err != nil {
		return nil, err
	}
	find := persistence.Query{Kind: persistence.KindDecision, Pool: epu.PoolID(q.GetPool()), NewestFirst: true, Limit: int(q.GetLimit())}
	if find.Limit <= 0 {
		find.Limit = decisionsDefault
	}
	if q.GetSince() != nil {
		find.Since = q.GetSince().AsTime()
	}
	out := &msg.Decisions{}
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", q.GetPool(), err)
		}
		var d epu.Decision
		if err := json.Unmarshal(r.Data, &d); err != nil {
			continue // a newer version wrote it; the others can still be shown
		}
		out.Decisions = append(out.Decisions, summary(&d))
	}
	return out, nil
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
	out := &msg.Events{}
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history", q.GetPool(), err)
		}
		if r.Kind == persistence.KindDecision {
			continue
		}
		if out.Events = append(out.Events, eventRecord(r)); len(out.Events) == wanted {
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
		return epu.E(epu.Invalid, "watch", fmt.Sprintf("%T", body), errors.New("only events can be watched"))
	}
	records, cancel := g.tree.Events.Subscribe()
	defer cancel()
	if err := g.tree.History.Flush(ctx); err != nil {
		return epu.E(epu.Unavailable, "read history", q.GetPool(), err)
	}
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
			if err := send(eventRecord(r)); err != nil {
				return err
			}
		}
	}
}

func eventRecord(r persistence.Record) *msg.EventRecord {
	e := &msg.EventRecord{Id: r.ID, Kind: string(r.Kind), Name: r.Name, Pool: string(r.Pool), Time: timestamppb.New(r.Time)}
	data := &structpb.Struct{}
	if len(r.Data) > 0 && data.UnmarshalJSON(r.Data) == nil {
		e.Data = data
	}
	return e
}

// explain says why a pool wants what it wants.
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
	now := g.tree.Clock.Now()
	out := &msg.Explanation{Pool: poolStatus(applied, v, now), Doing: doing(v), WouldChange: wouldChange(v)}
	if q.GetDecision() == "" {
		done, err := g.doneOf(ctx, pool, now)
		if err != nil {
			return nil, err
		}
		out.Doing = append(out.Doing, done...)
	}
	raw, err := g.decision(ctx, q, v)
	if err != nil || raw == nil {
		return out, err
	}
	out.Decision = &structpb.Struct{}
	if err := out.Decision.UnmarshalJSON(raw); err != nil {
		return nil, epu.E(epu.Internal, "read decision", q.GetDecision(), err)
	}
	return out, nil
}

// decision finds the record of the asked-for decision, or of the newest.
func (g *Gateway) decision(ctx context.Context, q *msg.ExplainQuery, v msg.PoolView) (json.RawMessage, error) {
	if q.GetDecision() == "" {
		if v.Last == nil {
			return nil, nil
		}
		raw, err := json.Marshal(v.Last)
		if err != nil {
			return nil, epu.E(epu.Internal, "read decision", string(v.Last.ID), err)
		}
		return raw, nil
	}
	find := persistence.Query{Kind: persistence.KindDecision, Pool: epu.PoolID(q.GetPool()), ID: q.GetDecision(), Limit: 1}
	for r, err := range g.tree.History.Find(ctx, find) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", q.GetPool(), err)
		}
		return r.Data, nil
	}
	err := epu.E(epu.NotFound, "find decision", q.GetDecision(), errors.New("the history has none with this ID"))
	err.Try = "epumgmt decisions " + q.GetPool() + " lists them; equal ones are kept once, with a count"
	return nil, err
}

// doing says what is being carried out now.
func doing(v msg.PoolView) []string {
	var out []string
	for _, w := range v.Workers {
		switch {
		case w.Ended || w.State >= epu.Terminating:
			why := w.EndReason
			if why == "" {
				why = w.Error
			}
			out = append(out, fmt.Sprintf("end %s at %s: %s", w.ID, w.Site, why))
		case w.Draining:
			out = append(out, fmt.Sprintf("drain %s at %s", w.ID, w.Site))
		case w.State < epu.Running:
			out = append(out, fmt.Sprintf("launch %s at %s: %s", w.ID, w.Site, w.State.Word()))
		}
	}
	for _, r := range v.Refused {
		out = append(out, "waits: "+r.Text)
	}
	return out
}

// wouldChange says what would lead to another answer.
func wouldChange(v msg.PoolView) []string {
	var out []string
	if v.Last != nil {
		for _, c := range v.Last.Clamps {
			out = append(out, c.Rule+" were other than it is")
		}
	}
	if n, ok := v.Conf[sizeKey]; ok {
		out = append(out, fmt.Sprintf("%s other than %v (epumgmt scale %s N)", sizeKey, n, v.Spec.Name))
	}
	if v.Freeze != nil {
		out = append(out, "epumgmt thaw "+string(v.Spec.Name))
	}
	return out
}

// Bounds of what explain tells of the past.
const (
	doneAge = 10 * time.Minute
	doneMax = 10 // lines
)

// doneOf says what was done for a pool in the last minutes and why: the newest lines, oldest first.
func (g *Gateway) doneOf(ctx context.Context, pool epu.PoolID, now time.Time) ([]string, error) {
	if err := g.tree.History.Flush(ctx); err != nil {
		return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
	}
	q := persistence.Query{Kind: persistence.KindEvent, Pool: pool, Since: now.Add(-doneAge), Limit: recordsMax}
	var out []string
	ordered := map[string]bool{} // workers whose end was decided here
	for r, err := range g.tree.History.Find(ctx, q) {
		if err != nil {
			return nil, epu.E(epu.Unavailable, "read history of", string(pool), err)
		}
		var d struct {
			Worker, Launch, Reason string
			N                      int
		}
		if json.Unmarshal(r.Data, &d) != nil {
			continue // a newer version wrote it; the others can still be shown
		}
		ago := max(0, now.Sub(r.Time)).Round(time.Second).String()
		switch r.Name {
		case "worker_ended":
			ordered[d.Worker] = true
			verb := "ended"
			if failed(d.Reason) {
				verb = "replaced"
			}
			out = append(out, fmt.Sprintf("%s %s %s ago: %s", verb, d.Worker, ago, d.Reason))
		case "worker_failed", "worker_terminated":
			if !ordered[d.Worker] {
				out = append(out, fmt.Sprintf("lost %s %s ago: %s", d.Worker, ago, d.Reason))
			}
		case "launch_opened":
			out = append(out, fmt.Sprintf("asked for %d more (%s) %s ago: %s", d.N, d.Launch, ago, d.Reason))
		}
	}
	return out[max(0, len(out)-doneMax):], nil
}

// failed reports that a worker was ended because it was not well: such a reason begins with its health.
func failed(reason string) bool {
	for h := epu.MonitorError; h <= epu.Zombie; h++ {
		if strings.HasPrefix(reason, h.String()) {
			return true
		}
	}
	return false
}

// alerts are what an operator should look at now.
func alerts(s *msg.Status) []*msg.Alert {
	var out []*msg.Alert
	add := func(code, severity, subject, text, try string) {
		out = append(out, &msg.Alert{Code: code, Severity: severity, Subject: subject, Text: text, Try: try})
	}
	for _, p := range s.GetPools() {
		switch p.GetHealth() {
		case "policy-failing":
			add("policy-failing", "error", p.GetName(), p.GetError(), "epumgmt explain "+p.GetName())
		case "suspect":
			add("workers-silent", "warning", p.GetName(), "most workers are silent: they may be dead, or this node deaf", "epumgmt instances "+p.GetName())
		}
		if p.GetBackoff() != nil && p.GetGap() > 0 {
			add("launches-failing", "warning", p.GetName(),
				"launches failed; the next try is in "+p.GetBackoff().AsDuration().Round(time.Second).String(), "epumgmt events "+p.GetName())
		}
	}
	for _, site := range s.GetSites() {
		if site.GetStuck() > 0 {
			add("ending-stuck", "error", site.GetName(), fmt.Sprintf("%d machines do not end", site.GetStuck()), "epumgmt instances")
		}
		if site.GetState() == "unreachable" {
			add("site-unreachable", "error", site.GetName(), site.GetError(), "epumgmt doctor")
		}
		if site.GetState() == "recovery" || site.GetForeign() > 0 {
			add("strays", "warning", site.GetName(), fmt.Sprintf("%d machines have no record", site.GetForeign()), "epumgmt sweep")
		}
	}
	for _, n := range s.GetNodes() {
		if n.GetStore() != "ok" {
			add("store", "error", n.GetName(), n.GetStore(), "epumgmt doctor")
		}
	}
	return out
}

// doctor checks the node from the inside.
func (g *Gateway) doctor(ctx context.Context) (proto.Message, error) {
	answer, err := g.status(ctx, &msg.StatusQuery{})
	if err != nil {
		return nil, err
	}
	s := answer.(*msg.Status)
	byGroup := func(code, name string, subjects []string, codes ...string) *msg.Check {
		c := &msg.Check{Code: code, Name: name, Result: "ok", Text: fmt.Sprintf("%d checked", len(subjects))}
		for _, a := range s.GetAlerts() {
			if !slices.Contains(codes, a.GetCode()) {
				continue
			}
			result := "warning"
			if a.GetSeverity() == "error" {
				result = "failure"
			}
			c.Children = append(c.Children, &msg.Check{Code: a.GetCode(), Name: a.GetSubject(), Result: result, Text: a.GetText(), Try: a.GetTry()})
			if c.Result != "failure" {
				c.Result = result
			}
		}
		return c
	}
	var pools, sites []string
	for _, p := range s.GetPools() {
		pools = append(pools, p.GetName())
	}
	for _, site := range s.GetSites() {
		sites = append(sites, site.GetName())
	}
	return &msg.Doctor{Checks: []*msg.Check{
		byGroup("store", "store", []string{g.info.Name}, "store"),
		byGroup("sites", "sites", sites, "site-unreachable", "ending-stuck", "strays"),
		byGroup("pools", "pools", pools, "policy-failing", "workers-silent", "launches-failing"),
		g.actorsCheck(),
	}}, nil
}

// actorsCheck reports restarts and messages that no actor took: both should stay at zero.
func (g *Gateway) actorsCheck() *msg.Check {
	c := &msg.Check{Code: "actors", Name: "actors", Result: "ok", Text: "no failures"}
	restarts, unknown, dropped := g.tree.Restarts.Load(), g.tree.Unknowns.Load(), g.tree.History.Dropped()
	if restarts+unknown+dropped > 0 {
		c.Result = "warning"
		c.Text = fmt.Sprintf("%d restarts, %d unknown messages, %d history records lost since the start", restarts, unknown, dropped)
		c.Try = "look at the node's log"
	}
	return c
}
