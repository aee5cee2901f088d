// Package restore reads snapshots. A node's restart waits for that, and most of a snapshot is rows: launches with
// their slots, of which a large node has hundreds of thousands. They are read without reflection, which takes a
// tenth of the time of encoding/json; the rest of a snapshot is a page, and is left to encoding/json.
//
// It is not another format: snapshots are JSON, written by encoding/json from the structs' tags, and whoever shows
// or copies them needs to know no more. It does not know what the rows are, either: each record says which member
// goes where, and one that it does not name is skipped, as encoding/json does.
//
//	Rows     splits a snapshot into its rows and the rest
//	Reader   is at one value of a row and reads it into a field
package restore
