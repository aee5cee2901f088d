package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/internal/resource"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// files reads what operators apply. It implements gateway.Files.
type files struct {
	shelf   *engine.Shelf
	tick    resource.Options // defaults of parsing
	offline bool             // nobody keeps versions here: what a pool pins can't be known
}

// Plan compares files with what is applied.
func (f *files) Plan(view msg.RegistryView, pools map[epu.PoolID]msg.PoolView, dir string, given []*msg.File) (*msg.Plan, *msg.ApplySpecs, error) {
	known := knownSet(view)
	opts := f.tick
	opts.Known, opts.Dir = known, dir
	in := make([]resource.File, len(given))
	for i, g := range given {
		in[i] = resource.File{Path: g.GetPath(), Content: g.GetContent()}
	}
	set, problems := resource.Parse(in, opts)
	p := &planning{files: f, view: view, pools: pools, set: set, specs: &msg.ApplySpecs{Gen: view.Gen}, pins: map[epu.PoolID]string{}}
	for _, spec := range set.Pools {
		p.pins[spec.Name] = p.checkPolicy(spec) // also when files have other faults: whoever mends them wants to do it once
	}
	if problems = append(problems, p.problems...); len(problems) == 0 {
		p.run()
		problems = p.problems
	}
	if len(problems) > 0 {
		paths := make([]string, len(in))
		for i, g := range in {
			paths[i] = g.Path
		}
		return nil, nil, refusal("check the files", strictyaml.Sort(problems, paths...))
	}
	plan := &msg.Plan{Changes: p.changes, Index: index(view, pools)}
	if len(p.specs.Pools)+len(p.specs.Sites)+len(p.specs.Types) == 0 {
		return plan, nil, nil
	}
	return plan, p.specs, nil
}

