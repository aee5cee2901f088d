package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
)

// Bounds of values that cross between Go and Lua.
const (
	TextMax      = 64 << 10 // bytes of one text made by a policy
	TextTotalMax = 8 << 20  // bytes of all texts made in one evaluation
	MemoryMax    = 64 << 10 // bytes of a policy's memory as JSON
	depthMax     = 16       // levels of nested tables
	valuesMax    = 100_000  // entries of one value
)

// ToLua converts a plain Go value. Maps become tables with their keys set in sorted order, so that
// pairs visits them in the same order every time.
func ToLua(v any) lua.LValue {
	switch v := v.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int:
		return lua.LNumber(v)
	case int64:
		return lua.LNumber(v)
	case uint64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case json.Number:
		f, _ := v.Float64()
		return lua.LNumber(f)
	case time.Duration:
		return lua.LNumber(v.Seconds())
	case []any:
		t := NewTable()
		for i, e := range v {
			t.RawSetInt(i+1, ToLua(e))
		}
		return t
	case map[string]any:
		t := Sized(len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			t.RawSetString(k, ToLua(v[k]))
		}
		return t
	case map[string]string:
		t := Sized(len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			t.RawSetString(k, lua.LString(v[k]))
		}
		return t
	}
	return lua.LString(fmt.Sprint(v))
}

// Freeze converts a plain Go value into one that scripts can only read, at every level. Nothing is
// copied when it is read, and pairs, ipairs, next, #, unpack and table.concat see through it.
func Freeze(v any) lua.LValue {
	var back *lua.LTable
	switch v := v.(type) {
	case []any:
		back = NewTable()
		for i, e := range v {
			back.RawSetInt(i+1, Freeze(e))
		}
	case map[string]any:
		back = Sized(len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			back.RawSetString(k, Freeze(v[k]))
		}
	default:
		return ToLua(v)
	}
	back.Metatable = frozenBack
	mt := Sized(4)
	mt.RawSetString("__index", back)
	mt.RawSetString("__newindex", frozenSet)
	mt.RawSetString("__len", frozenLen)
	mt.RawSetString("__metatable", lua.LFalse)
	p := NewTable()
	p.Metatable = mt
	return p
}

var (
	frozenBack = func() *lua.LTable {
		mt := Sized(1)
		mt.RawSetString("__metatable", lua.LFalse)
		return mt
	}()
	frozenSet = GoFunc(func(L *lua.LState) int {
		L.RaiseError("can't set '%s': the table is read-only; copy it first", TextOf(L.Get(2)))
		return 0
	})
	frozenLen = GoFunc(func(L *lua.LState) int {
		L.Push(lua.LNumber(Backing(L.CheckTable(1)).Len()))
		return 1
	})
)

// Backing is the table behind a proxy, or the table itself. It is for reading only.
func Backing(t *lua.LTable) *lua.LTable {
	mt, ok := t.Metatable.(*lua.LTable)
	if !ok || mt.RawGetString("__metatable") == lua.LNil {
		return t
	}
	if back, ok := mt.RawGetString("__index").(*lua.LTable); ok {
		return back
	}
	return t
}

// FromLua converts a Lua value into plain Go: nil, bool, float64, string, []any, map[string]any.
// What JSON can't hold is an error that names the place.
func FromLua(v lua.LValue) (any, error) { return (&taker{bytesMax: TextTotalMax}).value(v, 0) }

// taker converts one value, and stops before it takes too much: the same long text may be in a table a
// thousand times and take no memory there, but would in what is made of it.
type taker struct {
	bytesMax int
	values   int
	bytes    int // of JSON, at least
	empty    int // places of lists and removed keys that were passed over
}

// emptyMax bounds what a value's tables have at the end of lists and of keys that are no more.
const emptyMax = 1 << 20

// tooLarge is how much a value may take.
type tooLarge int

func (e tooLarge) Error() string { return fmt.Sprintf("holds more than %d bytes", int(e)) }

// misfit is what JSON can't hold, and where it is.
type misfit struct {
	at   []string // from the outermost key
	text string
}

func (e *misfit) Error() string {
	if len(e.at) == 0 {
		return "it " + e.text
	}
	return strings.Join(e.at, ".") + " " + e.text
}

