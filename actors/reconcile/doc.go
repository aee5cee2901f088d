// Package reconcile is the pure middle of EPU: it turns a wish and reality into the smallest safe set
// of actions, each with its reason, within the pool's guard rails.
//
//	Clamp: what a policy wanted -> the wish that is in force, with the clamps
//	Actions: wish + workers + limits -> launches, ends, drains, resumes, and what was refused
//
// It has no clock and keeps nothing: calling it again with what its actions led to gives no actions.
package reconcile
