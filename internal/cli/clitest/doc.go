// Package clitest helps to test command lines as scripts in txtar files: commands of such scripts, a node on
// loopback for the programs to ask, and a check that every command has a script that runs its examples.
//
// What stands behind the node is the test's own: a router that answers as the story needs it. The programs, the
// relay between and what is printed are the real ones.
package clitest
