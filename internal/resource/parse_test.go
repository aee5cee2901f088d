package resource

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/golden"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// report is what an operator sees of problems.
func report(problems []Problem) string {
	if err := strictyaml.NewError(problems); err != nil {
		return err.Error() + "\n"
	}
	return "no problems\n"
}

// Goal: each kind of mistake gives the message that an operator needs. Method: every folder under
// testdata/problems is one parse; its files' problems are the golden file beside them.
func TestProblems(t *testing.T) {
	inputs, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, path := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := Parse([]File{{Path: filepath.Base(path), Content: content}}, Options{})
			if len(problems) == 0 {
				t.Error("got no problems, want some")
			}
			golden.Check(t, strings.TrimSuffix(path, ".yaml")+".txt", report(problems), *rewrite)
		})
	}
}

// readFiles reads files as the input of Parse.
func readFiles(t testing.TB, paths ...string) []File {
	t.Helper()
	var files []File
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Path: filepath.ToSlash(path), Content: content})
	}
	return files
}

// Goal: the shipped examples parse, to the values that their comments promise. Method: every YAML file
// in a folder of examples that holds pools, sites or types is parsed together with its neighbours.
func TestExamplesParse(t *testing.T) {
	folders, err := filepath.Glob("../../examples/*")
	if err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var files []File
		for _, f := range readFiles(t, paths...) {
			if strings.Contains(string(f.Content), "schema: "+schema+"\n") && strings.Contains(string(f.Content), "\nkind: ") {
				files = append(files, f)
			}
		}
		if len(files) == 0 {
			continue
		}
		parsed += len(files)
		if _, problems := Parse(files, Options{}); len(problems) > 0 {
			t.Errorf("%s:\n%s", folder, report(problems))
		}
	}
	if parsed < 3 {
		t.Errorf("got %d files with resources, want at least the three of the sleeper", parsed)
	}
}

// Goal: what a file gives arrives, and what it leaves out has the documented default. Method: the
// sleeper's files against whole specs.
func TestSleeper(t *testing.T) {
	set, problems := Parse(readFiles(t,
		"../../examples/sleeper/site.yaml", "../../examples/sleeper/deployable-type.yaml", "../../examples/sleeper/pool.yaml"), Options{Dir: "/a$b/c/d"})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	if len(set.Pools) != 1 || len(set.Sites) != 1 || len(set.Types) != 1 {
		t.Fatalf("got %d pools, %d sites, %d types, want one of each", len(set.Pools), len(set.Sites), len(set.Types))
	}
	want := PoolDefaults()
	want.Name, want.Description, want.DeployableType = "epu-sleeper", "keeps two sleepers", "sleeper"
	want.Vars = map[string]epu.Var{"GREETING": {Value: "hello"}}
	want.Tick = time.Second
	want.Policy = epu.PolicySpec{Name: "npreserving", Conf: map[string]any{"preserve_n": 2.0}}
	want.Placement = []epu.Placement{{Site: "local"}}
	want.Health.Heartbeat, want.Health.BootGrace = time.Second, 30*time.Second
	want.Health.MissingAfter, want.Health.SecondChance = 5*time.Second, 2*time.Second
	want.Drain.Timeout = 10 * time.Second
	want.Limits.Max = 20
	want.Limits.Launches = epu.Count{N: 50, Window: time.Minute}
	want.Limits.Terminations = epu.Count{N: 20, Window: time.Minute}
	got := set.Pools[0]
	origins := got.Origins
	got.Origins = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pool (-want +got):\n%s", diff)
	}
	if got, want := origins["limits.max"], "../../examples/sleeper/pool.yaml:28"; got != want {
		t.Errorf("origin of limits.max: got %q, want %q", got, want)
	}
	if got, ok := origins["limits.min"]; ok {
		t.Errorf("origin of limits.min, which no file gives: got %q", got)
	}
	site := set.Sites[0]
	if got, want := site.Tags["CostCenter"], "demo"; got != want {
		t.Errorf("tag CostCenter: got %q, want %q (tags %v)", got, want, site.Tags)
	}
	if got, want := site.APIPerSecond, 200.0; got != want {
		t.Errorf("local site's budget: got %g per second, want %g", got, want)
	}
	spec, problems := Resolve(set.Pools[0], set.Types[0], set.Pools[0].Placement[0], nil)
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	if diff := cmp.Diff([]string{"/a$b/examples/sleeper/worker.sh"}, spec.Run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	wantVars := map[string]epu.Var{"GREETING": {Value: "hello"}, "COUNT": {Value: "0"}}
	if diff := cmp.Diff(wantVars, spec.Vars); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}
