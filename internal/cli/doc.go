// Package cli is what all our command-line programs share: exit codes, errors in four parts, output
// forms, tables, colour, confirmation, and how a client finds its node. The commands themselves are in
// packages below it, one for each program.
//
//	command ──▶ View (an answer as data) ──▶ Printer ──▶ table | wide | json | jsonl | yaml | name
//	error   ──▶ CodeOf, PrintError       ──▶ exit code and up to four lines on stderr
//
// stdout has the answer and nothing else; progress, warnings and errors go to stderr. Machine output is a
// contract: {"schema":"epu/v1","type":...} and then the fields of the message in actors/msg, additive
// only. All that comes from outside loses its control characters before a terminal sees it.
//
// Start with View in output.go and Env in env.go.
package cli
