package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
)

const (
	fileLinesMax      = 600 // fails
	fileLinesLook     = 400 // listed: look twice
	funcLinesMax      = 70
	packageFilesMax   = 12
	actorsFilesMax    = 25
	mainLinesMax      = 60
	packageDoc        = "doc.go"
	unfinishedPattern = `\b(TODO|FIXME|XXX)\b`
)

// vague are package names that say nothing about what a package provides.
var vague = map[string]bool{
	"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "base": true, "types": true,
	"manager": true, "misc": true, "shared": true, "lib": true, "core": true, "tools": true,
}

var (
	unfinished     = regexp.MustCompile(unfinishedPattern)
	unfinishedGood = regexp.MustCompile(unfinishedPattern + `\s*\(#\d+\)`)
)

// checkSizes reports files, functions, mains and packages that are too long.
func checkSizes(t tree) []finding {
	var found []finding
	dirs, byDir := t.packages()
	for _, dir := range dirs {
		count, most := 0, packageFilesMax
		if dir == "actors" {
			most = actorsFilesMax
		}
		for _, f := range byDir[dir] {
			if f.generated {
				continue
			}
			if !f.test {
				count++
			}
			found = append(found, sizes(f)...)
		}
		if count > most {
			found = append(found, finding{file: dir, text: fmt.Sprintf("%d files, at most %d: split the package", count, most)})
		}
	}
	return found
}

func sizes(f *file) []finding {
	var found []finding
	if f.lines > fileLinesMax {
		found = append(found, finding{file: f.path, text: fmt.Sprintf("%d lines, at most %d: split the file", f.lines, fileLinesMax)})
	}
	if path.Base(f.path) == "main.go" && f.dir != "." && f.syntax.Name.Name == "main" && f.lines > mainLinesMax {
		found = append(found, finding{file: f.path, text: fmt.Sprintf("%d lines, at most %d: a main parses, calls one function and maps the error", f.lines, mainLinesMax)})
	}
	if f.test {
		return found // a table of cases may be long
	}
	for _, decl := range f.syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if lines := f.line(fn.End()) - f.line(fn.Pos()) + 1; lines > funcLinesMax {
			found = append(found, f.find(fn.Pos(), "func %s has %d lines, at most %d", fn.Name.Name, lines, funcLinesMax))
		}
	}
	return found
}

// long lists files that deserve a second look.
func long(t tree) []finding {
	var found []finding
	for _, f := range t {
		if !f.generated && !f.test && f.lines > fileLinesLook && f.lines <= fileLinesMax {
			found = append(found, finding{file: f.path, text: fmt.Sprintf("%d lines", f.lines)})
		}
	}
	return found
}

// checkPackages reports packages with a vague name or without a doc.go that says what they are for.
func checkPackages(t tree) []finding {
	var found []finding
	dirs, byDir := t.packages()
	for _, dir := range dirs {
		if vague[path.Base(dir)] {
			found = append(found, finding{file: dir, text: "a package is named for what it provides"})
		}
		name, text := "", ""
		for _, f := range byDir[dir] {
			program := path.Base(f.path) == "main.go" && f.syntax.Name.Name == "main"
			if (path.Base(f.path) == packageDoc || program) && f.syntax.Doc != nil {
				name, text = f.syntax.Name.Name, f.syntax.Doc.Text()
			}
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		switch {
		case name == "":
			found = append(found, finding{file: dir, text: "no package comment in doc.go: say what the package is for, what it is not, and where to start reading"})
		case !strings.HasPrefix(text, want):
			found = append(found, finding{file: dir, text: fmt.Sprintf("the package comment begins with %q", strings.TrimSpace(want))})
		}
	}
	return found
}

// checkComments reports unfinished business without an issue, and system tests that `make test-system`
// would not run.
func checkComments(t tree) []finding {
	var found []finding
	for _, f := range t {
		if f.generated {
			continue
		}
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if unfinished.MatchString(c.Text) && !unfinishedGood.MatchString(c.Text) && f.dir != "internal/archtest" {
					found = append(found, f.find(c.Pos(), "unfinished work needs the number of an issue: TODO(#123)"))
				}
			}
		}
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			name := fn.Name.Name
			test := strings.HasPrefix(name, "Test") && name != "TestMain"
			if f.test && f.system && test && !strings.HasPrefix(name, "TestSystem") {
				found = append(found, f.find(fn.Pos(), "%s: a test behind the system tag is called TestSystem..., or make test-system does not run it", name))
			}
		}
	}
	return found
}

