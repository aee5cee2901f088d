package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// Policy is a policy that was loaded and found sound. It is immutable and shared by engines.
type Policy struct {
	Name   string // without .lua
	Hash   string // first 12 hex digits of the SHA-256 of the source; with required files, of all sources
	Doc    string
	Params params.Set // in the order of the file

	world *world
	files map[string]*file // by name in error texts; the policy's own and what it requires
	main  string
}

// file is one compiled source.
type file struct {
	name  string // base name, as it stands in error texts
	src   string
	proto *lua.FunctionProto
	lines map[string]int // of the keys of params, where they are written out
}

// functions are a policy's own, in one Lua state.
type functions struct{ validate, initialize, decide, reconfigure *lua.LFunction }

// Compile loads a policy: it parses and compiles the source and the files it requires from lib (nil =
// none), runs the file in a scratch sandbox, and checks the table it returns. The error holds every
// problem found, as Problems.
func Compile(name string, src []byte, lib fs.FS) (*Policy, error) {
	p := &Policy{Name: name, world: newWorld(), files: map[string]*file{}, main: name + ".lua"}
	l := &loader{p: p, lib: lib}
	main, problems := p.compile(p.main, src)
	if problems != nil {
		return nil, p.fail(problems)
	}
	p.files[p.main] = main
	e := NewEngine(p, Options{})
	defer e.Close()
	h := &e.host
	h.Begin(h.limits())
	table, err := h.run(l)
	switch {
	case h.broken != nil:
		return nil, p.fail(h.broken)
	case err != nil:
		return nil, p.fail(Problems{p.problemAt(messageOf(err))})
	}
	t, problems := p.table(table)
	if problems != nil {
		return nil, p.fail(problems)
	}
	_, problems = p.functions(t)
	problems = append(problems, p.declare(t)...)
	if problems != nil {
		return nil, p.fail(problems)
	}
	p.Hash = p.hash()
	return p, nil
}

func (p *Policy) fail(problems Problems) error {
	return epu.E(epu.Invalid, "load policy", p.Name, problems)
}

func (p *Policy) hash() string {
	sum := sha256.New()
	sum.Write([]byte(p.files[p.main].src))
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if name != p.main {
			fmt.Fprintf(sum, "\x00%s\x00%s", name, p.files[name].src)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// compile turns a source into code that the budget can bound.
func (p *Policy) compile(name string, src []byte) (f *file, problems Problems) {
	defer func() { // the compiler panics where it meets its own limits
		if r := recover(); r != nil {
			f, problems = nil, Problems{{File: name, Text: fmt.Sprintf("can't be compiled: %v", r)}}
		}
	}()
	if len(src) > sourceMax {
		return nil, Problems{{File: name, Text: fmt.Sprintf("is %d bytes long: at most %d", len(src), sourceMax)}}
	}
	chunk, err := parse.Parse(strings.NewReader(string(src)), name)
	if err != nil {
		return nil, Problems{syntaxProblem(name, err)}
	}
	f = &file{name: name, src: string(src), lines: paramLines(chunk)}
	if deep := sandbox.Rewrite(chunk); deep != nil {
		return nil, Problems{{File: name, Line: deep.Line, Text: deep.Error()}}
	}
	if f.proto, err = lua.Compile(chunk, name); err != nil {
		return nil, Problems{{File: name, Text: strings.TrimSpace(err.Error())}}
	}
	return f, p.strangers(name, f.proto)
}

func syntaxProblem(name string, err error) Problem {
	e, ok := err.(*parse.Error)
	if !ok {
		return Problem{File: name, Text: err.Error()}
	}
	text := e.Message
	if e.Token != "" {
		text += fmt.Sprintf(" near '%s'", params.Clip(e.Token, 40))
	} else if e.Pos.Line == parse.EOF {
		text += " at the end of the file: is an `end` missing?"
	}
	return Problem{File: name, Line: max(e.Pos.Line, 0), Text: text}
}

// strangers finds the globals that a source reads and nobody defines, and those it tries to set. The
// compiled code names them all, so a misspelt name in a rare branch is found when the policy is loaded.
func (p *Policy) strangers(name string, proto *lua.FunctionProto) (out Problems) {
	known := map[string]bool{sandbox.ConcatName: true}
	for _, n := range p.world.Names {
		known[n] = true
	}
	var walk func(f *lua.FunctionProto)
	walk = func(f *lua.FunctionProto) {
		for pc, inst := range f.Code {
			op := int(inst >> 26)
			if op != lua.OP_GETGLOBAL && op != lua.OP_SETGLOBAL {
				continue
			}
			global := f.Constants[inst&0x3ffff].String()
			at := Problem{File: name, Line: f.DbgSourcePositions[pc]}
			if op == lua.OP_SETGLOBAL {
				at.Text = fmt.Sprintf("sets the global '%s': write `local %s`, or keep it in state.memory", global, global)
			} else if !known[global] {
				at.Text = sandbox.UnknownName(global, global, p.world.Names)
			} else {
				continue
			}
			out = append(out, at)
		}
		for _, inner := range f.FunctionPrototypes {
			walk(inner)
		}
	}
	walk(proto)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Line < out[j].Line })
	return out
}

