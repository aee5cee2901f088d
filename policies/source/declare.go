package source

import (
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// ParamClass is how a policy declares a parameter.
var ParamClass = sandbox.Class{Name: "epu.Param", Doc: "How a policy declares a parameter.", Fields: []sandbox.Attr{
	{Name: "type", Type: typeWords(), Doc: "what it is; a duration is written as 90s or 5m and comes as seconds, a sensor or site is the name of one of the pool's"},
	{Name: "of", Type: typeWords() + "?", Doc: "type of the entries of a list or map; any without it"},
	{Name: "min", Type: "number?", Doc: "least value; of durations in seconds, of lists and maps the number of entries"},
	{Name: "max", Type: "number?", Doc: "greatest value, in the same way"},
	{Name: "default", Type: "any?", Doc: "value where none is given"},
	{Name: "example", Type: "any?", Doc: "value with which policy check tries the policy"},
	{Name: "required", Type: "boolean?", Doc: "true refuses configurations without it"},
	{Name: "values", Type: "string[]?", Doc: "of an enum: the words that there are"},
	{Name: "unit", Type: "string?", Doc: "unit, for messages and pages"},
	{Name: "doc", Type: "string?", Doc: "what it means, in a sentence"},
	{Name: "aliases", Type: "string[]?", Doc: "old names; one that begins with ! means the opposite"},
}}

func typeWords() string {
	var out []string
	for _, t := range params.Types() {
		out = append(out, fmt.Sprintf("%q", string(t)))
	}
	return strings.Join(out, "|")
}

// Declarations takes the parameters from the value of params in the table that a policy's file returned.
func (f *File) Declarations(v lua.LValue) (set params.Set, problems params.Problems) {
	if v == lua.LNil {
		return nil, nil
	}
	t, ok := v.(*lua.LTable)
	if !ok {
		return nil, params.Problems{{File: f.Name, Text: fmt.Sprintf("params is %s, but must be a table", sandbox.KindOf(v))}}
	}
	owner := map[string]string{}
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		d := &declaration{Param: params.Param{Name: sandbox.TextOf(k)}}
		if _, ok := k.(lua.LString); !ok {
			d.bad("its name is not a text")
		}
		d.read(v)
		for _, name := range d.Names() {
			if other, taken := owner[name]; taken {
				d.bad("'%s' is already a name of '%s'", name, other)
			}
			owner[name] = d.Name
		}
		for _, text := range d.problems {
			problems = append(problems, params.Problem{
				File: f.Name, Line: f.lines[d.Name],
				Text: fmt.Sprintf("parameter '%s': %s", d.Name, text),
			})
		}
		set = append(set, d.Param)
	}
	return set, problems
}

// declaration is a parameter while it is read.
type declaration struct {
	params.Param
	problems []string
}

func (d *declaration) bad(format string, args ...any) {
	d.problems = append(d.problems, fmt.Sprintf(format, args...))
}

func (d *declaration) read(v lua.LValue) {
	t, ok := v.(*lua.LTable)
	if !ok {
		d.bad("is %s, but must be a table such as {type = \"integer\", default = 0}", sandbox.KindOf(v))
		return
	}
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		if name := sandbox.TextOf(k); !slices.Contains(ParamClass.Names(), name) {
			d.bad("unknown key '%s'%s", name, params.DidYouMean(name, ParamClass.Names()))
		}
	}
	d.Type = d.paramType(t, "type")
	d.Of = d.paramType(t, "of")
	if d.Type == "" && t.RawGetString("type") == lua.LNil {
		d.bad("has no type")
	}
	if d.Of != "" && (d.Type != params.List && d.Type != params.Map) {
		d.bad("'of' belongs to lists and maps")
	}
	d.Min, d.Max = d.number(t, "min"), d.number(t, "max")
	if d.Min != nil && d.Max != nil && *d.Min > *d.Max {
		d.bad("min %s is above max %s", params.NumberText(*d.Min), params.NumberText(*d.Max))
	}
	d.Unit, d.Doc = d.text(t, "unit"), d.text(t, "doc")
	switch r := t.RawGetString("required"); r {
	case lua.LNil, lua.LFalse:
	case lua.LTrue:
		d.Required = true
	default:
		d.bad("required is %s, but must be true or false", sandbox.KindOf(r))
	}
	d.Values = d.texts(t, "values")
	if d.Type == params.Enum && len(d.Values) == 0 {
		d.bad("an enum needs values, such as {\"a\", \"b\"}")
	}
	for _, name := range d.texts(t, "aliases") {
		plain, negate := strings.CutPrefix(name, "!")
		if negate && d.Type != params.Boolean {
			d.bad("the alias '%s' is negated, which only a boolean can be", name)
		}
		d.Aliases = append(d.Aliases, params.Alias{Name: plain, Negate: negate})
	}
	if v := t.RawGetString("default"); v != lua.LNil && d.Required {
		d.bad("is required, so a default would never be used")
	}
	d.Default = d.value("default", t.RawGetString("default"))
	d.Example = d.value("example", t.RawGetString("example"))
}

// value is a default or an example, in the form that checking gives.
func (d *declaration) value(what string, v lua.LValue) any {
	if v == lua.LNil || len(d.problems) > 0 {
		return nil
	}
	plain, err := sandbox.FromLua(v)
	if err != nil {
		d.bad("%s: %v", what, err)
		return nil
	}
	if m, ok := plain.(map[string]any); ok && len(m) == 0 && d.Type == params.List {
		plain = []any{} // an empty table is both
	}
	good, problem := d.Check(plain)
	if problem != "" {
		d.bad("%s %s", what, problem)
		return nil
	}
	return good
}

func (d *declaration) paramType(t *lua.LTable, key string) params.Type {
	name := d.text(t, key)
	if name == "" {
		return ""
	}
	var known []string
	for _, k := range params.Types() {
		if params.Type(name) == k {
			return k
		}
		known = append(known, string(k))
	}
	d.bad("unknown %s '%s': one of %s", key, name, strings.Join(known, " "))
	return ""
}

func (d *declaration) text(t *lua.LTable, key string) string {
	switch v := t.RawGetString(key).(type) {
	case *lua.LNilType:
		return ""
	case lua.LString:
		return string(v)
	default:
		d.bad("%s is %s, but must be a text", key, sandbox.KindOf(v))
		return ""
	}
}

func (d *declaration) texts(t *lua.LTable, key string) (out []string) {
	v := t.RawGetString(key)
	if v == lua.LNil {
		return nil
	}
	list, ok := v.(*lua.LTable)
	if !ok {
		d.bad("%s is %s, but must be a list of texts", key, sandbox.KindOf(v))
		return nil
	}
	for i := 1; i <= list.Len(); i++ {
		s, ok := list.RawGetInt(i).(lua.LString)
		if !ok || s == "" {
			d.bad("%s: entry %d is not a text", key, i)
			continue
		}
		out = append(out, string(s))
	}
	return out
}

func (d *declaration) number(t *lua.LTable, key string) *float64 {
	switch v := t.RawGetString(key).(type) {
	case *lua.LNilType:
		return nil
	case lua.LNumber:
		f := float64(v)
		return &f
	default:
		d.bad("%s is %s, but must be a number", key, sandbox.KindOf(v))
		return nil
	}
}
