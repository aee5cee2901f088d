package policies

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
	"github.com/nimbus-epu/epu/policies/source"
)

// Console runs lines of Lua against one snapshot, one after the other, in the sandbox of policies: control, state
// and conf are what decide gets, and names that a line sets are there for the lines after it. Like an Engine it
// belongs to one goroutine at a time.
type Console struct {
	e            *Engine
	snap         *Snapshot
	conf, before map[string]any
	env          *lua.LTable
	lines        int
}

// Answer is what came of a line at a console.
type Answer struct {
	Values []string      // of an expression
	Wish   *epu.Decision // what the line asked for by control: its wish, reasons, actions and alerts; nil = nothing
}

// ErrMore says that a line is the beginning of something that goes on in the next one.
var ErrMore = errors.New("the line goes on")

// consoleName stands for the file in errors of lines that were typed.
const consoleName = "line"

// NewConsole makes a console for a policy's snapshot and checked configuration.
func NewConsole(p *Policy, opts Options, snap *Snapshot, conf map[string]any) *Console {
	return &Console{e: NewEngine(p, opts), snap: snap, conf: conf, before: conf}
}

// Close lets go of the Lua state.
func (c *Console) Close() { c.e.Close() }

// Snapshot is what lines see.
func (c *Console) Snapshot() *Snapshot { return c.snap }

// Conf is the configuration that lines and Decide see.
func (c *Console) Conf() map[string]any { return c.conf }

// See changes what the lines to come see. Names and state.memory stay.
func (c *Console) See(snap *Snapshot, conf map[string]any) {
	c.snap, c.conf = snap, conf
	if c.e.host.L != nil {
		c.env.RawSetString("conf", c.e.host.frozen(conf))
	}
}

// Run runs a line, or several at once. An error spoils nothing but, where a limit stopped the line, the names that
// earlier lines have set.
func (c *Console) Run(text string) (answer Answer, err error) {
	proto, more, problems := source.Line(consoleName, strings.Repeat("\n", c.lines)+text)
	if more {
		return answer, ErrMore
	}
	c.lines += 1 + strings.Count(text, "\n")
	if problems != nil {
		return answer, errors.New(problems[0].String())
	}
	h := &c.e.host
	defer func() { // gopher-lua's own faults end the line and nothing else
		if r := recover(); r != nil {
			h.discard()
			err = fmt.Errorf("the engine failed: %v", r)
		}
	}()
	h.Begin(h.limits())
	h.snap, h.asked, h.inputs, h.printed, h.seen.on = c.snap, wishing{}, nil, 0, false
	if h.L == nil {
		c.open()
	}
	top := h.L.GetTop()
	f := h.L.NewFunctionFromProto(proto)
	f.Env = c.env
	h.L.Push(f)
	err = h.L.PCall(0, lua.MultRet, nil)
	for i := top + 1; i <= h.L.GetTop() && err == nil; i++ {
		answer.Values = append(answer.Values, shown(h, h.L.Get(i), 0))
	}
	h.L.SetTop(top)
	if spent := h.Spent(); spent != nil {
		h.discard()
		return Answer{}, fmt.Errorf("%w; the names that were set are gone", spent)
	}
	if err != nil {
		return Answer{}, errors.New(messageOf(err))
	}
	if w := &h.asked; w.scaled || len(w.wish.Uniques)+len(w.sites)+len(w.reasons)+len(w.actions)+len(w.alerts) > 0 {
		asked := *w
		answer.Wish = &epu.Decision{Actions: asked.actions, Alerts: asked.alerts, Before: c.snap.Wish.Target}
		answer.Wish.Wanted = asked.result(h)
		answer.Wish.Wish, answer.Wish.Reasons = answer.Wish.Wanted, asked.reasons
	}
	return answer, nil
}

// open makes the state of a console. Its objects live as long as it does.
func (c *Console) open() {
	h := &c.e.host
	h.L = h.p.world.NewState(h, sandbox.Bounds{CallDepth: callDepthMax, Registry: registryMax})
	h.tools.Rand, h.memory = sandbox.Rand(c.snap.Seed), nil
	s := &session{}
	s.control.Metatable, s.state.Metatable = h.p.world.controlMeta, h.p.world.stateMeta
	h.live = s
	c.env = sandbox.NewTable()
	c.env.RawSetString("control", &s.control)
	c.env.RawSetString("state", &s.state)
	c.env.RawSetString("conf", h.frozen(c.conf))
	mt := sandbox.NewTable()
	mt.RawSetString("__index", h.L.Env)
	mt.RawSetString("__metatable", lua.LFalse)
	c.env.Metatable = mt
	h.env = c.env
}

