package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Files reads what operators apply: it parses and checks files against what is applied already, and
// resolves deployable types. Relative paths in files are relative to dir. It is wired by the daemon.
type Files interface {
	// Plan compares files with what is applied. The specs are what would be applied: nil when nothing
	// differs. An error holds every problem of every file.
	Plan(view msg.RegistryView, pools map[epu.PoolID]msg.PoolView, dir string, files []*msg.File) (*msg.Plan, *msg.ApplySpecs, error)
}

// NodeInfo is what a node says of itself.
type NodeInfo struct {
	Name    string
	Version *msg.Version
	Started time.Time
	Roles   []string
	// APIBudget is how many calls a site may make now.
	APIBudget func(epu.SiteID) int
}

// Gateway brings commands and questions from outside to the actors they concern, and their answers
// back. It keeps nothing.
type Gateway struct {
	tree     *actors.Tree
	files    Files
	policies Policies
	info     NodeInfo
}

// New makes the gateway of a tree.
func New(tree *actors.Tree, files Files, policies Policies, info NodeInfo) *Gateway {
	return &Gateway{tree: tree, files: files, policies: policies, info: info}
}

// Ask answers one command or question.
func (g *Gateway) Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	switch m := body.(type) {
	case *msg.StatusQuery:
		return g.status(ctx, m)
	case *msg.InstancesQuery:
		return g.instances(ctx, m)
	case *msg.SensorsQuery:
		return g.sensors(ctx, m)
	case *msg.ExplainQuery:
		return g.explain(ctx, m)
	case *msg.WhatIfQuery:
		return g.whatIf(ctx, m)
	case *msg.ShadowQuery:
		return g.shadow(ctx, m)
	case *msg.SnapshotQuery:
		return g.snapshot(ctx, req, m)
	case *msg.DecisionsQuery:
		return g.decisions(ctx, m)
	case *msg.EventsQuery:
		return g.events(ctx, m)
	case *msg.DoctorQuery:
		return g.doctor(ctx)
	case *msg.VersionQuery:
		return g.info.Version, nil
	case *msg.SweepQuery:
		return g.strays(ctx, m)
	case *msg.PolicyVersionsQuery:
		return g.policyVersions(ctx, m)
	case *msg.PolicySourceQuery:
		return g.policySource(ctx, m)
	case *msg.PlanQuery:
		plan, _, err := g.plan(ctx, m.GetDir(), m.GetFiles())
		return plan, err
	}
	return g.command(ctx, req, body)
}

// ask sends a message to an actor and expects an answer of one type.
func ask[T any](ctx context.Context, g *Gateway, to msg.Address, m any) (T, error) {
	var none T
	answer, err := g.tree.Ask(ctx, to, m)
	if err != nil {
		return none, err
	}
	t, ok := answer.(T)
	if !ok {
		g.tree.Log.Error("unexpected answer", "actor", to, "question", fmt.Sprintf("%T", m), "answer", fmt.Sprintf("%T", answer))
		return none, epu.E(epu.Internal, "ask", string(to), errors.New("it gave an answer of another kind"))
	}
	return t, nil
}

func (g *Gateway) registry(ctx context.Context) (msg.RegistryView, error) {
	return ask[msg.RegistryView](ctx, g, actors.RegistryAddress, msg.RegistryQuery{})
}

// definedWait bounds how long a command waits until its pool's controller has heard of the newest
// definition: apply has answered by then, and whoever commands next relies on it.
const definedWait = 5 * time.Second

// defined waits until a pool's controller knows what was applied. A wait that runs out is no error: the
// controller answers for itself.
func (g *Gateway) defined(ctx context.Context, pool epu.PoolID) (msg.RegistryView, error) {
	bounded, cancel := context.WithDeadline(ctx, g.tree.Clock.Now().Add(definedWait))
	defer cancel()
	v, err := ask[msg.RegistryView](bounded, g, actors.RegistryAddress, msg.DefinedQuery{Pool: pool})
	if err != nil {
		return g.registry(ctx)
	}
	return v, nil
}

// sender is who gave a command.
func sender(req *msg.Request) msg.Sender {
	return msg.Sender{ID: req.GetId(), User: req.GetUser(), From: req.GetFrom()}
}