// index names the state that a plan was made from: what is applied, and what operators changed since.
func index(view msg.RegistryView, pools map[epu.PoolID]msg.PoolView) string {
	h := sha256.New()
	fmt.Fprintln(h, view.Gen)
	for _, id := range slices.Sorted(maps.Keys(pools)) {
		raw, err := json.Marshal(pools[id].Overrides) // maps are written in the order of their keys
		if err != nil {
			panic("overrides are plain data and always have a JSON form: " + err.Error())
		}
		fmt.Fprintf(h, "%s %s\n", id, raw)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func knownSet(view msg.RegistryView) resource.Set {
	var s resource.Set
	for _, id := range slices.Sorted(maps.Keys(view.Pools)) {
		if p := view.Pools[id]; !p.Removing {
			s.Pools = append(s.Pools, p.Spec)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(view.Sites)) {
		s.Sites = append(s.Sites, view.Sites[id])
	}
	for _, id := range slices.Sorted(maps.Keys(view.Types)) {
		s.Types = append(s.Types, view.Types[id])
	}
	return s
}

// planning is the making of one plan.
type planning struct {
	files    *files
	view     msg.RegistryView
	pools    map[epu.PoolID]msg.PoolView
	set      resource.Set
	specs    *msg.ApplySpecs
	pins     map[epu.PoolID]string // hashes of the versions that the files' pools pin
	changes  []*msg.Change
	problems []strictyaml.Problem
}

// run plans every document of files that have no faults of their own.
func (p *planning) run() {
	types := maps.Clone(p.view.Types)
	if types == nil {
		types = map[string]epu.TypeSpec{}
	}
	for i := range p.set.Sites {
		s := p.set.Sites[i]
		old, had := p.view.Sites[s.Name]
		if differs(p, "site", string(s.Name), had, &old, &s, "") {
			p.specs.Sites = append(p.specs.Sites, s)
		}
	}
	for i := range p.set.Types {
		t := p.set.Types[i]
		types[t.Name] = t
		old, had := p.view.Types[t.Name]
		if differs(p, "deployable-type", t.Name, had, &old, &t, "workers launched from now on use it") {
			p.specs.Types = append(p.specs.Types, t)
		}
	}
	inFiles := map[epu.PoolID]bool{}
	for _, spec := range p.set.Pools {
		inFiles[spec.Name] = true
		p.pool(spec, types)
	}
	// Pools that the files don't name, but whose deployable type they change, are resolved anew.
	for _, id := range slices.Sorted(maps.Keys(p.view.Pools)) {
		old := p.view.Pools[id]
		if _, changed := typeIn(p.specs.Types, old.Spec.DeployableType); changed && !inFiles[id] && !old.Removing {
			if launches := p.resolve(old.Spec, types); !reflect.DeepEqual(launches, old.Launches) {
				p.specs.Pools = append(p.specs.Pools, msg.PoolEntry{Spec: old.Spec, Launches: launches, Version: old.Version, ConfGen: old.ConfGen})
			}
		}
	}
}

// keep has a pinned version kept that only the node's library has so far.
func (p *planning) keep(name, pinned string) {
	has := func(v epu.PolicyVersion) bool { return v.Name == name && v.Hash == pinned }
	if pinned == "" || slices.ContainsFunc(p.view.Policies[name].Kept, has) || slices.ContainsFunc(p.specs.Keep, has) {
		return
	}
	if v, err := p.files.shelf.Stored(name); err == nil {
		p.specs.Keep = append(p.specs.Keep, v)
	}
}

func typeIn(types []epu.TypeSpec, name string) (epu.TypeSpec, bool) {
	for _, t := range types {
		if t.Name == name {
			return t, true
		}
	}
	return epu.TypeSpec{}, false
}

// pool plans one pool of the files.
func (p *planning) pool(spec epu.PoolSpec, types map[string]epu.TypeSpec) {
	launches := p.resolve(spec, types)
	old, had := p.view.Pools[spec.Name]
	before := len(p.changes)
	changed := differs(p, "pool", string(spec.Name), had, &old.Spec, &spec, "")
	c := p.changes[before]
	overrides := p.overrides(spec)
	c.Differences = merge(c.Differences, overrides)
	if len(overrides) > 0 && c.Action == "none" {
		c.Action, changed = "change", true
	}
	pinned := p.pins[spec.Name]
	if !reflect.DeepEqual(launches, old.Launches) || pinned != old.Version {
		changed = true
	}
	if changed {
		c.Effect = p.effect(spec, had)
		p.specs.Pools = append(p.specs.Pools, msg.PoolEntry{Spec: spec, Launches: launches, Version: pinned})
		p.keep(spec.Policy.Name, pinned)
	}
}

// differs adds the change of one document and reports whether there is one.
func differs[S resource.Spec](p *planning, kind, name string, had bool, old, now *S, effect string) bool {
	c := &msg.Change{Kind: kind, Name: name, Action: "none"}
	if !had {
		c.Action, old = "add", nil
	}
	defaults := resource.Defaults(*now)
	for _, d := range resource.Diff(old, now) {
		weighty, byDefault := defaults[d.Key]
		c.Differences = append(c.Differences, &msg.Difference{Key: d.Key, Before: d.Before, After: d.After, ByDefault: byDefault, Weighty: weighty})
	}
	if had && len(c.Differences) > 0 {
		c.Action, c.Effect = "change", effect
	}
	p.changes = append(p.changes, c)
	return c.Action != "none"
}

// overrides lists what scale and reconfigure changed since the last apply and the files would undo.
func (p *planning) overrides(spec epu.PoolSpec) []*msg.Difference {
	var out []*msg.Difference
	for _, key := range slices.Sorted(maps.Keys(p.pools[spec.Name].Overrides)) {
		o := p.pools[spec.Name].Overrides[key]
		before, after := jsonText(o.Value), jsonText(spec.Policy.Conf[key])
		if before != after {
			out = append(out, &msg.Difference{Key: "policy.conf." + key, Before: before, After: after, By: o.By})
		}
	}
	return out
}

// merge puts overrides in the place of the files' own differences of the same keys: the value in force
// is what changes.
func merge(diffs, overrides []*msg.Difference) []*msg.Difference {
	for _, o := range overrides {
		i := slices.IndexFunc(diffs, func(d *msg.Difference) bool { return d.GetKey() == o.GetKey() })
		if i >= 0 {
			diffs[i] = o
		} else {
			diffs = append(diffs, o)
		}
	}
	slices.SortFunc(diffs, func(a, b *msg.Difference) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return diffs
}

func jsonText(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// effect says what applying does to workers.
func (p *planning) effect(spec epu.PoolSpec, had bool) string {
	if !had {
		return "the pool starts; its policy decides how many workers it wants"
	}
	if v, ok := p.pools[spec.Name]; ok {
		switch n := len(v.Workers); n {
		case 0:
			return "it has no workers; the policy decides anew at once"
		case 1:
			return "its 1 worker goes on; the policy decides anew at once"
		default:
			return fmt.Sprintf("its %d workers go on; the policy decides anew at once", n)
		}
	}
	return ""
}

// checkPolicy reports everything that is wrong with a pool's policy and its configuration, and gives the hash
// of the version that it pins.
func (p *planning) checkPolicy(spec epu.PoolSpec) (pinned string) {
	if spec.Policy.Name == "" {
		return "" // was no name, and is refused for that
	}
	add := func(key, text, try string) {
		file, line := engine.Origin(spec.Origins, key)
		p.problems = append(p.problems, strictyaml.Problem{File: file, Line: line, Key: key, Text: text, Try: try})
	}
	if p.files.offline {
		spec.Policy.Version = ""
	}
	policy, pinned, err := p.files.shelf.Resolve(p.view, spec.Policy)
	if err != nil {
		key := "policy.name"
		if _, _, whole := p.files.shelf.Resolve(p.view, epu.PolicySpec{Name: spec.Policy.Name}); whole == nil {
			key = "policy.version" // any other than the pinned one would do
		}
		add(key, err.Error(), epu.TryOf(err))
		return ""
	}
	_, problems := policy.Check(spec.Policy.Conf)
	for _, pr := range problems {
		if pr.Key == "" {
			add("policy.conf", pr.String(), "")
		} else {
			add("policy.conf."+pr.Key, pr.Text, "")
		}
	}
	for _, m := range engine.Missing(policy, spec.Policy.Conf, spec) {
		add("policy.conf."+m.Key, m.Text, m.Try)
	}
	return pinned
}

// resolve makes the launches of a pool at every site it names.
func (p *planning) resolve(spec epu.PoolSpec, types map[string]epu.TypeSpec) map[epu.SiteID]epu.LaunchSpec {
	out := map[epu.SiteID]epu.LaunchSpec{}
	for _, place := range spec.Placement {
		if _, done := out[place.Site]; done {
			continue
		}
		l, problems := resource.Resolve(spec, types[spec.DeployableType], place, nil)
		p.problems = append(p.problems, problems...)
		out[place.Site] = l
	}
	return out
}
