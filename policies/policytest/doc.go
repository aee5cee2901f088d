// Package policytest runs the tests of policies: Lua files called <name>_test.lua beside them, each
// of which states a policy and cases with a configuration, workers and readings, and what the policy
// should wish for and why. It decides nothing itself: every decision comes from policies.Engine, and
// every one is also replayed from its record, so a policy that hides state between decisions fails.
//
//	test.policy "npreserving"
//	test.case { name = "...", conf = {...}, workers = {{count = 3}}, expect = {target = 3} }
//
// Start reading at run.go; case.go holds the form of a case.
package policytest
