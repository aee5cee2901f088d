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

// strays lists machines that no record explains.
func (g *Gateway) strays(ctx context.Context, q *msg.SweepQuery) (proto.Message, error) {
	views, err := g.sites(ctx, q.GetSite())
	if err != nil {
		return nil, err
	}
	out := &msg.Strays{Recovery: g.tree.Journal.Meta().Recovery}
	for site, v := range views {
		out.Recovery = out.Recovery || v.Recovery
		for _, s := range v.Strays {
			verdict := "listed"
			if s.Condemned {
				verdict = "condemned"
			}
			out.Strays = append(out.Strays, &msg.Stray{
				Instance: string(s.Instance), Site: string(site), Launch: string(s.Launch), Pool: string(s.Pool),
				Why: s.Why, Verdict: verdict,
			})
		}
	}
	slices.SortFunc(out.Strays, func(a, b *msg.Stray) int {
		return strings.Compare(a.GetSite()+"/"+a.GetInstance(), b.GetSite()+"/"+b.GetInstance())
	})
	return out, nil
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
