package policies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// The bounds of a policy. The deadline and the step budget can be set per engine; the others are
// fixed, because no honest policy comes near them.
const (
	deadlineDefault = 50 * time.Millisecond
	patienceMax     = 2 * time.Second // for an engine without a clock, of a policy whose library has one
	stepsDefault    = 5_000_000       // VM instructions of one evaluation; about ten times the deadline's worth of plain work
	heapDefault     = 256 << 20
	callDepthMax    = 120
	registryMax     = 16 << 10 // values on the Lua stack

	// A Lua state that holds more, or has served for longer, is made anew: what a policy hoards in variables of its file
	// goes with it.
	stateBytesMax = 8 << 20
	stateTicksMax = 1000
)

// Options bound an engine. The zero value is usable: steps alone then bound an evaluation, which is
// the same on every machine and works where time stands still.
type Options struct {
	Deadline time.Duration     // wall time of one evaluation; default 50 ms; needs Now
	Steps    int               // VM instructions of one evaluation; default 5 million
	Heap     uint64            // bytes that a policy's tables and functions may take; default 256 MiB
	Now      func() time.Time  // the clock; nil = no deadline, and Decision.Took stays 0
	Print    func(line string) // takes what policies print; nil drops it
}

// Engine evaluates one policy for one pool. It makes its Lua state at the first evaluation and keeps
// it; after any error, and now and then, it is thrown away and built again. An Engine belongs to one
// goroutine at a time.
type Engine struct {
	host host
	course
	before *attempt // the last evaluation, where hooks ran in it and left something in memory
}

// course is how far a policy has come, and so which hooks are due.
type course struct {
	initialized bool
	conf        map[string]any // of the last good evaluation
}

// attempt is where an evaluation began of whose memory the engine can't know yet whether it is kept.
type attempt struct {
	course
	memory json.RawMessage
}

// host is what the host functions work on: one evaluation at a time.
type host struct {
	sandbox.Budget
	p    *Policy
	opts Options
	L    *lua.LState // nil until the first evaluation and after an error

	live    *session // the call that is running; nil between calls
	snap    *Snapshot
	asked   wishing
	inputs  []epu.Input
	seen    visits
	memory  *lua.LTable // nil until the policy looks at it
	conf    *lua.LTable
	printed int

	fns   functions
	env   *lua.LTable // what lines of a console have set; nil for a policy
	grown uint64      // allocated by the evaluations of this state since it was weighed, at most
	ticks int         // evaluations of this state

	slab    []lua.LUserData
	tools   sandbox.Tools
	zones   map[string]*time.Location
	modules map[string]lua.LValue // values of required files; nil once the policy is loaded
	loading []string
	loader  *loader              // of the first run, which finds required files
	broken  Problems             // of required files
	ids     map[epu.WorkerID]int // places in idsOf, for state.worker
	idsOf   []*epu.Worker
}

// NewEngine makes an engine. It costs next to nothing until the first Decide.
func NewEngine(p *Policy, opts Options) *Engine {
	if opts.Deadline <= 0 {
		opts.Deadline = deadlineDefault
	}
	if opts.Steps <= 0 {
		opts.Steps = stepsDefault
	}
	if opts.Heap == 0 {
		opts.Heap = heapDefault
	}
	e := &Engine{}
	e.host.p, e.host.opts = p, opts
	return e
}

// Policy is the policy that the engine evaluates.
func (e *Engine) Policy() *Policy { return e.host.p }

// Close lets go of the Lua state. The engine may be used again and then starts afresh.
func (e *Engine) Close() { e.host.discard() }

// Decide evaluates the policy. It never panics and always returns a whole decision: if the policy
// failed, Error says why and the last wish stands. Conf must come from Policy.Check and must not be
// changed afterwards: a new configuration is a new map, which runs the policy's reconfigure first.
// Wish equals Wanted; the guard rails are the caller's.
func (e *Engine) Decide(snap *Snapshot, conf map[string]any) epu.Decision {
	h := &e.host
	d := epu.Decision{
		ID: snap.Decision, Pool: snap.Pool, Owner: snap.Owner, Time: snap.Now,
		Policy: h.p.Name, PolicyHash: h.p.Hash, Seed: snap.Seed, Conf: conf,
		MemoryBefore: snap.Memory, MemoryAfter: snap.Memory, Before: snap.Wish.Target,
	}
	h.start(snap)
	e.resume(snap)
	memory, err := e.evaluate(conf)
	if err != nil {
		d.Error = h.explain(err)
		d.Wanted = h.lastWish()
		d.Reasons = []epu.Reason{{Rule: "error", Text: fmt.Sprintf("the policy failed, so the last wish for %d stands", d.Wanted.Target)}}
		h.discard()
	} else {
		d.Wanted = h.asked.result(h)
		d.MemoryAfter = memory
		e.advance(conf, &d)
		d.Reasons, d.Actions, d.Alerts = h.asked.reasons, h.asked.actions, h.asked.alerts
		d.TickEvery = h.asked.tick
		h.age()
	}
	d.Wish = d.Wanted
	if h.seen.on {
		h.inputs = append(h.inputs, epu.Input{Name: "workers", Value: h.seen.result(snap)})
	}
	d.Inputs = h.inputs
	if h.opts.Now != nil {
		d.Took = h.Took()
	}
	h.end()
	return d
}

