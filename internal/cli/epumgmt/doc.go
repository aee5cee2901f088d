// Package epumgmt is the operator's program: questions about pools, and commands that change them. Each
// command makes one message of actors/msg, asks a node through the relay, and turns the answer into a
// cli.View. It decides nothing that a node could decide, so any other client can do the same.
//
//	arguments ──▶ command ──▶ message ──▶ relay ──▶ node
//	     exit code, stdout ◀── cli.View ◀── answer
//
// Start with Main in main.go and session.go; each further file is a group of commands.
package epumgmt
