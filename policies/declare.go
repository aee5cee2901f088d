package policies

import (
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// The vocabulary of parameters and problems.
type (
	// Param is one parameter that a policy declares.
	Param = params.Param
	// Problem is one thing that is wrong with a policy or its configuration.
	Problem = params.Problem
	// Problems is every problem found, as an error.
	Problems = params.Problems
)

var paramKeys = []string{
	"type", "of", "min", "max", "default", "required", "values", "unit", "doc", "aliases",
}

// readParams takes the declarations from the policy's table.
func (p *Policy) readParams(v lua.LValue) (problems Problems) {
	if v == lua.LNil {
		return nil
	}
	t, ok := v.(*lua.LTable)
	if !ok {
		return Problems{{File: p.main, Text: fmt.Sprintf("params is %s, but must be a table", sandbox.KindOf(v))}}
	}
	owner := map[string]string{}
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		d := &declaration{Param: Param{Name: sandbox.TextOf(k)}}
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
			problems = append(problems, Problem{
				File: p.main, Line: p.files[p.main].lines[d.Name],
				Text: fmt.Sprintf("parameter '%s': %s", d.Name, text),
			})
		}
		p.Params = append(p.Params, d.Param)
	}
	return problems
}

// declaration is a parameter while it is read.
type declaration struct {
	Param
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
		if name := sandbox.TextOf(k); !slices.Contains(paramKeys, name) {
			d.bad("unknown key '%s'%s", name, params.DidYouMean(name, paramKeys))
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
	d.readDefault(t.RawGetString("default"))
}

func (d *declaration) readDefault(v lua.LValue) {
	if v == lua.LNil || len(d.problems) > 0 {
		return
	}
	if d.Required {
		d.bad("is required, so a default would never be used")
	}
	plain, err := sandbox.FromLua(v)
	if err != nil {
		d.bad("default: %v", err)
		return
	}
	if m, ok := plain.(map[string]any); ok && len(m) == 0 && d.Type == params.List {
		plain = []any{} // an empty table is both
	}
	good, problem := d.Check(plain)
	if problem != "" {
		d.bad("default %s", problem)
		return
	}
	d.Default = good
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

// Check is the gate for a configuration: old key names are taken, defaults filled in, every value brought
// into one form, and the policy's validate asked. Texts that hold numbers and booleans are accepted,
// because old launch plans hold nothing else. All problems are reported at once; full is nil then.
func (p *Policy) Check(conf map[string]any) (full map[string]any, problems []Problem) {
	return p.Params.Check(conf, p.validate)
}

// Reconfigure replaces each key given in changes by its whole new value and keeps the rest; a nil
// value means the default. The result is checked before anything changes: with problems, nothing
// does. Changed lists the keys whose values differ now, sorted.
func (p *Policy) Reconfigure(old, changes map[string]any) (merged map[string]any, changed []string, problems []Problem) {
	return p.Params.Reconfigure(old, changes, p.validate)
}

// plain is a configuration as the policy sees it.
func (p *Policy) plain(conf map[string]any) map[string]any {
	out := make(map[string]any, len(conf))
	for k, v := range conf {
		if d, ok := p.Params.Find(k); ok {
			v = d.Plain(v)
		}
		out[k] = v
	}
	return out
}

// validate runs the policy's own rules over a configuration that is otherwise good.
func (p *Policy) validate(full map[string]any) []Problem {
	e := NewEngine(p, Options{})
	defer e.Close()
	return e.host.validate(full)
}

func (h *host) validate(full map[string]any) (problems []Problem) {
	defer func() {
		if r := recover(); r != nil {
			problems = []Problem{{File: h.p.main, Text: fmt.Sprintf("validate failed: %v", r)}}
		}
	}()
	h.Begin(h.limits())
	fns, err := h.load()
	if err == nil && fns.validate != nil {
		h.L.Push(fns.validate)
		h.L.Push(sandbox.ToLua(h.p.plain(full)))
		err = h.L.PCall(1, 0, nil)
	}
	if err == nil {
		err = h.Spent()
	}
	if err != nil {
		return []Problem{h.p.problemAt(messageOf(err))}
	}
	return nil
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
