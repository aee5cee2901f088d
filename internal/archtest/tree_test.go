package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const top = "../.."

// Goal: the tree keeps the rules of docs/architecture.md.
// Method: parse the module once and run every check over it; each finding says where, what and why.
func TestTree(t *testing.T) {
	all, err := load(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []struct {
		name string
		run  func(tree) []finding
	}{
		{"layers", checkLayers},
		{"fences", checkFences},
		{"calls", checkCalls},
		{"sizes", checkSizes},
		{"packages", checkPackages},
		{"comments", checkComments},
		{"init", checkInit},
		{"exported", exportedDocs},
		{"globals", checkGlobals},
	} {
		t.Run(check.name, func(t *testing.T) { report(t, check.run(all)) })
	}
	if look := long(all); len(look) > 0 {
		t.Logf("over %d lines, look twice:\n%s", fileLinesLook, lines(look))
	}
}

// Goal: scripts stay short enough to be read at a glance.
// Method: count their lines, in the tree and in a folder where one is too long.
func TestScripts(t *testing.T) {
	found, err := scripts(top)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)

	dir := t.TempDir()
	for name, n := range map[string]int{"short.sh": scriptLinesMax, "long.sh": scriptLinesMax + 1} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(":\n", n)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := scripts(dir); err != nil || len(got) != 1 || got[0].file != "long.sh" {
		t.Errorf("got %v, %v, want long.sh", got, err)
	}
}

// Goal: what stands at the top of the tree is what the architecture names.
// Method: list it.
func TestTop(t *testing.T) {
	found, err := stray(top)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}

// Goal: every direct dependency is accounted for, and no account is about one that is gone.
// Method: compare go.mod with the headings of docs/dependencies.md.
func TestDependencies(t *testing.T) {
	report(t, checkDeps(read(t, "go.mod"), read(t, "docs/dependencies.md")))
}

func report(t *testing.T, found []finding) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), lines(found))
	}
}

func lines(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString("  " + f.String() + "\n")
	}
	return b.String()
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
