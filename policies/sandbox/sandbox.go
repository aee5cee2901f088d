package sandbox

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
)

// Meter charges an evaluation for what happens outside the VM's instructions, before it happens, and
// stops it with an error when there is nothing left. The context of every state is one.
type Meter interface {
	context.Context
	// Work charges for as many VM instructions' worth of time.
	Work(L *lua.LState, steps int)
	// Made charges for a text that is about to be made.
	Made(L *lua.LState, bytes int)
	// Tools are those of the state that is running.
	Tools() *Tools
}

// Tools are what the functions of a sandbox keep per state.
type Tools struct {
	Rand     Rand
	patterns map[string]pattern
	programs int // instructions of their programs
}

// Forget lets go of what was kept for evaluations to come.
func (t *Tools) Forget() { t.patterns, t.programs = nil, 0 }

func meterOf(L *lua.LState) Meter { return L.Context().(Meter) }

// Shared is everything that does not change: globals, libraries and host functions. It may serve many
// states at once: nothing in it is ever written to, because scripts see tables only through read-only
// proxies and functions find their evaluation through the state's context. So no function may ever give
// a script the table behind a proxy, not even to be read: two pools would write to it at once.
type Shared struct {
	Names   []string            // of the globals, for "did you mean"
	Libs    map[string][]string // members of the libraries, by name
	env     *lua.LTable
	strings *lua.LTable // metatable of texts
}

// Bounds are the stacks a state may use.
type Bounds struct {
	CallDepth int // nested calls
	Registry  int // values on the stack
}

// gone says what to use in place of what Lua has elsewhere.
var gone = map[string]string{
	"os": "there is no clock but state.now and state.time{zone=}", "io": "there are no files",
	"debug": "there is no debug library", "coroutine": "there are no coroutines", "package": "use require",
	"load": "code is not made at run time", "loadstring": "code is not made at run time",
	"loadfile": "use require", "dofile": "use require", "module": "return a table and use require",
	"collectgarbage": "memory is the host's matter", "newproxy": "use a table",
	"setfenv": "globals can't be changed", "getfenv": "globals can't be changed",
	"_G": "globals can't be listed", "_ENV": "globals can't be changed", "channel": "there are no channels",
	"string.find": "use text.find, with a regular expression", "string.match": "use text.match, with a regular expression",
	"string.gmatch": "use text.split or text.match", "string.gsub": "use text.gsub, with a regular expression",
	"string.gfind": "use text.match", "string.dump": "code is not made at run time",
	"math.randomseed": "randomness is seeded by the decision", "table.foreach": "use pairs", "table.foreachi": "use ipairs",
}

// NewShared builds the globals out of the harmless part of Lua's own libraries, the functions of this
// package, and those of the host whose group is empty or a library.
func NewShared(host []Func) *Shared {
	libs := map[string]map[string]lua.LGFunction{"": {}, "math": {}, "table": {}, "string": {}, "text": {}}
	for _, c := range classics() {
		maps.Copy(libs[c.lib], c.take)
	}
	for _, f := range slices.Concat(Funcs(), host) {
		if libs[f.Group] == nil {
			libs[f.Group] = map[string]lua.LGFunction{}
		}
		libs[f.Group][f.Name] = f.Run
	}
	globals, members := NewTable(), map[string][]string{}
	for _, lib := range slices.Sorted(maps.Keys(libs)) {
		t := globals
		if lib != "" {
			t = NewTable()
			globals.RawSetString(lib, readOnly(t, lib))
		}
		for _, name := range slices.Sorted(maps.Keys(libs[lib])) {
			t.RawSetString(name, GoFunc(libs[lib][name]))
		}
		if lib == "math" {
			t.RawSetString("pi", lua.LNumber(math.Pi))
			t.RawSetString("huge", lua.LNumber(math.Inf(1)))
		}
		if lib != "" {
			members[lib] = keysOf(t)
		}
	}
	globals.RawSetString("_VERSION", lua.LString(lua.LuaVersion))
	s := &Shared{Names: keysOf(globals), Libs: members, strings: NewTable()}
	globals.RawSetString(ConcatName, GoFunc(concat))
	s.strings.RawSetString("__index", globals.RawGetString("string"))
	s.strings.RawSetString("__metatable", lua.LFalse)
	s.env = readOnly(globals, "")
	return s
}

// Funcs are the functions of this package.
func Funcs() []Func { return append(baseFuncs(), textFuncs()...) }

// NewState makes a Lua state that sees what is shared and is bounded by a meter.
func (s *Shared) NewState(m Meter, b Bounds) *lua.LState {
	L := lua.NewState(lua.Options{
		CallStackSize: b.CallDepth, MinimizeStackMemory: true,
		RegistrySize: 256, RegistryMaxSize: b.Registry, RegistryGrowStep: 512,
		SkipOpenLibs: true,
	})
	L.Env = s.env
	L.G.Global, L.G.Registry = NewTable(), NewTable() // nobody reads them, and gopher-lua makes them large
	L.SetMetatable(lua.LString(""), s.strings)
	L.SetContext(m)
	return L
}

// NewTable is an empty table.
func NewTable() *lua.LTable { return &lua.LTable{Metatable: lua.LNil} }

// Sized is an empty table with room for n named entries. The first entry of a table without a size makes
// room for 32, which is two kilobytes.
func Sized(n int) *lua.LTable { return maker.CreateTable(0, max(n, 1)) }

