// Package badger keeps a node's journal and history in Badger, an embedded store, in two folders: the
// journal is the truth and refuses to run damaged; the history may be lost and then starts afresh.
//
//	callers ── Append, Snapshot ──▶ queue ──▶ one writer: a transaction per batch, synced, then answers
//	   │                                         │ counts commits
//	   └── Load, Streams ──▶ db/ (Badger)        └──▶ witness (a small file beside the database)
//
// What Badger does not do by itself and this package adds:
//
//   - Group commit: Badger syncs each transaction alone. One writer puts up to 256 requests in one.
//   - Damage is found before Badger opens the files, since it opens silently after it, drops what
//     lies behind a damaged byte of its log, deletes tables that a damaged manifest doesn't list, and ends
//     the process over a damaged table (files.go). What files can't show is found after (verify.go):
//     every stream is contiguous up to its head, all heads together have as many events as the newest
//     commit says, and that commit is not older than the witness.
//   - A full disk: Badger writes through memory maps, so a full disk ends the process by a signal. The
//     writer refuses to write while less than a reserve is free, and goes on when space is back.
//     Someone else who takes the reserve while Badger merges tables still ends the process; the next
//     start finds everything.
//   - A failed write: nothing is known of its outcome then. The writer closes the database, opens
//     it again with all checks, and finds out by event ID before it answers.
//
// Start at Open, then writer.go.
package badger
