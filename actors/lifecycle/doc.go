// Package lifecycle holds the pure rules of a worker's life: what a heartbeat or a silence means, when
// to look again, and how launches back off after failures. It has no clock: now is an argument.
package lifecycle
