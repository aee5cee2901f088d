package badger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// The layout of keys. Numbers are big-endian, so that byte order is numeric order. A stream's ID holds
// no zero byte, which makes the keys unambiguous.
//
//	e/<stream>\0<revision u64>            an event
//	m/commit                              the newest commit: counters over the whole store
//	m/meta                                the store's description, JSON
//	p/<stream>\0<generation u64><part u32>  a part of a snapshot
//	s/<stream>                            the stream's head
const (
	prefixEvent = "e/"
	prefixPart  = "p/"
	prefixHead  = "s/"
	keyCommit   = "m/commit"
	keyMeta     = "m/meta"
)

// schema is the version of this layout.
const schema = 1

// partBytes is the size of a snapshot's parts: a transaction holds several.
const partBytes = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func eventKey(id epu.StreamID, rev epu.Revision) []byte {
	k := make([]byte, 0, len(prefixEvent)+len(id)+9)
	k = append(append(append(k, prefixEvent...), id...), 0)
	return binary.BigEndian.AppendUint64(k, uint64(rev))
}

func partKey(id epu.StreamID, generation uint64, part uint32) []byte {
	k := make([]byte, 0, len(prefixPart)+len(id)+13)
	k = append(append(append(k, prefixPart...), id...), 0)
	k = binary.BigEndian.AppendUint64(k, generation)
	return binary.BigEndian.AppendUint32(k, part)
}

func headKey(id epu.StreamID) []byte { return append([]byte(prefixHead), id...) }

// splitKey takes a stream's ID and the numbers behind it out of an event's or part's key.
func splitKey(key []byte, numbers int) (epu.StreamID, []byte, bool) {
	end := len(key) - numbers - 1
	if end <= len(prefixEvent) || key[end] != 0 {
		return "", nil, false
	}
	return epu.StreamID(key[len(prefixEvent):end]), key[end+1:], true
}

// head is what a store knows of a stream besides its events: how many there must be, and where its
// snapshot is. It is written with every append, in another place than the events.
type head struct {
	rev        epu.Revision
	snapAt     epu.Revision
	generation uint64 // of the snapshot's parts
	parts      uint32
	size       uint64 // bytes of the snapshot
	crc        uint32 // CRC-32C of the snapshot
}

const headBytes = 1 + 8 + 8 + 8 + 4 + 8 + 4

func (h head) encode() []byte {
	b := make([]byte, 0, headBytes)
	b = append(b, schema)
	b = binary.BigEndian.AppendUint64(b, uint64(h.rev))
	b = binary.BigEndian.AppendUint64(b, uint64(h.snapAt))
	b = binary.BigEndian.AppendUint64(b, h.generation)
	b = binary.BigEndian.AppendUint32(b, h.parts)
	b = binary.BigEndian.AppendUint64(b, h.size)
	return binary.BigEndian.AppendUint32(b, h.crc)
}

func decodeHead(b []byte) (head, error) {
	if len(b) != headBytes || b[0] != schema {
		return head{}, fmt.Errorf("head of %d bytes", len(b))
	}
	h := head{
		rev:        epu.Revision(binary.BigEndian.Uint64(b[1:])),
		snapAt:     epu.Revision(binary.BigEndian.Uint64(b[9:])),
		generation: binary.BigEndian.Uint64(b[17:]),
		parts:      binary.BigEndian.Uint32(b[25:]),
		size:       binary.BigEndian.Uint64(b[29:]),
		crc:        binary.BigEndian.Uint32(b[37:]),
	}
	wantParts := (h.size + partBytes - 1) / partBytes
	if h.rev == 0 || h.snapAt > h.rev || h.size > persistence.SnapshotMax ||
		uint64(h.parts) != wantParts || (h.snapAt > 0) != (h.parts > 0) {
		return head{}, fmt.Errorf("head contradicts itself: %+v", h)
	}
	return h, nil
}

// commit counts over the whole store. It is part of every transaction, so the newest one says what
// all that came before must add up to.
type commit struct {
	n       uint64 // transactions so far
	total   uint64 // sum of all streams' revisions
	metaRev uint64 // changes of the store's description so far
}

func (c commit) encode() []byte {
	b := make([]byte, 0, 24)
	b = binary.BigEndian.AppendUint64(b, c.n)
	b = binary.BigEndian.AppendUint64(b, c.total)
	return binary.BigEndian.AppendUint64(b, c.metaRev)
}

func decodeCommit(b []byte) (commit, error) {
	if len(b) != 24 {
		return commit{}, fmt.Errorf("commit record of %d bytes", len(b))
	}
	return commit{
		n: binary.BigEndian.Uint64(b), total: binary.BigEndian.Uint64(b[8:]), metaRev: binary.BigEndian.Uint64(b[16:]),
	}, nil
}

// metaRecord is the stored form of a store's description.
type metaRecord struct {
	Schema int    `json:"schema"`
	Rev    uint64 `json:"rev"`
	persistence.Meta
}

func decodeMeta(b []byte) (metaRecord, error) {
	var m metaRecord
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	if m.Schema > schema {
		return m, fmt.Errorf("schema %d: %w", m.Schema, persistence.ErrNewer)
	}
	if m.Schema < 1 || m.Installation == "" || m.Epoch == 0 {
		return m, errors.New("description is not complete")
	}
	return m, nil
}

// encodeEvent makes the stored form of an event: its fields in binary, since a restart reads them all,
// then its data byte for byte.
//
//	format u8 | v varint | seconds i64 | nanoseconds u32 | type | ID | cause (each a length varint and bytes) | data
func encodeEvent(ev persistence.Event) []byte {
	b := make([]byte, 0, 32+len(ev.Type)+len(ev.ID)+len(ev.Cause)+len(ev.Data))
	b = binary.AppendVarint(append(b, schema), int64(ev.V))
	b = binary.BigEndian.AppendUint64(b, uint64(ev.Time.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(ev.Time.Nanosecond()))
	for _, s := range []string{ev.Type, ev.ID, ev.Cause} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, ev.Data...)
}

var errEvent = errors.New("the event is damaged")

// decodeEvent reads what encodeEvent made. The event shares nothing with b.
func decodeEvent(b []byte) (persistence.Event, error) {
	var ev persistence.Event
	if len(b) == 0 || b[0] != schema {
		return ev, errEvent
	}
	v, n := binary.Varint(b[1:])
	if n <= 0 || int64(int(v)) != v || len(b) < 1+n+12 {
		return ev, errEvent
	}
	ev.V, b = int(v), b[1+n:]
	nanos := binary.BigEndian.Uint32(b[8:])
	if nanos >= 1e9 {
		return ev, errEvent
	}
	ev.Time = time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos)).UTC()
	b = b[12:]
	for _, s := range []*string{&ev.Type, &ev.ID, &ev.Cause} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return ev, errEvent
		}
		*s, b = string(b[n:][:size]), b[n+int(size):]
	}
	if ev.Type == "" || ev.ID == "" {
		return ev, errEvent
	}
	if len(b) > 0 {
		ev.Data = append(json.RawMessage(nil), b...)
	}
	return ev, nil
}