// inits are files that may have an init function, each for a stated reason.
var inits = map[string]string{
	"policies/sandbox/budget.go": "gopher-lua's only bound on an array's index is a process-wide variable, read by every state",
}

// checkInit reports init functions and goroutines in code that must not have any.
func checkInit(t tree) []finding {
	var found []finding
	for _, f := range t {
		if f.generated || f.test {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && inits[f.path] == "" {
				found = append(found, f.find(fn.Pos(), "no init functions: importing a package does nothing; wire by hand"))
			}
		}
		if !matches(f.dir, deterministic) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, f.find(n.Pos(), "no goroutines here: one seed and one trace must reproduce a run"))
			case *ast.SelectStmt:
				found = append(found, f.find(n.Pos(), "no select here: which case runs is not reproducible"))
			}
			return true
		})
	}
	return found
}

// exportedDocs reports exported names without a comment. A comment on a group or at the end of the line
// serves for constants and variables.
func exportedDocs(t tree) []finding {
	var found []finding
	for _, f := range t {
		if f.generated || f.test || f.syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Doc == nil && decl.Name.IsExported() && exportedReceiver(decl) && !wellKnown[decl.Name.Name] {
					found = append(found, f.find(decl.Pos(), "func %s has no comment", decl.Name.Name))
				}
			case *ast.GenDecl:
				found = append(found, specDocs(f, decl)...)
			}
		}
	}
	return found
}

// wellKnown are methods whose meaning their interface says.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "As": true, "Len": true, "Less": true, "Swap": true,
	"Push": true, "Pop": true, "MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
	"MarshalYAML": true, "UnmarshalYAML": true, "ServeHTTP": true, "Close": true, "LogValue": true, "Read": true, "Write": true,
}

func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	name := root(fn.Recv.List[0].Type)
	return name != nil && name.IsExported()
}

func specDocs(f *file, decl *ast.GenDecl) []finding {
	var found []finding
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if spec.Doc == nil && spec.Comment == nil && (decl.Doc == nil || decl.Lparen.IsValid()) {
				found = append(found, f.find(spec.Pos(), "type %s has no comment", spec.Name.Name))
			}
			if iface, ok := spec.Type.(*ast.InterfaceType); ok {
				found = append(found, methodDocs(f, decl, spec, iface)...)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil && decl.Doc == nil {
					found = append(found, f.find(name.Pos(), "%s %s has no comment", kindWord(decl.Tok), name.Name))
				}
			}
		}
	}
	return found
}

// methodDocs reports methods of an interface without a comment. One comment may serve the methods on the
// lines right below it, and the type's own comment for all, if it names them.
func methodDocs(f *file, decl *ast.GenDecl, spec *ast.TypeSpec, iface *ast.InterfaceType) []finding {
	var found []finding
	whole := decl.Doc.Text() + spec.Doc.Text()
	above, line := "", 0
	for _, m := range iface.Methods.List {
		if m.Doc != nil {
			above = m.Doc.Text()
		} else if f.line(m.Pos()) != line+1 {
			above = ""
		}
		line = f.line(m.End())
		if len(m.Names) != 1 || !m.Names[0].IsExported() || wellKnown[m.Names[0].Name] {
			continue
		}
		method := m.Names[0].Name
		if m.Doc == nil && m.Comment == nil && !strings.Contains(whole+above, method) {
			found = append(found, f.find(m.Pos(), "%s.%s has no comment", spec.Name.Name, method))
		}
	}
	return found
}

func kindWord(tok token.Token) string { return strings.ToLower(tok.String()) }
