package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
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
	tree  *Tree
	files Files
	info  NodeInfo
}

// NewGateway makes the gateway of a tree.
func NewGateway(tree *Tree, files Files, info NodeInfo) *Gateway {
	return &Gateway{tree: tree, files: files, info: info}
}

// Ask answers one command or question.
func (g *Gateway) Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	switch m := body.(type) {
	case *msg.StatusQuery:
		return g.status(ctx, m)
	case *msg.InstancesQuery:
		return g.instances(ctx, m)
	case *msg.ExplainQuery:
		return g.explain(ctx, m)
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
	case *msg.PlanQuery:
		plan, _, err := g.plan(ctx, m.GetDir(), m.GetFiles())
		return plan, err
	}
	return g.command(ctx, req, body)
}

// command carries out an operator's order.
func (g *Gateway) command(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	switch m := body.(type) {
	case *msg.Apply:
		return g.apply(ctx, req, m)
	case *msg.Scale:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Reconfigure:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.FreezeCommand:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Thaw:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Kill:
		return g.kill(ctx, req, m)
	case *msg.Remove:
		return g.remove(ctx, req, m)
	case *msg.TerminateAll:
		return g.terminateAll(ctx, req, m)
	case *msg.Enable:
		return g.enable(ctx, req)
	case *msg.Sweep:
		return g.audited(req, "sweep", m.GetInstances())(g.sweep(ctx, req, m))
	case *msg.Adopt:
		return g.audited(req, "adopt", m.GetInstances())(g.adopt(ctx, req, m))
	case *msg.EndRecovery:
		return g.audited(req, "end-recovery", nil)(g.endRecovery(ctx))
	}
	return nil, epu.E(epu.Invalid, "carry out", fmt.Sprintf("%T", body), errors.New("this node does not know it"))
}

// audited records a command that no single actor records, once it was carried out.
func (g *Gateway) audited(req *msg.Request, name string, on []string) func(proto.Message, error) (proto.Message, error) {
	return func(answer proto.Message, err error) (proto.Message, error) {
		if err != nil {
			return answer, err
		}
		data, merr := json.Marshal(map[string]any{"command": req.GetId(), "user": req.GetUser(), "instances": on})
		if merr != nil {
			panic("audit data is plain and always has a JSON form: " + merr.Error())
		}
		r := persistence.Record{
			ID: g.tree.NewID(), Kind: persistence.KindAudit, Name: name, Owner: epu.DefaultOwner, Time: g.tree.Clock.Now(), Data: data,
		}
		g.tree.History.Record(r)
		g.tree.Events.Publish(r)
		return answer, nil
	}
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
		return none, epu.E(epu.Internal, "ask", string(to), fmt.Errorf("unexpected answer %T", answer))
	}
	return t, nil
}

func (g *Gateway) registry(ctx context.Context) (msg.RegistryView, error) {
	return ask[msg.RegistryView](ctx, g, RegistryAddress, msg.RegistryQuery{})
}

