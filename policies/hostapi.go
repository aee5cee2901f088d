package policies

import (
	"fmt"
	"math"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
	"github.com/nimbus-epu/epu/policies/source"
)

// Function describes one thing that the host gives to policies.
type Function = sandbox.Func

// Class describes a table or view that the host gives to policies or takes from them.
type Class = sandbox.Class

// Names lists the globals that policies see, and the members of those that are libraries.
func Names() (globals []string, members map[string][]string) {
	shared := newWorld().Shared
	return shared.Names, shared.Libs
}

// Functions lists what the host gives to policies, in the order of the reference. The entries that
// belong to no group are Lua's own globals where they differ from plain Lua.
func Functions() []Function {
	return slices.Concat(controlFuncs(), stateFuncs(), cronFuncs(), hostFuncs(), sandbox.Funcs())
}

// Classes lists the tables and views that Functions speak of.
func Classes() []Class {
	return []Class{
		policyClass, source.ParamClass, source.FindingClass,
		scaleOptions, wantSpec, launchOptions, actOptions, reasonTable, tickOptions,
		workerClass, filterClass, timeOptions, timeClass, readingClass, windowClass, workClass, changeClass,
		offerFilter, offerClass, budgetClass, placeClass, refusalClass,
	}
}

// Bound is something that a policy can have at most.
type Bound struct {
	What string
	Most string
}

// Bounds lists what policies are held to. They are far beyond what an honest policy needs.
func Bounds() []Bound {
	kib := func(n int) string { return fmt.Sprintf("%d KiB", n>>10) }
	number := func(n int) string { return fmt.Sprint(n) }
	return []Bound{
		{"time of one decision", deadlineDefault.String()},
		{"Lua instructions of one decision", number(stepsDefault)},
		{"a policy's tables and functions in memory", fmt.Sprintf("%d MiB", heapDefault>>20)},
		{"nested calls", number(callDepthMax)},
		{"length of a file", kib(source.SizeMax)},
		{"length of one text", kib(sandbox.TextMax)},
		{"length of all texts made in one decision", fmt.Sprintf("%d MiB", sandbox.TextTotalMax>>20)},
		{"instructions of a regular expression", number(sandbox.ProgramMax)},
		{"state.memory, as JSON", kib(sandbox.MemoryMax)},
		{"different things read in one decision", number(inputsMax)},
		{"target", number(targetMax)},
		{"named workers", number(uniquesMax)},
		{"sites with a number of their own", number(sitesMax)},
		{"variable of a worker, with its name", kib(varBytes)},
		{"wish with its actions", kib(wishBytes)},
		{"actions in one decision", number(actionsMax)},
		{"workers of one launch", number(launchMax)},
		{"workers of one terminate, drain or resume", number(idsMax)},
		{"reasons, alerts, printed lines", fmt.Sprintf("%d, %d, %d", reasonsMax, alertsMax, printLinesMax)},
		{"changes in state.changes()", number(ChangesMax)},
		{"span of a window", windowMax.String()},
	}
}

func field(group, name, typ, doc string) Function {
	return Function{Group: group, Name: name, Returns: typ, Doc: doc, Field: true}
}

// hostFuncs are the globals that need the host.
func hostFuncs() []Function {
	return []Function{
		sandbox.F("", "print", "...: any", "", "Adds a line to the debug log, at most 50 lines per evaluation.", print_),
		sandbox.F("", "require", "name: string", "any", "Runs a file of the policy folder once and returns its value: require \"lib.pool\" is lib/pool.lua. Only at the top of a file, not inside functions.", require),
	}
}

// world is what a policy can reach; see sandbox.Shared. One serves all engines of a policy.
type world struct {
	*sandbox.Shared
	controlMeta, stateMeta, deadMeta, confMeta, viewMeta *lua.LTable
}

func newWorld(extra ...Function) *world {
	w := &world{
		Shared:   sandbox.NewShared(slices.Concat(hostFuncs(), cronFuncs(), extra)),
		confMeta: sandbox.Meta(confIndex, "conf"), viewMeta: sandbox.Meta(viewIndex, "worker"), deadMeta: sandbox.Meta(ended, "it"),
		controlMeta: objectMeta(controlFuncs(), "control", controlField), stateMeta: objectMeta(stateFuncs(), "state", stateField),
	}
	w.viewMeta.RawSetString("__eq", sandbox.GoFunc(viewEqual))
	return w
}

// objectMeta is the metatable of control or state: functions are found in a table, without a call into
// Go; what is not there is asked of field.
func objectMeta(funcs []Function, what string, field lua.LGFunction) *lua.LTable {
	methods := sandbox.NewTable()
	for _, f := range funcs {
		if !f.Field {
			methods.RawSetString(f.Name, sandbox.GoFunc(guarded(f)))
		}
	}
	methods.Metatable = sandbox.Meta(field, what)
	mt := sandbox.Meta(nil, what)
	mt.RawSetString("__index", methods)
	return mt
}

