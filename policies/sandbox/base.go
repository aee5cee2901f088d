package sandbox

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
)

// unpackMax is how many values unpack gives.
const unpackMax = 1000

// baseFuncs are the globals and library functions that differ from plain Lua's: bounded, repeatable,
// and unable to touch what belongs to the host.
func baseFuncs() []Func {
	return []Func{
		F("", "tostring", "v: any", "string", "A value as text. Tables and functions have no address in it, so that runs can be repeated.", tostring),
		F("", "assert", "v: any, message?: any", "any", "Fails with the message if v is false or nil.", assert),
		F("", "pairs", "t: table", "fun(t: table, k?: any): any, any", "Iterates over a table in the order in which its keys were set, lists first.", pairs),
		F("", "ipairs", "list: any[]", "fun(t: any[], i?: integer): integer, any", "Iterates over a list.", ipairs),
		F("", "next", "t: table, k?: any", "any, any", "The entry after k, or the first one.", next),
		F("", "unpack", "list: any[], i?: integer, j?: integer", "any", "The entries of a list as separate values, at most 1000.", unpack),
		F("", "getmetatable", "t: any", "table?", "The metatable of a table.", getmetatable),
		F("", "setmetatable", "t: table, mt?: table", "table", "Sets the metatable of a table of the policy's own.", setmetatable),
		F("", "rawset", "t: table, k: any, v: any", "table", "Sets a key of a table of the policy's own.", rawset),
		F("math", "random", "m?: integer, n?: integer", "number", "A number in [0,1), or a whole number from 1 to m, or from m to n. The same decision draws the same numbers.", random),
		F("table", "concat", "list: any[], sep?: string, i?: integer, j?: integer", "string", "Joins a list of texts and numbers.", tableConcat),
		F("table", "insert", "list: any[], pos?: integer, v: any", "", "Inserts into a list.", tableInsert),
		F("table", "remove", "list: any[], pos?: integer", "any", "Removes from a list and returns what was there.", tableRemove),
		F("table", "sort", "list: any[], less?: fun(a: any, b: any): boolean", "", "Sorts a list in place.", tableSort),
	}
}

// TextOf is tostring without addresses and without metamethods.
func TextOf(v lua.LValue) string {
	switch v := v.(type) {
	case *lua.LTable:
		return "table"
	case *lua.LFunction:
		return "function"
	case *lua.LUserData:
		if w, ok := v.Value.(*epu.Worker); ok {
			return "worker " + string(w.ID)
		}
		return "host value"
	}
	return v.String()
}

func tostring(L *lua.LState) int {
	v := L.CheckAny(1)
	if t, ok := v.(*lua.LTable); ok {
		if f := L.GetMetaField(t, "__tostring"); f.Type() == lua.LTFunction {
			L.Push(f)
			L.Push(t)
			L.Call(1, 1)
			return 1
		}
	}
	L.Push(lua.LString(TextOf(v)))
	return 1
}

func assert(L *lua.LState) int {
	if L.ToBool(1) {
		return L.GetTop()
	}
	if m := L.Get(2); m != lua.LNil && m.Type() != lua.LTString {
		L.Error(m, 1)
	}
	L.RaiseError("%s", L.OptString(2, "assertion failed"))
	return 0
}

func getmetatable(L *lua.LState) int {
	t, ok := L.CheckAny(1).(*lua.LTable)
	if !ok || protected(t) {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(t.Metatable)
	return 1
}

func setmetatable(L *lua.LState) int {
	t := ownTable(L, "setmetatable")
	L.CheckTypes(2, lua.LTNil, lua.LTTable)
	t.Metatable = L.Get(2)
	L.SetTop(1)
	return 1
}

func rawset(L *lua.LState) int {
	t := ownTable(L, "rawset")
	key := L.CheckAny(2)
	if n, ok := key.(lua.LNumber); ok && math.IsNaN(float64(n)) || key == lua.LNil {
		L.RaiseError("rawset: %s can't be a key", TextOf(key))
	}
	t.RawSet(key, L.CheckAny(3))
	L.SetTop(1)
	return 1
}

// ownTable takes the first argument, a table that is the policy's to change.
func ownTable(L *lua.LState, what string) *lua.LTable {
	t, ok := L.CheckAny(1).(*lua.LTable)
	if !ok {
		L.RaiseError("%s wants a table, got %s", what, KindOf(L.Get(1)))
	}
	if protected(t) {
		L.RaiseError("%s: this table belongs to the host", what)
	}
	return t
}

// KindOf names a value's kind in messages.
func KindOf(v lua.LValue) string {
	if v == lua.LNil {
		return "nil"
	}
	if v.Type() == lua.LTUserData {
		return TextOf(v)
	}
	return "a " + v.Type().String()
}

// random draws from the decision's own generator. The library's never returns the upper bound,
// fails for equal bounds, and can't be seeded.
func random(L *lua.LState) int {
	r := &meterOf(L).Tools().Rand
	lo, hi := 1, 0
	switch L.GetTop() {
	case 0:
		L.Push(lua.LNumber(float64(r.next()>>11) / (1 << 53)))
		return 1
	case 1:
		hi = L.CheckInt(1)
	default:
		lo, hi = L.CheckInt(1), L.CheckInt(2)
	}
	if hi < lo {
		L.RaiseError("random: nothing lies between %d and %d", lo, hi)
	}
	L.Push(lua.LNumber(lo + int(r.below(uint64(hi-lo)+1))))
	return 1
}

// Rand is splitmix64: small, fast, and the same on every machine.
type Rand uint64

func (r *Rand) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is uniform in [0,n); n 0 means 2^64.
func (r *Rand) below(n uint64) uint64 {
	if n == 0 {
		return r.next()
	}
	for limit := -n % n; ; {
		if v := r.next(); v >= limit {
			return v % n
		}
	}
}

// concat is the operator "..": texts and numbers only, bounded and charged.
func concat(L *lua.LState) int {
	parts := make([]string, L.GetTop())
	size := 0
	for i := range parts {
		v := L.Get(i + 1)
		if !lua.LVCanConvToString(v) {
			L.RaiseError("attempt to concatenate %s", KindOf(v))
		}
		parts[i] = lua.LVAsString(v)
		size += len(parts[i])
	}
	meterOf(L).Made(L, size)
	L.Push(lua.LString(strings.Join(parts, "")))
	return 1
}
