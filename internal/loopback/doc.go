// Package loopback finds addresses on this machine for a node that a demonstration or a test starts,
// kills and starts again. The port 0 would not do: a node must come back where its workers know it.
package loopback
