package policytest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/golden"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// Goal: every part of the form does what it says. Method: a scenario file that uses all of it passes.
func TestScenarios(t *testing.T) {
	results, err := policytest.Run(policies.NewLibrary(os.DirFS("testdata")), "queue.scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 9 {
		t.Errorf("got %d results, want one for each test", len(results))
	}
	for _, r := range results {
		if !r.Passed() {
			t.Errorf("%s: %s", r.Case, strings.Join(r.Failures, "\n"))
		}
	}
}

// Goal: a failure says when, what and why, so that nobody has to run anything again. Method: a golden file
// of tests that are wrong.
func TestScenarioFailures(t *testing.T) {
	results, err := policytest.Run(policies.NewLibrary(os.DirFS("testdata")), "wrong.scenarios.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range results {
		if r.Passed() {
			t.Errorf("%s passed", r.Case)
		}
		fmt.Fprintf(&b, "%s (line %d)\n", r.Case, r.Line)
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	golden.Check(t, "testdata/wrong.golden", b.String(), *rewrite)
}

// Goal: all mistakes of a file come out of one run, each with its line.
func TestBadScenarioFile(t *testing.T) {
	_, err := policytest.Run(policies.NewLibrary(os.DirFS("testdata")), "bad.scenarios.yaml")
	if err == nil {
		t.Fatal("the file was accepted")
	}
	golden.Check(t, "testdata/bad.golden", err.Error()+"\n", *rewrite)
}

// Goal: a policy that keeps something outside its memory fails its scenarios too.
func TestScenariosFindHiddenState(t *testing.T) {
	const hides = "local n = 0\nreturn { decide = function(control) n = n + 1 control.scale_to(n) end }"
	const file = "schema: epu/policy-test/v1\npolicy: hides\ntests: [{name: x, expect: [{at: 5s, target: 2}]}]"
	dir := t.TempDir()
	for name, text := range map[string]string{"hides.lua": hides, "hides.scenarios.yaml": file} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lib := policies.NewLibrary(os.DirFS(dir))
	files, err := policytest.Files(lib)
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v, %v; want the scenario file", files, err)
	}
	results, err := policytest.Run(lib, files[0])
	if err != nil || results[0].Passed() || !strings.Contains(results[0].Failures[0], "hides state") {
		t.Errorf("got %v, %v; want a failure about hidden state", results, err)
	}
}

// Goal: whatever a file holds, reading it ends with tests or with problems that have a line, and what was
// read runs. Method: fuzzing from the files of the other tests; runs are bounded by the length of series.
func FuzzScenarios(f *testing.F) {
	for _, file := range []string{"queue", "wrong", "bad"} {
		raw, err := os.ReadFile("testdata/" + file + ".scenarios.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	lib := policies.NewLibrary(os.DirFS("testdata"))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := policytest.LoadScenarios("fuzz.yaml", []byte(text))
		switch {
		case err != nil && s != nil:
			t.Fatal("tests and problems at once")
		case err != nil && !strings.Contains(err.Error(), "fuzz.yaml"):
			t.Fatalf("a problem without a place: %v", err)
		case err == nil && len(s.Tests) == 0:
			t.Fatal("no test and no problem")
		}
		if s != nil && s.Decisions() < 12 {
			if _, err := s.Run(t.Context(), lib, policytest.Options{}); err != nil && s.Policy == "queue" {
				t.Fatal(err)
			}
		}
	})
}
