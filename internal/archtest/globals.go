package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// checkGlobals reports package-level variables that are state: those without a value at birth, and those
// that anybody writes to. A table that nobody changes is a constant that Go cannot spell.
func checkGlobals(t tree) []finding {
	var found []finding
	dirs, byDir := t.packages()
	for _, dir := range dirs {
		vars := map[string]*global{}
		for _, f := range byDir[dir] {
			if !f.generated && !f.test {
				collect(f, vars)
			}
		}
		for _, f := range byDir[dir] {
			if !f.test && !f.generated {
				writes(f, vars)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			if g := vars[name]; g.bad() != "" {
				found = append(found, g.file.find(g.spec.Pos(), "var %s %s: package-level state; give it an owner", name, g.bad()))
			}
		}
	}
	return found
}

// global is one package-level variable.
type global struct {
	file    *file
	spec    *ast.ValueSpec
	decl    *ast.GenDecl
	value   bool
	written string // where, or empty
}

func (g *global) bad() string {
	switch {
	case g.written != "":
		return "is written to at " + g.written
	case !g.value && !g.embedded() && !g.guard():
		return "has no value at birth"
	}
	return ""
}

func (g *global) embedded() bool {
	for _, doc := range []*ast.CommentGroup{g.decl.Doc, g.spec.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// guard says whether the variable is one of sync's kinds whose zero value is ready and carries nothing
// from one caller to the next.
func (g *global) guard() bool {
	sel, ok := g.spec.Type.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == "sync" && (sel.Sel.Name == "Pool" || sel.Sel.Name == "Once")
}

func collect(f *file, vars map[string]*global) {
	for _, decl := range f.syntax.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, s := range gen.Specs {
			spec, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for _, name := range spec.Names {
				if name.Name != "_" {
					vars[name.Name] = &global{file: f, spec: spec, decl: gen, value: len(spec.Values) > 0}
				}
			}
		}
	}
}

// writes marks the variables that a file assigns to, takes the address of, or deletes from.
func writes(f *file, vars map[string]*global) {
	mark := func(target ast.Expr) {
		id := root(target)
		if id == nil {
			return
		}
		g, ok := vars[id.Name]
		if !ok || id.Obj != nil && id.Obj.Decl != g.spec {
			return // a local name hides it
		}
		if g.written == "" {
			g.written = fmt.Sprintf("%s:%d", f.path, f.line(id.Pos()))
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, target := range n.Lhs {
					mark(target)
				}
			}
		case *ast.IncDecStmt:
			mark(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				mark(n.X)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && id.Obj == nil && len(n.Args) > 0 {
				mark(n.Args[0])
			}
		}
		return true
	})
}

// root gives the name at the left end of x, x.f, x[i], x[K, V], *x, or nil when there is none.
func root(x ast.Expr) *ast.Ident {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.IndexListExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		case *ast.SliceExpr:
			x = e.X
		default:
			return nil
		}
	}
}
