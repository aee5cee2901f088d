package policytest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
	"github.com/nimbus-epu/epu/scripts"
)

// Goal: the stock policies pass their own tests. Method: every *_test.lua that is shipped is run.
func TestStockPolicies(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	files, err := lib.Tests()
	if err != nil || len(files) == 0 {
		t.Fatalf("got test files %v, %v; want at least one", files, err)
	}
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(files, name+"_test.lua") {
			t.Errorf("%s has no %s_test.lua", name, name)
		}
	}
	for _, file := range files {
		results, err := policytest.Run(lib, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			t.Run(file+"/"+r.Case, func(t *testing.T) {
				for _, f := range r.Failures {
					t.Error(f)
				}
			})
		}
	}
}

// Goal: a test that should fail fails, with words that help. Method: one policy with faults, and one
// case for each thing a case can expect.
func TestFailuresAreFound(t *testing.T) {
	const policy = `
local ticks = 0
return {
  params = { n = { type = "integer", default = 1, max = 9 }, hide = { type = "boolean", default = false } },
  decide = function(control, state, conf)
    print("n", conf.n)
    if conf.hide then ticks = ticks + 1 end
    control.want("a", { vars = { X = 1 } })
    control.scale_to(conf.n + ticks, { site = "east", victims = "oldest", heal = false })
    control.because("because of n")
    if conf.n == 9 then error("nine") end
  end,
}`
	for _, c := range []struct{ name, body, want string }{
		{"target", `expect = { target = 4 }`, "got target 1, want 4"},
		{"heal", `expect = { heal = true }`, "got heal false, want true"},
		{"victims", `expect = { victims = "newest" }`, "got victims oldest, want newest"},
		{"site", `expect = { site = "west" }`, "got site east, want west"},
		{"uniques", `expect = { uniques = { b = {} } }`, "got unique workers [a], want [b]"},
		{"unique's variables", `expect = { uniques = { a = { X = 2 } } }`, "got variables map[X:1] of unique worker a, want map[X:2]"},
		{"actions", `expect = { actions = 1 }`, "got number of actions 0, want 1"},
		{"because", `expect = { because = { "because of n", "of m" } }`, `want "of m" among them`},
		{"alert", `expect = { alert = "fire" }`, `want "fire" among them`},
		{"error", `conf = { n = 9 }, expect = { target = 9 }`, "nine"},
		{"no error", `expect = { error = "nine" }`, "got no error"},
		{"accepted", `refused = "too many"`, "was accepted"},
		{"refused", `conf = { n = 10 }`, "must be at most 9, got 10"},
		{"other words", `conf = { n = 10 }, refused = "too few"`, `want "too few" in it`},
		{"hidden state", `steps = { { }, { conf = nil, reconfigure = { hide = true } }, {} }`, "step 3: the policy hides state"},
		{"step", `steps = { {}, { reconfigure = { n = 2 }, expect = { target = 3 } } }`, "step 2: got target 2, want 3"},
		{"state", `workers = { { state = "SLEEPING" } }`, "no worker can have the state 'SLEEPING'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lib := policies.NewLibrary(fstest.MapFS{
				"faulty.lua":      {Data: []byte(policy)},
				"faulty_test.lua": {Data: []byte("test.policy 'faulty'\ntest.case { name = 'x', " + c.body + " }")},
			})
			results, err := policytest.Run(lib, "faulty_test.lua")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(results[0].Failures, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("got failures %q, want %q", got, c.want)
			}
			if results[0].Passed() {
				t.Error("the case passed")
			}
		})
	}
}

// Goal: what the reference says that test files can call is what they can call. Method: call it, and compare the number
// of functions.
func TestFunctionsAreThere(t *testing.T) {
	src := ""
	for _, f := range policytest.Functions() {
		src += fmt.Sprintf("assert(type(%s) == 'function')\n", f.Full())
	}
	src += fmt.Sprintf("local n = 0 for _ in pairs(test) do n = n + 1 end assert(n == %d, n)\ntest.policy 'p'\ntest.case { name = 'x' }", len(policytest.Functions()))
	lib := policies.NewLibrary(fstest.MapFS{
		"p.lua":      {Data: []byte("return { decide = function() end }")},
		"t_test.lua": {Data: []byte(src)},
	})
	if results, err := policytest.Run(lib, "t_test.lua"); err != nil || len(results) != 1 {
		t.Errorf("got %v, %v", results, err)
	}
}

// Goal: mistakes in a test file are errors, not passed tests.
func TestBadFiles(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"no policy", `test.case { name = "x" }`, "t_test.lua:1: names no policy"},
		{"no case", `test.policy "p"`, "t_test.lua:1: has no case"},
		{"unknown policy", `test.policy "q"`, "t_test.lua:1: test.policy: load policy q: there is no such policy"},
		{"misspelt key", "test.policy 'p'\ntest.case { name = 'x', expect = { targets = 1 } }", `t_test.lua:2: test.case "x": expect: unknown key 'targets'; did you mean 'target'? (known there: target, uniques, `},
		{"key of another table", "test.policy 'p'\ntest.case { name = 'x', expect = { wish = 1 } }", `test.case "x": expect: unknown key 'wish' (known there: target, `},
		{"key of no table", "test.policy 'p'\ntest.case { name = 'x', wanted = 1 }", `test.case "x": unknown key 'wanted' (known there: name, doc, conf, `},
		{"misspelt key of a worker", "test.policy 'p'\ntest.case { name = 'x', steps = { {}, { workers = { { status = 'X' } } } } }", `test.case "x": workers: unknown key 'status'; did you mean 'state'? (known there: count, id, name, `},
		{"no name", "test.policy 'p'\ntest.case { }", "t_test.lua:2: test.case: has no name"},
		{"what is said of no step", "test.policy 'p'\ntest.case { name = 'x', steps = { {} }, expect = { target = 9 } }", `t_test.lua:2: test.case "x": expect beside steps is never looked at`},
		{"of none either", "test.policy 'p'\ntest.case { name = 'x', steps = { {} }, reconfigure_refused = 'no' }", `t_test.lua:2: test.case "x": reconfigure_refused beside steps`},
		{"unknown function", "test.policy 'p'\ntest.cases { name = 'x' }", "t_test.lua:2: 'test.cases' does not exist"},
		{"syntax", "test.policy 'p'\ntest.case {", "t_test.lua"},
		{"endless", "test.policy 'p'\nwhile true do end", "t_test.lua:2: stopped after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lib := policies.NewLibrary(fstest.MapFS{
				"p.lua":      {Data: []byte("return { decide = function(control) control.scale_to(1) end }")},
				"t_test.lua": {Data: []byte(c.src)},
			})
			if _, err := policytest.Run(lib, "t_test.lua"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Goal: who no longer waits gets no results that are not all. Method: an ended context, and both forms of tests.
func TestRunEndsWithItsContext(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, file := range []string{"queuelen_test.lua", "scenarios/queuelen.yaml"} {
		if r, err := policytest.RunWith(ctx, lib, file, policytest.Options{}); r != nil || err != context.Canceled {
			t.Errorf("%s: got %d results, %v", file, len(r), err)
		}
	}
}
