package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
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
func (g *Gateway) sweep(ctx context.Context, m *msg.Sweep) (proto.Message, error) {
	views, err := g.sites(ctx, m.GetSite())
	if err != nil {
		return nil, err
	}
	named, err := straysNamed("sweep", views, m.GetInstances(), true)
	if err != nil {
		return nil, err
	}
	out := &msg.Done{}
	for _, site := range slices.Sorted(maps.Keys(views)) {
		var here []epu.InstanceID
		for _, s := range views[site].Strays {
			if named[s.Instance] && !s.Condemned {
				here = append(here, s.Instance)
			}
		}
		if len(here) == 0 {
			continue
		}
		if views[site].Spec.DryRun {
			return nil, epu.E(epu.Conflict, "sweep", listed(here), errors.New("site "+string(site)+" is in dry run: nothing is ended there"))
		}
		swept, err := ask[msg.Swept](ctx, g, msg.SiteAddress(site), msg.SweepSite{Instances: here})
		if err != nil {
			return nil, err
		}
		out.Changed = out.Changed || len(swept.Condemned) > 0
		for _, id := range swept.Refused {
			out.Left = append(out.Left, string(id)+" is no stray any more")
		}
	}
	out.Text = epu.Plural(len(named)-len(out.Left), "machine") + " being ended"
	return out, nil
}

// straysNamed gives the strays that an order names. A name that is none refuses all of it before anything is
// done, since what an order did that failed is in no audit.
func straysNamed(verb string, views map[epu.SiteID]msg.SiteView, ids []string, condemnedToo bool) (map[epu.InstanceID]bool, error) {
	there := map[epu.InstanceID]bool{}
	for _, v := range views {
		for _, s := range v.Strays {
			there[s.Instance] = condemnedToo || !s.Condemned
		}
	}
	named := map[epu.InstanceID]bool{}
	var none []string
	for _, id := range ids {
		if named[epu.InstanceID(id)] = true; !there[epu.InstanceID(id)] {
			none = append(none, id)
		}
	}
	if len(none) == 0 {
		return named, nil
	}
	err := epu.E(epu.NotFound, verb, listed(none), errors.New("no site lists "+them(len(none))+" as stray"))
	err.Try = "epumgmt sweep lists the strays"
	return nil, err
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// adopt gives stray machines to a pool.
func (g *Gateway) adopt(ctx context.Context, m *msg.Adopt) (proto.Message, error) {
	if err := g.knownPool(ctx, m.GetPool()); err != nil {
		return nil, err
	}
	views, err := g.sites(ctx, "")
	if err != nil {
		return nil, err
	}
	named, err := straysNamed("adopt", views, m.GetInstances(), false)
	if err != nil {
		return nil, err
	}
	out := &msg.Done{}
	for _, site := range slices.Sorted(maps.Keys(views)) {
		for _, s := range views[site].Strays {
			if s.Condemned || len(named) > 0 && !named[s.Instance] || len(named) == 0 && string(s.Pool) != m.GetPool() {
				continue
			}
			done, err := ask[*msg.Done](ctx, g, msg.ControllerAddress(epu.DefaultOwner, epu.PoolID(m.GetPool())),
				msg.AdoptMachine{Site: site, Instance: s.Instance})
			if err != nil {
				return nil, err
			}
			out.Changed = out.Changed || done.GetChanged()
			out.Text = done.GetText()
		}
	}
	if !out.Changed {
		out.Text = "there is nothing to adopt"
	}
	return out, nil
}

// endRecovery durably ends recovery, in a new epoch above any that a machine tells of, and tells every actor.
// Launches, workers and tokens carry their epoch, so none of a lost life is made a second time.
func (g *Gateway) endRecovery(ctx context.Context) (proto.Message, error) {
	sites, err := g.sites(ctx, "")
	if err != nil {
		return nil, err
	}
	meta := g.tree.Journal.Meta()
	recovering, highest := meta.Recovery, meta.Epoch
	for _, site := range sites {
		recovering = recovering || site.Recovery
		for _, s := range site.Strays {
			if _, epoch, _, ok := s.Launch.Parse(); ok {
				highest = max(highest, epoch)
			}
		}
	}
	if !recovering {
		return &msg.Done{Text: "the store is not in recovery"}, nil
	}
	next := highest + 1
	if err := g.tree.Journal.BeginEpoch(ctx, next); err != nil {
		return nil, epu.E(epu.Unavailable, "end recovery", "", err)
	}
	if _, err := ask[*msg.Done](ctx, g, actors.RegistryAddress, msg.RecoveryEnded{Epoch: next}); err != nil {
		return nil, err
	}
	return &msg.Done{Changed: true, Text: fmt.Sprintf("recovery has ended: pools act again, in epoch %d", next)}, nil
}
