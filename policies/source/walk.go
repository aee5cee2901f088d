package source

import (
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// depthMax is how deep a tree is followed; deeper sources are refused when they are compiled.
const depthMax = 250

func (l *linter) block(stmts []ast.Stmt) {
	mark := len(l.names)
	for _, s := range stmts {
		l.stmt(s)
	}
	l.names = l.names[:mark]
}

func (l *linter) at(n ast.PositionHolder) {
	if n.Line() > 0 {
		l.line = n.Line()
	}
}

func (l *linter) stmt(s ast.Stmt) {
	if l.depth++; l.depth > depthMax {
		l.depth--
		return
	}
	defer func() { l.depth-- }()
	l.at(s)
	switch s := s.(type) {
	case *ast.AssignStmt:
		l.exprs(s.Rhs)
		for _, e := range s.Lhs {
			l.at(s)
			l.set(e)
		}
	case *ast.LocalAssignStmt:
		l.locals(s)
	case *ast.FuncCallStmt:
		l.expr(s.Expr)
	case *ast.DoBlockStmt:
		l.block(s.Stmts)
	case *ast.WhileStmt:
		l.expr(s.Condition)
		l.block(s.Stmts)
	case *ast.RepeatStmt:
		l.block(s.Stmts) // the condition sees the block's names, of which nothing is sure here
	case *ast.IfStmt:
		l.expr(s.Condition)
		l.block(s.Then)
		l.block(s.Else)
	case *ast.NumberForStmt:
		l.exprs([]ast.Expr{s.Init, s.Limit, s.Step})
		l.scoped([]string{s.Name}, []string{""}, s.Stmts)
	case *ast.GenericForStmt:
		l.exprs(s.Exprs)
		l.scoped(s.Names, l.loopKinds(s), s.Stmts)
	case *ast.FuncDefStmt:
		l.expr(s.Func)
	case *ast.ReturnStmt:
		l.exprs(s.Exprs)
	}
}

func (l *linter) locals(s *ast.LocalAssignStmt) {
	for i, e := range s.Exprs {
		if f, ok := e.(*ast.FunctionExpr); ok && i < len(s.Names) { // a local function sees itself
			mark := len(l.names)
			l.bind(s.Names[i], "")
			l.expr(f)
			l.names = l.names[:mark]
			continue
		}
		l.expr(e)
	}
	kinds := make([]string, len(s.Names))
	for i := range s.Names {
		if i < len(s.Exprs) {
			kinds[i] = l.kindOf(s.Exprs[i])
		}
	}
	for i, name := range s.Names {
		l.bind(name, kinds[i])
	}
}

// loopKinds is what the names of a loop stand for: workers of an iterator, entries of a list.
func (l *linter) loopKinds(s *ast.GenericForStmt) []string {
	kinds := make([]string, len(s.Names))
	call, ok := first(s.Exprs).(*ast.FuncCallExpr)
	if !ok {
		return kinds
	}
	f, ok := l.called(call)
	switch {
	case !ok:
	case f.Returns == "fun(): epu.Worker?":
		kinds[0] = "epu.Worker"
	case f.Full() == "ipairs" && len(call.Args) == 1 && len(kinds) > 1:
		if class, isList := strings.CutSuffix(l.kindOf(call.Args[0]), "[]"); isList {
			kinds[1] = class
		}
	}
	return kinds
}

func first(list []ast.Expr) ast.Expr {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func (l *linter) scoped(names, kinds []string, body []ast.Stmt) {
	mark := len(l.names)
	for i, name := range names {
		l.bind(name, kinds[i])
	}
	l.block(body)
	l.names = l.names[:mark]
}

func (l *linter) exprs(list []ast.Expr) {
	for _, e := range list {
		l.expr(e)
	}
}

func (l *linter) expr(e ast.Expr) {
	if l.depth++; e == nil || l.depth > depthMax {
		l.depth--
		return
	}
	defer func() { l.depth-- }()
	l.at(e)
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		l.member(e)
		l.expr(e.Object)
		l.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			l.expr(f.Key)
			l.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		l.call(e)
		l.expr(e.Func)
		l.expr(e.Receiver)
		l.exprs(e.Args)
	case *ast.FunctionExpr:
		l.function(e)
	default:
		for _, child := range operands(e) {
			l.expr(child)
		}
	}
}

func (l *linter) function(f *ast.FunctionExpr) {
	kinds := make([]string, len(f.ParList.Names))
	hook := l.hooks[f]
	for i, name := range f.ParList.Names {
		switch {
		case i < len(hook):
			kinds[i] = hook[i]
		case name == "control", name == "state":
			kinds[i] = name // as everybody calls them, in helpers too
		}
	}
	l.scoped(f.ParList.Names, kinds, f.Stmts)
}

// operands are the parts of an operator.
func operands(e ast.Expr) []ast.Expr {
	switch e := e.(type) {
	case *ast.LogicalOpExpr:
		return []ast.Expr{e.Lhs, e.Rhs}
	case *ast.RelationalOpExpr:
		return []ast.Expr{e.Lhs, e.Rhs}
	case *ast.ArithmeticOpExpr:
		return []ast.Expr{e.Lhs, e.Rhs}
	case *ast.StringConcatOpExpr:
		return []ast.Expr{e.Lhs, e.Rhs}
	case *ast.UnaryMinusOpExpr:
		return []ast.Expr{e.Expr}
	case *ast.UnaryNotOpExpr:
		return []ast.Expr{e.Expr}
	case *ast.UnaryLenOpExpr:
		return []ast.Expr{e.Expr}
	}
	return nil
}

// walk shows every assignment and call of a tree to see, wherever it is.
func walk(stmts []ast.Stmt, see func(any)) {
	w := walker{see: see}
	w.block(stmts)
}

type walker struct {
	see   func(any)
	depth int
}

func (w *walker) block(stmts []ast.Stmt) {
	if w.depth++; w.depth < depthMax {
		for _, s := range stmts {
			w.see(s)
			w.stmt(s)
		}
	}
	w.depth--
}

func (w *walker) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		w.exprs(append(append([]ast.Expr{}, s.Lhs...), s.Rhs...)...)
	case *ast.LocalAssignStmt:
		w.exprs(s.Exprs...)
	case *ast.FuncCallStmt:
		w.exprs(s.Expr)
	case *ast.DoBlockStmt:
		w.block(s.Stmts)
	case *ast.WhileStmt:
		w.exprs(s.Condition)
		w.block(s.Stmts)
	case *ast.RepeatStmt:
		w.exprs(s.Condition)
		w.block(s.Stmts)
	case *ast.IfStmt:
		w.exprs(s.Condition)
		w.block(s.Then)
		w.block(s.Else)
	case *ast.NumberForStmt:
		w.exprs(s.Init, s.Limit, s.Step)
		w.block(s.Stmts)
	case *ast.GenericForStmt:
		w.exprs(s.Exprs...)
		w.block(s.Stmts)
	case *ast.FuncDefStmt:
		w.exprs(s.Func)
	case *ast.ReturnStmt:
		w.exprs(s.Exprs...)
	}
}

func (w *walker) exprs(list ...ast.Expr) {
	for _, e := range list {
		if w.depth++; e != nil && w.depth < depthMax {
			w.see(e)
			w.expr(e)
		}
		w.depth--
	}
}

func (w *walker) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		w.exprs(e.Object, e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			w.exprs(f.Key, f.Value)
		}
	case *ast.FuncCallExpr:
		w.exprs(e.Func, e.Receiver)
		w.exprs(e.Args...)
	case *ast.FunctionExpr:
		w.block(e.Stmts)
	default:
		w.exprs(operands(e)...)
	}
}
