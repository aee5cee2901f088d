// Package daemon is epud's composition root: it reads the settings, opens the store, wires providers,
// policies and actors by hand, and serves the relay and the node's HTTP. It decides nothing itself.
//
// Start reading at node.go; command.go has the command line.
package daemon