// in says that what is wrong is in the entry of a key.
func in(key string, err error) error {
	if m, ok := err.(*misfit); ok {
		m.at = append([]string{params.Clip(key, keyShown)}, m.at...)
	}
	return err
}

// keyShown is how much of a key stands in an error.
const keyShown = 80

// count takes note of a value's size.
func (t *taker) count(bytes int) error {
	if t.values++; t.values > valuesMax {
		return fmt.Errorf("more than %d values", valuesMax)
	}
	if t.bytes += bytes; t.bytes > t.bytesMax {
		return tooLarge(t.bytesMax)
	}
	return nil
}

func (t *taker) value(v lua.LValue, depth int) (any, error) {
	size := 2 // with what stands between values
	if s, ok := v.(lua.LString); ok {
		size += len(s)
	}
	if err := t.count(size); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(v), nil
	case lua.LString:
		return string(v), nil
	case lua.LNumber:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, &misfit{text: "is not a finite number"}
	case *lua.LTable:
		if depth >= depthMax {
			return nil, &misfit{text: fmt.Sprintf("is nested more than %d levels deep (or contains itself)", depthMax)}
		}
		return t.table(Backing(v), depth)
	}
	return nil, &misfit{text: fmt.Sprintf("is %s, which can't be kept", KindOf(v))}
}

func (t *taker) table(from *lua.LTable, depth int) (any, error) {
	if t.empty += places(from) + removed(from); t.empty > emptyMax {
		return nil, fmt.Errorf("its tables have had more than %d entries", emptyMax)
	}
	size, list := 0, 0
	m := map[string]any{}
	for k, v := from.Next(lua.LNil); k != lua.LNil; k, v = from.Next(k) {
		size++
		key := TextOf(k)
		if i, ok := k.(lua.LNumber); ok && float64(i) == float64(size) {
			list++
		}
		if _, ok := k.(lua.LString); !ok && list < size {
			return nil, &misfit{text: fmt.Sprintf("has the key %s: keys are texts, or 1, 2, 3 without gaps", key)}
		}
		if list > 0 && list < size {
			return nil, &misfit{text: "mixes a list with named keys"}
		}
		if list == 0 {
			t.bytes += len(key)
		}
		var err error
		if m[key], err = t.value(v, depth+1); err != nil {
			return nil, in(key, err)
		}
	}
	if list == 0 {
		return m, nil
	}
	out := make([]any, list)
	for i := range out {
		out[i] = m[TextOf(lua.LNumber(i+1))]
	}
	return out, nil
}

// EncodeMemory is the policy's memory as it is stored: JSON with sorted keys, nil when empty.
func EncodeMemory(t *lua.LTable) (json.RawMessage, error) {
	v, err := (&taker{bytesMax: MemoryMax}).value(t, 0)
	var over tooLarge
	if errors.As(err, &over) {
		return nil, errMemoryOver
	}
	if err != nil {
		return nil, fmt.Errorf("state.memory: %w", err)
	}
	if m, ok := v.(map[string]any); ok && len(m) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("state.memory: %w", err)
	}
	if len(b) > MemoryMax {
		return nil, errMemoryOver
	}
	return b, nil
}

var errMemoryOver = fmt.Errorf("state.memory holds more than %d bytes; keep sums in place of lists", MemoryMax)

// DecodeMemory reads what EncodeMemory wrote. Anything else is an error: guessing at a policy's
// memory would be worse than stopping.
func DecodeMemory(b json.RawMessage) (*lua.LTable, error) {
	if len(bytes.TrimSpace(b)) == 0 || string(b) == "null" {
		return NewTable(), nil
	}
	if len(b) > MemoryMax {
		return nil, fmt.Errorf("stored memory is %d bytes: at most %d", len(b), MemoryMax)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("stored memory is damaged: %w", err)
	}
	if tooDeep(v, depthMax) {
		return nil, fmt.Errorf("stored memory is nested more than %d levels deep", depthMax)
	}
	t, ok := ToLua(v).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("stored memory is no table")
	}
	return t, nil
}

func tooDeep(v any, left int) bool {
	if left < 0 {
		return true
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if tooDeep(e, left-1) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if tooDeep(e, left-1) {
				return true
			}
		}
	}
	return false
}
