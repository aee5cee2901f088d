// Package upkeep lets tools read the store of a node that runs: check it, print it, back it up.
//
//	epud journal backup --data-dir D  ->  D/upkeep.sock  ->  the node's open store
//
// The node holds the lock of its store, so a tool that finds it taken asks the node instead, on a socket in
// the node's data folder. Who may enter that folder may read the store's files anyway: the folder is the
// permission, and there is no other. Nothing can be changed here; restoring needs a node that is stopped.
//
// Answers are streams of any length that end with a verdict, so that a cut one is never taken for whole.
// Start reading at server.go.
package upkeep
