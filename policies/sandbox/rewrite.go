package sandbox

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// ConcatName is the global that stands for the operator "..". No source can contain it as a name.
const ConcatName = "<concat>"

// rewriter changes every a .. b .. c into a call of a host function, because the VM's own operator
// doubles a string in one instruction and asks nobody. It refuses deep nesting, on which the compiler
// would recurse until Go's stack ends, which is fatal. And it keeps assignments from two faults of the
// compiler (see apart).
type rewriter struct {
	depth int
	line  int
	deep  *TooDeep
	last  string // the last parameter of the function that is being read
}

// TooDeep is a source that is nested too deeply.
type TooDeep struct{ Line int }

func (e *TooDeep) Error() string { return fmt.Sprintf("nested more than %d levels deep", nestingMax) }

// nestingMax bounds expressions and blocks in a source file.
const nestingMax = 200

// Rewrite makes the VM's only unbounded instruction a call of a bounded function, bounds nesting, and
// makes assignments mean what they mean in plain Lua.
func Rewrite(chunk []ast.Stmt) *TooDeep {
	r := &rewriter{}
	r.block(chunk)
	return r.deep
}

// enter counts a level; false means that the source is nested too deeply.
func (r *rewriter) enter(line int) bool {
	if line > 0 {
		r.line = line
	}
	r.depth++
	if r.depth > nestingMax && r.deep == nil {
		r.deep = &TooDeep{Line: r.line}
	}
	return r.deep == nil
}

func (r *rewriter) leave() { r.depth-- }

func (r *rewriter) block(stmts []ast.Stmt) {
	for i := range stmts {
		stmts[i] = r.stmt(stmts[i])
	}
}

func (r *rewriter) stmt(s ast.Stmt) ast.Stmt {
	defer r.leave()
	if !r.enter(s.Line()) {
		return s
	}
	switch s := s.(type) {
	case *ast.AssignStmt:
		r.exprs(s.Lhs)
		r.exprs(s.Rhs)
		if name, ok := s.Lhs[0].(*ast.IdentExpr); len(s.Lhs) > 1 || ok && name.Value == r.last {
			return apart(s)
		}
	case *ast.LocalAssignStmt:
		r.exprs(s.Exprs)
	case *ast.FuncCallStmt:
		s.Expr = r.expr(s.Expr)
	case *ast.DoBlockStmt:
		r.block(s.Stmts)
	case *ast.WhileStmt:
		s.Condition = r.expr(s.Condition)
		r.block(s.Stmts)
	case *ast.RepeatStmt:
		s.Condition = r.expr(s.Condition)
		r.block(s.Stmts)
	case *ast.IfStmt:
		s.Condition = r.expr(s.Condition)
		r.block(s.Then)
		r.block(s.Else)
	case *ast.NumberForStmt:
		s.Init, s.Limit, s.Step = r.expr(s.Init), r.expr(s.Limit), r.expr(s.Step)
		r.block(s.Stmts)
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		r.block(s.Stmts)
	case *ast.FuncDefStmt:
		s.Name.Func, s.Name.Receiver = r.expr(s.Name.Func), r.expr(s.Name.Receiver)
		r.function(s.Func, s.Name.Method != "")
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	}
	return s
}

func (r *rewriter) function(f *ast.FunctionExpr, method bool) {
	outer := r.last
	r.last = ""
	if n := len(f.ParList.Names); n > 0 {
		r.last = f.ParList.Names[n-1]
	} else if method {
		r.last = "self"
	}
	r.block(f.Stmts)
	r.last = outer
}

// apart turns `a, b[k] = x, y` into `do local O, K = b, k; local V, W = x, y; a, b[k] = V, W end`, with
// the last target set first, as in plain Lua. gopher-lua computes values in the places of their targets:
// `a, b = b, a` sets both to b, and `p = (f(p))` overwrites p with f before the call where p is the last
// parameter.
func apart(s *ast.AssignStmt) ast.Stmt {
	var targets, values ast.LocalAssignStmt
	hold := func(in *ast.LocalAssignStmt, what string, e ast.Expr) ast.Expr {
		name := fmt.Sprintf("<%s %d>", what, len(in.Names)) // no source can contain it
		in.Names = append(in.Names, name)
		if e != nil {
			in.Exprs = append(in.Exprs, single(e))
		}
		return lined(&ast.IdentExpr{Value: name}, s.Line())
	}
	sets := make([]ast.Stmt, len(s.Lhs))
	for i, left := range s.Lhs {
		if at, ok := left.(*ast.AttrGetExpr); ok {
			at.Object = hold(&targets, "target", at.Object)
			if _, fixed := at.Key.(*ast.StringExpr); !fixed {
				at.Key = hold(&targets, "target", at.Key)
			}
		}
		sets[len(sets)-1-i] = lined(&ast.AssignStmt{Lhs: []ast.Expr{left}, Rhs: []ast.Expr{hold(&values, "value", nil)}}, s.Line())
	}
	values.Exprs = s.Rhs
	all := []ast.Stmt{lined(&values, s.Line())}
	if len(targets.Names) > 0 {
		all = append([]ast.Stmt{lined(&targets, s.Line())}, all...)
	}
	return lined(&ast.DoBlockStmt{Stmts: append(all, sets...)}, s.Line())
}

// lined gives a node of our own the line of what it stands for.
func lined[N ast.PositionHolder](n N, line int) N {
	n.SetLine(line)
	n.SetLastLine(line)
	return n
}

// single makes an expression give one value only.
func single(e ast.Expr) ast.Expr {
	switch x := e.(type) {
	case *ast.FuncCallExpr:
		x.AdjustRet = true
	case *ast.Comma3Expr:
		x.AdjustRet = true
	}
	return e
}

func (r *rewriter) exprs(list []ast.Expr) {
	for i := range list {
		list[i] = r.expr(list[i])
	}
}

func (r *rewriter) expr(e ast.Expr) ast.Expr {
	if e == nil {
		return nil
	}
	defer r.leave()
	if !r.enter(e.Line()) {
		return e
	}
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		e.Object, e.Key = r.expr(e.Object), r.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			f.Key, f.Value = r.expr(f.Key), r.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		e.Func, e.Receiver = r.expr(e.Func), r.expr(e.Receiver)
		r.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.FunctionExpr:
		r.function(e, false)
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	}
	return e
}

// concat flattens a right-leaning chain into one call.
func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var args []ast.Expr
	var rest ast.Expr = e
	for {
		c, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		args = append(args, r.expr(c.Lhs))
		rest = c.Rhs
	}
	last := single(r.expr(rest))
	line := e.Line()
	if line == 0 {
		line = r.line
	}
	name := lined(&ast.IdentExpr{Value: ConcatName}, line)
	return lined(&ast.FuncCallExpr{Func: name, Args: append(args, last), AdjustRet: true}, line)
}
