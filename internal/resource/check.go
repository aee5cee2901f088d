package resource

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// typeKey names a deployable type within its owner.
type typeKey struct {
	owner epu.Owner
	name  string
}

// poolKey names a pool within its owner.
type poolKey struct {
	owner epu.Owner
	name  epu.PoolID
}

// checkTexts checks the texts of a type in which variables are substituted.
func (p *parser) checkTexts(t epu.TypeSpec) {
	declared := slices.Sorted(maps.Keys(t.Variables))
	check := func(text, key string) {
		_, faults := expand(text, func(name string) string {
			spec, known := t.Variables[name]
			switch {
			case !known:
				problemAt(&p.log, t.Origins, key, fmt.Sprintf("${%s} is not declared in variables", name), strictyaml.DidYouMean(name, declared))
			case spec.Secret || spec.From != "":
				problemAt(&p.log, t.Origins, key, fmt.Sprintf("${%s} is a secret, and arguments show in process lists", name),
					"let the program read "+name+" from its environment")
			}
			return ""
		})
		for _, f := range faults {
			problemAt(&p.log, t.Origins, key, f.Text, f.Try)
		}
	}
	for site, at := range t.Sites {
		check(at.Image, fmt.Sprintf("sites.%s.image", site))
		for i, arg := range at.Args {
			check(arg, fmt.Sprintf("sites.%s.args[%d]", site, i))
		}
	}
	for i, word := range t.AgentRun {
		check(word, fmt.Sprintf("agent.run[%d]", i))
	}
}

// checkTogether checks pools against the types and sites that they name. Pools that the installation
// already has are checked too: a new version of their type must not break them.
func (p *parser) checkTogether(known Set) {
	sites := map[epu.SiteID]epu.Driver{}
	for _, s := range slices.Concat(known.Sites, p.set.Sites) {
		sites[s.Name] = s.Driver
	}
	types := map[typeKey]epu.TypeSpec{}
	for _, t := range slices.Concat(known.Types, p.set.Types) {
		types[typeKey{t.Owner, t.Name}] = t
	}
	changed := map[typeKey]bool{}
	for _, t := range p.set.Types {
		changed[typeKey{t.Owner, t.Name}] = true
	}
	replaced := map[poolKey]bool{}
	for _, pool := range p.set.Pools {
		replaced[poolKey{pool.Owner, pool.Name}] = true
		p.checkPool(pool, types, sites)
	}
	for _, pool := range known.Pools {
		if !replaced[poolKey{pool.Owner, pool.Name}] && changed[typeKey{pool.Owner, pool.DeployableType}] {
			p.checkPool(pool, types, sites)
		}
	}
}

// checkPool checks one pool against its type and sites.
func (p *parser) checkPool(pool epu.PoolSpec, types map[typeKey]epu.TypeSpec, sites map[epu.SiteID]epu.Driver) {
	p.checkPlaces(pool, sites)
	if pool.DeployableType == "" {
		return
	}
	typ, ok := types[typeKey{pool.Owner, pool.DeployableType}]
	if !ok && p.unread[pool.DeployableType] {
		return
	}
	if !ok {
		var names []string
		for k := range types {
			if k.owner == pool.Owner {
				names = append(names, k.name)
			}
		}
		slices.Sort(names)
		problemAt(&p.log, pool.Origins, "deployable_type", fmt.Sprintf("there is no deployable type %s", pool.DeployableType),
			suggestOr(pool.DeployableType, names, "give its file too"))
		return
	}
	if pool.Health.Source == epu.HealthAgent && len(typ.AgentRun) == 0 {
		problemAt(&p.log, pool.Origins, "health.source", fmt.Sprintf("agent, but deployable type %s has no agent: no worker would ever be heard", typ.Name),
			"`agent: {run: [...]}` in the type, or `health: {source: process}`")
	}
	r := resolver{pool: pool, typ: typ, log: &p.log}
	for _, place := range pool.Placement {
		if _, ok := sites[place.Site]; ok {
			r.launch(place, nil)
		}
	}
}

// checkPlaces checks that a pool's sites exist and sell what it wants.
func (p *parser) checkPlaces(pool epu.PoolSpec, sites map[epu.SiteID]epu.Driver) {
	for i, place := range pool.Placement {
		key := fmt.Sprintf("placement[%d]", i)
		driver, ok := sites[place.Site]
		switch {
		case place.Site == "" || !ok && p.unread[string(place.Site)]:
		case !ok:
			names := make([]string, 0, len(sites))
			for s := range sites {
				names = append(names, string(s))
			}
			slices.Sort(names)
			problemAt(&p.log, pool.Origins, key+".site", fmt.Sprintf("there is no site %s", place.Site),
				suggestOr(string(place.Site), names, "give its file too"))
		case driver == epu.DriverLocal && place.Market != "" && place.Market != epu.OnDemand:
			problemAt(&p.log, pool.Origins, key+".market", fmt.Sprintf("site %s is local: its processes are not sold as %s", place.Site, place.Market),
				"leave market out")
		}
	}
}

// suggestOr suggests the nearest name, or something else when none is near.
func suggestOr(name string, names []string, otherwise string) string {
	if c := strictyaml.Closest(name, names); c != "" {
		return "did you mean " + c + "?"
	}
	return otherwise
}
