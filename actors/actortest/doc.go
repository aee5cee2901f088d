// Package actortest runs durable actors without protoactor, goroutines or real time: World is a
// deterministic Host with a virtual clock, a network that loses, doubles and delays messages, and a
// node that crashes at any durable step. One seed reproduces a run byte for byte.
package actortest
