package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/time/rate"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
	"github.com/nimbus-epu/epu/internal/secret"
)

// siteExecutor carries out a site's calls against its provider. Secrets and what differs from node to
// node are filled in just before a call, and the node keeps them nowhere.
type siteExecutor struct {
	provider iaas.Provider
	budget   *rate.Limiter // of calls, shared by everything that asks this account and region
	getenv   func(string) string
	nodes    func() []string // base URLs that agents dial
	caFile   string          // on agents' machines: who vouches for the nodes; empty = the system's authorities
	sign     func(owner epu.Owner, pool epu.PoolID, launch epu.LaunchID) string
}

// Do carries out one call.
func (s *siteExecutor) Do(ctx context.Context, call any) (any, error) {
	if c, ok := call.(actors.PrepareCall); ok {
		req, err := s.fill(c.Request)
		if err != nil {
			return nil, err
		}
		return req.Digest(), nil
	}
	if err := s.budget.Wait(ctx); err != nil {
		return nil, epu.E(epu.Throttled, "wait for the call budget of", "the site", err)
	}
	switch c := call.(type) {
	case actors.RunCall:
		req, err := s.fill(c.Request)
		if err != nil {
			return nil, err
		}
		if req.Digest() != c.Digest {
			return nil, epu.E(epu.Conflict, "launch", string(c.Launch),
				errors.New("a secret or this node's address changed since the request was prepared"))
		}
		return s.provider.Launch(ctx, req)
	case actors.ListCall:
		return s.provider.List(ctx, iaas.ListRequest{Tags: c.Tags})
	case actors.FindCall:
		return s.provider.List(ctx, iaas.ListRequest{IDs: c.IDs})
	case actors.OffersCall:
		return s.provider.Offers(ctx)
	case actors.EndCall:
		return nil, s.provider.Terminate(ctx, c.IDs)
	}
	return nil, epu.E(epu.Internal, "carry out", fmt.Sprintf("%T", call), errors.New("a site has no such call"))
}

// fill makes the request's exact bytes: secrets read, placeholders of the user data replaced.
func (s *siteExecutor) fill(req iaas.LaunchRequest) (iaas.LaunchRequest, error) {
	vars := make(map[string]epu.Var, len(req.Vars))
	for name, v := range req.Vars {
		value, err := secret.Read(v, s.getenv)
		if err != nil {
			return req, epu.E(epu.Invalid, "read variable", name, err)
		}
		vars[name] = epu.Var{Value: value, Secret: v.Secret}
	}
	req.Vars = vars
	if req.UserData != "" {
		keeper := strings.Split(req.Tags[iaas.TagKeeper], "/")
		if len(keeper) != 3 {
			return req, epu.E(epu.Internal, "prepare", string(req.Token), fmt.Errorf("keeper tag %q", req.Tags[iaas.TagKeeper]))
		}
		token := s.sign(epu.Owner(keeper[1]), epu.PoolID(keeper[2]), epu.LaunchID(req.Tags[iaas.TagLaunch]))
		req.UserData = actors.FillUserData(req.UserData, token, s.nodes(), s.caFile)
	}
	return req, nil
}

// provider makes the provider of a site.
func (n *Node) provider(spec epu.SiteSpec) (iaas.Provider, error) {
	if spec.Driver != epu.DriverLocal {
		return nil, epu.E(epu.Invalid, "use site", string(spec.Name), fmt.Errorf("driver %s is not supported yet", spec.Driver))
	}
	folder := spec.Folder
	if folder == "" {
		folder = filepath.Join(n.conf.DataDir, "sites", string(spec.Name))
	}
	p, err := local.New(folder, local.Options{
		Clock:    n.opts.Clock.Now,
		Programs: map[string][]string{"epu-agent": {"/proc/self/exe", AgentCommand}},
	})
	if err != nil {
		return nil, err
	}
	if spec.DryRun {
		return iaas.DryRun(p), nil
	}
	return p, nil
}

// Site makes the executor of a site.
func (n *Node) Site(spec epu.SiteSpec) (actors.Executor, error) {
	p, err := n.provider(spec)
	if err != nil {
		return nil, err
	}
	budget := rate.NewLimiter(rate.Limit(spec.APIPerSecond), spec.APIBurst)
	n.budgets.Store(spec.Name, budget)
	exec := &siteExecutor{
		provider: p, budget: budget, getenv: n.opts.Getenv, nodes: n.agentURLs, caFile: n.conf.TLS.AgentCA,
		sign: func(owner epu.Owner, pool epu.PoolID, launch epu.LaunchID) string {
			return n.signer.Bootstrap(n.journal.Meta().Installation, owner, pool, launch)
		},
	}
	return exec.Do, nil
}

// apiBudget is how many calls a site may make now.
func (n *Node) apiBudget(site epu.SiteID) int {
	b, ok := n.budgets.Load(site)
	if !ok {
		return 0
	}
	return max(0, int(b.(*rate.Limiter).TokensAt(n.opts.Clock.Now())))
}