// unknownField refuses a name that control or state do not have.
func unknownField(L *lua.LState, what string, funcs []Function) int {
	var known []string
	for _, f := range funcs {
		known = append(known, f.Name)
	}
	name := sandbox.TextOf(L.Get(2))
	L.RaiseError("%s", sandbox.UnknownName(what+"."+name, name, known))
	return 0
}

// guarded is a function of control or state as scripts reach it.
func guarded(f Function) lua.LGFunction {
	full := f.Full()
	return func(L *lua.LState) int {
		h := hostOf(L)
		if h.live == nil {
			L.RaiseError("%s works only inside initialize, decide and reconfigure", full)
		}
		if t, ok := L.Get(1).(*lua.LTable); ok && (t == &h.live.control || t == &h.live.state) {
			L.RaiseError("call %s with a dot, not with a colon", full)
		}
		return f.Run(L)
	}
}

// What one evaluation may print, for debugging.
const (
	printLinesMax = 50
	printLineMax  = 300
)

func print_(L *lua.LState) int {
	h := hostOf(L)
	if h.opts.Print == nil || h.printed >= printLinesMax {
		return 0
	}
	h.printed++
	var parts []string
	for i := 1; i <= min(L.GetTop(), printLineMax); i++ {
		parts = append(parts, params.Clip(sandbox.TextOf(L.Get(i)), printLineMax))
	}
	h.opts.Print(params.Clip(strings.Join(parts, "\t"), printLineMax))
	return 0
}

// session is one call of one of the policy's functions. The control and state objects it was given
// are empty tables whose metatable makes them what they are, until the call ends and takes it away;
// the worker views it made know it by its state object.
type session struct{ control, state lua.LTable }

// ended is the index of control and state objects whose call is over.
func ended(L *lua.LState) int {
	L.RaiseError("this object is from an earlier call and no longer valid: use the control and state given to the function")
	return 0
}

// opts is a table of named options; the zero value has none.
type opts struct{ t *lua.LTable }

func (o opts) get(name string) lua.LValue {
	if o.t == nil {
		return lua.LNil
	}
	return o.t.RawGetString(name)
}

// options reads a table of named options and refuses names it does not know.
func options(L *lua.LState, arg int, what string, class Class) opts {
	known := class.Names()
	v := L.Get(arg)
	if v == lua.LNil {
		return opts{}
	}
	t, ok := v.(*lua.LTable)
	if !ok {
		L.RaiseError("%s: options are a table such as {%s = ...}, got %s", what, known[0], sandbox.KindOf(v))
	}
	t = sandbox.Backing(t)
	for k := range sandbox.Entries(L, t, len(known)) {
		name := params.Clip(sandbox.TextOf(k), wordMax)
		if !slices.Contains(known, name) {
			L.RaiseError("%s: unknown option '%s'%s", what, name, params.DidYouMean(name, known))
		}
	}
	return opts{t}
}

// word takes an optional text option, bounded.
func word(L *lua.LState, what, name string, v lua.LValue) string {
	if v == lua.LNil {
		return ""
	}
	s, ok := v.(lua.LString)
	if !ok {
		L.RaiseError("%s: %s wants a text, got %s", what, name, sandbox.KindOf(v))
	}
	if len(s) > wordMax {
		L.RaiseError("%s: %s is %d bytes long: at most %d", what, name, len(s), wordMax)
	}
	return string(s)
}

// whole takes a whole number between lo and hi.
func whole(L *lua.LState, what string, v lua.LValue, lo, hi int) int {
	n, ok := v.(lua.LNumber)
	if !ok {
		L.RaiseError("%s wants a whole number, got %s", what, sandbox.KindOf(v))
	}
	f := float64(n)
	if f != math.Trunc(f) || math.IsNaN(f) || math.IsInf(f, 0) {
		L.RaiseError("%s wants a whole number, got %s: use math.ceil or math.floor", what, params.NumberText(f))
	}
	if f < float64(lo) || f > float64(hi) {
		L.RaiseError("%s wants a number from %d to %d, got %s", what, lo, hi, params.NumberText(f))
	}
	return int(f)
}

