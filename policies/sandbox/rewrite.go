package sandbox

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// ConcatName is the global that stands for the operator "..". No source can contain it as a name.
const ConcatName = "<concat>"

// rewriter changes every a .. b .. c into a call of a host function, because the VM's own operator
// doubles a string in one instruction and asks nobody. It also refuses deep nesting, on which the
// compiler would recurse until Go's stack ends, which is fatal.
type rewriter struct {
	depth int
	line  int
	deep  *TooDeep
}

// TooDeep is a source that is nested too deeply.
type TooDeep struct{ Line int }

func (e *TooDeep) Error() string { return fmt.Sprintf("nested more than %d levels deep", nestingMax) }

// nestingMax bounds expressions and blocks in a source file.
const nestingMax = 200

// Rewrite makes the VM's only unbounded instruction a call of a bounded function, and bounds nesting.
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
	for _, s := range stmts {
		r.stmt(s)
	}
}

func (r *rewriter) stmt(s ast.Stmt) {
	defer r.leave()
	if !r.enter(s.Line()) {
		return
	}
	switch s := s.(type) {
	case *ast.AssignStmt:
		r.exprs(s.Lhs)
		r.exprs(s.Rhs)
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
		r.block(s.Func.Stmts)
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	}
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
		r.block(e.Stmts)
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
	last := r.expr(rest)
	switch x := last.(type) { // one value only, as the operator takes
	case *ast.FuncCallExpr:
		x.AdjustRet = true
	case *ast.Comma3Expr:
		x.AdjustRet = true
	}
	line := e.Line()
	if line == 0 {
		line = r.line
	}
	name := &ast.IdentExpr{Value: ConcatName}
	name.SetLine(line)
	call := &ast.FuncCallExpr{Func: name, Args: append(args, last), AdjustRet: true}
	call.SetLine(line)
	call.SetLastLine(line)
	return call
}
