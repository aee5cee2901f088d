package doctest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu/internal/resource"
)

// smallest is the least document of each kind on docs/reference/files.md.
var smallest = map[string]string{
	"Pool":            "schema: epu/v1\nkind: pool\nname: p\ndeployable_type: t\nplacement: [{site: s}]\n",
	"Site":            "schema: epu/v1\nkind: site\nname: s\ndriver: local\n",
	"Deployable type": "schema: epu/v1\nkind: deployable-type\nname: t\nsites: {s: {image: /x}}\n",
}

// with puts a key into a document: a[].b is the first element's, NAME any name.
func with(t *testing.T, document, key string) string {
	t.Helper()
	var root map[string]any
	if err := yaml.Unmarshal([]byte(document), &root); err != nil {
		t.Fatal(err)
	}
	at := root
	parts := strings.Split(key, ".")
	for i, part := range parts {
		part, element := strings.CutSuffix(part, "[]")
		part = strings.ReplaceAll(part, "NAME", "s")
		switch {
		case i == len(parts)-1:
			at[part] = "x y z"
		case element:
			at = at[part].([]any)[0].(map[string]any)
		default:
			next, ok := at[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
	}
	out, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// said tells whether the reader has a text to say about a document with a key.
func said(t *testing.T, kind, key, text string) bool {
	t.Helper()
	content := with(t, smallest[kind], key)
	_, problems := resource.Parse([]resource.File{{Path: "f.yaml", Content: []byte(content)}}, resource.Options{})
	for _, p := range problems {
		if strings.Contains(p.Text, text) {
			return true
		}
	}
	return false
}

// Goal: every key on the page exists and has an effect, those said to have none are refused, and no key
// of the reader is missing from the page.
// Method: give the reader a document with each key; look up the names that the reader's source asks for.
func TestKeysOfFiles(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(top, "docs", "reference", "files.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	sections := map[string]string{}
	for _, s := range strings.Split(page, "\n## ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		sections[title] = text
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	named := map[string]bool{}
	for kind := range maps.Keys(smallest) {
		keys := row.FindAllStringSubmatch(sections["Every document"]+sections[kind], -1)
		if len(keys) < 10 {
			t.Fatalf("%s: only %d keys are on the page", kind, len(keys))
		}
		for _, m := range keys {
			if said(t, kind, m[1], "unknown key") || said(t, kind, m[1], "not supported yet") {
				t.Errorf("%s: the key %s is on the page, and the reader refuses it", kind, m[1])
			}
			named[m[1]] = true
		}
	}
	later := sections["Keys without effect yet"]
	for kind := range maps.Keys(smallest) {
		_, after, found := strings.Cut(later, "- "+kind+":")
		if !found {
			t.Fatalf("no keys without effect of %s", kind)
		}
		text, _, _ := strings.Cut(after, "\n- ")
		text, _, _ = strings.Cut(text, ";")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
			if !said(t, kind, m[1], "not supported yet") {
				t.Errorf("%s: %s is said to have no effect yet, and the reader takes it or does not know it", kind, m[1])
			}
		}
	}
	for _, key := range readerKeys(t) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(named)), func(n string) bool { return n == key || strings.HasSuffix(n, "."+key) || strings.HasPrefix(n, key) }) &&
			!strings.Contains(later, key) && !strings.Contains(page, "."+key+".") {
			t.Errorf("the reader knows the key %s, and the page does not", key)
		}
	}
}

// readerKeys are the names that the reader's source asks a document for.
func readerKeys(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "internal", "resource", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v and %v, want the sources of the reader", files, err)
	}
	var keys []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.(?:Get|Need|Later)\(("[^)]*)\)`).FindAllStringSubmatch(string(src), -1) {
			quoted := regexp.MustCompile(`"([a-z_]+)"`).FindAllStringSubmatch(m[1], -1)
			for _, q := range quoted {
				keys = append(keys, q[1])
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
