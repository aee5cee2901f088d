//go:build !race

package actors_test

// raced says that the race detector is on.
const raced = false
