package archtest

import "slices"

// layer says what of this module some packages may import.
type layer struct {
	who []string // folders; the first layer that matches a folder holds
	may []string
	why string // printed with each import that is not in may
}

// The nouns may be imported by everybody, so no layer names ".".
var layers = []layer{
	{
		who: []string{"."},
		why: "the nouns depend on nothing, so that everything can depend on them",
	},
	{
		who: []string{"actors/msg"},
		why: "messages carry nouns; whatever else they knew, every sender and receiver would know too",
	},
	{
		who: []string{"actors/worker"},
		may: []string{"actors/msg", "actors/lifecycle"},
		why: "a worker is what its beats tell of it; what becomes of it is its controller's business",
	},
	{
		who: []string{"actors/shadow"},
		may: []string{"actors/msg"},
		why: "what is known of a candidate is plain data and words; the controller decides when it is asked",
	},
	{
		who: []string{"actors/restore"},
		why: "it reads rows of snapshots; what they are their actors know, who say which member goes where",
	},
	{
		who: []string{"actors/answers"},
		may: []string{"actors/msg", "persistence"},
		why: "answers are words made of views and records; who asked for them is the gateway's business",
	},
	{
		who: pure,
		may: pure,
		why: "pure cores run unchanged in the daemon, in tests and in both simulators, so they know nouns and each other only",
	},
	{
		who: []string{"policies/simulate", "policies/policytest"},
		may: join([]string{"policies", "policies/...", "iaas", "iaas/sim", "scripts/...", "internal/strictyaml"}, pure),
		why: "a policy is tried out with the engine, the pure cores and the simulated cloud, and nothing that touches the world",
	},
	{
		who: []string{"policies", "policies/..."},
		may: join([]string{"policies", "policies/...", "scripts", "scripts/..."}, pure),
		why: "engines see a snapshot and state a wish; acting, storing and sending are for others",
	},
	{
		who: []string{"scripts", "scripts/...", "examples", "examples/..."},
		may: []string{"scripts/..."},
		why: "scripts and examples are data that packages embed, and programs as users write them, who have nothing of EPU but its programs",
	},
	{
		who: []string{"persistence", "iaas"},
		why: "a port is a contract; who knew one of its adapters would bind everybody to it",
	},
	{
		who: []string{"persistence/..."},
		may: []string{"persistence", "persistence/archive", "persistence/journaltest"},
		why: "adapters know their port, its suite and the archive's form, never each other or who uses them",
	},
	{
		who: []string{"iaas/..."},
		may: []string{"iaas", "iaas/iaastest", "actors/lifecycle"},
		why: "adapters know their port and its suite, never each other or who uses them",
	},
	{
		who: []string{"actors/actortest"},
		may: []string{"actors", "actors/...", "persistence", "persistence/memory", "iaas", "iaas/sim", "iaas/faulty", "policies"},
		why: "the deterministic host runs shells and cores over simulated parts, never over real ones",
	},
	{
		who: []string{"actors/gateway"},
		may: join([]string{"actors", "actors/msg", "actors/answers", "actors/shadow", "persistence", "policies/snapshot"}, pure),
		why: "the gateway asks actors and puts their answers into words; what it brings, and from where, the daemon knows",
	},
	{
		who: []string{"actors"},
		may: join([]string{"actors/msg", "actors/answers", "actors/restore", "actors/shadow", "actors/worker", "persistence", "iaas", "policies"}, pure),
		why: "actors know ports, not adapters: only the daemon says which adapter stands behind a port",
	},
	{
		who: []string{"cluster", "cluster/..."},
		may: []string{"cluster/...", "actors", "actors/msg", "persistence"},
		why: "membership and ownership know actors by their messages and the journal by its port",
	},
	{
		who: []string{"internal/daemon", "internal/daemon/..."},
		may: []string{"actors", "actors/...", "policies", "policies/...", "iaas/...", "persistence/...", "cluster/...", "scripts/...", "examples", "internal/..."},
		why: "the daemon wires everything but is no part of a program's main",
	},
	{
		who: []string{"internal/archtest", "internal/doctest", "internal/systest"},
		may: []string{"internal/...", "policies", "scripts"},
		why: "tests about the tree look at programs from outside",
	},
	{
		who: []string{"internal/demo"},
		may: []string{"internal/...", "iaas", "policies/simulate", "policies/simulate/chart", "examples"},
		why: "the demonstration tells of programs from outside, with the examples' files, and draws what it saw",
	},
	{
		who: []string{"internal/..."},
		may: join([]string{"internal/...", "actors/msg", "cluster/identity", "persistence", "persistence/archive", "iaas", "policies", "policies/...", "scripts/..."}, pure),
		why: "interfaces see messages and nouns, never an actor or a store: those belong to the daemon",
	},
	{
		who: []string{"cmd/..."},
		may: []string{"internal/..."},
		why: "a main parses, calls one function and maps the error to an exit code; the rest is importable",
	},
}

// pure are the packages that are functions of values: no clock, no I/O, no goroutine.
var pure = []string{"actors/lifecycle", "actors/reconcile", "actors/sensing", "actors/versions", "actors/prices", "actors/bootlevel"}

// folders are the folders the top of the tree may have (git's own aside).
var folders = []string{"cmd", "actors", "policies", "iaas", "persistence", "cluster", "scripts", "internal", "docs", "examples", ".ci"}

// checkLayers reports imports inside the module that point the wrong way. Test files may also use the
// deterministic parts and the suites.
func checkLayers(t tree) []finding {
	forTests := []string{
		"persistence/memory", "persistence/journaltest", "iaas/iaastest", "iaas/sim", "iaas/faulty", "iaas/local",
		"actors/actortest", "actors/gateway", "policies/policytest", "internal/systest", "internal/golden", "scripts/...",
	}
	var found []finding
	for _, f := range t {
		at := slices.IndexFunc(layers, func(l layer) bool { return matches(f.dir, l.who) })
		if at < 0 {
			found = append(found, finding{file: f.path, text: "folder " + f.dir + " is in no layer: give it one in internal/archtest/layers.go"})
			continue
		}
		for name, spec := range f.imports() {
			to, ours := local(name)
			if !ours || to == "." || to == f.dir || matches(to, layers[at].may) {
				continue
			}
			if f.test && matches(to, forTests) {
				continue
			}
			found = append(found, f.find(spec.Pos(), "%s may not import %s: %s", f.dir, to, layers[at].why))
		}
	}
	return found
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }
