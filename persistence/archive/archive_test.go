package archive_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/archive"
)

func sample(t testing.TB) ([]byte, map[epu.StreamID]persistence.Loaded) {
	streams := map[epu.StreamID]persistence.Loaded{
		"pool/default/a": {Snapshot: json.RawMessage(`{"n":1}`), SnapshotAt: 7, Revision: 8, Tail: []persistence.Event{
			{Type: "tested", V: 1, ID: "e8", Data: json.RawMessage(`{"t":"<&>"}`)},
		}},
		"pool/default/b": {Snapshot: json.RawMessage(`[]`), SnapshotAt: 2, Revision: 2},
		"site/local":     {Revision: 1, Tail: []persistence.Event{{Type: "tested", V: 1, ID: "e1"}}},
	}
	var buf bytes.Buffer
	w := archive.NewWriter(&buf, persistence.Meta{Installation: "i", Epoch: 3})
	for _, id := range []epu.StreamID{"pool/default/a", "pool/default/b", "site/local"} {
		if err := w.Stream(id, streams[id]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), streams
}

func read(data []byte) (persistence.Meta, map[epu.StreamID]persistence.Loaded, error) {
	r, err := archive.NewReader(bytes.NewReader(data))
	if err != nil {
		return persistence.Meta{}, nil, err
	}
	streams := map[epu.StreamID]persistence.Loaded{}
	for {
		id, l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Meta(), streams, nil
		}
		if err != nil {
			return r.Meta(), streams, err
		}
		streams[id] = l
	}
}

// Goal: an archive gives back what it was given. Method: round trip of every shape of stream.
func TestRoundTrip(t *testing.T) {
	data, want := sample(t)
	meta, got, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if meta.Installation != "i" || meta.Epoch != 3 {
		t.Errorf("got meta %+v", meta)
	}
}

// Goal: no damage passes for an archive. Method: every cut, and a flip of every single byte.
func TestDamage(t *testing.T) {
	data, _ := sample(t)
	for n := range data {
		if _, _, err := read(data[:n]); epu.KindOf(err) != epu.Invalid || epu.TryOf(err) == "" {
			t.Fatalf("cut after %d of %d bytes: got %v, want invalid with advice", n, len(data), err)
		}
		flipped := bytes.Clone(data)
		flipped[n] ^= 0x01
		if _, _, err := read(flipped); err == nil {
			t.Fatalf("byte %d flipped from %q to %q: got no error", n, data[n], flipped[n])
		}
	}
}

// Goal: an archive of a newer version is refused as such. Method: a raised version.
func TestNewer(t *testing.T) {
	data, _ := sample(t)
	newer := strings.Replace(string(data), `"epu_archive":1`, `"epu_archive":2`, 1)
	if _, _, err := read([]byte(newer)); !errors.Is(err, persistence.ErrNewer) {
		t.Errorf("got %v, want it called newer", err)
	}
}

// Goal: no bytes crash the reader. Method: fuzz, from whole and broken archives.
func FuzzReader(f *testing.F) {
	data, _ := sample(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte(`{"epu_archive":1}` + "\n" + `{"end":true}` + "\n"))
	f.Add([]byte(`{"epu_archive":1}` + "\n" + `{"stream":"a","revision":18446744073709551615}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, streams, err := read(data)
		for id, l := range streams {
			if err == nil && l.Revision != l.SnapshotAt+epu.Revision(len(l.Tail)) {
				t.Errorf("stream %s: revision %d, snapshot at %d, %d events", id, l.Revision, l.SnapshotAt, len(l.Tail))
			}
		}
	})
}
