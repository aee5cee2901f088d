// Package policies runs decision engines: it loads Lua policies, checks their configuration, and
// evaluates them against a snapshot in a sandbox with a deadline. A policy reads and wishes; it never
// acts. What may be done about a wish is for actors/reconcile to say.
//
//	Snapshot + conf + memory --> Engine.Decide --> epu.Decision (wish, reasons, inputs read)
//	                                                    |
//	                              Replay <--------------+  the same decision from its record alone
//
// Start reading at state.go (what is known), then load.go (what a policy is), engine.go (one evaluation) and
// hostapi.go (what a policy can call). Lua itself, cut down and bounded, is in policies/sandbox; sources
// and what their text shows in policies/source; parameters and their checks in policies/params. Examine
// (examine.go) says all that is wrong with a policy, which it tries in the pools of policies/situations.
// An Engine belongs to one goroutine at a time;
// only this folder imports gopher-lua.
//
// What bounds an evaluation: a budget of VM instructions, which is the same on every machine; a
// deadline, if there is a clock; the exact length of all texts it makes; the depth of calls; 64 KiB of
// memory kept between decisions. What tables may hold is bounded only by those and by a watch on the
// growth of the whole process. A policy is an operator's own code: it is guarded against mistakes, not
// against attackers.
package policies