// maker lends its method, which touches nothing of it.
var maker = &lua.LState{}

// GoFunc is a function written in Go.
func GoFunc(f lua.LGFunction) *lua.LFunction { return &lua.LFunction{IsG: true, GFunction: f} }

// readOnly wraps a table so that scripts can read its entries and nothing else. Reading a name that
// is not there is an error with a suggestion: a nil would fail later and less clearly.
func readOnly(t *lua.LTable, what string) *lua.LTable {
	full := func(name string) string {
		if what == "" {
			return name
		}
		return what + "." + name
	}
	missing := NewTable()
	missing.RawSetString("__index", GoFunc(func(L *lua.LState) int {
		name := L.Get(2).String()
		L.RaiseError("%s", UnknownName(full(name), name, keysOf(t)))
		return 0
	}))
	missing.RawSetString("__metatable", lua.LFalse)
	t.Metatable = missing
	mt := NewTable()
	mt.RawSetString("__index", t)
	mt.RawSetString("__newindex", GoFunc(func(L *lua.LState) int {
		name := L.Get(2).String()
		if what == "" {
			L.RaiseError("can't set the global '%s': write `local %s`, or keep it in state.memory", name, name)
		}
		L.RaiseError("can't set %s: it belongs to the host", full(name))
		return 0
	}))
	mt.RawSetString("__metatable", lua.LFalse)
	p := NewTable()
	p.Metatable = mt
	return p
}

// UnknownName says that a name does not exist, what to use in its place, or what may be meant.
func UnknownName(full, name string, known []string) string {
	if hint, ok := gone[full]; ok {
		return fmt.Sprintf("'%s' does not exist here: %s", full, hint)
	}
	if s := params.Nearest(name, known); s != "" {
		return fmt.Sprintf("'%s' does not exist; did you mean '%s%s'?", full, strings.TrimSuffix(full, name), s)
	}
	return fmt.Sprintf("'%s' does not exist", full)
}

func keysOf(t *lua.LTable) []string {
	var names []string
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		if s, ok := k.(lua.LString); ok && string(s) != ConcatName {
			names = append(names, string(s))
		}
	}
	return names
}

// Meta makes the protected metatable of something read-only; index makes its fields, if given.
func Meta(index lua.LGFunction, what string) *lua.LTable {
	mt := Sized(4)
	if index != nil {
		mt.RawSetString("__index", GoFunc(index))
	}
	mt.RawSetString("__newindex", GoFunc(func(L *lua.LState) int {
		L.RaiseError("can't set '%s': %s is read-only", TextOf(L.Get(2)), what)
		return 0
	}))
	mt.RawSetString("__metatable", lua.LFalse)
	return mt
}

// protected reports that a table belongs to the host.
func protected(t *lua.LTable) bool {
	mt, ok := t.Metatable.(*lua.LTable)
	return ok && mt.RawGetString("__metatable") != lua.LNil
}

// classic names the functions of a standard library that are taken over as they are.
type classic struct {
	lib  string
	take map[string]lua.LGFunction
}

// classics takes the harmless part of gopher-lua's own libraries from a state that is thrown away.
func classics() []classic {
	L := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer L.Close()
	pick := func(lib string, open lua.LGFunction, words string) classic {
		L.Push(L.NewFunction(open))
		L.Call(0, 1)
		from, _ := L.Get(-1).(*lua.LTable)
		L.Pop(1)
		c := classic{lib: lib, take: map[string]lua.LGFunction{}}
		for name := range strings.FieldsSeq(words) {
			c.take[name] = from.RawGetString(name).(*lua.LFunction).GFunction
		}
		return c
	}
	plain := []classic{
		pick("", lua.OpenBase, "error pcall xpcall rawequal rawget select tonumber type"),
		pick("math", lua.OpenMath, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp ldexp log log10 max min mod modf pow rad sin sinh sqrt tan tanh"),
		pick("table", lua.OpenTable, "getn maxn"),
		pick("string", lua.OpenString, "len sub"),
	}
	for _, name := range []string{"pcall", "xpcall"} {
		plain[0].take[name] = charged(plain[0].take[name])
	}
	for name, run := range plain[2].take {
		plain[2].take[name] = searching(run)
	}
	plain[0].take["tonumber"] = shortText(plain[0].take["tonumber"])
	return plain
}

// numeralMax bounds texts that are read as numbers.
const numeralMax = 1000

// shortText makes tonumber refuse to read very long texts, for which nobody would pay.
func shortText(tonumber lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		if s, ok := L.Get(1).(lua.LString); ok && len(s) > numeralMax {
			L.Push(lua.LNil)
			return 1
		}
		return tonumber(L)
	}
}

// searching makes a function pay for the list that it searches from the end.
func searching(run lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		meterOf(L).Work(L, places(L.CheckTable(1))/placesPerStep)
		return run(L)
	}
}

// caughtSteps is what catching an error costs. gopher-lua writes a stack trace for each, in time that
// grows with the square of the depth; unpaid, a recursion through pcall would run for minutes.
const caughtSteps = 10_000

// charged makes pcall and xpcall pay for the errors they catch.
func charged(call lua.LGFunction) lua.LGFunction {
	return func(L *lua.LState) int {
		n := call(L)
		if L.Get(L.GetTop()-n+1) == lua.LFalse {
			meterOf(L).Work(L, caughtSteps)
		}
		return n
	}
}
