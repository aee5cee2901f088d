package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/hook"
	"github.com/nimbus-epu/epu/internal/sensor"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
)

// engine carries out the calls of one pool's controller. A controller has one evaluation out at a time,
// but an incarnation that failed may have left one behind: the mutex keeps the Lua state to one of them.
type engine struct {
	library *policies.Library
	opts    policies.Options
	sensors func(ctx context.Context) (map[string]epu.SensorSpec, error) // of the pool, as it is applied

	puller *sensor.Puller

	mu      sync.Mutex
	engine  *policies.Engine
	policy  *policies.Policy
	given   map[string]any // as the controller has it
	checked map[string]any // the same, checked and completed
}

// Controller makes the executor of a pool's controller.
func (n *Node) Controller(owner epu.Owner, pool epu.PoolID) actors.Executor {
	e := &engine{
		library: n.library, puller: sensor.New(sensor.Options{Getenv: n.opts.Getenv, Now: n.opts.Clock.Now}),
		opts: policies.Options{
			Now:   n.opts.Clock.Now,
			Print: func(line string) { n.log.Debug("policy printed", "pool", pool, "line", line) },
		},
		sensors: func(ctx context.Context) (map[string]epu.SensorSpec, error) {
			answer, err := n.tree.Ask(ctx, actors.RegistryAddress, msg.RegistryQuery{})
			view, _ := answer.(msg.RegistryView)
			return view.Pools[pool].Spec.Sensors, err
		},
	}
	return e.Do
}

// Do carries out one call. Readings and hooks wait for no evaluation, and no evaluation for them.
func (e *engine) Do(ctx context.Context, call any) (any, error) {
	switch c := call.(type) {
	case actors.PollCall:
		point, _ := e.puller.Pull(ctx, c.Spec) // which says itself why it is unknown
		return point, nil
	case actors.HookCall:
		return nil, runHook(ctx, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch c := call.(type) {
	case actors.DecideCall:
		return e.decide(c)
	case actors.CheckConfCall:
		return e.check(ctx, c)
	}
	return nil, epu.E(epu.Internal, "carry out", fmt.Sprintf("%T", call), errors.New("a controller has no such call"))
}

func (e *engine) decide(c actors.DecideCall) (epu.Decision, error) {
	if err := e.load(c.Policy); err != nil {
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

func (e *engine) check(ctx context.Context, c actors.CheckConfCall) (actors.CheckedConf, error) {
	if err := e.load(c.Policy); err != nil {
		return actors.CheckedConf{}, err
	}
	merged, changed, problems := e.policy.Reconfigure(c.Conf, c.Changes)
	out := actors.CheckedConf{Conf: merged, Changed: changed}
	for _, p := range problems {
		out.Problems = append(out.Problems, p.String())
	}
	if len(problems) > 0 {
		return out, nil
	}
	named := e.policy.Params.Sensors(merged)
	if len(named) == 0 {
		return out, nil
	}
	sensors, err := e.sensors(ctx)
	if err != nil {
		return out, err
	}
	for _, p := range missingSensors(c.Policy, named, sensors) {
		out.Problems = append(out.Problems, p.Key+": "+p.Text)
	}
	return out, nil
}

// missingSensors reports the sensors that a configuration names and its pool does not have.
func missingSensors(policy string, named []params.Named, sensors map[string]epu.SensorSpec) (out []strictyaml.Problem) {
	known := slices.Sorted(maps.Keys(sensors))
	for _, n := range named {
		if _, ok := sensors[n.Sensor]; ok {
			continue
		}
		try := "define it under sensors in the pool's file"
		if c := strictyaml.Closest(n.Sensor, known); c != "" {
			try = "did you mean " + c + "?"
		}
		out = append(out, strictyaml.Problem{
			Key: n.Key, Try: try,
			Text: fmt.Sprintf("the policy %s reads the sensor %s, which the pool does not have", policy, n.Sensor),
		})
	}
	return out
}

// load takes the newest sound version of the policy. A broken one never replaces a good one.
func (e *engine) load(name string) error {
	if e.policy != nil && e.policy.Name == name {
		return nil
	}
	p, err := e.library.Load(name)
	if err != nil {
		return err
	}
	if e.engine != nil {
		e.engine.Close()
	}
	e.policy, e.engine = p, policies.NewEngine(p, e.opts)
	e.given, e.checked = nil, nil
	return nil
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
