// Package prices keeps what the sites of a pool offer, and says from it what its workers cost: an hour of one, all of
// them together, and when the next charge for one begins.
//
// It is pure: it has no clock, and a List changes only by Take. What follows from a price, such as a limit that holds
// growth back, is decided in reconcile.
//
// Start reading at List.
package prices
