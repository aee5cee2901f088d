package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// rulesCase is a few lines of source, where they would stand, and what a check must say about them.
type rulesCase struct {
	name   string
	path   string
	source string
	want   []string // one substring per finding, in order; none = clean
}

func runCases(t *testing.T, check func(tree) []finding, cases []rulesCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := parse(c.path, []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			got := check(tree{f})
			if len(got) != len(c.want) {
				t.Fatalf("got %d findings, want %d:\n%s", len(got), len(c.want), lines(got))
			}
			for i, want := range c.want {
				if !strings.Contains(got[i].String(), want) {
					t.Errorf("got %q, want it to contain %q", got[i], want)
				}
			}
		})
	}
}

// Goal: imports inside the module point one way, and a wrong one is told why.
// Method: one import per case, right and wrong.
func TestLayerRules(t *testing.T) {
	ours := func(pkg, from string) string { return "package " + pkg + "\nimport _ \"" + module + from + "\"\n" }
	runCases(t, checkLayers, []rulesCase{
		{"nouns are free", "actors/msg/a.go", ours("msg", ""), nil},
		{"messages know nouns only", "actors/msg/a.go", ours("msg", "/persistence"), []string{"actors/msg may not import persistence: messages carry nouns"}},
		{"core to core", "actors/reconcile/a.go", ours("reconcile", "/actors/lifecycle"), nil},
		{"core to actors", "actors/reconcile/a.go", ours("reconcile", "/actors"), []string{"pure cores"}},
		{"actor to port", "actors/site.go", ours("actors", "/iaas"), nil},
		{"actor to adapter", "actors/site.go", ours("actors", "/iaas/ec2"), []string{"only the daemon says which adapter"}},
		{"actor's test to simulator", "actors/site_test.go", ours("actors", "/iaas/sim"), nil},
		{"adapter to adapter", "iaas/ec2/a.go", ours("ec2", "/iaas/local"), []string{"never each other"}},
		{"store to store", "persistence/etcd/a.go", ours("etcd", "/persistence/badger"), []string{"never each other"}},
		{"page to actor", "internal/web/a.go", ours("web", "/actors"), []string{"never an actor or a store"}},
		{"page to messages", "internal/web/a.go", ours("web", "/actors/msg"), nil},
		{"daemon to adapter", "internal/daemon/a.go", ours("daemon", "/iaas/local"), nil},
		{"main to actors", "cmd/epud/main.go", ours("main", "/actors"), []string{"a main parses"}},
		{"unknown folder", "misplaced/a.go", "package misplaced", []string{"in no layer"}},
	})
}

// Goal: outside packages stay behind their fences.
// Method: one import per case.
func TestFenceRules(t *testing.T) {
	imp := func(pkg, name string) string { return "package " + pkg + "\nimport _ \"" + name + "\"\n" }
	runCases(t, checkFences, []rulesCase{
		{"lua in its place", "policies/host.go", imp("policies", "github.com/yuin/gopher-lua"), nil},
		{"lua elsewhere", "actors/engine.go", imp("actors", "github.com/yuin/gopher-lua/parse"), []string{"one place that makes Lua states"}},
		{"viper elsewhere, in a test too", "internal/cli/a_test.go", imp("cli", "github.com/spf13/viper"), []string{"viper lower-cases"}},
		{"actor library elsewhere", "internal/relay/a.go", imp("relay", "github.com/asynkron/protoactor-go/actor"), []string{"untagged and frozen"}},
		{"AWS elsewhere", "iaas/sim/a.go", imp("sim", "github.com/aws/aws-sdk-go-v2/service/ec2"), []string{"clouds differ"}},
		{"core with files", "actors/sensing/a.go", imp("sensing", "os"), []string{"may not touch the world"}},
		{"core with files in its test", "actors/sensing/a_test.go", imp("sensing", "os"), nil},
		{"core with a logger", "actors/lifecycle/a.go", imp("lifecycle", "log/slog"), []string{"reasons as data"}},
		{"core with a library", "actors/lifecycle/a.go", imp("lifecycle", "example.org/x"), []string{"standard library only"}},
		{"nouns with a library", "a.go", imp("epu", "github.com/oklog/ulid/v2"), []string{"standard library only"}},
		{"messages with protobuf", "actors/msg/a.go", imp("msg", "google.golang.org/protobuf/proto"), nil},
		{"messages with a library", "actors/msg/a.go", imp("msg", "github.com/oklog/ulid/v2"), []string{"nouns and protobuf only"}},
	})
}

