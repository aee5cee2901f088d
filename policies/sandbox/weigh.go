package sandbox

import (
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// What values weigh: somewhat more than gopher-lua takes for them. Texts weigh nothing, because those of an
// evaluation are bounded exactly.
const (
	tableBytes   = 128
	namesBytes   = 1 << 10 // of a table that has names at all: its maps
	nameBytes    = 128     // of each name
	placeBytes   = 24      // of each place in a list, numbers included
	closureBytes = 128
	upvalueBytes = 64
	viewBytes    = 64
	keptBytes    = 1 << 10 // of a view that outlives its evaluation, with what it keeps from being freed
)

// Weigh tells how many bytes the values take that a state can still reach: from its stack and from what the
// host holds of it. It stops counting beyond most. What the host shares between states weighs nothing to
// speak of.
func Weigh(L *lua.LState, most uint64, held ...lua.LValue) uint64 {
	s := scale{most: most, seen: map[any]bool{}}
	return s.all(L, held)
}

// WeighAll is Weigh for a state between evaluations, in which those of many may have left texts and views: a text counts
// wherever it is held.
func WeighAll(L *lua.LState, most uint64, held ...lua.LValue) uint64 {
	s := scale{most: most, seen: map[any]bool{}, kept: true}
	return s.all(L, held)
}

func (s *scale) all(L *lua.LState, held []lua.LValue) uint64 {
	for _, v := range held {
		s.take(v)
	}
	stack := stackOf(L)
	for i := range stack.Len() {
		switch v := stack.Index(i).Elem(); {
		case !v.IsValid():
		case v.Type() == tableType:
			s.take((*lua.LTable)(v.UnsafePointer()))
		case v.Type() == functionType:
			s.take((*lua.LFunction)(v.UnsafePointer()))
		}
	}
	for len(s.todo) > 0 && s.sum <= s.most {
		v := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		s.open(v)
	}
	return s.sum
}

var tableType, functionType = reflect.TypeFor[*lua.LTable](), reflect.TypeFor[*lua.LFunction]()

// stackOf is where a state keeps the values of all calls that run. gopher-lua shows them by call only, and can't
// count calls behind which others have ended in a tail call.
func stackOf(L *lua.LState) reflect.Value {
	return reflect.ValueOf(L).Elem().FieldByName("reg").Elem().FieldByName("array")
}

// scale is a weighing that goes on.
type scale struct {
	sum, most uint64
	seen      map[any]bool
	todo      []lua.LValue
	kept      bool // texts and views weigh what they keep
}

// take adds what a value takes by itself, and notes what it holds for later.
func (s *scale) take(v lua.LValue) {
	switch v := v.(type) {
	case *lua.LTable:
		if s.seen[v] || s.sum > s.most {
			return
		}
		s.sum += tableBytes + placeBytes*uint64(part(v, layout.array).Cap())
		if n := part(v, layout.keys).Len(); n > 0 {
			s.sum += namesBytes + nameBytes*uint64(n)
		}
		s.seen[v] = true
		s.todo = append(s.todo, v)
	case *lua.LFunction:
		if s.seen[v] || s.sum > s.most {
			return
		}
		s.sum += closureBytes + upvalueBytes*uint64(len(v.Upvalues))
		s.seen[v] = true
		s.todo = append(s.todo, v)
	case *lua.LUserData:
		s.sum += viewBytes
		if s.kept {
			s.sum += keptBytes
		}
	case lua.LString:
		if s.kept {
			s.sum += uint64(len(v))
		}
	}
}

func (s *scale) open(v lua.LValue) {
	switch v := v.(type) {
	case *lua.LTable:
		s.take(v.Metatable)
		v.ForEach(func(k, e lua.LValue) {
			s.take(k)
			s.take(e)
		})
	case *lua.LFunction:
		for _, u := range v.Upvalues {
			if u != nil {
				s.take(u.Value())
			}
		}
	}
}
