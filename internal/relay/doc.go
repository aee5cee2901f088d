// Package relay carries operators' commands and questions from a client to the actors of a node, and
// answers and events back, over gRPC. It knows how to travel, not what a command means: a Router does.
//
//	epumgmt ── Client ──▶ msg.Relay over gRPC ──▶ Server ──▶ Router (actors/gateway)
//	        ◀─ epu.Error ◀── msg.Fault ◀────────────────── epu.Error
//
// A client dials; a node never does. Errors keep their kind in both directions. Everything that comes
// from outside is limited in size and time, and a panic behind the Router is one failed request.
//
// Start with Router and NewServer in server.go, then Dial and Ask in client.go.
package relay
