package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/policies"
)

// engine carries out the calls of one pool's controller. A controller has one evaluation out at a time,
// but an incarnation that failed may have left one behind: the mutex keeps the Lua state to one of them.
type engine struct {
	library *policies.Library
	opts    policies.Options

	mu      sync.Mutex
	engine  *policies.Engine
	policy  *policies.Policy
	given   map[string]any // as the controller has it
	checked map[string]any // the same, checked and completed
}

// Controller makes the executor of a pool's controller.
func (n *Node) Controller(owner epu.Owner, pool epu.PoolID) actors.Executor {
	e := &engine{library: n.library, opts: policies.Options{
		Now:   n.opts.Clock.Now,
		Print: func(line string) { n.log.Debug("policy printed", "pool", pool, "line", line) },
	}}
	return e.Do
}

// Do carries out one call.
func (e *engine) Do(_ context.Context, call any) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch c := call.(type) {
	case actors.DecideCall:
		return e.decide(c)
	case actors.CheckConfCall:
		return e.check(c)
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

func (e *engine) check(c actors.CheckConfCall) (actors.CheckedConf, error) {
	if err := e.load(c.Policy); err != nil {
		return actors.CheckedConf{}, err
	}
	merged, changed, problems := e.policy.Reconfigure(c.Conf, c.Changes)
	out := actors.CheckedConf{Conf: merged, Changed: changed}
	for _, p := range problems {
		out.Problems = append(out.Problems, p.String())
	}
	return out, nil
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
