package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// Goal: a page is cut at the right places.
// Method: one page with everything that is special.
func TestParsePage(t *testing.T) {
	p := parsePage("docs/a.md", strings.Join([]string{
		"# A page: of *sorts*",
		"See [b](b.md#two), [web](https://example.org) and `[not](this.md)`.",
		"```text",
		"[nor](this.md)",
		"```",
		"````json",
		"```",
		"````",
		"",
	}, "\n"))
	if diff := cmp.Diff([]link{{line: 2, target: "b.md", anchor: "two"}}, p.links, cmp.AllowUnexported(link{})); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	want := []block{{"docs/a.md", 4, "text", "[nor](this.md)\n"}, {"docs/a.md", 7, "json", "```\n"}}
	if diff := cmp.Diff(want, p.blocks, cmp.AllowUnexported(block{})); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	if !p.anchors["a-page-of-sorts"] {
		t.Errorf("got anchors %v, want a-page-of-sorts", p.anchors)
	}
}

// Goal: links to nowhere, to headings that are not there, and lost pages are found.
// Method: three pages in memory.
func TestLinkRules(t *testing.T) {
	pages := []page{
		parsePage(index, "[a](a.md)\n[gone](gone.md)\n[folder](reference/)\n"),
		parsePage("docs/reference/b.md", "# B\n"),
		parsePage("docs/a.md", "# One\n[self](#one)\n[wrong](index.md#two)\n"),
		parsePage("docs/lost.md", "# Lost\n"),
	}
	var got []string
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "docs", "reference"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range checkLinks(dir, pages) {
		got = append(got, p.String())
	}
	want := []string{
		"docs/index.md:2: link to docs/gone.md, which does not exist",
		"docs/a.md:3: docs/index.md has no heading #two",
		"docs/lost.md:1: no way from docs/index.md leads to this page",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// tool is a small command tree to try the checks on.
func tool() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Version: "1"}
	group := &cobra.Command{Use: "policy", Args: cobra.ArbitraryArgs, Run: run}
	group.AddCommand(&cobra.Command{Use: "test", Run: run})
	scale := &cobra.Command{Use: "scale POOL N", Args: cobra.ExactArgs(2), Run: run}
	scale.Flags().Int("max", 0, "")
	scale.Flags().String("must", "", "")
	_ = scale.MarkFlagRequired("must")
	root.PersistentFlags().StringP("output", "o", "", "")
	root.AddCommand(scale, group)
	return root
}

// Goal: a command that the program would refuse is refused on the page, and no other.
// Method: command lines right and wrong in one way each, against a small tree.
func TestConsoleRules(t *testing.T) {
	c := commands{programs: map[string]func() *cobra.Command{"tool": tool}, targets: []string{"test"}}
	for _, tt := range []struct{ line, want string }{
		{"tool scale web 3 --must x", ""},
		{"tool scale web 3 --must x -o json --max=4 | jq .", ""},
		{"X=1 sudo bin/tool scale web 3 --must 'a b' > out.txt # and so on", ""},
		{"tool scale --help", ""},
		{"tool --version", ""},
		{"tool scal web 3", `unknown command "scal"`},
		{"tool scale web --must x", "accepts 2 arg(s), received 1"},
		{"tool scale web 3 --mus x", "unknown flag: --mus"},
		{"tool scale web 3 --must x --max many", "invalid argument"},
		{"tool scale web 3", `required flag(s) "must" not set`},
		{"ls && tool nonsense", `unknown command "nonsense"`},
		{"tool policy test", ""},
		{"tool policy tset", "tool policy has no command tset"},
		{"make test V=1", ""},
		{"make tset", "make has no target tset"},
		{"tol scale", "tol is no program"},
		{"tool 'scale", "a quote is not closed"},
	} {
		got := c.checkConsole(block{page: "p.md", line: 1, kind: "console", text: "$ " + tt.line + "\noutput\n"})
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: got %v, want nothing", tt.line, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0].text, tt.want)):
			t.Errorf("%s: got %v, want %q", tt.line, got, tt.want)
		}
	}
}

// Goal: each kind of block is held to what it claims to be, and unknown kinds are refused.
// Method: one wrong block of each kind, and the line at which it is reported.
func TestBlockRules(t *testing.T) {
	for _, tt := range []struct {
		name, kind, text string
		line             int // of the problem; 0 = none
	}{
		{"text", "text", "anything {", 0},
		{"json", "json", "{\"a\": 1}\n", 0},
		{"bad json", "json", "{a}\n", 10},
		{"yaml that is nothing", "yaml", "a: 1\n", 10},
		{"misspelt key", "yaml", "schema: epu/v1\nkind: site\nname: s\ndriver: local\nnonsense: 1\n", 14},
		{"fragment", "yaml fragment", "a: 1\n", 0},
		{"bad fragment", "yaml fragment", "a: [1\n", 10},
		{"policy", "lua", "return {\n  decide = function(control, state, conf)\n    control.scale_to(1)\n  end,\n}\n", 0},
		{"policy without decide", "lua", "return { doc = 'x' }\n", 10},
		{"no Lua", "lua", "return {{\n", 10},
		{"go", "go", "x := 1\n", 0},
		{"bad go", "go", "x := := 1\n", 10},
		{"nothing said", "", "x\n", 10},
		{"unknown", "sh", "x\n", 10},
	} {
		got := commands{}.checkBlocks(page{blocks: []block{{page: "p.md", line: 10, kind: tt.kind, text: tt.text}}})
		if tt.line == 0 && len(got) > 0 || tt.line > 0 && (len(got) != 1 || got[0].line != tt.line) {
			t.Errorf("%s: got %v, want a problem at line %d (0 = none)", tt.name, got, tt.line)
		}
	}
}

// Goal: the targets of a Makefile are read, and assignments are not.
// Method: three lines.
func TestMakeTargets(t *testing.T) {
	got := makeTargets("GO := go\ntest: build ## Run\n\techo: no\nci-deps:\n")
	if diff := cmp.Diff([]string{"test", "ci-deps"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
