// Package engine carries out the calls of a pool's controller: it holds the pool's decision engine and
// evaluates the policy, checks configurations, polls sensors and runs hooks.
//
// It is the one place between the actors, which know calls as data, and package policies, which knows Lua.
// It decides nothing itself and keeps nothing that must last: a new one for the same pool answers the same.
package engine
