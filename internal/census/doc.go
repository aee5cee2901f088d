// Package census counts what a local site really has on this machine: its folders, their keepers, and
// the programs below those. It looks from outside, through /proc and the file system, and knows nothing
// of the daemon, so that the demonstration and the end-to-end tests have something to hold the daemon's
// own account against. Linux only, as the local site is.
//
// It is no part of the daemon: a process list is a moment's picture, and process IDs are reused.
//
// Start reading at census_linux.go.
package census
