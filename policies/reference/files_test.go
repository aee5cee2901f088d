package reference_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
	"github.com/nimbus-epu/epu/policies/reference"
	"github.com/nimbus-epu/epu/scripts"
)

var (
	rewrite = flag.Bool("rewrite", false, "write the generated files anew")
	out     = flag.String("out", "../..", "the folder below which they are")
)

// Goal: the generated files say what the host registers. Method: generate and compare; -rewrite writes
// them, below -out.
func TestGenerated(t *testing.T) {
	for _, f := range reference.Files() {
		path := filepath.Join(*out, filepath.FromSlash(f.Path))
		if *rewrite {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.Text, string(got)); diff != "" {
			t.Errorf("%s is stale (-want +got); go test ./policies/reference -rewrite\n%s", f.Path, diff)
		}
	}
}

// Goal: the examples of the page are policies that nothing is wrong with.
func TestExamples(t *testing.T) {
	for group, code := range reference.Examples() {
		r, err := policies.NewLibrary(scripts.Policies()).Examine(t.Context(), group, []byte(code))
		if err != nil || !r.Sound() || len(r.Warnings) > 0 {
			t.Errorf("%s: got problems\n%v\nwarnings\n%v\n%v", group, r.Problems, r.Warnings, err)
		}
	}
}

// Goal: every function is in the types and on the page, and every class that a type names exists.
func TestNothingIsLeftOut(t *testing.T) {
	page, types := reference.Page(), reference.Types()
	for _, f := range slices.Concat(policies.Functions(), policytest.Functions()) {
		if !strings.Contains(page, "`"+f.Signature()+"`") {
			t.Errorf("%s is not on the page", f.Full())
		}
		if (f.Group == "control" || f.Group == "state" || f.Group == policytest.Table) && !f.Field && !strings.Contains(types, "function "+f.Full()+"(") {
			t.Errorf("%s is not among the types", f.Full())
		}
	}
	for _, c := range policytest.Classes() {
		for _, f := range c.Fields {
			if f.Doc == "" || !strings.Contains(page, "| `"+f.Name+"` | `"+strings.ReplaceAll(f.Type, "|", "\\|")+"` | "+f.Doc+" |") {
				t.Errorf("%s.%s is not on the page, or without words", c.Name, f.Name)
			}
		}
	}
	for _, word := range strings.FieldsFunc(types, func(r rune) bool {
		return !strings.ContainsRune("epu.", r) && (r < 'A' || r > 'z' || r == '[' || r == ']')
	}) {
		if name, ok := strings.CutPrefix(word, "epu."); ok && name != "" && name[0] >= 'A' && name[0] <= 'Z' && !strings.Contains(types, "---@class "+word+"\n") && !strings.Contains(types, "---@class "+word+" : ") {
			t.Errorf("%s is named, but no class", word)
		}
	}
}
