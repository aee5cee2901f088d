package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// ban names functions of a package that only edges may use.
type ban struct {
	from   []string // import paths
	names  []string // banned names; empty = all but except
	except []string
	edges  []edge // who may, and why
	tests  bool   // holds for test files outside synctest bubbles too
	why    string
}

// edge is a folder or file that may do what nobody else may.
type edge struct {
	who string
	why string
}

// The lists of edges are meant to stay short. An edge is a place where the world comes in; code behind
// it gets a clock, a source of randomness or a value.
var bans = []ban{
	{
		from:  []string{"time"},
		names: []string{"Now", "Since", "Until"},
		edges: clockEdges,
		why:   "take a clock or `now` as an argument",
	},
	{
		from:  []string{"time"},
		names: []string{"After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		edges: clockEdges,
		tests: true,
		why:   "take a clock; in tests use testing/synctest",
	},
	{
		from:  []string{"time"},
		names: []string{"Sleep"},
		edges: []edge{
			{"iaas/local/keeper_linux.go", "tries again to write down an end when the disk is full; nothing else is left to wait for"},
			{"examples/...", "sleeping is the work of the example's workers"},
		},
		tests: true,
		why:   "wait for what you wait for; in tests use testing/synctest",
	},
	{
		from:   []string{"math/rand", "math/rand/v2"},
		except: []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "Source64", "PCG", "ChaCha8", "Zipf"},
		edges: []edge{
			{"actors/supervise.go", "spreads restarts; nothing of a simulated run passes here"},
			{"internal/agent/main.go", "wires the agent's real surroundings; its randomness spreads beats"},
			{"iaas/local/crash_test.go", "draws the seed that it prints"},
		},
		tests: true,
		why:   "take a seeded *rand.Rand: one seed must reproduce a run",
	},
	{
		from:  []string{"os"},
		names: []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
		edges: []edge{
			{"cmd/...", "the outermost edge"},
			{"internal/config", "configuration is read from the environment in one place"},
			{"internal/cli/env.go", "all that a command line asks of its surroundings, as one value"},
			{"internal/systest", "CI=true decides between skipping and failing"},
			{"internal/demo/main.go", "a program of its own, started by make demo"},
			{"examples/...", "programs as users write them"},
		},
		why: "read the environment in internal/config, or take the value as an argument",
	},
	{
		from:  []string{"fmt"},
		names: []string{"Print", "Printf", "Println"},
		edges: []edge{{"cmd/...", "the outermost edge"}},
		why:   "write to an io.Writer that the caller gives",
	},
	{
		from:  []string{"log"},
		edges: []edge{{"cmd/...", "the outermost edge"}},
		why:   "log with the *slog.Logger that the caller gives",
	},
	{
		from:  []string{"log/slog"},
		names: []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default", "SetDefault", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"},
		edges: []edge{{"cmd/...", "the outermost edge"}},
		why:   "log with the *slog.Logger that the caller gives",
	},
	{
		from:  []string{"os"},
		names: []string{"Exit"},
		edges: []edge{{"cmd/...", "mains map errors to exit codes"}, {"internal/demo/main.go", "a program of its own, started by make demo"}, {"examples/...", "programs as users write them"}},
		why:   "return an error: deferred work is lost by an exit",
	},
}

// clockEdges are the places where real time comes in.
var clockEdges = []edge{
	{"actors/supervise.go", "has the real Clock, which everything else is given"},
	{"cmd/...", "the outermost edge"},
	{"internal/daemon", "wires the real clock"},
	{"internal/cli/env.go", "all that a command line asks of its surroundings, as one value"},
	{"iaas/local/keeper_linux.go", "a process of its own beside a real program"},
	{"iaas/local/processes_linux.go", "waits for real processes to go"},
	{"iaas/local/options.go", "the default of an option"},
	{"internal/agent/main.go", "wires the agent's real surroundings"},
	{"internal/relay/client.go", "turns a context's deadline into the time left, which is what travels"},
	{"internal/relay/watch.go", "looks again for a client that watches; actors know nothing of it"},
	{"persistence/badger/open.go", "the default of an option"},
	{"persistence/badger/writer.go", "bounds how long a caller waits for a real disk"},
	{"persistence/badger/witness.go", "syncs a file beside the store every few seconds; no decision hangs on it"},
}

// checkCalls reports the use, called or not, of a banned function outside its edges. A file that imports
// testing/synctest has virtual time, so the clock is free there.
func checkCalls(t tree) []finding {
	var found []finding
	for _, f := range t {
		if f.generated {
			continue
		}
		names := f.importNames()
		_, bubble := f.imports()["testing/synctest"]
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && id.Obj == nil && (id.Name == "print" || id.Name == "println") {
					found = append(found, f.find(id.Pos(), "%s is for debugging the compiler", id.Name))
				}
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok || id.Obj != nil { // a local name hides the import
				return true
			}
			for _, b := range bans {
				if b.hits(names[id.Name], sel.Sel.Name) && !b.allows(f, bubble) {
					found = append(found, f.find(sel.Pos(), "%s.%s: %s", id.Name, sel.Sel.Name, b.why))
				}
			}
			return true
		})
	}
	return found
}

func (b ban) hits(from, name string) bool {
	if !slices.Contains(b.from, from) {
		return false
	}
	if len(b.names) > 0 {
		return slices.Contains(b.names, name)
	}
	return !slices.Contains(b.except, name)
}

func (b ban) allows(f *file, bubble bool) bool {
	if f.test && (!b.tests || bubble && b.from[0] == "time") {
		return true
	}
	return slices.ContainsFunc(b.edges, func(e edge) bool {
		return f.path == e.who || matches(f.dir, []string{e.who})
	})
}

// importNames maps the names by which a file calls its imports to their paths.
func (f *file) importNames() map[string]string {
	names := map[string]string{}
	for _, spec := range f.syntax.Imports {
		from, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(from)
		if strings.HasPrefix(name, "v") && len(name) > 1 && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(from)) // math/rand/v2
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = from
	}
	return names
}