// Decide evaluates the policy on what lines see now, state.memory as they left it included. It changes nothing:
// to decide again gives the same.
func (c *Console) Decide() (epu.Decision, error) {
	snap := *c.snap
	if h := &c.e.host; h.memory != nil {
		memory, err := sandbox.EncodeMemory(h.memory)
		if err != nil {
			return epu.Decision{}, err
		}
		snap.Memory = memory
	}
	return Evaluate(c.e.host.p, c.e.host.opts, &snap, c.conf, c.before), nil
}

// What is shown of a table.
const (
	shownDepth   = 4
	shownEntries = 50
)

// shown is a value as a console shows it.
func shown(h *host, v lua.LValue, depth int) string {
	switch v := v.(type) {
	case lua.LString:
		return strconv.Quote(params.Clip(string(v), reasonMax))
	case lua.LNumber:
		return params.NumberText(float64(v))
	case *lua.LUserData:
		if w, ok := workerOf(v); ok {
			return fmt.Sprintf("worker %s (%s, %s)", w.ID, w.State.Word(), w.Health)
		}
	case *lua.LTable:
		switch {
		case v == &h.live.control:
			return "control"
		case v == &h.live.state:
			return "state"
		case depth >= shownDepth:
			return "{...}"
		}
		return shownTable(h, sandbox.Backing(v), depth)
	}
	return sandbox.TextOf(v)
}

func shownTable(h *host, t *lua.LTable, depth int) string {
	var parts []string
	list := 0
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		if len(parts) == shownEntries {
			parts = append(parts, "...")
			break
		}
		if n, ok := k.(lua.LNumber); ok && float64(n) == float64(list+1) {
			list++
			parts = append(parts, shown(h, v, depth+1))
			continue
		}
		parts = append(parts, sandbox.TextOf(k)+" = "+shown(h, v, depth+1))
	}
	if list == 0 {
		slices.Sort(parts)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// explain is what an operator reads: file and line, the line itself, and what had been read.
func (h *host) explain(err error) string {
	text := messageOf(err)
	var api *lua.ApiError
	if !position.MatchString(text) && errors.As(err, &api) { // error(text, 0)
		if at := deepest.FindStringSubmatch(api.StackTrace); at != nil {
			text = at[1] + ": " + text
		}
	}
	if at, ok := h.p.locate(text); ok {
		text += "\n    " + at
	}
	if read := h.readText(); read != "" {
		text += "\nread: " + read
	}
	return text
}

// nonTable is the interpreter's word for a field of something that has none, most often nil.
var nonTable = regexp.MustCompile(`attempt to index a non-table object\((\w+)\) with key '([^']*)'`)

// deepest is the place of the innermost function in a stack trace; overflows come without one.
var deepest = regexp.MustCompile(`(?m)^\s*([\w./-]+\.lua:\d+): in`)

// messageOf is an error's own words without the stack.
func messageOf(err error) string {
	var api *lua.ApiError
	if errors.As(err, &api) {
		text := params.Clip(sandbox.TextOf(api.Object), 4*reasonMax)
		if k := api.Object.Type(); k != lua.LTString { // Lua puts a place before texts only
			text = fmt.Sprintf("error was called with %s, not with a text", sandbox.KindOf(api.Object))
			if k == lua.LTNumber {
				text = "error was called with the number " + sandbox.TextOf(api.Object) + ", not with a text"
			}
			if at := deepest.FindStringSubmatch(api.StackTrace); at != nil {
				text = at[1] + ": " + text
			}
		}
		text = nonTable.ReplaceAllString(text, "attempt to use '$2' of $1")
		if at := deepest.FindStringSubmatch(api.StackTrace); at != nil && strings.HasSuffix(text, "overflow") && !position.MatchString(text) {
			text = fmt.Sprintf("%s: %s: calls are nested more than %d levels deep, or hold too many values", at[1], text, callDepthMax)
		}
		return text
	}
	return params.Clip(err.Error(), 4*reasonMax)
}

// SameFailure reports that two failures of one version of a policy tell the same, whatever it read and wherever
// in it and after how much work a loop was stopped.
func SameFailure(a, b string) bool { return sandbox.SameFailure(a, b) }
