package engine

import (
	"context"
	"errors"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/source"
)

// candidateMax bounds the sources of a candidate, all files together.
const candidateMax = 512 << 10

// whatIf evaluates a policy twice, each time in an engine of its own with the bounds of every other: what the
// pool's engine holds is neither read nor changed, and no tick waits for it.
func (e *Engine) whatIf(ctx context.Context, c actors.WhatIfCall) (actors.WhatIfDecided, error) {
	p, err := e.runs(ctx, c.Now)
	if err != nil {
		return actors.WhatIfDecided{}, err
	}
	conf, problems := p.Check(c.Now.Conf)
	if len(problems) > 0 {
		return actors.WhatIfDecided{}, epu.E(epu.Invalid, "check the configuration of", c.Now.Policy, policies.Problems(problems))
	}
	then, before := p, conf
	if len(c.Files) > 0 { // it is new to the pool, so its initialize runs
		before = nil
		if then, err = compile(c.Files); err != nil {
			return actors.WhatIfDecided{}, err
		}
	}
	other, wrong, mend, err := e.varied(ctx, then, c.Now.Conf, c.Variant)
	if err != nil || len(wrong) > 0 {
		return actors.WhatIfDecided{Problems: wrong, Mend: mend}, err
	}
	return actors.WhatIfDecided{
		Now:  policies.Evaluate(p, e.bounds(), c.Now.Snapshot, conf, conf),
		Then: policies.Evaluate(then, e.bounds(), c.Then, other, before),
	}, nil
}

// varied is a variant of a configuration, as a policy takes it, or all that is wrong with it and the flags that would
// mend what the pool's settings are to blame for.
func (e *Engine) varied(ctx context.Context, p *policies.Policy, conf map[string]any, v policies.Variant) (full map[string]any, wrong []string, mend string, err error) {
	full, problems := p.Vary(conf, v)
	for _, x := range problems {
		wrong = append(wrong, x.String())
	}
	if len(wrong) > 0 {
		return nil, wrong, p.Params.Mend(conf, v, problems), nil
	}
	missing, err := e.missing(ctx, p, full)
	if err != nil {
		return nil, nil, "", err
	}
	var flags []string
	for _, x := range missing {
		wrong = append(wrong, x.Key+": "+x.Text+"; "+x.Try)
		if _, given := v.Changes[x.Key]; !given && !strings.ContainsAny(x.Key, "[.") {
			d, _ := p.Params.Find(x.Key)
			flags = append(flags, "--set "+x.Key+"="+strings.ToUpper(string(d.Type)))
		}
	}
	return full, wrong, strings.Join(flags, " "), nil
}

// compile makes the policy of a candidate's files, of which the first is the policy itself.
func compile(files []epu.PolicyFile) (*policies.Policy, error) {
	size := 0
	for _, f := range files {
		size += len(f.Text)
	}
	name, isLua := strings.CutSuffix(path.Base(files[0].Path), ".lua")
	switch {
	case !isLua:
		return nil, epu.E(epu.Invalid, "load policy", files[0].Path, errors.New("policies are files that end in .lua"))
	case size > candidateMax:
		return nil, epu.E(epu.Invalid, "load policy", name, errors.New("its files are longer than 512 KiB"))
	}
	return policies.Compile(name, []byte(files[0].Text), source.FS(files))
}

// runs is the policy that a pool runs. Where the pool's engine has another one by now, that stays as it is.
func (e *Engine) runs(ctx context.Context, c actors.DecideCall) (*policies.Policy, error) {
	e.mu.Lock()
	p, version := e.policy, e.version
	e.mu.Unlock()
	if p != nil && p.Name == c.Policy && version == c.Version {
		return p, nil
	}
	return e.opts.Shelf.Policy(ctx, c.Policy, c.Version)
}

// candidate is the engine of the candidate in the shadow of the pool's policy. It has a lock of its own, so that no tick
// waits for the candidate.
type candidate struct {
	mu          sync.Mutex
	began       time.Time
	policy      *policies.Policy
	engine      *policies.Engine
	given, conf map[string]any // as the controller has it, and with the candidate's changes, checked
	wrong       error          // why the candidate can't take the pool's configuration
}

// decide has the candidate decide. A new one takes the place of the one before, and none ends it.
func (c *candidate) decide(ctx context.Context, e *Engine, call actors.ShadowCall) (epu.Decision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine != nil && (len(call.Files) == 0 || !c.began.Equal(call.Began)) {
		c.engine.Close()
		c.engine, c.policy, c.given = nil, nil, nil
	}
	if len(call.Files) == 0 {
		return epu.Decision{}, nil
	}
	if c.engine == nil {
		p, err := compile(call.Files)
		if err != nil {
			return epu.Decision{}, err
		}
		c.began, c.policy, c.engine = call.Began, p, policies.NewEngine(p, e.bounds())
	}
	if c.given == nil || !reflect.DeepEqual(c.given, call.Decide.Conf) {
		v := call.Variant
		// What the pool has got since it began, and the candidate does not know, is not for it.
		v.Unset = slices.Concat(v.Unset, c.policy.Params.Unknown(call.Decide.Conf))
		conf, wrong, _, err := e.varied(ctx, c.policy, call.Decide.Conf, v)
		if err != nil {
			return epu.Decision{}, err
		}
		c.given, c.conf, c.wrong = maps.Clone(call.Decide.Conf), conf, nil
		if len(wrong) > 0 {
			c.wrong = epu.E(epu.Invalid, "check the configuration of", c.policy.Name, errors.New(strings.Join(wrong, "; ")))
		}
	}
	if c.wrong != nil {
		return epu.Decision{}, c.wrong
	}
	return c.engine.Decide(call.Decide.Snapshot, c.conf), nil
}
