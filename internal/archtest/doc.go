// Package archtest keeps the source tree the way docs/architecture.md describes it. Its tests parse
// every Go file of the module and report what breaks a rule, with the rule's reason:
//
//	layers.go    which packages of this module a package may import
//	fences.go    which third-party and standard packages only some may import
//	calls.go     clocks, randomness, environment, printing: only at named edges
//	shape.go     sizes, names, comments, package variables, init functions
//	deps.go      a paragraph in docs/dependencies.md for each direct dependency
//
// Each rule has a test of its own on a few lines of source that break it. It is not a linter: what vet
// and staticcheck find is theirs to say. Start reading at layers.go.
package archtest
