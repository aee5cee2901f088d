package archtest

import "strings"

// fence keeps packages from outside the module to those who may know them.
type fence struct {
	what  []string // import paths
	only  []string // folders that may import them; nil = all but not
	not   []string // folders that may not
	tests bool     // holds for test files too
	why   string
}

var fences = []fence{
	{
		what: []string{"github.com/asynkron/protoactor-go/..."}, only: []string{"actors", "actors/actortest", "cluster", "cluster/...", "internal/daemon"}, tests: true,
		why: "the actor library is old, untagged and frozen: what touches it is kept small enough to replace it",
	},
	{
		what: []string{"github.com/yuin/gopher-lua/..."}, only: []string{"policies/..."}, tests: true,
		why: "the sandbox holds only if there is one place that makes Lua states",
	},
	{
		what: []string{"github.com/spf13/viper/..."}, only: []string{"internal/config"}, tests: true,
		why: "viper lower-cases keys, ignores misspelt ones and reads 5 as 5 ns: one package knows how to hold it",
	},
	{
		what: []string{"github.com/aws/...", "github.com/aws/aws-sdk-go-v2/..."}, only: []string{"iaas/ec2", "iaas/ec2/...", "internal/sensor/aws"}, tests: true,
		why: "clouds differ behind iaas.Provider and sensors behind readings, nowhere else",
	},
	{
		what: []string{"github.com/go-faster/jx/..."}, only: []string{"actors/restore"}, tests: true,
		why: "JSON is read and written by encoding/json; only the rows of snapshots are so many that its price counts",
	},
	{
		what: []string{"github.com/dgraph-io/..."}, only: []string{"persistence/badger"}, tests: true,
		why: "stores differ behind the Journal and History ports, nowhere else",
	},
	{
		what: []string{"go.etcd.io/..."}, only: []string{"persistence/etcd", "cluster", "cluster/..."}, tests: true,
		why: "etcd is known to the cluster's ownership and the journal that is bound to it",
	},
	{
		what: []string{"github.com/spf13/cobra/...", "github.com/spf13/pflag/..."}, only: []string{"internal/..."}, tests: false,
		why: "commands are for people; what they call takes plain arguments",
	},
	{
		what: []string{"gonum.org/v1/...", "github.com/guptarohit/asciigraph/..."}, only: []string{"policies/simulate/chart"}, tests: true,
		why: "drawing libraries come and go, and bring megabytes of fonts: one package knows them",
	},
	{
		what: []string{"google.golang.org/grpc/..."}, only: []string{"actors/msg", "cluster", "cluster/...", "internal/..."}, tests: true,
		why: "remote calls end at the relay and the gatekeeper; everything behind them sees messages",
	},
	{
		what: []string{"os/...", "io/ioutil", "net/...", "syscall", "os/exec", "database/sql/...", "golang.org/x/sys/...", "crypto/rand"},
		not:  deterministic,
		why:  "this code decides, so it may not touch the world: what it needs to know is an argument",
	},
	{
		what: []string{"log/..."}, not: deterministic,
		why: "this code returns its reasons as data; who called it decides what is worth a line in a log",
	},
	{
		what: []string{"unsafe", "reflect", "runtime/..."}, not: []string{".", "actors/lifecycle", "actors/reconcile", "actors/sensing", "actors/bootlevel"},
		why: "nouns and cores are plain values",
	},
	{
		what: []string{"io/ioutil", "math/rand", "container/list", "text/template", "html/template"}, not: []string{"."},
		why: "nouns decide nothing and write nothing",
	},
}

// deterministic are the packages of which one seed and one trace of inputs reproduce a run.
var deterministic = join([]string{".", "policies/simulate"}, pure)

// deps are files allowed to import anything, each for a stated reason.
var deps = map[string]string{
	"zz_deps_test.go": "keeps the dependencies of packages under construction in go.mod; removed before the first release",
}

// checkFences reports imports of outside packages by those who may not know them.
func checkFences(t tree) []finding {
	var found []finding
	for _, f := range t {
		if _, free := deps[f.path]; free {
			continue
		}
		for name, spec := range f.imports() {
			if _, ours := local(name); ours {
				continue
			}
			for _, fence := range fences {
				if f.test && !fence.tests || !matches(name, fence.what) || fence.allows(f.dir) {
					continue
				}
				found = append(found, f.find(spec.Pos(), "%s may not import %s: %s", f.dir, name, fence.why))
			}
			if strict := matches(f.dir, join([]string{"."}, pure)); strict && !f.test && thirdParty(name) {
				found = append(found, f.find(spec.Pos(), "%s may not import %s: nouns and pure cores use the standard library only", f.dir, name))
			}
			if f.dir == "actors/msg" && !f.test && thirdParty(name) && !matches(name, []string{"google.golang.org/protobuf/...", "google.golang.org/grpc/..."}) {
				found = append(found, f.find(spec.Pos(), "actors/msg may not import %s: messages know nouns and protobuf only", name))
			}
		}
	}
	return found
}

func (f fence) allows(dir string) bool {
	if f.only != nil {
		return matches(dir, f.only)
	}
	return !matches(dir, f.not)
}

// thirdParty says whether an import path is neither of this module nor of the standard library.
func thirdParty(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return strings.Contains(first, ".")
}
