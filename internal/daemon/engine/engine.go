package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/internal/hook"
	"github.com/nimbus-epu/epu/internal/sensor"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies"
)

// Options are what an Engine works with.
type Options struct {
	Pool    epu.PoolID
	Shelf   *Shelf
	Sources *sensor.Puller // asks what sensors read; a node's engines share one, and with it connections
	Now     func() time.Time
	Getenv  func(string) string
	Log     *slog.Logger
	Spec    func(ctx context.Context) (epu.PoolSpec, error) // of the pool, as it is applied
}

// Engine carries out the calls of one pool's controller. A controller has one evaluation out at a time,
// but an incarnation that failed may have left one behind: the mutex keeps the Lua state to one of them.
type Engine struct {
	opts Options

	mu      sync.Mutex
	engine  *policies.Engine
	policy  *policies.Policy
	version string         // as the controller named it when the policy was loaded
	given   map[string]any // as the controller has it
	checked map[string]any // the same, checked and completed

	candidate candidate // in the shadow of the policy
}

// New makes the engine of a pool's controller. It loads the policy with the first call that needs it.
func New(opts Options) *Engine { return &Engine{opts: opts} }

// Do carries out one call. Readings and hooks wait for no evaluation, and no evaluation for them.
func (e *Engine) Do(ctx context.Context, call any) (any, error) {
	switch c := call.(type) {
	case actors.PollCall:
		point, _ := e.opts.Sources.Pull(ctx, c.Spec) // which says itself why it is unknown
		return point, nil
	case actors.HookCall:
		return nil, runHook(ctx, c)
	case actors.WhatIfCall:
		return e.whatIf(ctx, c)
	case actors.ShadowCall:
		return e.candidate.decide(ctx, e, c)
	case actors.TurnsCall:
		return e.turns(ctx, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch c := call.(type) {
	case actors.DecideCall:
		return e.decide(ctx, c)
	case actors.CheckConfCall:
		return e.check(ctx, c)
	}
	return nil, epu.E(epu.Internal, "carry out", fmt.Sprintf("%T", call), errors.New("a controller has no such call"))
}

func (e *Engine) decide(ctx context.Context, c actors.DecideCall) (epu.Decision, error) {
	if err := e.load(ctx, c.Policy, c.Version); err != nil {
		return epu.Decision{}, err
	}
	if e.checked == nil || !reflect.DeepEqual(e.given, c.Conf) {
		full, problems := e.policy.Check(c.Conf)
		if len(problems) > 0 {
			return epu.Decision{}, epu.E(epu.Invalid, "check the configuration of", c.Policy, policies.Problems(problems))
		}
		e.given, e.checked = maps.Clone(c.Conf), full
	}
	d := e.engine.Decide(c.Snapshot, e.checked)
	return d, nil
}

func (e *Engine) check(ctx context.Context, c actors.CheckConfCall) (actors.CheckedConf, error) {
	if err := e.load(ctx, c.Policy, c.Version); err != nil {
		return actors.CheckedConf{}, err
	}
	merged, changed, problems := e.policy.Reconfigure(c.Conf, c.Changes)
	out := actors.CheckedConf{Conf: e.policy.Params.Chosen(merged, changed, c.Conf, c.Changes), Changed: changed}
	for _, p := range problems {
		out.Problems = append(out.Problems, p.String())
	}
	if len(problems) > 0 {
		return out, nil
	}
	missing, err := e.missing(ctx, e.policy, merged)
	for _, p := range missing {
		out.Problems = append(out.Problems, p.Key+": "+p.Text+"; "+p.Try)
	}
	return out, err
}

// missing is what a configuration names and the pool, as it is applied, does not have.
func (e *Engine) missing(ctx context.Context, p *policies.Policy, conf map[string]any) ([]strictyaml.Problem, error) {
	if len(p.Params.Sensors(conf))+len(p.Params.Sites(conf)) == 0 {
		return nil, nil
	}
	pool, err := e.opts.Spec(ctx)
	if err != nil {
		return nil, err
	}
	return Missing(p, conf, pool), nil
}

// load takes the version of the policy that its controller names. One that can't be had or does not load
// never replaces a good one: that goes on, and the node says so.
func (e *Engine) load(ctx context.Context, name, version string) error {
	if e.policy != nil && e.policy.Name == name && e.version == version {
		return nil
	}
	p, err := e.opts.Shelf.Policy(ctx, name, version)
	if err != nil {
		if e.policy == nil || e.policy.Name != name {
			return err
		}
		if e.opts.Shelf.Broken(FromVersions, name, faultText(err)) {
			e.opts.Log.Warn("the policy's version can't be used; the one before goes on", "pool", e.opts.Pool, "policy", name, "version", version, "error", err)
		}
		return nil
	}
	e.version = version
	if e.policy != nil && e.policy.Name == name {
		e.opts.Shelf.Broken(FromVersions, name, "")
		if e.policy.Hash == p.Hash {
			return nil // nothing of what it keeps in its Lua state need be lost
		}
	}
	if e.engine != nil {
		e.engine.Close()
	}
	e.policy, e.engine = p, policies.NewEngine(p, e.bounds())
	e.given, e.checked = nil, nil
	return nil
}

// bounds are those of every evaluation.
func (e *Engine) bounds() policies.Options {
	return policies.Options{
		Now:   e.opts.Now,
		Print: func(line string) { e.opts.Log.Debug("policy printed", "pool", e.opts.Pool, "line", line) },
	}
}

// runHook runs a hook's program with its worker in the environment.
func runHook(ctx context.Context, c actors.HookCall) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return hook.Program{Run: c.Run, Env: map[string]string{
		"EPU_POOL": string(c.Pool), "EPU_EVENT": c.Event, "EPU_WORKER": string(c.Worker), "EPU_NAME": c.Name,
		"EPU_INSTANCE": string(c.Instance), "EPU_ADDRESS": c.Address, "EPU_SITE": string(c.Site),
	}}.Do(ctx)
}