// loader finds the files that a policy requires, the first time it runs.
type loader struct {
	p   *Policy
	lib fs.FS
}

// requirePath is the file behind a name, or "".
func requirePath(name string) string {
	path := strings.ReplaceAll(name, ".", "/") + ".lua"
	if name == "" || !fs.ValidPath(path) || strings.ContainsAny(name, `/\`) {
		return ""
	}
	return path
}

func (l *loader) find(path string) (*file, Problems) {
	if l.lib == nil {
		return nil, Problems{{File: path, Text: "is required, but there is no policy folder"}}
	}
	src, err := fs.ReadFile(l.lib, path)
	if err != nil {
		return nil, Problems{{File: path, Text: "is required, but is not in the policy folder"}}
	}
	return l.p.compile(path, src)
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

func (h *host) chunk(f *file) (lua.LValue, error) {
	h.L.Push(h.L.NewFunctionFromProto(f.proto))
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
		if f, problems = h.loader.find(path); problems != nil {
			h.broken = append(h.broken, problems...)
			L.RaiseError("require '%s': %s", name, problems.Error())
		}
		h.p.files[path] = f
	}
	if f == nil {
		L.RaiseError("require '%s': not loaded with the policy", name)
	}
	h.loading = append(h.loading, path)
	L.Push(L.NewFunctionFromProto(f.proto))
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
			problems = append(problems, Problem{File: p.main, Text: name + " is a function of the host, but must be one of the policy"})
		default:
			problems = append(problems, Problem{File: p.main, Text: fmt.Sprintf("%s is %s, but must be a function", name, sandbox.KindOf(f))})
		}
	}
	if t.RawGetString("decide") == lua.LNil {
		problems = append(problems, Problem{File: p.main, Text: "has no function decide(control, state, conf)"})
	}
	return fns, problems
}

// declare takes what a policy says about itself, once, when it is compiled.
func (p *Policy) declare(t *lua.LTable) (problems Problems) {
	known := []string{"doc", "params", "validate", "initialize", "decide", "reconfigure"}
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		if name := sandbox.TextOf(k); !slices.Contains(known, name) {
			problems = append(problems, Problem{File: p.main, Text: fmt.Sprintf("returned the unknown key '%s'%s", name, params.DidYouMean(name, known))})
		}
	}
	switch doc := t.RawGetString("doc").(type) {
	case *lua.LNilType:
	case lua.LString:
		p.Doc = string(doc)
	default:
		problems = append(problems, Problem{File: p.main, Text: fmt.Sprintf("doc is %s, but must be a text", sandbox.KindOf(doc))})
	}
	return append(problems, p.readParams(t.RawGetString("params"))...)
}

// paramLines finds the lines of the keys of params where the returned table is written out.
func paramLines(chunk []ast.Stmt) map[string]int {
	lines := map[string]int{}
	if len(chunk) == 0 {
		return lines
	}
	r, ok := chunk[len(chunk)-1].(*ast.ReturnStmt)
	if !ok || len(r.Exprs) == 0 {
		return lines
	}
	t, _ := r.Exprs[0].(*ast.TableExpr)
	for _, f := range fieldsOf(t) {
		if k, ok := f.Key.(*ast.StringExpr); ok && k.Value == "params" {
			inner, _ := f.Value.(*ast.TableExpr)
			for _, f := range fieldsOf(inner) {
				if k, ok := f.Key.(*ast.StringExpr); ok {
					lines[k.Value] = max(k.Line(), f.Value.Line())
				}
			}
		}
	}
	return lines
}

func fieldsOf(t *ast.TableExpr) []*ast.Field {
	if t == nil {
		return nil
	}
	return t.Fields
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
	lines := strings.Split(f.src, "\n")
	if at.Line > len(lines) {
		return "", false
	}
	return fmt.Sprintf("%d | %s", at.Line, params.Clip(strings.TrimSpace(lines[at.Line-1]), 200)), true
}