// Goal: clocks, randomness, environment and printing stay at their edges.
// Method: use each in a plain package, at an edge, in a test and in a bubble.
func TestCallRules(t *testing.T) {
	runCases(t, checkCalls, []rulesCase{
		{"now", "actors/a.go", "package actors\nimport \"time\"\nvar f = time.Now\n", []string{"a.go:3: time.Now"}},
		{"now under another name", "actors/a.go", "package actors\nimport tt \"time\"\nvar f = tt.Now()\n", []string{"tt.Now"}},
		{"now where the clock is wired", "internal/daemon/a.go", "package daemon\nimport \"time\"\nvar f = time.Now\n", nil},
		{"sleep even there", "internal/daemon/a.go", "package daemon\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", []string{"time.Sleep"}},
		{"sleep in a test", "actors/a_test.go", "package actors\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", []string{"time.Sleep"}},
		{"sleep in a bubble", "actors/a_test.go", "package actors\nimport (\n\"time\"\n_ \"testing/synctest\"\n)\nfunc f() { time.Sleep(1) }\n", nil},
		{"a duration", "actors/a.go", "package actors\nimport \"time\"\nvar f = time.Second\n", nil},
		{"hidden by a local name", "actors/a.go", "package actors\nfunc f(time struct{ Now int }) int { return time.Now }\n", nil},
		{"global randomness", "iaas/sim/a.go", "package sim\nimport \"math/rand/v2\"\nvar f = rand.IntN(3)\n", []string{"seeded"}},
		{"seeded randomness", "iaas/sim/a.go", "package sim\nimport \"math/rand/v2\"\nfunc f(r *rand.Rand) int { return rand.New(rand.NewPCG(1, 2)).IntN(r.IntN(3)) }\n", nil},
		{"environment", "internal/cli/a.go", "package cli\nimport \"os\"\nvar f = os.Getenv(\"X\")\n", []string{"internal/config"}},
		{"printing", "internal/cli/a.go", "package cli\nimport \"fmt\"\nfunc f() { fmt.Println() }\n", []string{"io.Writer"}},
		{"printing to a writer", "internal/cli/a.go", "package cli\nimport \"fmt\"\nfunc f() { fmt.Fprintln(nil) }\n", nil},
		{"default logger", "internal/web/a.go", "package web\nimport \"log/slog\"\nfunc f() { slog.Info(\"x\") }\n", []string{"caller gives"}},
		{"builtin print", "internal/web/a.go", "package web\nfunc f() { println(1) }\n", []string{"debugging"}},
		{"exit", "internal/daemon/a.go", "package daemon\nimport \"os\"\nfunc f() { os.Exit(1) }\n", []string{"return an error"}},
	})
}

// Goal: sizes, names and comments are held to what the style says.
// Method: the smallest source that breaks each rule, and the largest that does not.
func TestShapeRules(t *testing.T) {
	fn := func(n int) string { return "package a\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", n-2) + "}\n" }
	runCases(t, checkSizes, []rulesCase{
		{"70 lines", "internal/a/a.go", fn(70), nil},
		{"71 lines", "internal/a/a.go", fn(71), []string{"func f has 71 lines"}},
		{"600 lines", "internal/a/a.go", "package a\n" + strings.Repeat("//\n", 599), nil},
		{"601 lines", "internal/a/a.go", "package a\n" + strings.Repeat("//\n", 600), []string{"601 lines"}},
		{"long main", "cmd/epud/main.go", "package main\n" + strings.Repeat("//\n", 60), []string{"a main parses"}},
	})
	runCases(t, checkPackages, []rulesCase{
		{"good", "internal/a/doc.go", "// Package a is.\npackage a\n", nil},
		{"vague", "internal/util/doc.go", "// Package util is.\npackage util\n", []string{"named for what it provides"}},
		{"comment elsewhere", "internal/a/a.go", "// Package a is.\npackage a\n", []string{"no package comment"}},
		{"wrong beginning", "internal/a/doc.go", "// This is a.\npackage a\n", []string{"begins with"}},
		{"program", "cmd/epud/main.go", "// Command epud is.\npackage main\n", nil},
	})
	runCases(t, checkComments, []rulesCase{
		{"unfinished", "internal/a/a.go", "package a\n// TODO: later\n", []string{"number of an issue"}},
		{"with an issue", "internal/a/a.go", "package a\n// TODO(#12): later\n", nil},
		{"system test", "internal/a/a_test.go", "//go:build system\n\npackage a\nfunc TestSystemX() {}\n", nil},
		{"system test nobody runs", "internal/a/a_test.go", "//go:build system\n\npackage a\nfunc TestX() {}\n", []string{"TestSystem"}},
	})
	runCases(t, checkInit, []rulesCase{
		{"init", "internal/a/a.go", "package a\nfunc init() {}\n", []string{"no init functions"}},
		{"goroutine in a core", "actors/reconcile/a.go", "package reconcile\nfunc f() { go f() }\n", []string{"no goroutines"}},
		{"goroutine elsewhere", "internal/a/a.go", "package a\nfunc f() { go f() }\n", nil},
	})
	runCases(t, exportedDocs, []rulesCase{
		{"func", "internal/a/a.go", "package a\nfunc F() {}\n", []string{"func F"}},
		{"method of an unexported type", "internal/a/a.go", "package a\ntype t int\nfunc (t) F() {}\n", nil},
		{"well known", "internal/a/a.go", "package a\n// T is.\ntype T int\nfunc (T) String() string { return \"\" }\n", nil},
		{"interface", "internal/a/a.go", "package a\n// I is.\ntype I interface {\n\tF()\n}\n", []string{"I.F"}},
		{"one comment for two methods", "internal/a/a.go", "package a\n// I is.\ntype I interface {\n\t// F and G do.\n\tF()\n\tG()\n\tH()\n}\n", []string{"I.H"}},
		{"the type's comment", "internal/a/a.go", "package a\n// I has F, which does.\ntype I interface {\n\tF()\n}\n", nil},
		{"constants in a group", "internal/a/a.go", "package a\n// Kinds.\nconst (\n\tA = 1\n\tB = 2\n)\n", nil},
		{"types in a group", "internal/a/a.go", "package a\n// Kinds.\ntype (\n\tA int\n)\n", []string{"type A"}},
	})
}

