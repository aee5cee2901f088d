package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

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

// sweep condemns stray machines that the operator named, at the sites that list them.
func (g *Gateway) sweep(ctx context.Context, req *msg.Request, m *msg.Sweep) (proto.Message, error) {
	views, err := g.sites(ctx, m.GetSite())
	if err != nil {
		return nil, err
	}
	left := map[string]bool{}
	for _, id := range m.GetInstances() {
		left[id] = true
	}
	out := &msg.Done{}
	for _, site := range slices.Sorted(maps.Keys(views)) {
		var here []epu.InstanceID
		for _, s := range views[site].Strays {
			if left[string(s.Instance)] && !s.Condemned {
				here = append(here, s.Instance)
			}
			if s.Condemned {
				delete(left, string(s.Instance))
			}
		}
		if len(here) == 0 {
			continue
		}
		swept, err := ask[msg.Swept](ctx, g, msg.SiteAddress(site), msg.SweepSite{Instances: here})
		if err != nil {
			return nil, err
		}
		for _, id := range swept.Condemned {
			out.Changed = true
			delete(left, string(id))
		}
	}
	if len(left) > 0 {
		err := epu.E(epu.NotFound, "sweep", fmt.Sprint(slices.Sorted(maps.Keys(left))), errors.New("no site lists them as stray"))
		err.Try = "epumgmt sweep lists the strays"
		return nil, err
	}
	out.Text = fmt.Sprintf("%d machines are being ended", len(m.GetInstances()))
	return out, nil
}

// adopt gives stray machines to a pool.
func (g *Gateway) adopt(ctx context.Context, req *msg.Request, m *msg.Adopt) (proto.Message, error) {
	if err := g.knownPool(ctx, m.GetPool()); err != nil {
		return nil, err
	}
	views, err := g.sites(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &msg.Done{}
	wanted := map[string]bool{}
	for _, id := range m.GetInstances() {
		wanted[id] = true
	}
	for _, site := range slices.Sorted(maps.Keys(views)) {
		for _, s := range views[site].Strays {
			if s.Condemned || len(wanted) > 0 && !wanted[string(s.Instance)] || len(wanted) == 0 && string(s.Pool) != m.GetPool() {
				continue
			}
			done, err := ask[*msg.Done](ctx, g, msg.ControllerAddress(epu.DefaultOwner, epu.PoolID(m.GetPool())),
				msg.AdoptMachine{Site: site, Instance: s.Instance})
			if err != nil {
				return nil, err
			}
			out.Changed = out.Changed || done.GetChanged()
			delete(wanted, string(s.Instance))
			out.Text = done.GetText()
		}
	}
	if len(wanted) > 0 {
		err := epu.E(epu.NotFound, "adopt", fmt.Sprint(slices.Sorted(maps.Keys(wanted))), errors.New("no site lists them as stray"))
		err.Try = "epumgmt sweep lists the strays"
		return nil, err
	}
	if !out.Changed {
		out.Text = "there is nothing to adopt"
	}
	return out, nil
}

// endRecovery durably ends recovery and tells every actor.
func (g *Gateway) endRecovery(ctx context.Context) (proto.Message, error) {
	if err := g.tree.Journal.SetRecovery(ctx, false); err != nil {
		return nil, epu.E(epu.Unavailable, "end recovery", "", err)
	}
	v, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	ended := msg.RecoveryEnded{Epoch: g.tree.Journal.Meta().Epoch}
	for site := range v.Sites {
		g.tree.send(msg.SiteAddress(site), nil, ended)
	}
	for pool := range v.Pools {
		g.tree.send(msg.ControllerAddress(epu.DefaultOwner, pool), nil, ended)
	}
	return &msg.Done{Changed: true, Text: "recovery has ended: pools act again"}, nil
}
