// Package eventlog appends events and audit records to a file that other programs read: one JSON object
// per line, and when asked for also the older form with the marker CLOUDYVENT_JSON:.
//
//	actors' bus ── records ──▶ Run ──▶ Log ──▶ events.jsonl, events.jsonl.1
//
// The history is the record; this file is a copy for tools. A full disk costs lines, which are counted,
// and never a worker. Start with Log in log.go; the older form is in cloudyvent.go.
package eventlog
