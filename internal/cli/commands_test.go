package cli

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

func testTree() *cobra.Command {
	root := &cobra.Command{Use: "prog", SilenceErrors: true, SilenceUsage: true}
	root.SetFlagErrorFunc(FlagError)
	leaf := &cobra.Command{Use: "check", RunE: func(*cobra.Command, []string) error { return nil }}
	leaf.Flags().Duration("for", time.Second, "")
	leaf.Flags().Int("limit", 1, "")
	leaf.Flags().Bool("all", false, "")
	group := Parent(&cobra.Command{Use: "journal"})
	group.AddCommand(leaf)
	Parent(root).AddCommand(group)
	return root
}

// Goal: each mistake on a command line is named in words, with what to write instead.
// Method: mistakes in a small tree of commands.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ args, text, try string }{
		{"jurnal", `unknown command "jurnal"`, "did you mean: prog journal"},
		{"zzzzzz", `unknown command "zzzzzz"`, "prog help"},
		{"journal chek", `prog journal has no command "chek"`, "did you mean: prog journal check"},
		{"journal check --fro 2s", "prog journal check: unknown flag: --fro", "did you mean: --for"},
		{"journal check --for 2", `prog journal check: --for: "2" is no time with its unit`, "--for 90s (or 15m, 2h)"},
		{"journal check --limit x", `prog journal check: --limit: "x" is no whole number in its range`, "--limit 20"},
		{"journal check --all=perhaps", `prog journal check: --all: "perhaps" is no value for it`, "prog journal check --help"},
		{"journal check --for", "prog journal check: flag needs an argument: --for", "prog journal check --help"},
	} {
		root := testTree()
		root.SetArgs(strings.Fields(tt.args))
		err := root.Execute()
		if err == nil || err.Error() != tt.text || epu.TryOf(err) != tt.try || CodeOf(err) != CodeUsage {
			t.Errorf("%s: got %v, try %q, code %d; want %s, try %q", tt.args, err, epu.TryOf(err), CodeOf(err), tt.text, tt.try)
		}
	}
}

// Goal: a group of commands alone shows its help and is no mistake.
// Method: run it.
func TestParentAlone(t *testing.T) {
	root := testTree()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"journal"})
	if err := root.Execute(); err != nil || !strings.Contains(out.String(), "check") {
		t.Errorf("got %v and %q, want the help", err, out.String())
	}
}

// Goal: an error about a file does not say the name of a system call, and keeps what it is.
// Method: open a file that is not there.
func TestReason(t *testing.T) {
	_, err := os.Open("no/such/file")
	if got := Reason(err); got.Error() != "no such file or directory" || !errors.Is(got, os.ErrNotExist) {
		t.Errorf("got %v", got)
	}
}

// Goal: problems of settings and of files in one run are counted together, and all are shown.
// Method: both errors joined.
func TestSettingsAndFilesTogether(t *testing.T) {
	settings := strictyaml.NewError([]strictyaml.Problem{{File: "epud.yaml", Line: 2, Text: "unknown key"}})
	files := &msg.Refusal{Err: epu.E(epu.Invalid, "read", "", nil), List: []*msg.Problem{{File: "p.yaml", Line: 3, Text: "bad"}}}
	var out bytes.Buffer
	PrintError(&out, errors.Join(settings, files), FormTable, Paint{})
	for _, want := range []string{"error: read the configuration and files: 2 problems", "epud.yaml:2: unknown key", "p.yaml:3: bad"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %q in it", out.String(), want)
		}
	}
}

// Goal: readers of YAML 1.1 do not take the word no for a truth value.
// Method: print such words.
func TestYAMLWordsKeepQuotes(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{Out: &out, Settings: Settings{Form: FormYAML}}
	if err := p.yaml(View{Type: "x", Data: map[string]any{"a": "no", "b": "yes", "c": "capped"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`a: "no"`, `b: "yes"`, `c: capped`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %s in it", out.String(), want)
		}
	}
}

// Goal: people read what failed on which file, and no system call.
// Method: the same error with and without the path around it.
func TestErrorsOfFiles(t *testing.T) {
	_, err := os.Open("no/such/file")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{epu.E(epu.NotFound, "read", "no/such/file", err), "error: read no/such/file: no such file or directory\n"},
		{epu.E(epu.NotFound, "read", "the plan", err), "error: read the plan: no/such/file: no such file or directory\n"},
	} {
		var out bytes.Buffer
		PrintError(&out, tt.err, FormTable, Paint{})
		if !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("got %s, want %s", out.String(), tt.want)
		}
	}
}

// Goal: help fits a terminal of 60 columns, and is left alone where there is none.
// Method: the help of a command with a long text and a long flag.
func TestHelpFits(t *testing.T) {
	long := strings.Repeat("some words to fill a line with ", 8)
	help := func(width int) string {
		root := &cobra.Command{Use: "prog", Long: long + "\n\n" + long, Run: func(*cobra.Command, []string) {}}
		root.Flags().String("file", "", long)
		FitHelp(root, width)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{"--help"})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for line := range strings.Lines(help(60)) {
		if n := len(strings.TrimRight(line, "\n")); n > 60 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if !strings.Contains(help(0), long[:200]) {
		t.Error("help off a terminal was broken anew")
	}
}
