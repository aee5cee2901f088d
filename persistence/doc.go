// Package persistence holds the ports behind which EPU keeps what must last: the Journal of events,
// which is the truth, and the History of decisions and audit, whose loss never loses a machine.
//
// Adapters live below it (badger, memory) and all pass the suite in journaltest. Start at journal.go.
package persistence
