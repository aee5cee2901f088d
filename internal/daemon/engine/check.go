package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/source"
)

// Check makes a version of a policy from its files, the policy's own first, and checks it as `policy check`
// does; then it checks with it the configuration in force of every given pool. What the files require and is
// not among them is taken from the node's library and becomes part of the version. The error is a
// msg.Refusal with every problem; the other list is what should be looked at.
func (s *Shelf) Check(ctx context.Context, name string, files []epu.PolicyFile, takers []msg.PoolView) (epu.PolicyVersion, []*msg.Problem, error) {
	if len(files) == 0 || !policies.ValidName(name) {
		return epu.PolicyVersion{}, nil, epu.E(epu.Invalid, "check policy", params.Clip(name, 80), errors.New("a policy has a name without dots and slashes, and at least one file"))
	}
	lib := policies.NewLibrary(source.FS(files[1:]), s.opts.Library.FS()).Timed(s.opts.Now)
	r, err := lib.Examine(ctx, name, []byte(files[0].Text))
	if err != nil {
		return epu.PolicyVersion{}, nil, epu.E(epu.Unavailable, "check policy", name, err)
	}
	if !r.Sound() {
		return epu.PolicyVersion{}, nil, refusal(name, wire(r.Problems))
	}
	v := epu.PolicyVersion{Name: name, Hash: r.Policy.Hash, Files: r.Policy.Files()}
	var problems []*msg.Problem
	c := checker{policy: r.Policy, known: map[string][]params.Problem{}}
	for _, pool := range takers {
		if err := ctx.Err(); err != nil {
			return v, nil, epu.E(epu.Unavailable, "check policy", name, err)
		}
		problems = append(problems, c.pool(pool)...)
	}
	if len(problems) > 0 {
		return v, nil, refusal(name, problems)
	}
	return v, wire(r.Warnings), nil
}

// checker checks configurations of pools with a policy that they do not run yet.
type checker struct {
	policy *policies.Policy
	known  map[string][]params.Problem // by configuration: many pools may have the same, and a policy's validate takes a while
}

// conf checks one configuration.
func (c *checker) conf(conf map[string]any) []params.Problem {
	raw, err := json.Marshal(conf)
	if found, known := c.known[string(raw)]; known && err == nil {
		return found
	}
	_, found := c.policy.Check(conf)
	if err == nil {
		c.known[string(raw)] = found
	}
	return found
}

// pool checks a pool's configuration in force, and that it has the sensors and sites which that names.
func (c *checker) pool(pool msg.PoolView) (out []*msg.Problem) {
	add := func(key, text, try string) {
		at := &msg.Problem{Text: fmt.Sprintf("pool %s: %s", pool.Spec.Name, text), Try: try}
		if key != "" {
			at.Text = fmt.Sprintf("pool %s: policy.conf.%s: %s", pool.Spec.Name, key, text)
		}
		if _, changed := pool.Overrides[params.Root(key)]; !changed { // what a command changed stands in no file
			file, line := Origin(pool.Spec.Origins, "policy.conf."+key)
			at.File, at.Line = file, int32(line)
		}
		out = append(out, at)
	}
	for _, pr := range c.conf(pool.Conf) {
		add(pr.Key, pr.Text, pr.Try)
	}
	for _, m := range Missing(c.policy, pool.Conf, pool.Spec) {
		add(m.Key, m.Text, m.Try)
	}
	return out
}

// Missing reports what a configuration names and its pool does not have: sensors, and sites of its placement.
func Missing(p *policies.Policy, conf map[string]any, pool epu.PoolSpec) (out []strictyaml.Problem) {
	report := func(named []params.Named, known []string, lacks, otherwise string) {
		for _, n := range named {
			if slices.Contains(known, n.Name) {
				continue
			}
			try := otherwise
			if c := strictyaml.Closest(n.Name, known); c != "" {
				try = "did you mean " + c + "?"
			}
			out = append(out, strictyaml.Problem{Key: n.Key, Try: try, Text: fmt.Sprintf(lacks, p.Name, n.Name)})
		}
	}
	report(p.Params.Sensors(conf), slices.Sorted(maps.Keys(pool.Sensors)),
		"the policy %s reads the sensor %s, which the pool does not have", "define it under sensors in the pool's file")
	var sites []string
	for _, place := range pool.Placement {
		sites = append(sites, string(place.Site))
	}
	report(p.Params.Sites(conf), sites,
		"the policy %s launches at the site %s, which is not in the pool's placement", "add it to placement in the pool's file, which has "+strings.Join(sites, ", "))
	return out
}

// Origin finds where a key of a pool's file was given; the nearest given parent serves for one that was not.
func Origin(origins map[string]string, key string) (file string, line int) {
	for k := key; ; {
		if at, ok := origins[k]; ok {
			i := strings.LastIndexByte(at, ':')
			if i > 0 {
				fmt.Sscanf(at[i+1:], "%d", &line)
				return at[:i], line
			}
		}
		i := strings.LastIndexAny(k, ".[")
		switch {
		case i >= 0:
			k = k[:i]
		case k != "name":
			k = "name" // the document's first line that says whose it is
		default:
			return "", 0
		}
	}
}

func wire(list params.Problems) (out []*msg.Problem) {
	for _, p := range list {
		w := &msg.Problem{File: p.File, Line: int32(p.Line), Text: p.Text, Try: p.Try}
		if p.Key != "" {
			w.Text = p.Key + ": " + w.Text
		}
		out = append(out, w)
	}
	return out
}

// refusal makes every problem of a version cross to the client.
func refusal(name string, problems []*msg.Problem) error {
	err := epu.E(epu.Invalid, "put policy in force", name, errors.New(epu.Plural(len(problems), "problem")))
	err.Try = "mend it, then run the command again; nothing was changed"
	return &msg.Refusal{Err: err, List: problems}
}