// vars takes a table of variables: texts, numbers and booleans by name.
func vars(L *lua.LState, what string, v lua.LValue) map[string]string {
	if v == lua.LNil {
		return nil
	}
	t, ok := v.(*lua.LTable)
	if !ok {
		L.RaiseError("%s: vars wants a table, got %s", what, sandbox.KindOf(v))
	}
	var out map[string]string
	for k, v := range sandbox.Entries(L, t, varsMax) {
		name, isText := k.(lua.LString)
		switch v.Type() {
		case lua.LTString, lua.LTNumber, lua.LTBool:
		default:
			isText = false
		}
		if !isText {
			L.RaiseError("%s: vars holds names with texts, but %s is %s", what, sandbox.TextOf(k), sandbox.KindOf(v))
		}
		if out == nil {
			out = map[string]string{}
		}
		text := sandbox.TextOf(v)
		if n := len(name) + len(text); n > varBytes {
			L.RaiseError("%s: the variable %s takes %d bytes: at most %d", what, params.Clip(string(name), wordMax), n, varBytes)
		}
		out[string(name)] = text
	}
	if len(out) > varsMax {
		L.RaiseError("%s: more than %d variables", what, varsMax)
	}
	return out
}

// take makes room for a part of the wish, before it is taken in, and returns what it takes. Everything of a
// decision is written down by others: what nobody could keep is refused with the line that asks for it.
func (w *wishing) take(L *lua.LState, what string, bytes int) int {
	if w.bytes+bytes > wishBytes {
		L.RaiseError("%s: the wish with its actions takes more than %d KiB", what, wishBytes>>10)
	}
	w.bytes += bytes
	return bytes
}

// fieldBytes is what a text costs beside its letters.
const fieldBytes = 4

func bytesOf(u epu.Unique) int {
	n := 2*fieldBytes + len(u.Site) + len(u.Allocation) + len(u.Market)
	for name, text := range u.Vars {
		n += 2*fieldBytes + len(name) + len(text)
	}
	return n
}

func bytesOfSites(sites map[epu.SiteID]int) (n int) {
	for name := range sites {
		n += 2*fieldBytes + len(name)
	}
	return n
}

func bytesOfAction(a epu.Action) int {
	n := len(a.Name) + len(a.Reason) + bytesOf(epu.Unique{Site: a.Site, Allocation: a.Allocation, Market: a.Market, Vars: a.Vars})
	for _, id := range a.Workers {
		n += fieldBytes + len(id)
	}
	return n
}

// ids takes one worker or a list of workers, each an ID or a view. An ID that control.launch gave is
// turned into that of the worker it has become; if there is none, it is left out.
func ids(L *lua.LState, what string) []epu.WorkerID {
	one := func(v lua.LValue) epu.WorkerID {
		switch v := v.(type) {
		case lua.LString:
			id := epu.WorkerID(v)
			if strings.Count(string(id), "/") == 2 {
				if w := hostOf(L).find(L, id); w != nil {
					return w.ID
				}
				return ""
			}
			if _, _, ok := id.Parse(); ok {
				return id
			}
			L.RaiseError("%s: '%s' is not the ID of a worker", what, params.Clip(string(v), wordMax))
		case *lua.LUserData:
			if _, ok := workerOf(v); ok {
				return liveWorker(L, v).ID
			}
		}
		L.RaiseError("%s wants workers or their IDs, got %s", what, sandbox.KindOf(v))
		return ""
	}
	list := []lua.LValue{L.Get(1)}
	if t, ok := L.Get(1).(*lua.LTable); ok {
		t = sandbox.Backing(t)
		n := t.Len()
		if n > idsMax {
			L.RaiseError("%s: %d workers at once: at most %d", what, n, idsMax)
		}
		list = list[:0]
		for i := 1; i <= n; i++ {
			list = append(list, t.RawGetInt(i))
		}
	}
	hostOf(L).Work(L, len(list))
	seen := map[epu.WorkerID]bool{"": true}
	var out []epu.WorkerID
	for _, v := range list {
		if id := one(v); !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// oneOf takes an optional word that is one of a few.
func oneOf(L *lua.LState, what, name string, o opts, words ...string) string {
	v := word(L, what, name, o.get(name))
	if v != "" && !slices.Contains(words, v) {
		L.RaiseError("%s: %s is one of %s; got '%s'%s", what, name, strings.Join(words, ", "), v, params.DidYouMean(v, words))
	}
	return v
}

// frozen is a configuration as the policy reads it, made once per configuration.
func (h *host) frozen(conf map[string]any) *lua.LTable {
	t := sandbox.Freeze(h.p.plain(conf)).(*lua.LTable)
	sandbox.Backing(t).Metatable = h.p.world.confMeta
	return t
}

// confIndex answers for keys that have no value.
func confIndex(L *lua.LState) int {
	name := sandbox.TextOf(L.Get(2))
	if _, declared := hostOf(L).p.Params.Find(name); !declared {
		L.RaiseError("conf.%s is not a declared parameter", name)
	}
	return 0
}
