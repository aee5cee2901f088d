//go:build !race

package policies_test

// raced says that the race detector is on.
const raced = false
