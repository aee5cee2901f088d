// Package process runs programs in process groups of their own, so that a program ends together with all that it
// started in its group, and keeps the part of their output that somebody may want to read.
//
//	Start ──▶ Group ──▶ Wait: the leader's end is seen ──▶ what is left of the group is killed ──▶ the leader is reaped
//
// The dead leader holds the group's number until it is reaped, so no signal ever reaches a stranger. What a program
// may do, and what its end means, is the caller's business.
//
// Start reading at group.go.
package process
