package badger

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/persistence"
)

// Goal: no stored bytes crash a reader of events, and what is read is written the same. Method: fuzz.
func FuzzDecodeEvent(f *testing.F) {
	f.Add(encodeEvent(persistence.Event{Type: "t", V: 1, ID: "i"}))
	f.Add(encodeEvent(persistence.Event{
		Type: "launch-opened", V: -3, ID: "01J", Time: time.Unix(1_760_000_000, 7), Cause: "c", Data: json.RawMessage(`{"a":[1]}`),
	}))
	f.Add([]byte{1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := decodeEvent(b)
		if err != nil {
			return
		}
		again, err := decodeEvent(encodeEvent(ev))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ev, again); diff != "" {
			t.Error(diff)
		}
	})
}

// Goal: no stored bytes crash a reader of the small records. Method: fuzz all of them with one input.
func FuzzDecodeRecords(f *testing.F) {
	f.Add(head{rev: 9, snapAt: 7, generation: 1, parts: 2, size: partBytes + 1}.encode())
	f.Add(head{rev: 1}.encode())
	f.Add(commit{1, 2, 3}.encode())
	f.Add(testimony{5, 2}.encode())
	f.Add([]byte(`{"schema":1,"rev":1,"installation":"i","epoch":1}`))
	f.Add([]byte(`{"schema":2}`))
	f.Add(eventKey("pool/a", 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHead(b); err == nil && !bytes.Equal(h.encode(), b) {
			t.Errorf("head %+v is not what was read", h)
		}
		if c, err := decodeCommit(b); err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("commit %+v is not what was read", c)
		}
		if m, err := decodeMeta(b); err == nil && (m.Schema != schema || m.Epoch == 0) {
			t.Errorf("meta %+v passed", m)
		}
		if w, ok := decodeTestimony(b); ok && !bytes.Equal(w.encode(), b[:slotUsed]) {
			t.Errorf("testimony %+v is not what was read", w)
		}
		splitKey(b, 8)
		splitKey(b, 12)
	})
}

// Goal: no file's bytes crash the checks before opening, where Badger's own readers would end the
// process. Method: fuzz both with one input.
func FuzzFiles(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(append(make([]byte, logHeader), markTxn, 0, 1, 1, 0, 'k', 'v', 1, 2, 3, 4))
	f.Add([]byte{0, 0, 0, 4, 8, 1, 16, 9, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := scanLog(b); s.end > len(b) || s.end < min(logHeader, len(b)) {
			t.Errorf("log of %d bytes ends at %d", len(b), s.end)
		}
		_ = checkTable(b)
	})
}
