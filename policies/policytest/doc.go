// Package policytest runs the tests of policies: Lua files called <name>_test.lua beside them, each
// of which states a policy and cases with a configuration, workers and readings, and what the policy
// should wish for and why. It decides nothing itself: every decision comes from policies.Engine, and
// every one is also replayed from its record, so a policy that hides state between decisions fails.
//
//	test.policy "npreserving"
//	test.case { name = "...", conf = {...}, workers = {{count = 3}}, expect = {target = 3} }
//
// Scenario files (<name>.scenarios.yaml) are tests over time: series of readings and a modelled world, and
// what the policy should want at some of the moments. The pool between them is that of policies/simulate.
//
//	tests: [{name: ..., series: {queue-length: "0 150x20"}, expect: [{at: 5s, target: 1}]}]
//
// Start reading at run.go; case.go holds the form of a case, strict.go what is
// said of it to authors, scenario.go the form of a scenario.
package policytest
