// Package web is a node's HTTP server: the agents' endpoints, the JSON API for people's tools, metrics
// and health. It checks, limits and translates; what anything means is behind small interfaces.
//
//	agent ──▶ /v1/agent/...  ── token verified ──▶ Agents
//	tools ──▶ /v1/...        ── same messages ───▶ Router (as behind the relay's gRPC)
//	      ──▶ /metrics /healthz /readyz
//
// Who may ask: agents show a signed token. Questions and commands are for this machine's users (loopback
// or a unix socket), or for holders of a client certificate with a role; and never for a web page of
// another site. Everything is limited in size and time, and a panic is one failed request.
//
// Start with Options and New in web.go. docs/reference/http.md is the reference; tests run its examples.
package web
