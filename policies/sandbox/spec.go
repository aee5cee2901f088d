package sandbox

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Func is one thing that policies can reach. The same table registers it and documents it, so
// reference pages and editor types made from it can't drift.
type Func struct {
	Group   string // control, state, cron, text, string, math, table; empty for globals
	Name    string
	Args    string // with types, as in "n: integer, opts?: epu.ScaleOptions"; empty for a field
	Returns string // the type of the result or of the field, such as "integer" or "epu.Reading?"; empty for none
	Doc     string
	Field   bool // a value, not a function
	Run     lua.LGFunction
}

// F makes the entry of a function.
func F(group, name, args, returns, doc string, run lua.LGFunction) Func {
	return Func{Group: group, Name: name, Args: args, Returns: returns, Doc: doc, Run: run}
}

// Full is the name as policies write it, such as control.scale_to.
func (f Func) Full() string { return strings.TrimPrefix(f.Group+"."+f.Name, ".") }

// Signature is the function with the names of its arguments, as people read it; a field's is its name.
func (f Func) Signature() string {
	if f.Field {
		return f.Full()
	}
	var names []string
	for _, a := range f.Params() {
		if a.Optional {
			a.Name += "?"
		}
		names = append(names, a.Name)
	}
	return f.Full() + "(" + strings.Join(names, ", ") + ")"
}

// Arg is one argument of a function.
type Arg struct {
	Name     string // "..." stands for any number
	Type     string
	Optional bool
}

// Params are the arguments in their order.
func (f Func) Params() (out []Arg) {
	depth, start := 0, 0
	add := func(part string) {
		name, typ, _ := strings.Cut(strings.TrimSpace(part), ": ")
		if name == "" {
			return
		}
		plain, optional := strings.CutSuffix(name, "?")
		out = append(out, Arg{Name: plain, Type: typ, Optional: optional})
	}
	for i, c := range f.Args {
		switch c {
		case '<', '(', '{':
			depth++
		case '>', ')', '}':
			depth--
		case ',':
			if depth == 0 {
				add(f.Args[start:i])
				start = i + 1
			}
		}
	}
	add(f.Args[start:])
	return out
}

// Class describes a table or view that the host takes or gives: its name among types, such as
// epu.Reading, and its fields.
type Class struct {
	Name   string
	Parent string // the class whose fields it has too; empty = none
	Doc    string
	Fields []Attr
}

// Attr is a field of a class. A type that ends with a question mark may be absent.
type Attr struct{ Name, Type, Doc string }

// Names are the names of the fields.
func (c Class) Names() []string {
	out := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		out[i] = f.Name
	}
	return out
}