// toPool brings a command to a pool's controller.
func (g *Gateway) toPool(ctx context.Context, req *msg.Request, pool string, body any) (proto.Message, error) {
	if err := g.knownPool(ctx, pool); err != nil {
		return nil, err
	}
	return ask[*msg.Done](ctx, g, msg.ControllerAddress(epu.DefaultOwner, epu.PoolID(pool)),
		msg.Command{ID: req.GetId(), User: req.GetUser(), Body: body})
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

func noPool(pool string, v msg.RegistryView) error {
	err := epu.E(epu.NotFound, "find pool", pool, errors.New("there is no such pool"))
	names := slices.Sorted(maps.Keys(v.Pools))
	err.Try = "epumgmt apply -f FILE makes one; there is none yet"
	if len(names) > 0 {
		err.Try = fmt.Sprintf("epumgmt status lists the pools: %v", names)
	}
	return err
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

func (g *Gateway) plan(ctx context.Context, dir string, files []*msg.File) (*msg.Plan, *msg.ApplySpecs, error) {
	v, err := g.registry(ctx)
	if err != nil {
		return nil, nil, err
	}
	views, _ := g.pools(ctx, slices.Sorted(maps.Keys(v.Pools)))
	return g.files.Plan(v, views, dir, files)
}

func (g *Gateway) apply(ctx context.Context, req *msg.Request, m *msg.Apply) (proto.Message, error) {
	plan, specs, err := g.plan(ctx, m.GetDir(), m.GetFiles())
	if err != nil {
		return nil, err
	}
	if m.GetIndex() != "" && m.GetIndex() != plan.GetIndex() {
		err := epu.E(epu.Conflict, "apply", "the plan", errors.New("what is applied or configured has changed since the plan was made"))
		err.Try = "look at a new plan, then apply it"
		return nil, err
	}
	if specs != nil {
		specs.ID, specs.By = req.GetId(), req.GetUser()
		if _, err := ask[*msg.Done](ctx, g, RegistryAddress, *specs); err != nil {
			return nil, err
		}
	}
	return &msg.Applied{Changes: plan.GetChanges()}, nil
}

// kill looks for the worker in every pool: operators know instances, not pools.
func (g *Gateway) kill(ctx context.Context, req *msg.Request, m *msg.Kill) (proto.Message, error) {
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	views, failed := g.pools(ctx, slices.Sorted(maps.Keys(v.Pools)))
	for pool, view := range views {
		for _, w := range view.Workers {
			if string(w.ID) == m.GetInstance() || w.Instance != "" && string(w.Instance) == m.GetInstance() {
				return g.toPool(ctx, req, string(pool), m)
			}
		}
	}
	for _, err := range failed { // it may be one of theirs
		return nil, err
	}
	kerr := epu.E(epu.NotFound, "kill", m.GetInstance(), errors.New("no pool has such a worker"))
	kerr.Try = "epumgmt instances"
	return nil, kerr
}

func (g *Gateway) remove(ctx context.Context, req *msg.Request, m *msg.Remove) (proto.Message, error) {
	if err := g.knownPool(ctx, m.GetPool()); err != nil {
		return nil, err
	}
	return ask[*msg.Done](ctx, g, RegistryAddress,
		msg.RemovePool{Owner: epu.DefaultOwner, Pool: epu.PoolID(m.GetPool()), ID: req.GetId(), By: req.GetUser()})
}

// terminateAll turns the switch and says what is left: every machine that a site still lists or may
// still get, by site.
func (g *Gateway) terminateAll(ctx context.Context, req *msg.Request, m *msg.TerminateAll) (proto.Message, error) {
	done, err := ask[*msg.Done](ctx, g, RegistryAddress,
		msg.SwitchEndAll{On: true, ProtectedToo: m.GetProtectedToo(), ID: req.GetId(), By: req.GetUser()})
	if err != nil {
		return nil, err
	}
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	out := &msg.Done{Changed: done.GetChanged(), Text: "launching is switched off; epumgmt enable switches it on again"}
	views, failed := g.pools(ctx, slices.Sorted(maps.Keys(v.Pools)))
	for _, pool := range slices.Sorted(maps.Keys(v.Pools)) {
		if p := v.Pools[pool]; p.Spec.Protected && !m.GetProtectedToo() {
			continue
		}
		if err := failed[pool]; err != nil {
			out.Left = append(out.Left, fmt.Sprintf("pool %s can't say: %v", pool, err))
			continue
		}
		if !views[pool].EndAll {
			out.Left = append(out.Left, fmt.Sprintf("pool %s has not heard of it yet", pool))
		}
		for _, w := range views[pool].Workers {
			out.Left = append(out.Left, fmt.Sprintf("%s %s at %s: %s", w.ID, w.Instance, w.Site, w.State.Word()))
		}
		if n := views[pool].Launches; n > 0 && len(views[pool].Workers) == 0 {
			out.Left = append(out.Left, fmt.Sprintf("pool %s: %d launches are not settled yet", pool, n))
		}
	}
	g.sitesLeft(ctx, v, views, out)
	return out, nil
}

// sitesLeft adds what sites still have beyond the workers of pools.
func (g *Gateway) sitesLeft(ctx context.Context, v msg.RegistryView, pools map[epu.PoolID]msg.PoolView, out *msg.Done) {
	workers := map[epu.SiteID]int{}
	for _, p := range pools {
		for _, w := range p.Workers {
			workers[w.Site]++
		}
	}
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		view, err := ask[msg.SiteView](ctx, g, msg.SiteAddress(site), msg.SiteQuery{})
		switch {
		case err != nil:
			out.Left = append(out.Left, fmt.Sprintf("site %s can't say: %v", site, err))
			continue
		case !view.Synced:
			out.Left = append(out.Left, fmt.Sprintf("site %s has not been listed yet", site))
		}
		for _, s := range view.Strays {
			if s.Condemned {
				out.Left = append(out.Left, fmt.Sprintf("%s at %s, of no worker: %s", s.Instance, site, s.Why))
			} else {
				out.Left = append(out.Left, fmt.Sprintf("%s at %s, left alone: %s (epumgmt sweep)", s.Instance, site, s.Why))
			}
		}
		if n := view.Instances - view.Condemned - workers[site]; n > 0 {
			out.Left = append(out.Left, fmt.Sprintf("site %s: %d machines that no pool counts any more", site, n))
		}
	}
}

func (g *Gateway) enable(ctx context.Context, req *msg.Request) (proto.Message, error) {
	done, err := ask[*msg.Done](ctx, g, RegistryAddress, msg.SwitchEndAll{ID: req.GetId(), By: req.GetUser()})
	if err != nil {
		return nil, err
	}
	done.Text = "launching is on"
	return done, nil
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
