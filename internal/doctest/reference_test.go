package doctest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/reference"
	"github.com/nimbus-epu/epu/internal/daemon"
)

var rewrite = flag.Bool("rewrite", false, "write the generated pages anew")

// Goal: the reference of epud is what its commands say about themselves.
// Method: generate it and compare; -rewrite writes it.
func TestReferenceOfEpud(t *testing.T) {
	path := filepath.Join(top, "docs", "reference", "epud.md")
	want := reference.Markdown(daemon.Root(), cli.CodeTable())
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/reference/epud.md is stale (-want +got); go test ./internal/doctest -rewrite\n%s", diff)
	}
}

// Goal: the table of exit codes is that of the programs.
// Method: look for it on its page.
func TestExitCodesPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(top, "docs", "reference", "exit-codes.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), cli.CodeTable()) {
		t.Errorf("docs/reference/exit-codes.md does not hold this table:\n%s", cli.CodeTable())
	}
}
