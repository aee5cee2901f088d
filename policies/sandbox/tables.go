package sandbox

import (
	"iter"
	"reflect"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func next(L *lua.LState) int {
	t, from := Backing(L.CheckTable(1)), L.Get(2)
	k, v := t.Next(from)
	meterOf(L).Work(L, skipped(t, from, k))
	if k == lua.LNil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(k)
	L.Push(v)
	return 2
}

// layout is where a table keeps its list and its keys. gopher-lua tells nobody how long they are, nils at the
// end and keys that were removed included, and searches them without being asked what that costs.
var layout = func() (at struct{ array, keys, places, named, others int }) {
	for name, place := range map[string]*int{"array": &at.array, "keys": &at.keys, "k2i": &at.places, "strdict": &at.named, "dict": &at.others} {
		f, ok := reflect.TypeFor[lua.LTable]().FieldByName(name)
		if !ok || len(f.Index) != 1 || f.Type.Kind() != reflect.Slice && f.Type.Kind() != reflect.Map {
			panic("this version of gopher-lua keeps tables elsewhere")
		}
		*place = f.Index[0]
	}
	return at
}()

func part(t *lua.LTable, field int) reflect.Value { return reflect.ValueOf(t).Elem().Field(field) }

// places is how long a table's list is with the nils at its end.
func places(t *lua.LTable) int { return part(t, layout.array).Len() }

// removed is how many keys a table once had and has no more; they are passed over one by one for ever.
func removed(t *lua.LTable) int {
	return part(t, layout.keys).Len() - part(t, layout.named).Len() - part(t, layout.others).Len()
}

// What passing over is worth, in places of a list and in removed keys per step.
const (
	placesPerStep  = 64
	removedPerStep = 2
)

// walking is what it costs to go through a table beside what is in it.
func walking(t *lua.LTable) int { return places(t)/placesPerStep + removed(t)/removedPerStep }

// Entries goes through a table as pairs does, and charges for what it passes over. It gives at most one
// entry more than most.
func Entries(L *lua.LState, t *lua.LTable, most int) iter.Seq2[lua.LValue, lua.LValue] {
	t = Backing(t)
	meterOf(L).Work(L, walking(t))
	return func(yield func(k, v lua.LValue) bool) {
		n := 0
		for k, v := t.Next(lua.LNil); k != lua.LNil && n <= most && yield(k, v); k, v = t.Next(k) {
			n++
			meterOf(L).Work(L, 1)
		}
	}
}

// skipped is what it cost next to come from one key to the other.
func skipped(t *lua.LTable, from, to lua.LValue) int {
	steps := 0
	if i, ok := from.(lua.LNumber); ok || from == lua.LNil {
		j, ok := to.(lua.LNumber)
		if !ok {
			j = lua.LNumber(places(t))
		}
		steps = min(max(0, int(j-i)), places(t)) / placesPerStep
	}
	if _, ok := to.(lua.LNumber); ok || removed(t) < placesPerStep {
		return steps
	}
	end := part(t, layout.keys).Len()
	if to != lua.LNil {
		end = placeOfKey(t, to)
	}
	return steps + max(0, end-placeOfKey(t, from))/removedPerStep
}

// placeOfKey is where a key stands among all that a table ever had; 0 for one that never was there.
func placeOfKey(t *lua.LTable, k lua.LValue) int {
	if at := part(t, layout.places).MapIndex(reflect.ValueOf(k)); at.IsValid() {
		return int(at.Int())
	}
	return 0
}

func pairs(L *lua.LState) int {
	t, ok := L.CheckAny(1).(*lua.LTable)
	if !ok {
		L.RaiseError("pairs wants a table, got %s", KindOf(L.Get(1)))
	}
	L.Push(nextFunc)
	L.Push(t) // what is behind a proxy is not for scripts: they could write to it
	L.Push(lua.LNil)
	return 3
}

// The iterators of pairs and ipairs, which hold nothing.
var (
	nextFunc  = GoFunc(next)
	indexFunc = GoFunc(nextIndex)
)

func nextIndex(L *lua.LState) int {
	i := L.CheckInt(2) + 1
	v := Backing(L.CheckTable(1)).RawGetInt(i)
	if v == lua.LNil {
		return 0
	}
	L.Push(lua.LNumber(i))
	L.Push(v)
	return 2
}

func ipairs(L *lua.LState) int {
	t, ok := L.CheckAny(1).(*lua.LTable)
	if !ok {
		L.RaiseError("ipairs wants a list, got %s", KindOf(L.Get(1)))
	}
	L.Push(indexFunc)
	L.Push(t)
	L.Push(lua.LNumber(0))
	return 3
}

func unpack(L *lua.LState) int {
	t := Backing(L.CheckTable(1))
	meterOf(L).Work(L, places(t)/placesPerStep)
	i, j := L.OptInt(2, 1), L.OptInt(3, t.Len())
	if j-i >= unpackMax {
		L.RaiseError("unpack: %d values at once: at most %d", j-i+1, unpackMax)
	}
	meterOf(L).Work(L, max(0, j-i)/8)
	for k := i; k <= j; k++ {
		L.Push(t.RawGetInt(k))
	}
	return max(0, j-i+1)
}

func tableConcat(L *lua.LState) int {
	t, sep := Backing(L.CheckTable(1)), L.OptString(2, "")
	meterOf(L).Work(L, places(t)/placesPerStep)
	i, j := max(L.OptInt(3, 1), 1), L.OptInt(4, t.Len())
	j = min(j, t.Len())
	meterOf(L).Work(L, max(0, j-i)) // empty texts make no length, but take time
	size := 0
	var parts []string
	for ; i <= j; i++ {
		v := t.RawGetInt(i)
		if !lua.LVCanConvToString(v) {
			L.RaiseError("table.concat: entry %d is %s", i, KindOf(v))
		}
		s := lua.LVAsString(v)
		if size += len(s) + len(sep); size > TextMax+len(sep) {
			break
		}
		parts = append(parts, s)
	}
	meterOf(L).Made(L, size)
	L.Push(lua.LString(strings.Join(parts, sep)))
	return 1
}

func tableInsert(L *lua.LState) int {
	t := ownTable(L, "table.insert")
	switch L.GetTop() {
	case 2:
		n := t.Len()
		meterOf(L).Work(L, (places(t)-n)/placesPerStep) // a long end of nils is searched
		t.Append(L.Get(2))
	case 3:
		pos := L.CheckInt(2)
		meterOf(L).Work(L, places(t)/placesPerStep)
		if n := t.Len(); pos < 1 || pos > n+1 {
			L.RaiseError("table.insert: position %d is outside the list of %d", pos, n)
		}
		t.Insert(pos, L.Get(3))
	default:
		L.RaiseError("table.insert wants a list, perhaps a position, and a value; got %d arguments", L.GetTop())
	}
	return 0
}

func tableRemove(L *lua.LState) int {
	t := ownTable(L, "table.remove")
	meterOf(L).Work(L, places(t)/placesPerStep)
	L.Push(t.Remove(L.OptInt(2, -1)))
	return 1
}

// tableSort is stable, unlike the library's, so equal entries can't depend on how Go sorts.
func tableSort(L *lua.LState) int {
	t := ownTable(L, "table.sort")
	meterOf(L).Work(L, places(t)/8)
	n := t.Len()
	var less *lua.LFunction
	if L.GetTop() > 1 && L.Get(2) != lua.LNil {
		less = L.CheckFunction(2)
	}
	vals := make([]lua.LValue, n)
	for i := range vals {
		vals[i] = t.RawGetInt(i + 1)
	}
	sort.SliceStable(vals, func(i, j int) bool {
		a, b := vals[i], vals[j]
		meterOf(L).Work(L, 2+longer(a)/256) // less may be a function of the host, which takes no instruction
		if less == nil {
			return plainLess(L, a, b)
		}
		L.Push(less)
		L.Push(a)
		L.Push(b)
		L.Call(2, 1)
		r := L.ToBool(-1)
		L.Pop(1)
		return r
	})
	for i, v := range vals {
		t.RawSetInt(i+1, v)
	}
	return 0
}

// longer is the length of a text, which a comparison may read to its end.
func longer(v lua.LValue) int {
	s, _ := v.(lua.LString)
	return len(s)
}

func plainLess(L *lua.LState, a, b lua.LValue) bool {
	switch x := a.(type) {
	case lua.LNumber:
		if y, ok := b.(lua.LNumber); ok {
			return x < y
		}
	case lua.LString:
		if y, ok := b.(lua.LString); ok {
			return x < y
		}
	}
	L.RaiseError("table.sort: can't compare %s with %s", KindOf(a), KindOf(b))
	return false
}
