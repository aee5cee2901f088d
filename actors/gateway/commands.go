package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// command carries out an operator's order.
func (g *Gateway) command(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	switch m := body.(type) {
	case *msg.Apply:
		return g.apply(ctx, req, m)
	case *msg.PolicyApply:
		return g.ApplyPolicy(ctx, req, m, epu.PolicyApplied)
	case *msg.PolicyRollback:
		return g.rollBack(ctx, req, m)
	case *msg.Scale:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Reconfigure:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.FreezeCommand:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Thaw:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Shadow:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.SensorPush:
		return g.toPool(ctx, req, m.GetPool(), m)
	case *msg.Kill:
		return g.toWorker(ctx, req, "kill", m.GetInstance(), m)
	case *msg.Drain:
		return g.toWorker(ctx, req, "drain", m.GetInstance(), m)
	case *msg.Resume:
		return g.toWorker(ctx, req, "resume", m.GetInstance(), m)
	case *msg.Protect:
		return g.toWorker(ctx, req, "protect", m.GetInstance(), m)
	case *msg.Unprotect:
		return g.toWorker(ctx, req, "unprotect", m.GetInstance(), m)
	case *msg.Replace:
		return g.toWorker(ctx, req, "replace", m.GetInstance(), m)
	case *msg.Remove:
		return g.remove(ctx, req, m)
	case *msg.TerminateAll:
		return g.terminateAll(ctx, req, m)
	case *msg.Enable:
		return g.enable(ctx, req)
	case *msg.Sweep:
		return g.audited(req, "sweep", m.GetInstances())(g.sweep(ctx, m))
	case *msg.Adopt:
		return g.audited(req, "adopt", m.GetInstances())(g.adopt(ctx, m))
	case *msg.EndRecovery:
		return g.audited(req, "end-recovery", nil)(g.endRecovery(ctx))
	}
	return nil, epu.E(epu.Invalid, "carry out", msg.NameOf(body), errors.New("this node does not know it"))
}

// audited records a command that no single actor records, once it was carried out.
func (g *Gateway) audited(req *msg.Request, name string, on []string) func(proto.Message, error) (proto.Message, error) {
	return func(answer proto.Message, err error) (proto.Message, error) {
		if err != nil {
			return answer, err
		}
		data, merr := json.Marshal(sender(req).Audit(map[string]any{"instances": on}))
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
		specs.Sender = sender(req)
		if _, err := ask[*msg.Done](ctx, g, actors.RegistryAddress, *specs); err != nil {
			return nil, err
		}
		for _, p := range specs.Pools { // who asks next must not find the pool as it was before
			if _, err := g.defined(ctx, p.Spec.Name); err != nil {
				break // it is applied all the same
			}
		}
	}
	return &msg.Applied{Changes: plan.GetChanges()}, nil
}

// toWorker brings an order to the controller whose worker it names, looking in every pool: operators know
// instances, not pools.
func (g *Gateway) toWorker(ctx context.Context, req *msg.Request, verb, instance string, body any) (proto.Message, error) {
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	views, failed := g.pools(ctx, slices.Sorted(maps.Keys(v.Pools)))
	for pool, view := range views {
		for _, w := range view.Workers {
			if string(w.ID) == instance || w.Instance != "" && string(w.Instance) == instance {
				return g.toPool(ctx, req, string(pool), body)
			}
		}
	}
	for _, err := range failed { // it may be one of theirs
		return nil, err
	}
	none := epu.E(epu.NotFound, verb, instance, errors.New("no pool has such a worker"))
	none.Try = "epumgmt instances"
	return nil, none
}

func (g *Gateway) remove(ctx context.Context, req *msg.Request, m *msg.Remove) (proto.Message, error) {
	if err := g.knownPool(ctx, m.GetPool()); err != nil {
		return nil, err
	}
	return ask[*msg.Done](ctx, g, actors.RegistryAddress,
		msg.RemovePool{Owner: epu.DefaultOwner, Pool: epu.PoolID(m.GetPool()), Sender: sender(req)})
}

// terminateAll turns the switch and says what is left: every machine that a site still lists or may
// still get, by site.
func (g *Gateway) terminateAll(ctx context.Context, req *msg.Request, m *msg.TerminateAll) (proto.Message, error) {
	done, err := ask[*msg.Done](ctx, g, actors.RegistryAddress,
		msg.SwitchEndAll{On: true, ProtectedToo: m.GetProtectedToo(), Sender: sender(req)})
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
			out.Left = append(out.Left, fmt.Sprintf("pool %s: launches that are not settled yet: %d", pool, n))
		}
	}
	g.sitesLeft(ctx, v, views, m.GetProtectedToo(), out)
	return out, nil
}

// sitesLeft adds what sites still have beyond the workers of pools. What belongs to protected pools is to
// stay, and is not named.
func (g *Gateway) sitesLeft(ctx context.Context, v msg.RegistryView, pools map[epu.PoolID]msg.PoolView, protectedToo bool, out *msg.Done) {
	stays := func(pool epu.PoolID) bool { return !protectedToo && v.Pools[pool].Spec.Protected }
	workers := map[epu.SiteID]int{} // that a pool counts
	unsure := ""                    // a pool that may have machines which nobody counts now
	for _, pool := range slices.Sorted(maps.Keys(v.Pools)) {
		view, said := pools[pool]
		if !said && stays(pool) {
			unsure = string(pool)
		}
		for _, w := range view.Workers {
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
		counted := view.Condemned + workers[site]
		for _, s := range view.Strays {
			if s.Slotted {
				counted++
			}
			switch {
			case stays(s.Pool) && !s.Condemned:
			case s.Condemned:
				out.Left = append(out.Left, fmt.Sprintf("%s at %s, of no worker: %s", s.Instance, site, s.Why))
			default:
				out.Left = append(out.Left, fmt.Sprintf("%s at %s, left alone: %s (epumgmt sweep)", s.Instance, site, s.Why))
			}
		}
		switch n := view.Instances - counted; {
		case n <= 0:
		case unsure != "":
			out.Left = append(out.Left, fmt.Sprintf("site %s: %s, unless pool %s counts them, which can't say and is protected",
				site, epu.Plural(n, "machine"), unsure))
		default:
			out.Left = append(out.Left, fmt.Sprintf("site %s: %s without a pool that counts them", site, epu.Plural(n, "machine")))
		}
	}
}

func (g *Gateway) enable(ctx context.Context, req *msg.Request) (proto.Message, error) {
	done, err := ask[*msg.Done](ctx, g, actors.RegistryAddress, msg.SwitchEndAll{Sender: sender(req)})
	if err != nil {
		return nil, err
	}
	done.Text = "launching is on"
	return done, nil
}
