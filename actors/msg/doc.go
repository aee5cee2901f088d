// Package msg holds every message that actors exchange, and nothing else. remote.proto has those that
// cross from one program to another (its generated code stands beside it), agent.go the JSON that
// agents and nodes exchange, launch.go the protocol between controllers and sites, pool.go the rest.
//
// Commands are imperative, facts past, questions end in Query. A message is immutable from the moment
// it is sent.
package msg
