package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/resource"
)

const top = "../.."

// Goal: what the pages say can be followed: links lead somewhere, commands exist, files are accepted.
// Method: cut every page into links and blocks and hold each against the real thing.
func TestPages(t *testing.T) {
	pages, err := readPages(top)
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	c := commands{programs: programs(), targets: makeTargets(string(makefile)), sample: sample(t)}
	report(t, checkLinks(top, pages))
	for _, p := range pages {
		t.Run(p.path, func(t *testing.T) { report(t, c.checkBlocks(p)) })
	}
}

// Goal: a stranger finds the two first commands on the first page.
// Method: look for them in its console blocks.
func TestReadmeStarts(t *testing.T) {
	pages, err := readPages(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"$ make demo", "$ make test"} {
		seen := false
		for _, b := range pages[0].blocks {
			seen = seen || b.kind == "console" && strings.Contains(b.text, want)
		}
		if !seen {
			t.Errorf("README.md has no console block with %q", want)
		}
	}
}

// Goal: the files in examples/ are accepted as they are.
// Method: read those of each folder together, like `apply -f FOLDER` does.
func TestExamples(t *testing.T) {
	folders := map[string][]resource.File{}
	err := filepath.WalkDir(filepath.Join(top, "examples"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".yaml") {
			return err
		}
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), "schema: epu/v1") {
			dir := filepath.Dir(name)
			folders[dir] = append(folders[dir], resource.File{Path: filepath.ToSlash(name), Content: text})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, files := range folders {
		_, bad := resource.Parse(files, resource.Options{})
		for _, p := range bad {
			t.Errorf("%s: %s", dir, p)
		}
	}
}

// sample is what epud dev applies to a new store.
func sample(t *testing.T) resource.Set {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, "examples", "sleeper", "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("got %v and %v, want the files of the sample", names, err)
	}
	var files []resource.File
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, resource.File{Path: name, Content: content})
	}
	set, bad := resource.Parse(files, resource.Options{})
	for _, p := range bad {
		t.Error(p)
	}
	return set
}

func report(t *testing.T, found []problem) {
	t.Helper()
	for _, p := range found {
		t.Error(p)
	}
}
