package policytest_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/scripts"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "write the tables of parameters into the pages of the stock policies")

// pages is the folder of the stock policies' pages.
var pages = filepath.Join("..", "..", "docs", "reference", "policies")

// Goal: every stock policy has a page whose table of parameters and summary are the policy's own, and
// whose examples it accepts. Method: the table is made anew, and each conf in a block is checked.
func TestStockPages(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(pages, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			p, err := lib.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(pages, name+".md")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			page := tables.ReplaceAllLiteralString(string(b), "<!-- parameters -->\n"+table(p.Params)+"<!-- end -->")
			if *rewriteDocs {
				if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if page != string(b) || !tables.MatchString(page) {
				t.Errorf("the table of parameters is not the policy's: go test ./policies/policytest -run %s -rewrite-docs", t.Name())
			}
			if want := "# " + name + "\n\n" + p.Doc + "\n"; !strings.HasPrefix(page, want) {
				t.Errorf("got a page that does not begin with %q", want)
			}
			if !strings.Contains(string(index), "("+name+".md)") {
				t.Errorf("README.md has no link to %s.md", name)
			}
			examples := 0
			for _, block := range blocks.FindAllStringSubmatch(page, -1) {
				examples += example(t, p, block[1])
			}
			if examples == 0 {
				t.Error("got no whole file of a pool with the policy on the page")
			}
		})
	}
}

// Goal: every stock policy has tests of its own, and its functions say what types they are called with, so that
// editors know them. Method: its files are looked for, and each function that gets control and state is.
func TestStockIsWhole(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := lib.Tests()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(tests, name+"_test.lua") {
			t.Errorf("%s has no %s_test.lua, only %v are there", name, name, tests)
		}
		text, err := lib.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		called := hooked.FindAllStringSubmatch(string(text), -1)
		if len(called) == 0 {
			t.Errorf("%s has no function that gets control and state", name)
		}
		for _, f := range called {
			for i, class := range []string{"epu.Control", "epu.State"} {
				if want := "---@param " + f[2+i] + " " + class + "\n"; f[2+i] != "_" && !strings.Contains(f[1], want) {
					t.Errorf("%s.lua: %q stands not before its function:\n%s", name, want, f[0])
				}
			}
		}
	}
}

// hooked finds decide and initialize of a policy, with the comment before them.
var hooked = regexp.MustCompile(`((?m:^ *--.*\n)*) *(?:decide|initialize) = function\((\w+), (\w+), \w+\)`)

var (
	tables = regexp.MustCompile(`(?s)<!-- parameters -->\n.*<!-- end -->`)
	blocks = regexp.MustCompile("(?s)```yaml[^\n]*\n(.*?)```")
)

// example checks the configuration that a block holds, if it holds one.
func example(t *testing.T, p *policies.Policy, block string) int {
	docs := yaml.NewDecoder(strings.NewReader(block))
	for found := 0; ; {
		var pool struct {
			Schema string `yaml:"schema"`
			Policy struct {
				Name string         `yaml:"name"`
				Conf map[string]any `yaml:"conf"`
			} `yaml:"policy"`
		}
		err := docs.Decode(&pool)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Errorf("%v in\n%s", err, block)
			return 0
		}
		if pool.Policy.Name != p.Name || pool.Schema == "" { // a fragment is no file that can be tried
			continue
		}
		found++
		if _, problems := p.Check(pool.Policy.Conf); problems != nil {
			t.Errorf("the example is refused: %v\n%s", policies.Problems(problems), block)
		}
	}
}

// table is what a page says of a policy's parameters.
func table(set params.Set) string {
	var out strings.Builder
	out.WriteString("| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, d := range set {
		kind := string(d.Type)
		if d.Of != "" {
			kind += " of " + string(d.Of)
		}
		if d.Unit != "" {
			kind += ", " + d.Unit
		}
		for _, bound := range []struct {
			word string
			n    *float64
		}{{"at least", d.Min}, {"at most", d.Max}} {
			if bound.n != nil {
				kind += fmt.Sprintf(", %s %s", bound.word, d.BoundText(*bound.n))
			}
		}
		if d.Type == params.Enum {
			kind = strings.Join(d.Values, " \\| ")
		}
		preset := "none"
		switch v := d.Default.(type) {
		case nil:
			if d.Required {
				preset = "required"
			}
		case []any, map[string]any:
			preset = "empty"
		case string:
			preset = "`" + v + "`"
			if d.Type == params.DurationOf {
				preset = "`" + params.DurationText(v) + "`"
			}
		case float64:
			preset = "`" + params.NumberText(v) + "`"
		default:
			preset = fmt.Sprintf("`%v`", v)
		}
		doc := d.Doc
		if len(d.Aliases) > 0 {
			var old []string
			for _, a := range d.Aliases {
				old = append(old, "`"+a.Name+"`")
			}
			doc += "; also taken as " + strings.Join(old, ", ")
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", d.Name, kind, preset, doc)
	}
	return out.String()
}
