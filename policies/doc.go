// Package policies runs decision engines: it loads Lua policies, checks their configuration, and
// evaluates them against a snapshot in a sandbox with a deadline. A policy reads and wishes; it never
// acts. What may be done about a wish is for actors/reconcile to say.
//
//	Snapshot + conf + memory --> Engine.Decide --> epu.Decision (wish, reasons, inputs read)
//
// Start reading at contract.go. An Engine belongs to one goroutine at a time; only this package
// imports gopher-lua.
package policies
