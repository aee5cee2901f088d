// Package memory keeps a journal and a history in memory, for tests and simulation. It is
// deterministic: it reads no clock, starts no goroutine, and answers depend on the calls alone. What
// it keeps ends with the process, but for Backup and Restore, which play a store restored from a
// backup. Start at Journal.
package memory
