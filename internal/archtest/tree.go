package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the import path of the tree's root.
const module = "github.com/nimbus-epu/epu"

// file is one parsed Go file.
type file struct {
	path      string // slash-separated, from the root of the tree
	dir       string // its folder; "." for the root
	lines     int
	test      bool
	system    bool // behind `//go:build system`
	generated bool
	syntax    *ast.File
	fset      *token.FileSet
}

// finding is one broken rule.
type finding struct {
	file string
	line int // 0: the file or package as a whole
	text string
}

func (f finding) String() string {
	if f.line == 0 {
		return fmt.Sprintf("%s: %s", f.file, f.text)
	}
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text)
}

// tree is every Go file of the module, in order of path.
type tree []*file

// load parses the module at root. Nested modules, testdata and hidden folders are not part of it.
func load(root string) (tree, error) {
	var t tree
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, name, entry.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(rel), source)
		if err != nil {
			return err
		}
		t = append(t, f)
		return nil
	})
	slices.SortFunc(t, func(a, b *file) int { return cmp.Compare(a.path, b.path) })
	return t, err
}

// enter says whether a folder belongs to the module.
func enter(root, name, base string) error {
	if name == root {
		return nil
	}
	if base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// parse reads one file; rel is its path from the root of the tree.
func parse(rel string, source []byte) (*file, error) {
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, rel, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	f := &file{
		path: rel, dir: path.Dir(rel), syntax: syntax, fset: fset,
		lines:     strings.Count(string(source), "\n"),
		test:      strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(syntax),
	}
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			if c.Pos() < syntax.Package && strings.HasPrefix(c.Text, "//go:build") && strings.Contains(c.Text, "system") {
				f.system = true
			}
		}
	}
	return f, nil
}

func (f *file) line(pos token.Pos) int { return f.fset.Position(pos).Line }

func (f *file) find(pos token.Pos, format string, args ...any) finding {
	return finding{file: f.path, line: f.line(pos), text: fmt.Sprintf(format, args...)}
}

// imports lists the import specs of a file with their paths.
func (f *file) imports() map[string]*ast.ImportSpec {
	specs := make(map[string]*ast.ImportSpec, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			specs[name] = spec
		}
	}
	return specs
}

// packages gives the folders of the tree in order, each with its files.
func (t tree) packages() ([]string, map[string][]*file) {
	byDir := map[string][]*file{}
	for _, f := range t {
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	dirs := make([]string, 0, len(byDir))
	for dir := range byDir {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs, byDir
}

// matches says whether a folder or import path fits one of the patterns: exact, or everything at and
// below a folder when the pattern ends in "/...".
func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutSuffix(p, "/..."); ok {
			return name == below || strings.HasPrefix(name, below+"/")
		}
		return name == p
	})
}

// local gives the folder of an import path of this module.
func local(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}