// toPool brings a command to a pool's controller.
func (g *Gateway) toPool(ctx context.Context, req *msg.Request, pool string, body any) (proto.Message, error) {
	v, err := g.defined(ctx, epu.PoolID(pool))
	if err != nil {
		return nil, err
	}
	if _, ok := v.Pools[epu.PoolID(pool)]; !ok {
		return nil, noPool(pool, v)
	}
	return ask[*msg.Done](ctx, g, msg.ControllerAddress(epu.DefaultOwner, epu.PoolID(pool)),
		msg.Command{Sender: sender(req), Body: body})
}

// knownPool refuses a name that no pool has.
func (g *Gateway) knownPool(ctx context.Context, pool string) error {
	v, err := g.registry(ctx)
	if err != nil {
		return err
	}
	if _, ok := v.Pools[epu.PoolID(pool)]; !ok {
		return noPool(pool, v)
	}
	return nil
}

// poolsNamed is how many pools an error lists.
const poolsNamed = 10

func noPool(pool string, v msg.RegistryView) error {
	err := epu.E(epu.NotFound, "find pool", pool, errors.New("there is no such pool"))
	names := slices.Sorted(maps.Keys(v.Pools))
	switch {
	case len(names) == 0:
		err.Try = "epumgmt apply -f FILE makes one; there is none yet"
	case len(names) > poolsNamed:
		err.Try = "epumgmt status lists the pools"
	default:
		err.Try = "epumgmt status lists the pools: " + listed(names)
	}
	return err
}

// listed writes names as people do.
func listed[S ~string](names []S) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}

// pools asks every controller for its view; one that does not answer is left out, with its error.
func (g *Gateway) pools(ctx context.Context, names []epu.PoolID) (map[epu.PoolID]msg.PoolView, map[epu.PoolID]error) {
	type answer struct {
		pool epu.PoolID
		view msg.PoolView
		err  error
	}
	answers := make(chan answer, len(names))
	for _, name := range names {
		go func() {
			v, err := ask[msg.PoolView](ctx, g, msg.ControllerAddress(epu.DefaultOwner, name), msg.PoolQuery{})
			answers <- answer{name, v, err}
		}()
	}
	views, failed := map[epu.PoolID]msg.PoolView{}, map[epu.PoolID]error{}
	for range names {
		if a := <-answers; a.err != nil {
			failed[a.pool] = a.err
		} else {
			views[a.pool] = a.view
		}
	}
	return views, failed
}

// sites asks one site or all for their views; each must answer.
func (g *Gateway) sites(ctx context.Context, only string) (map[epu.SiteID]msg.SiteView, error) {
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	out := map[epu.SiteID]msg.SiteView{}
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		if only != "" && string(site) != only {
			continue
		}
		if out[site], err = ask[msg.SiteView](ctx, g, msg.SiteAddress(site), msg.SiteQuery{}); err != nil {
			return nil, err
		}
	}
	if only != "" && len(out) == 0 {
		return nil, epu.E(epu.NotFound, "find site", only, errors.New("there is no such site"))
	}
	return out, nil
}

// poolsOf are the names of the pools that a question asks for, or of all, with what the registry knows.
func (g *Gateway) poolsOf(ctx context.Context, only ...string) (v msg.RegistryView, names []epu.PoolID, err error) {
	if v, err = g.registry(ctx); err != nil {
		return v, nil, err
	}
	for _, p := range only {
		if _, ok := v.Pools[epu.PoolID(p)]; p != "" && !ok {
			return v, nil, noPool(p, v)
		} else if ok {
			names = append(names, epu.PoolID(p))
		}
	}
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(v.Pools))
	}
	return v, names, nil
}

// sensors lists the sensors of one pool or all.
func (g *Gateway) sensors(ctx context.Context, q *msg.SensorsQuery) (proto.Message, error) {
	_, names, err := g.poolsOf(ctx, q.GetPool())
	if err != nil {
		return nil, err
	}
	out := &msg.Sensors{}
	for _, name := range names {
		s, err := ask[*msg.Sensors](ctx, g, msg.ControllerAddress(epu.DefaultOwner, name), msg.PoolSensorsQuery{})
		if err != nil {
			return nil, err
		}
		out.Sensors = append(out.Sensors, s.GetSensors()...)
	}
	return out, nil
}
