// Package sim is a cloud that exists only in memory and on a virtual clock: the same seed, clock and
// calls give the same machines, failures and listings, byte for byte. It starts no goroutine and never
// sleeps; what a machine is doing is derived from the clock whenever somebody asks.
//
//	Launch ──▶ machine{created, boots at, dies at, ...}   drawn once, from seed, token and slot
//	clock  ──▶ state now: pending, running, stopping, terminated, no longer listed
//
// The zero Options are a perfect cloud; Rough is one where everything that a real cloud does wrong
// happens often. Faults of the network between a caller and its cloud (replies lost, calls doubled or
// late) are not here but in iaas/faulty, which decorates any provider.
//
// Start reading at cloud.go; truth.go is what tests look at.
package sim
