package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
	"github.com/nimbus-epu/epu/policies/source"
)

// The vocabulary of parameters and problems.
type (
	// Param is one parameter that a policy declares.
	Param = params.Param
	// Problem is one thing that is wrong with a policy or its configuration.
	Problem = params.Problem
	// Problems is every problem found, as an error.
	Problems = params.Problems
	// Variant is how a configuration that is tried out differs from one that is in force.
	Variant = params.Variant
)

// Policy is a policy that was loaded and found sound. It is immutable and shared by engines.
type Policy struct {
	Name   string // without .lua
	Hash   string // first 12 hex digits of the SHA-256 of the source; with required files, of all sources
	Doc    string
	Params params.Set // in the order of the file

	world *world
	files map[string]*source.File // by name in error texts; the policy's own and what it requires
	main  string
	clock func() time.Time // of the library; nil = none
}

// functions are a policy's own, in one Lua state.
type functions struct{ validate, initialize, decide, reconfigure *lua.LFunction }

// Compile loads a policy: it parses and compiles the source and the files it requires from lib (nil =
// none), runs the file in a scratch sandbox, and checks the table it returns. The error holds every
// problem found, as Problems.
func Compile(name string, src []byte, lib fs.FS) (*Policy, error) {
	return compile(name, src, lib, nil)
}

func compile(name string, src []byte, lib fs.FS, clock func() time.Time) (*Policy, error) {
	d := draft(name, src, lib, clock, false)
	if d.problems != nil {
		return nil, epu.E(epu.Invalid, "load policy", name, d.problems)
	}
	return d.policy, nil
}

// drafted is what could be loaded of a policy. Without problems it is a policy.
type drafted struct {
	policy   *Policy // never nil; it has parameters as far as they could be read
	problems Problems
	declared bool // the parameters could be read
	runs     bool // it can be tried out whatever else is wrong with it
}

// draft loads a policy. If it is patient it goes on where globals that don't exist are read or set, which matters
// only where the file comes to such a place.
func draft(name string, src []byte, lib fs.FS, clock func() time.Time, patient bool) (d drafted) {
	p := &Policy{Name: name, world: newWorld(), files: map[string]*source.File{}, main: name + ".lua", clock: clock}
	d.policy = p
	l := &loader{p: p, lib: lib, patient: patient}
	main, problems := source.Compile(p.main, src, p.world.Names)
	d.problems = problems
	if main == nil || problems != nil && !patient {
		return d
	}
	p.files[p.main] = main
	e := NewEngine(p, Options{})
	defer e.Close()
	h := &e.host
	h.Begin(h.limits())
	table, err := h.run(l)
	d.problems = append(d.problems, l.strangers...)
	switch {
	case h.broken != nil:
		d.problems = append(d.problems, h.broken...)
		return d
	case err != nil:
		d.problems = append(d.problems, p.problemAt(messageOf(err)))
		return d
	}
	t, problems := p.table(table)
	if problems != nil {
		d.problems = append(d.problems, problems...)
		return d
	}
	_, wrong := p.functions(t)
	set, bad := main.Declarations(t.RawGetString("params"))
	p.Params = set
	d.problems = slices.Concat(d.problems, wrong, p.declare(t), bad)
	d.declared, d.runs = true, len(wrong) == 0 && len(bad) == 0
	p.Hash = p.hash()
	return d
}