// Goal: a table is no state, and state is found however it is written to.
// Method: each way of writing, and names that only look the same.
func TestGlobalRules(t *testing.T) {
	runCases(t, checkGlobals, []rulesCase{
		{"table", "internal/a/a.go", "package a\nvar names = map[int]string{1: \"a\"}\n", nil},
		{"no value", "internal/a/a.go", "package a\nvar x int\n", []string{"no value at birth"}},
		{"assigned", "internal/a/a.go", "package a\nvar x = 1\nfunc f() { x = 2 }\n", []string{"a.go:3"}},
		{"element", "internal/a/a.go", "package a\nvar x = map[int]int{}\nfunc f() { x[1]++ }\n", []string{"written to"}},
		{"address", "internal/a/a.go", "package a\nvar x = 1\nfunc f() *int { return &x }\n", []string{"written to"}},
		{"deleted from", "internal/a/a.go", "package a\nvar x = map[int]int{}\nfunc f() { delete(x, 1) }\n", []string{"written to"}},
		{"local name", "internal/a/a.go", "package a\nvar x = 1\nfunc f() { x := 2; x = 3; _ = x }\n", nil},
		{"embedded", "internal/a/a.go", "package a\nimport \"embed\"\n//go:embed *\nvar files embed.FS\n", nil},
		{"pool", "internal/a/a.go", "package a\nimport \"sync\"\nvar p sync.Pool\n", nil},
		{"lock", "internal/a/a.go", "package a\nimport \"sync\"\nvar p sync.Mutex\n", []string{"no value at birth"}},
	})
}

// Goal: the page about dependencies follows go.mod.
// Method: a page that lacks one, has one too many, and leaves a question open.
func TestDependencyRules(t *testing.T) {
	gomod := "module m\nrequire example.org/one v1\nrequire (\n\texample.org/two v1\n\texample.org/three v1 // indirect\n)\n"
	page := "### `example.org/two`\n**For:** a **Kept by:** b\n### `example.org/gone`\n"
	got := lines(checkDeps(gomod, page))
	for _, want := range []string{"no paragraph about example.org/one", "example.org/two lacks **Leaving:**", "example.org/gone is no direct"} {
		if !strings.Contains(got, want) {
			t.Errorf("got:\n%swant it to contain %q", got, want)
		}
	}
	if strings.Contains(got, "three") {
		t.Errorf("got:\n%swant nothing about indirect ones", got)
	}
}

// Goal: the parser still resolves names, which checkGlobals and checkCalls rely on.
// Method: the smallest case. A toolchain that stops would make both blind without a word.
func TestNamesAreResolved(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "a.go", "package a\nvar x = 1\nfunc f() { x = 2 }\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	resolved := false
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == "x" && id.Obj != nil {
			resolved = true
		}
		return true
	})
	if !resolved {
		t.Error("the parser no longer resolves names inside a file")
	}
}
