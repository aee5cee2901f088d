//go:build race

package policies_test

// raced says that the race detector is on. It finds nothing in work of one goroutine, and makes that take ten times as
// long: `make test` does such work without it.
const raced = true
