package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// directDeps lists the modules that go.mod requires directly.
func directDeps(gomod string) []string {
	var names []string
	block := false
	for line := range strings.Lines(gomod) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			block = true
		case line == ")":
			block = false
		case strings.HasSuffix(line, "// indirect"), line == "":
		case block:
			names = append(names, strings.Fields(line)[0])
		case strings.HasPrefix(line, "require "):
			names = append(names, strings.Fields(line)[1])
		}
	}
	return names
}

// checkDeps compares the direct dependencies with the headings of the page about them. Each dependency
// has a heading with its module path and a paragraph below that answers three questions.
func checkDeps(gomod, page string) []finding {
	sections := map[string]string{}
	name := ""
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			name = strings.Trim(strings.TrimSpace(heading), "`")
			sections[name] = ""
			continue
		}
		if strings.HasPrefix(line, "## ") {
			name = ""
		}
		if name != "" {
			sections[name] += line
		}
	}
	var found []finding
	modules := directDeps(gomod)
	for _, m := range modules {
		text, ok := sections[m]
		if !ok {
			found = append(found, finding{file: "docs/dependencies.md", text: "no paragraph about " + m})
			continue
		}
		for _, question := range []string{"**For:**", "**Kept by:**", "**Leaving:**"} {
			if !strings.Contains(text, question) {
				found = append(found, finding{file: "docs/dependencies.md", text: m + " lacks " + question})
			}
		}
	}
	for name := range sections {
		if strings.Contains(name, ".") && strings.Contains(name, "/") && !slices.Contains(modules, name) {
			found = append(found, finding{file: "docs/dependencies.md", text: name + " is no direct dependency any more"})
		}
	}
	return found
}

// scriptLinesMax is where a shell script becomes a program.
const scriptLinesMax = 60

// scripts lists shell scripts that are too long. Examples of workers are users' code and not ours.
func scripts(root string) ([]finding, error) {
	var found []finding
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if base == ".git" || base == "bin" || base == "testdata" || base == "examples" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".sh") && filepath.Base(filepath.Dir(name)) != ".ci" {
			return nil
		}
		text, err := os.ReadFile(name)
		if n := strings.Count(string(text), "\n"); n > scriptLinesMax {
			rel, _ := filepath.Rel(root, name)
			found = append(found, finding{file: filepath.ToSlash(rel), text: fmt.Sprintf("%d lines, at most %d: make it a program", n, scriptLinesMax)})
		}
		return err
	})
	return found, err
}

// stray lists entries at the top of the tree that have no place there.
func stray(root string) ([]finding, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, e := range entries {
		name := e.Name()
		built := name == "bin" || name == ".git" || name == ".github" || name == ".epu"
		if !e.IsDir() || built || slices.Contains(folders, name) {
			continue
		}
		if files, err := os.ReadDir(filepath.Join(root, name)); err == nil && len(files) == 0 {
			continue // git does not know empty folders
		}
		found = append(found, finding{file: name, text: "no folder for this at the top: " + strings.Join(folders, " ")})
	}
	return found, nil
}