func (p *Policy) hash() string {
	sum := sha256.New()
	sum.Write([]byte(p.files[p.main].Text))
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if name != p.main {
			fmt.Fprintf(sum, "\x00%s\x00%s", name, p.files[name].Text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// Files are the sources that the policy is made of: its own first, then what it requires, by path. A policy
// that is compiled from them alone has the same hash.
func (p *Policy) Files() []epu.PolicyFile {
	out := []epu.PolicyFile{{Path: p.main, Text: p.files[p.main].Text}}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if name != p.main {
			out = append(out, epu.PolicyFile{Path: name, Text: p.files[name].Text})
		}
	}
	return out
}

// loader finds the files that a policy requires, the first time it runs.
type loader struct {
	p         *Policy
	lib       fs.FS
	patient   bool     // goes on with a file that reads or sets globals that don't exist
	strangers Problems // such globals
}

// requirePath is the file behind a name, or "".
func requirePath(name string) string {
	path := strings.ReplaceAll(name, ".", "/") + ".lua"
	if name == "" || !fs.ValidPath(path) || strings.ContainsAny(name, `/\`) {
		return ""
	}
	return path
}

// find reads and compiles a file. Where is the place that requires it, as an error text begins.
func (l *loader) find(name, path, where string) (*source.File, Problems) {
	var src []byte
	err := fs.ErrNotExist
	if l.lib != nil {
		src, err = fs.ReadFile(l.lib, path)
	}
	if err != nil {
		missing := l.p.problemAt(where + fmt.Sprintf("require '%s': there is no %s in the policy folder", name, path))
		return nil, Problems{missing}
	}
	f, problems := source.Compile(path, src, l.p.world.Names)
	if f != nil && l.patient {
		l.strangers = append(l.strangers, problems...)
		return f, nil
	}
	return f, problems
}

// load makes a state and runs the policy's file in it.
func (h *host) load() (functions, error) {
	v, err := h.run(nil)
	if err != nil {
		return functions{}, err
	}
	t, problems := h.p.table(v)
	if problems != nil {
		return functions{}, problems
	}
	fns, problems := h.p.functions(t)
	if problems != nil {
		return functions{}, problems
	}
	return fns, nil
}

// run runs the policy's file in a new state and returns its value. With a loader, required files are
// found and compiled; without one, they are those that were found then.
func (h *host) run(l *loader) (lua.LValue, error) {
	h.L = h.p.world.NewState(h, sandbox.Bounds{CallDepth: callDepthMax, Registry: registryMax})
	h.modules, h.loading = map[string]lua.LValue{}, nil
	h.loader = l
	defer func() { h.modules, h.loader = nil, nil }()
	return h.chunk(h.p.files[h.p.main])
}

// table is the result of a policy's file.
func (p *Policy) table(v lua.LValue) (*lua.LTable, Problems) {
	if t, ok := v.(*lua.LTable); ok {
		return t, nil
	}
	return nil, Problems{{File: p.main, Text: fmt.Sprintf("returned %s: a policy returns a table with a function decide", sandbox.KindOf(v))}}
}

func (h *host) chunk(f *source.File) (lua.LValue, error) {
	h.L.Push(h.L.NewFunctionFromProto(f.Proto))
	if err := h.L.PCall(0, 1, nil); err != nil {
		return nil, err
	}
	v := h.L.Get(-1)
	h.L.Pop(1)
	return v, h.Spent()
}

// require runs a file of the policy folder, once per state.
func require(L *lua.LState) int {
	h := hostOf(L)
	name := L.CheckString(1)
	if h.modules == nil {
		L.RaiseError("require '%s' belongs at the top of the file, not inside a function", name)
	}
	path := requirePath(name)
	if path == "" {
		L.RaiseError("require '%s': a name is made of words with dots, such as lib.pool for lib/pool.lua", params.Clip(name, 80))
	}
	if v, ok := h.modules[path]; ok {
		L.Push(v)
		return 1
	}
	for _, p := range h.loading {
		if p == path {
			L.RaiseError("require '%s' goes round in a circle: %s", name, strings.Join(append(h.loading, path), " -> "))
		}
	}
	f := h.p.files[path]
	if f == nil && h.loader != nil {
		var problems Problems
		if f, problems = h.loader.find(name, path, L.Where(1)); problems != nil {
			h.broken = append(h.broken, problems...)
			L.RaiseError("require '%s': %s", name, problems.Error())
		}
		h.p.files[path] = f
	}
	if f == nil {
		L.RaiseError("require '%s': not loaded with the policy", name)
	}
	h.loading = append(h.loading, path)
	L.Push(L.NewFunctionFromProto(f.Proto))
	L.Call(0, 1)
	h.loading = h.loading[:len(h.loading)-1]
	h.modules[path] = L.Get(-1)
	return 1
}

// functions takes the functions out of the table that a policy returned.
func (p *Policy) functions(t *lua.LTable) (fns functions, problems Problems) {
	slots := map[string]**lua.LFunction{
		"validate": &fns.validate, "initialize": &fns.initialize, "decide": &fns.decide, "reconfigure": &fns.reconfigure,
	}
	for _, name := range slices.Sorted(maps.Keys(slots)) {
		switch f := t.RawGetString(name).(type) {
		case *lua.LNilType:
		case *lua.LFunction:
			*slots[name] = f
			if !f.IsG {
				continue
			}
			problems = append(problems, Problem{File: p.main, Line: p.files[p.main].KeyLine(name), Text: name + " is a function of the host, but must be one of the policy"})
		default:
			problems = append(problems, Problem{File: p.main, Line: p.files[p.main].KeyLine(name), Text: fmt.Sprintf("%s is %s, but must be a function", name, sandbox.KindOf(f))})
		}
	}
	if t.RawGetString("decide") == lua.LNil {
		problems = append(problems, Problem{File: p.main, Text: "has no function decide(control, state, conf)"})
	}
	return fns, problems
}

// policyClass is the table that a policy's file returns.
var policyClass = Class{Name: "epu.Policy", Doc: "What a policy's file returns. Everything but decide is optional.", Fields: []sandbox.Attr{
	{Name: "doc", Type: "string?", Doc: "what the policy does, in a sentence"},
	{Name: "params", Type: "table<string, epu.Param>?", Doc: "its parameters"},
	{Name: "validate", Type: "(fun(conf: table<string, any>): epu.Finding[]?)?", Doc: "rules over several parameters, and over what lists and maps hold; it returns all that is wrong, or refuses a configuration with error(\"why\", 0)"},
	{Name: "initialize", Type: "fun(control: epu.Control, state: epu.State, conf: table<string, any>)?", Doc: "called before the first decision after a start, once; again if that decision fails or is refused"},
	{Name: "decide", Type: "fun(control: epu.Control, state: epu.State, conf: table<string, any>)", Doc: "called at every tick, never twice at once"},
	{Name: "reconfigure", Type: "fun(control: epu.Control, state: epu.State, conf: table<string, any>, old: table<string, any>, changed: string[])?", Doc: "called before the first decision with a changed configuration, and again if that fails or is refused; changed lists the keys"},
}}

// declare takes what a policy says about itself but for its parameters, once, when it is compiled.
func (p *Policy) declare(t *lua.LTable) (problems Problems) {
	known := policyClass.Names()
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		if name := sandbox.TextOf(k); !slices.Contains(known, name) {
			problems = append(problems, Problem{File: p.main, Line: p.files[p.main].KeyLine(name), Text: fmt.Sprintf("returned the unknown key '%s'%s", name, params.DidYouMean(name, known))})
		}
	}
	switch doc := t.RawGetString("doc").(type) {
	case *lua.LNilType:
	case lua.LString:
		p.Doc = string(doc)
	default:
		p.Doc = sandbox.TextOf(doc) // it has words, if bad ones
		problems = append(problems, Problem{File: p.main, Line: p.files[p.main].KeyLine("doc"), Text: fmt.Sprintf("doc is %s, but must be a text", sandbox.KindOf(doc))})
	}
	return problems
}

var position = regexp.MustCompile(`^([\w./-]+\.lua):(\d+): ?`)

// problemAt takes the file and line out of an error text.
func (p *Policy) problemAt(text string) Problem {
	m := position.FindStringSubmatch(text)
	if m == nil {
		return Problem{File: p.main, Text: strings.TrimPrefix(text, p.main+": ")}
	}
	line, _ := strconv.Atoi(m[2])
	return Problem{File: m[1], Line: line, Text: text[len(m[0]):]}
}

// locate shows the source line that an error text points to.
func (p *Policy) locate(text string) (string, bool) {
	at := p.problemAt(text)
	f := p.files[at.File]
	if f == nil || at.Line < 1 {
		return "", false
	}
	lines := strings.Split(f.Text, "\n")
	if at.Line > len(lines) {
		return "", false
	}
	return fmt.Sprintf("%d | %s", at.Line, params.Clip(strings.TrimSpace(lines[at.Line-1]), 200)), true
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

// Vary makes the configuration of a variant, as Check does, or all that is wrong with it.
func (p *Policy) Vary(conf map[string]any, v Variant) (full map[string]any, problems []Problem) {
	return p.Params.Vary(conf, v, p.validate)
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
		if err = h.L.PCall(1, 1, nil); err == nil {
			problems = h.p.files[h.p.main].Findings(h.L.Get(-1))
			h.L.Pop(1)
		}
	}
	if err == nil {
		err = h.Spent()
	}
	if err != nil {
		return []Problem{h.p.problemAt(messageOf(err))}
	}
	return problems
}
