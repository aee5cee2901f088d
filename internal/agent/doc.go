// Package agent is epu-agent: the program that runs on every worker machine. It checks in with a node,
// runs and supervises the worker's programs, sends heartbeats and carries out drain and stop. It only
// ever dials; nothing connects to it.
//
//	           facts: answers, exits, time             actions: start, signal, beat, poll
//	nodes ◀──▶ client ──▶ Agent (shell) ──▶ core (pure) ──▶ Agent ──▶ client, child.Set ──▶ programs
//
// core decides everything and touches nothing: state.go (the whole), program.go (one program's
// supervision), link.go (what is sent when), report.go (what a beat says). Around it, agent.go carries
// out its actions, client.go speaks HTTP, wire.go checks what strangers send, config.go gathers the
// configuration and main.go is the command line. Start reading at state.go.
//
// Main runs in a process of its own, as epu-agent or as a hidden subcommand of epud for the local site.
// What operators and authors of programs may rely on stands in docs/reference/epu-agent.md.
package agent
