// Package archive is the form in which a journal leaves its store: for backups, for moving house and
// for reading by people. It does not know any store.
//
//	{"epu_archive":1,"meta":{...}}                                    once
//	{"stream":"pool/default/web","revision":9,"snapshot_at":7,...}    per stream, in byte order
//	{"type":"launch-opened","v":1,"id":...}                           per event after the snapshot
//	{"end":true,"streams":1,"events":2,"sha256":"..."}                once: all bytes before it
//
// Every line is JSON. The last line lets a reader refuse an archive that was cut short or changed.
// Start at Writer, then Reader.
package archive
