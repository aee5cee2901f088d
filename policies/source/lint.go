package source

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"

	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// Words are the names that the host gives: what Lint holds a source against.
type Words struct {
	Members map[string][]string // of control, state and each library
	Funcs   map[string]sandbox.Func
	Classes map[string]sandbox.Class
	Params  []string // that the policy declares; nil = not known
}

// NewWords takes the words from the host's own tables; libs are the members of its libraries.
func NewWords(funcs []sandbox.Func, classes []sandbox.Class, libs map[string][]string) Words {
	w := Words{Members: map[string][]string{}, Funcs: map[string]sandbox.Func{}, Classes: map[string]sandbox.Class{}}
	for lib, names := range libs {
		w.Members[lib] = names
	}
	for _, f := range funcs {
		w.Funcs[f.Full()] = f
		if f.Group != "" && libs[f.Group] == nil {
			w.Members[f.Group] = append(w.Members[f.Group], f.Name)
		}
	}
	for _, c := range classes {
		w.Classes[c.Name] = c
	}
	return w
}

// Requires lists the files that a source requires by a written-out name, in the order of the text. A
// source that can't be read requires nothing.
func Requires(name string, src []byte) (out []string) {
	l, _ := lint(name, src, Words{})
	if l != nil {
		out = l.requires
	}
	return out
}

// Lint finds names that do not exist on what the host gives, wrong numbers of arguments and unknown
// options, everywhere in the text and not only where a run comes by. It follows what it can be sure of
// and says nothing about the rest.
func Lint(name string, src []byte, w Words) params.Problems {
	l, problems := lint(name, src, w)
	if l == nil {
		return problems
	}
	return l.problems
}

func lint(name string, src []byte, w Words) (l *linter, problems params.Problems) {
	defer func() { // a tree that the parser made and we do not know
		if r := recover(); r != nil {
			l, problems = nil, nil
		}
	}()
	chunk, problems := parsed(name, src)
	if problems != nil {
		return nil, problems
	}
	l = &linter{words: w, file: name, hooks: map[*ast.FunctionExpr][]string{}, assigned: map[string]bool{}}
	walk(chunk, func(n any) { l.prepare(n) })
	l.findHooks(chunk)
	for lib := range w.Members {
		if lib != "control" && lib != "state" {
			l.names = append(l.names, binding{lib, lib})
		}
	}
	l.block(chunk)
	return l, nil
}

// linter walks a tree with what is known of the names in sight.
type linter struct {
	words    Words
	file     string
	line     int
	depth    int
	names    []binding // innermost last
	hooks    map[*ast.FunctionExpr][]string
	assigned map[string]bool // local names that are set again somewhere: nothing is sure of them
	requires []string
	problems params.Problems
}

// binding says what a name stands for: control, state, conf, a library, a class such as epu.Worker, a
// list such as epu.Change[], or "" for anything else.
type binding struct{ name, kind string }

func (l *linter) prepare(n any) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, e := range n.Lhs {
			if id, ok := e.(*ast.IdentExpr); ok {
				l.assigned[id.Value] = true
			}
		}
	case *ast.FuncCallExpr:
		if id, ok := n.Func.(*ast.IdentExpr); ok && id.Value == "require" && len(n.Args) == 1 {
			if s, ok := n.Args[0].(*ast.StringExpr); ok && !slices.Contains(l.requires, s.Value) {
				l.requires = append(l.requires, s.Value)
			}
		}
	}
}

// hookParams are what the functions of a policy are called with.
var hookParams = map[string][]string{
	"validate": {"conf"}, "initialize": {"control", "state", "conf"}, "decide": {"control", "state", "conf"},
	"reconfigure": {"control", "state", "conf", "conf"},
}

// findHooks finds the functions in the table that the file returns, written out there or by name.
func (l *linter) findHooks(chunk []ast.Stmt) {
	if len(chunk) == 0 {
		return
	}
	r, ok := chunk[len(chunk)-1].(*ast.ReturnStmt)
	if !ok || len(r.Exprs) == 0 {
		return
	}
	named := map[string]*ast.FunctionExpr{}
	for _, s := range chunk {
		if s, ok := s.(*ast.LocalAssignStmt); ok && len(s.Names) == 1 && len(s.Exprs) == 1 {
			if f, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
				named[s.Names[0]] = f
			}
		}
	}
	t, _ := r.Exprs[0].(*ast.TableExpr)
	for _, field := range fieldsOf(t) {
		key, _ := field.Key.(*ast.StringExpr)
		f, _ := field.Value.(*ast.FunctionExpr)
		if id, ok := field.Value.(*ast.IdentExpr); ok {
			f = named[id.Value]
		}
		if key != nil && f != nil {
			l.hooks[f] = hookParams[key.Value]
		}
	}
}

