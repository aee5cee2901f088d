package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// Version is the newest archive version that this code reads, and the one that it writes.
const Version = 1

type header struct {
	Archive int              `json:"epu_archive"`
	Meta    persistence.Meta `json:"meta"`
}

type streamLine struct {
	Stream     epu.StreamID    `json:"stream"`
	Revision   epu.Revision    `json:"revision"`
	SnapshotAt epu.Revision    `json:"snapshot_at,omitempty"`
	Snapshot   json.RawMessage `json:"snapshot,omitempty"`
}

type trailer struct {
	End     bool   `json:"end"`
	Streams int    `json:"streams"`
	Events  int    `json:"events"`
	SHA256  string `json:"sha256"`
}

// Writer writes one archive. It is used by one goroutine.
type Writer struct {
	w    *bufio.Writer
	sum  hash.Hash
	done trailer
	err  error
}

// NewWriter begins an archive of the store that meta describes.
func NewWriter(w io.Writer, meta persistence.Meta) *Writer {
	a := &Writer{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	a.line(header{Archive: Version, Meta: meta})
	return a
}

// Stream adds one stream. Streams come in byte order.
func (a *Writer) Stream(id epu.StreamID, l persistence.Loaded) error {
	a.line(streamLine{Stream: id, Revision: l.Revision, SnapshotAt: l.SnapshotAt, Snapshot: l.Snapshot})
	for i := range l.Tail {
		a.line(l.Tail[i])
	}
	a.done.Streams++
	a.done.Events += len(l.Tail)
	return a.err
}

// Close ends the archive; without it the archive is refused by readers. It does not close the
// underlying writer.
func (a *Writer) Close() error {
	a.done.End, a.done.SHA256 = true, hex.EncodeToString(a.sum.Sum(nil))
	a.line(a.done)
	if a.err != nil {
		return a.err
	}
	return a.wrap(a.w.Flush())
}

func (a *Writer) line(v any) {
	if a.err != nil {
		return
	}
	out := io.MultiWriter(a.w, a.sum)
	enc := json.NewEncoder(out) // ends each value with a newline
	enc.SetEscapeHTML(false)
	a.err = a.wrap(enc.Encode(v))
}

func (a *Writer) wrap(err error) error {
	if err == nil {
		return nil
	}
	return epu.E(epu.Unavailable, "write archive", "", err)
}

// Copy archives a whole journal. The journal is read stream by stream: for a picture of one moment
// nobody else may write meanwhile, or the store's own backup is used.
func Copy(ctx context.Context, w io.Writer, j persistence.Journal) error {
	a := NewWriter(w, j.Meta())
	for id, err := range j.Streams(ctx, "") {
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		l, err := j.Load(ctx, id)
		if err != nil {
			return fmt.Errorf("archive stream %s: %w", id, err)
		}
		if err := a.Stream(id, l); err != nil {
			return err
		}
	}
	return a.Close()
}
