package config

import "time"

// nodeKeys is every setting of a node, in the order of the reference. A function, because a table that
// anyone could change would be a global variable.
func nodeKeys() []key {
	return []key{
		{
			name: "node.name", kind: text, defDoc: "the host name", example: "n1",
			doc: "Name of this node in logs, events and `epumgmt status`; unique in an installation",
		},
		{
			name: "data_dir", kind: path, def: "/var/lib/epu", devDef: ".epu",
			doc: "Folder of the store, the history, signing keys and the folders of local instances; one node at a time",
		},
		{name: "listen", kind: address, def: "127.0.0.1:7420", doc: "Where the node takes commands of `epumgmt` (gRPC)"},
		{
			name: "http", kind: address, def: "127.0.0.1:7421",
			doc: "Where the node serves agents, `/metrics`, `/healthz`, `/readyz` and the pages (HTTP). Port 0 is another one at " +
				"each start: workers that live on go on calling the old one, fall silent and are replaced",
		},
		{
			name: "agent_url", kind: link, defDoc: "made of `http`", example: "http://127.0.0.1:7421",
			doc: "Base URL under which agents reach `http`; needed when that listens on all interfaces",
		},
		{
			name: "insecure", kind: boolean, def: "false",
			doc: "Listen beyond this machine without TLS: anyone who reaches the addresses commands the node",
		},
		{name: "tls.cert", kind: path, doc: "Certificate of this node, PEM, with its chain; empty = no TLS"},
		{name: "tls.key", kind: path, doc: "Key of `tls.cert`, PEM"},
		{
			name: "tls.client_ca", kind: path,
			doc: "Authority of the certificates that operators and nodes must show on `listen`, PEM; empty = none is asked for",
		},
		{
			name: "tls.agent_ca", kind: path,
			doc: "Authority of `tls.cert`, PEM, at the path where agents find it on their machines; empty = they trust the system's authorities",
		},
		{
			name: "policies_dir", kind: path, devDef: "policies",
			doc: "Folder of decision engines (`*.lua`) beside those that are built in, which they override; empty = built-in ones only. `epud dev` takes changed files in at once",
		},
		{
			name: "tick", kind: duration, def: "5s", unit: "duration", low: int64(100 * time.Millisecond), high: int64(time.Hour),
			doc: "Policy period of pools whose file gives none when it is applied",
		},
		{name: "log.level", kind: word, def: "info", words: []string{"debug", "info", "warn", "error"}, doc: "Least important log lines that are written"},
		{
			name: "log.format", kind: word, def: "auto", words: []string{"auto", "text", "json"},
			doc: "Form of log lines on standard error; auto = text on a terminal, JSON elsewhere",
		},
		{name: "events.file", kind: path, doc: "File to which events are appended, one JSON object per line; at 64 MiB it becomes `FILE.1`, and on SIGHUP the node opens it anew; empty = none"},
		{
			name: "events.cloudyvent", kind: boolean, def: "false",
			doc: "Also write life-cycle events to `events.file` in the older form `CLOUDYVENT_JSON: ...`",
		},
		{
			name: "history.days", kind: whole, def: "30", unit: "days", low: 1, high: 3650,
			doc: "How long decisions, events and the audit are kept",
		},
		{
			name: "history.max_bytes", kind: size, def: "1GiB", unit: "bytes", low: 16 << 20, high: 1 << 40,
			doc: "How large the history may get; beyond it the oldest records go first",
		},
		{
			name: "journal.memory", kind: word, def: "default", words: []string{"small", "default"},
			doc: "Memory that the store takes for itself; small suits a few hundred workers and small machines",
		},
		{
			name: "shutdown_timeout", kind: duration, def: "20s", unit: "duration", low: int64(time.Second), high: int64(10 * time.Minute),
			doc: "How long a node that is told to stop may finish what it is at; shorter than the service manager's own limit",
		},
	}
}