func (l *linter) say(format string, args ...any) {
	p := params.Problem{File: l.file, Line: l.line, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(l.problems, p) {
		l.problems = append(l.problems, p)
	}
}

func (l *linter) bind(name, kind string) {
	if l.assigned[name] {
		kind = ""
	}
	l.names = append(l.names, binding{name, kind})
}

// kindOf is what an expression is for sure.
func (l *linter) kindOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		for i := len(l.names) - 1; i >= 0; i-- {
			if l.names[i].name == e.Value {
				return l.names[i].kind
			}
		}
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok && l.kindOf(e.Object) == "state" && key.Value == "params" {
			return "conf"
		}
	case *ast.FuncCallExpr:
		if f, ok := l.called(e); ok {
			return strings.TrimSuffix(f.Returns, "?")
		}
	}
	return ""
}

// called is the host's function behind a call.
func (l *linter) called(e *ast.FuncCallExpr) (sandbox.Func, bool) {
	if e.Receiver != nil {
		return sandbox.Func{}, false
	}
	switch at := e.Func.(type) {
	case *ast.AttrGetExpr:
		if key, ok := at.Key.(*ast.StringExpr); ok {
			f, ok := l.words.Funcs[l.kindOf(at.Object)+"."+key.Value]
			return f, ok && !f.Field
		}
	case *ast.IdentExpr:
		f, ok := l.words.Funcs[at.Value]
		return f, ok && !l.local(at.Value)
	}
	return sandbox.Func{}, false
}

func (l *linter) local(name string) bool {
	return slices.ContainsFunc(l.names, func(b binding) bool { return b.name == name })
}

// member checks a name on something that the host gives.
func (l *linter) member(e *ast.AttrGetExpr) {
	key, ok := e.Key.(*ast.StringExpr)
	if !ok {
		return
	}
	kind := l.kindOf(e.Object)
	known, what := l.words.Members[kind], kind
	if c, ok := l.words.Classes[kind]; ok {
		known, what = c.Names(), strings.ToLower(strings.TrimPrefix(kind, "epu."))
	}
	if kind == "conf" && l.words.Params != nil {
		if !slices.Contains(l.words.Params, key.Value) {
			l.say("conf.%s is not a declared parameter%s", key.Value, params.DidYouMean(key.Value, l.words.Params))
		}
		return
	}
	if known != nil && !slices.Contains(known, key.Value) {
		l.say("%s", sandbox.UnknownName(what+"."+key.Value, key.Value, known))
	}
}

// call checks the arguments of a call of the host's functions.
func (l *linter) call(e *ast.FuncCallExpr) {
	if e.Receiver != nil {
		if kind := l.kindOf(e.Receiver); kind == "control" || kind == "state" {
			l.say("call %s.%s with a dot, not with a colon", kind, e.Method)
		}
		return
	}
	f, ok := l.called(e)
	if !ok || f.Group != "control" && f.Group != "state" && f.Group != "cron" {
		return
	}
	all := f.Params()
	if len(e.Args) > len(all) {
		l.say("%s takes %s, but is given %d", f.Signature(), arguments(len(all)), len(e.Args))
	}
	if open := len(e.Args) > 0 && endsOpen(e.Args[len(e.Args)-1]); !open && len(e.Args) < len(all) && !all[len(e.Args)].Optional {
		l.say("%s is missing its %s", f.Signature(), all[len(e.Args)].Name)
	}
	for i, a := range e.Args {
		t, ok := a.(*ast.TableExpr)
		if !ok || i >= len(all) {
			continue
		}
		c, ok := l.words.Classes[className.FindString(all[i].Type)]
		for _, field := range t.Fields {
			if key, isName := field.Key.(*ast.StringExpr); ok && isName && !slices.Contains(c.Names(), key.Value) {
				l.say("%s: unknown option '%s'%s", f.Full(), key.Value, params.DidYouMean(key.Value, c.Names()))
			}
		}
	}
}

var className = regexp.MustCompile(`epu\.\w+`)

func arguments(n int) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// endsOpen reports that an expression may stand for any number of values.
func endsOpen(e ast.Expr) bool {
	switch e.(type) {
	case *ast.FuncCallExpr, *ast.Comma3Expr:
		return true
	}
	return false
}

// set checks what an assignment writes to.
func (l *linter) set(e ast.Expr) {
	at, ok := e.(*ast.AttrGetExpr)
	if !ok {
		return
	}
	kind := l.kindOf(at.Object)
	switch {
	case kind == "control", kind == "state", kind == "epu.Worker":
		l.say("can't set a field of %s: it is read-only", strings.ToLower(strings.TrimPrefix(kind, "epu.")))
	case kind == "conf":
		l.say("can't set a key of conf: it is read-only; copy it first")
	}
	l.expr(at.Object)
	l.expr(at.Key)
}
