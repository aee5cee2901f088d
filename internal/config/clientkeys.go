package config

import "time"

// clientKeys is every setting of a client, in the order of the reference. They stand at the top of the
// file and in each profile.
func clientKeys() []key {
	return []key{
		{name: "node", kind: address, def: "127.0.0.1:7420", doc: "The node to talk to; any node answers for all"},
		{name: "user", kind: text, defDoc: "the login name", example: "anna", doc: "Who you are in the audit, where no certificate says so"},
		{
			name: "timeout", kind: duration, def: "10s", unit: "duration", low: int64(100 * time.Millisecond), high: int64(10 * time.Minute),
			doc: "How long to wait for one answer",
		},
		{name: "tls.ca", kind: path, doc: "Authority of the node's certificate, PEM; empty = the system's, or no TLS where all three are empty"},
		{name: "tls.cert", kind: path, doc: "Your own certificate, PEM"},
		{name: "tls.key", kind: path, doc: "Key of `tls.cert`, PEM"},
	}
}
