//go:build race

package actors_test

// raced says that the race detector is on. Worlds of one seed have one goroutine, in which it finds
// nothing and takes eight times as long: fewer of them then, and make test runs all without it too.
const raced = true
