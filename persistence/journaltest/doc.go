// Package journaltest is the conformance suite that every adapter of persistence.Journal and
// persistence.History must pass. It tests what the port's comments promise and nothing else: what an
// adapter adds (crash safety, damage, files) has its own tests. Start at Run.
package journaltest
