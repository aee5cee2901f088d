// Package epu holds the nouns of EPU: identities, life-cycle states, pools, workers, launches,
// decisions, readings, sites and the kinds of errors. Every other package may import it; it imports
// the standard library only, and it decides nothing.
//
//	facts -> snapshot -> decision engine -> decision -> reconcile -> intents -> effects
//	  ^                                                                          |
//	  +------------------------- outcomes come back as new facts ----------------+
//
// Start reading at epu.go (identities and states), then spec.go (what operators write) and
// decision.go (what policies say).
package epu
