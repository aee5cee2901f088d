// Package worker is the pure core of a worker's actor: health, errors, orders and the busy lease of one machine, as its
// beats tell of them. What must last stands in its pool's stream; actors on protoactor, and the deterministic host in
// tests, run the same core. Start at [Core.Handle].
package worker
