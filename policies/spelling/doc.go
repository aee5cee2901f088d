// Package spelling finds the name that somebody meant who wrote another one: a key of a file, a function of a
// policy, a command. What is said about it is for its callers to word.
//
//	"runing", [running starting] --> Nearest --> "running"
package spelling