// start prepares for one evaluation.
func (h *host) start(snap *Snapshot) {
	h.Begin(h.limits())
	h.snap, h.tools.Rand = snap, sandbox.Rand(snap.Seed)
	h.asked, h.inputs, h.memory, h.printed = wishing{}, nil, nil, 0
	h.seen.on = false
}

func (h *host) limits() sandbox.Limits {
	l := sandbox.Limits{Deadline: h.opts.Deadline, Steps: h.opts.Steps, Heap: h.opts.Heap, Now: h.opts.Now, Weigh: h.weigh}
	if l.Now == nil && h.p.clock != nil {
		l.Deadline, l.Now = patienceMax, h.p.clock
	}
	return l
}

// weigh tells what the policy's values take.
func (h *host) weigh(most uint64) uint64 {
	return sandbox.Weigh(h.L, most, h.held()...)
}

// held is where the values of the state hang, but for its stack.
func (h *host) held() []lua.LValue {
	held := h.fns.values()
	for _, t := range []*lua.LTable{h.memory, h.env} {
		if t != nil {
			held = append(held, t)
		}
	}
	for _, v := range h.modules {
		held = append(held, v)
	}
	return held
}

func (f functions) values() (out []lua.LValue) {
	for _, v := range []*lua.LFunction{f.validate, f.initialize, f.decide, f.reconfigure} {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// age throws away a state that has grown, or is old. What the process has allocated meanwhile says only when to weigh it: on a
// busy node most of that is others' doing, and to make states anew for it would be more of the same.
func (h *host) age() {
	h.grown += h.Grown()
	h.ticks++
	heavy := false
	if h.grown > stateBytesMax {
		h.grown = 0
		heavy = sandbox.WeighAll(h.L, stateBytesMax, h.held()...) > stateBytesMax
	}
	if heavy || h.ticks >= stateTicksMax {
		h.drop()
	}
}

// end drops what belongs to the evaluation, so that an idle engine holds no snapshot. The index of
// workers stays, for the ticks at which the controller hands over the same ones again.
func (h *host) end() {
	h.snap, h.inputs, h.memory, h.slab = nil, nil, nil, nil
	h.asked = wishing{}
}

// discard throws the state away: after a timeout or an overflow its stacks may hold remains.
func (h *host) discard() {
	h.drop()
	h.live, h.ids, h.idsOf = nil, nil, nil
}

// drop lets go of the state and of all that was made for it.
func (h *host) drop() {
	if h.L != nil {
		h.L.Close()
	}
	h.L, h.conf, h.env, h.fns, h.grown, h.ticks = nil, nil, nil, functions{}, 0, 0
	h.tools.Forget()
}

// resume goes back to before the last evaluation if its memory was not kept, because a guard rail or the node refused
// the decision: what its hooks left is gone with it, so they run again.
func (e *Engine) resume(snap *Snapshot) {
	if b := e.before; b != nil && bytes.Equal(snap.Memory, b.memory) {
		e.course, e.host.conf = b.course, nil
	}
	e.before = nil
}

// advance takes an evaluation for done. One that failed never is: all of it, hooks included, comes again.
func (e *Engine) advance(conf map[string]any, d *epu.Decision) {
	if RanHooks(e.host.inputs) && !bytes.Equal(d.MemoryBefore, d.MemoryAfter) {
		e.before = &attempt{course: e.course, memory: d.MemoryBefore}
	}
	e.course = course{initialized: true, conf: conf}
}

// evaluate runs what is due: initialize at first, reconfigure after a change, then decide.
func (e *Engine) evaluate(conf map[string]any) (memory json.RawMessage, err error) {
	h := &e.host
	defer func() { // gopher-lua's own faults must not reach the controller
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine failed: %v", p)
		}
		h.live = nil
	}()
	if h.L == nil {
		if h.fns, err = h.load(); err != nil {
			return nil, err
		}
		h.conf = nil
	}
	changed := e.changed(conf)
	if h.conf == nil || changed != nil {
		h.conf = h.frozen(conf)
	}
	ran := hooks{Initialize: !e.initialized && h.fns.initialize != nil, Changed: changed}
	if !e.initialized {
		if err = h.call("initialize", h.fns.initialize, h.conf); err != nil {
			h.note(inputHooks, ran)
			return nil, err
		}
		ran.Changed, changed = nil, nil
	}
	if changed != nil {
		ran.Old = e.conf
		h.note(inputHooks, ran)
		if err = h.call("reconfigure", h.fns.reconfigure, h.conf, sandbox.ToLua(h.p.plain(e.conf)), sandbox.ToLua(anyList(changed))); err != nil {
			return nil, err
		}
	} else if ran.Initialize {
		h.note(inputHooks, ran)
	}
	if err = h.call("decide", h.fns.decide, h.conf); err != nil {
		return nil, err
	}
	if h.memory == nil {
		return h.snap.Memory, nil
	}
	return h.kept()
}

// changed lists the keys whose values differ from the last evaluation's; nil when none do.
func (e *Engine) changed(conf map[string]any) []string {
	if !e.initialized || reflect.ValueOf(conf).Pointer() == reflect.ValueOf(e.conf).Pointer() {
		return nil
	}
	return params.Differing(e.conf, conf)
}

func anyList(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// Tools are what the sandbox keeps per state.
func (h *host) Tools() *sandbox.Tools { return &h.tools }

var _ sandbox.Meter = (*host)(nil)

// call runs one of the policy's functions with fresh control and state objects.
func (h *host) call(name string, f *lua.LFunction, args ...lua.LValue) error {
	if f == nil {
		return nil
	}
	s := &session{}
	s.control.Metatable, s.state.Metatable = h.p.world.controlMeta, h.p.world.stateMeta
	h.live = s
	L := h.L
	L.Push(f)
	L.Push(&s.control)
	L.Push(&s.state)
	for _, a := range args {
		L.Push(a)
	}
	err := L.PCall(2+len(args), 1, nil)
	h.live = nil
	s.control.Metatable, s.state.Metatable = h.p.world.deadMeta, h.p.world.deadMeta
	if err != nil {
		return err
	}
	if err := h.Spent(); err != nil {
		return err
	}
	r := L.Get(-1)
	L.Pop(1)
	if r != lua.LNil {
		return fmt.Errorf("%s:%d: %s returned %s; wishes go through control, such as control.scale_to(n)",
			f.Proto.SourceName, f.Proto.LineDefined, name, sandbox.KindOf(r))
	}
	return nil
}

// placeOf finds workers by ID. The index is kept while the controller hands over the same slice.
func (h *host) placeOf(L *lua.LState) map[epu.WorkerID]int {
	all := h.snap.Workers
	if len(all) != len(h.idsOf) || len(all) > 0 && &all[0] != &h.idsOf[0] {
		h.Work(L, len(all))
		h.ids = make(map[epu.WorkerID]int, len(all))
		for i, w := range all {
			h.ids[w.ID] = i
			if asked := provisional(w); asked != "" {
				h.ids[asked] = i
			}
		}
		h.idsOf = all
	}
	return h.ids
}

// hostOf finds the evaluation behind a state. The host is the state's context, so that the host
// functions themselves hold no state and are shared by all engines of a policy.
func hostOf(L *lua.LState) *host { return L.Context().(*host) }

// Evaluate evaluates a policy once, in an engine of its own that is thrown away: what a pool's engine holds is
// neither read nor changed. Before is the configuration that the policy ran with until now; where conf differs,
// the policy's reconfigure runs first, as it would in the pool. A nil before means that the policy is new there:
// its initialize runs first. What ran before a recalled snapshot is in the record, whatever before says.
func Evaluate(p *Policy, opts Options, snap *Snapshot, conf, before map[string]any) epu.Decision {
	e := NewEngine(p, opts)
	defer e.Close()
	return e.once(snap, conf, before)
}

// once is the first decision of an engine, as Evaluate makes it.
func (e *Engine) once(snap *Snapshot, conf, before map[string]any) epu.Decision {
	e.initialized, e.conf = before != nil, before
	if past := snap.past; past != nil {
		e.initialized = !past.hooks.Initialize
		switch {
		case past.hooks.Changed != nil:
			e.conf = past.hooks.Old
		case e.initialized:
			e.conf = past.conf
		}
	}
	return e.Decide(snap, conf)
}
