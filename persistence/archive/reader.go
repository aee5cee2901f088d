package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// lineMax bounds one line, and with it the memory that a damaged or hostile archive can take. The
// longest line is a stream's snapshot.
const lineMax = 64 << 20

const tryArchive = "the archive was cut short or changed: use another backup"

// Reader reads one archive, line by line, and checks it as it goes. What it has given is to be
// trusted only after Next answered io.EOF.
type Reader struct {
	r    *bufio.Reader
	sum  hash.Hash
	meta persistence.Meta
	next *streamLine // read ahead: the line after the last event
	last epu.StreamID
	seen trailer
	done bool
}

// NewReader begins reading. An archive of a newer version is refused.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	line, err := a.line()
	if err != nil {
		return nil, bad(err)
	}
	var h header
	if err := json.Unmarshal(line, &h); err != nil || h.Archive < 1 {
		return nil, bad(errors.New("not an archive of EPU"))
	}
	if h.Archive > Version {
		return nil, &epu.Error{
			Kind: epu.Invalid, Op: "read archive", On: fmt.Sprintf("version %d", h.Archive),
			Err: persistence.ErrNewer, Try: "read it with the version of EPU that wrote it, or a newer one",
		}
	}
	a.meta = h.Meta
	return a, a.advance(line)
}

// Meta describes the store at the time of the archive.
func (a *Reader) Meta() persistence.Meta { return a.meta }

// Next gives the next stream; io.EOF after the last, once the archive has proved complete.
func (a *Reader) Next() (epu.StreamID, persistence.Loaded, error) {
	if a.done {
		return "", persistence.Loaded{}, io.EOF
	}
	s := *a.next
	l := persistence.Loaded{Snapshot: s.Snapshot, SnapshotAt: s.SnapshotAt, Revision: s.Revision}
	if s.Revision < s.SnapshotAt || (s.SnapshotAt > 0) != (len(s.Snapshot) > 0) || s.Revision == 0 {
		return "", l, bad(fmt.Errorf("stream %q: revision %d, snapshot at %d", s.Stream, s.Revision, s.SnapshotAt))
	}
	for rev := s.SnapshotAt; rev < s.Revision; rev++ {
		line, err := a.line()
		if err != nil {
			return "", l, bad(err)
		}
		a.sum.Write(line)
		var ev persistence.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return "", l, bad(fmt.Errorf("stream %q, event %d: %w", s.Stream, rev+1, err))
		}
		if ev.Type == "" || ev.ID == "" {
			return "", l, bad(fmt.Errorf("stream %q: event %d is missing", s.Stream, rev+1))
		}
		l.Tail = append(l.Tail, ev)
	}
	a.seen.Streams++
	a.seen.Events += len(l.Tail)
	return s.Stream, l, a.advance(nil)
}

// advance reads the line after a header or a stream: another stream, or the end. pending is a line
// that was read but is not yet in the sum.
func (a *Reader) advance(pending []byte) error {
	a.sum.Write(pending)
	line, err := a.line()
	if err != nil {
		return bad(err)
	}
	var end trailer
	if err := json.Unmarshal(line, &end); err == nil && end.End {
		a.seen.End, a.seen.SHA256 = true, hex.EncodeToString(a.sum.Sum(nil))
		if end != a.seen {
			return bad(errors.New("its checksum does not fit"))
		}
		a.done = true
		return nil
	}
	a.sum.Write(line)
	var s streamLine
	if err := json.Unmarshal(line, &s); err != nil {
		return bad(err)
	}
	if s.Stream <= a.last {
		return bad(fmt.Errorf("stream %q after %q", s.Stream, a.last))
	}
	a.next, a.last = &s, s.Stream
	return nil
}

// line reads one line of at most lineMax bytes, newline included.
func (a *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := a.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > lineMax:
			return nil, fmt.Errorf("a line is longer than %d bytes", lineMax)
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("cut short after %q", bytes.TrimSpace(line[:min(len(line), 40)]))
		default:
			return nil, err
		}
	}
}

func bad(err error) error {
	return &epu.Error{Kind: epu.Invalid, Op: "read archive", Err: err, Try: tryArchive}
}
