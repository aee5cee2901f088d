package badger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// everything reads a whole journal.
func everything(t testing.TB, j persistence.Journal) map[epu.StreamID]persistence.Loaded {
	t.Helper()
	all := map[epu.StreamID]persistence.Loaded{}
	for id, err := range j.Streams(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if all[id], err = j.Load(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// rawBytes compares raw JSON at once; byte by byte takes seconds.
var rawBytes = cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })

// Goal: a backup brings everything back, in a new epoch and in recovery. Method: back up an open and a
// closed store, restore into no folder, an empty one and over the store itself.
func TestBackupRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	appendN(t, j, "pool/a", 5)
	appendN(t, j, "pool/b", 1200)
	big := json.RawMessage(`"` + strings.Repeat("s", 1<<20) + `"`)
	if err := j.Snapshot(t.Context(), 1, "pool/a", 4, big); err != nil {
		t.Fatal(err)
	}
	want, born := everything(t, j), j.Meta()
	var running, closed bytes.Buffer
	if err := j.Backup(t.Context(), &running); err != nil {
		t.Fatal(err)
	}
	if err := badger.Backup(t.Context(), dir, &closed); !errors.Is(err, badger.ErrLocked) || epu.KindOf(err) != epu.Conflict {
		t.Errorf("offline backup of a store in use: got %v, want it locked", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := badger.Backup(t.Context(), dir, &closed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(running.Bytes(), closed.Bytes()) {
		t.Error("backups of the running and the closed store differ")
	}
	empty := t.TempDir()
	for i, tc := range []struct {
		dir      string
		floor    epu.Epoch
		epoch    epu.Epoch
		replaced string
	}{
		{filepath.Join(t.TempDir(), "new"), 0, 2, ""},
		{empty, 7, 8, ""},
		{empty, 0, 9, empty + ".replaced-1"},
		{dir, 0, 2, dir + ".replaced-1"},
		{dir, 0, 3, dir + ".replaced-2"},
	} {
		got, err := badger.Restore(t.Context(), bytes.NewReader(closed.Bytes()), tc.dir, badger.RestoreOptions{EpochFloor: tc.floor})
		if err != nil {
			t.Fatalf("restore %d: %v", i, err)
		}
		meta := born
		meta.Epoch, meta.Recovery = tc.epoch, true
		if diff := cmp.Diff(badger.Restored{Meta: meta, Streams: 2, Replaced: tc.replaced}, got); diff != "" {
			t.Errorf("restore %d: %s", i, diff)
		}
		j := open(t, tc.dir)
		if diff := cmp.Diff(want, everything(t, j), rawBytes); diff != "" {
			t.Errorf("restore %d: %s", i, diff)
		}
		if diff := cmp.Diff(meta, j.Meta()); diff != "" {
			t.Errorf("restore %d: %s", i, diff)
		}
		appendN(t, j, "pool/b", 1)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Goal: any adapter's archive can be restored into any other. Method: memory to Badger and back.
func TestRestoreFromMemory(t *testing.T) {
	m := memory.New(persistence.Meta{Installation: "i", Epoch: 5})
	if _, err := m.Append(t.Context(), 5, "site/x", 0, event("a"), event("b")); err != nil {
		t.Fatal(err)
	}
	backup, err := m.Backup()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "j")
	if _, err := badger.Restore(t.Context(), bytes.NewReader(backup), dir, badger.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	j := open(t, dir)
	defer j.Close()
	if diff := cmp.Diff(everything(t, m), everything(t, j), rawBytes); diff != "" {
		t.Error(diff)
	}
	if got := j.Meta(); got.Installation != "i" || got.Epoch != 6 || !got.Recovery {
		t.Errorf("got %+v", got)
	}
}

// Goal: a bad archive or a store in use changes nothing. Method: restore over a store with each.
func TestRestoreRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	appendN(t, j, "pool/a", 3)
	var backup bytes.Buffer
	if err := j.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	restore := func(b []byte) error {
		_, err := badger.Restore(t.Context(), bytes.NewReader(b), dir, badger.RestoreOptions{})
		return err
	}
	if err := restore(backup.Bytes()); !errors.Is(err, badger.ErrLocked) {
		t.Errorf("over a store in use: got %v, want it locked", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := restore(backup.Bytes()[:backup.Len()-2]); epu.KindOf(err) != epu.Invalid {
		t.Errorf("cut short: got %v, want invalid", err)
	}
	j = open(t, dir)
	defer j.Close()
	if l, err := j.Load(t.Context(), "pool/a"); err != nil || l.Revision != 3 || j.Meta().Epoch != 1 || j.Meta().Recovery {
		t.Errorf("got %d, %v, %+v: the store was changed", l.Revision, err, j.Meta())
	}
}

// Goal: a restore that was killed halfway can't be mistaken for a new installation. Method: the folder
// that it builds in is there, the store is not.
func TestUnfinishedRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if err := os.Mkdir(dir+".restoring", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(dir, badger.Options{}); epu.KindOf(err) != epu.Conflict || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("got %v, want a conflict", err)
	}
}

// Goal: a sealed store can be read, but neither changed nor started. Method: seal it open and closed.
func TestSeal(t *testing.T) {
	for _, online := range []bool{true, false} {
		dir := t.TempDir()
		j := open(t, dir)
		appendN(t, j, "pool/a", 2)
		if online {
			if err := j.Seal(t.Context(), "moved to host-2"); err != nil {
				t.Fatal(err)
			}
			if _, err := j.Append(t.Context(), 1, "pool/a", 2, event("x")); !errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("append after sealing: got %v, want unavailable", err)
			}
			if err := j.SetRecovery(t.Context(), true); !errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("set recovery after sealing: got %v, want unavailable", err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if !online {
			if err := badger.Seal(t.Context(), dir, "moved to host-2"); err != nil {
				t.Fatal(err)
			}
		}
		_, err := badger.Open(dir, badger.Options{})
		if epu.KindOf(err) != epu.Conflict || !strings.Contains(err.Error(), "moved to host-2") || epu.TryOf(err) == "" {
			t.Errorf("open: got %v, want a conflict that says where it went", err)
		}
		var buf bytes.Buffer
		if err := badger.Backup(t.Context(), dir, &buf); err != nil {
			t.Errorf("backup of a sealed store: %v", err)
		}
		if r, err := badger.Check(dir); err != nil || len(r.Problems) > 0 || r.Meta.Sealed != "moved to host-2" {
			t.Errorf("check: got %+v, %v", r, err)
		}
	}
}

// Goal: a dump is for people: one JSON value a line, by stream. Method: dump one pool of two.
func TestDump(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	appendN(t, j, "pool/a", 3)
	appendN(t, j, "site/x", 1)
	if err := j.Snapshot(t.Context(), 1, "pool/a", 2, json.RawMessage(`{"two":2}`)); err != nil {
		t.Fatal(err)
	}
	var open bytes.Buffer
	if err := j.Dump(t.Context(), &open, "pool/"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var closed bytes.Buffer
	if err := badger.Dump(t.Context(), dir, &closed, "pool/"); err != nil {
		t.Fatal(err)
	}
	want := `{"stream":"pool/a","revision":2,"snapshot":{"two":2}}` + "\n" + `{"stream":"pool/a","revision":3,"event":{"type":"tested","v":1,"id":"pool/a-3",`
	if got := closed.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 2 || got != open.String() {
		t.Errorf("got %s", got)
	}
}

// Goal: two processes never share a folder, and the second says who has it. Method: open it twice.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	_, err := badger.Open(dir, badger.Options{})
	if !errors.Is(err, badger.ErrLocked) || epu.KindOf(err) != epu.Conflict || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("got %v, want it locked by pid %d", err, os.Getpid())
	}
	if _, err := badger.Check(dir); !errors.Is(err, badger.ErrLocked) {
		t.Errorf("check: got %v, want it locked", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := j.Append(t.Context(), 1, "a", 0, event("x")); !errors.Is(err, persistence.ErrUnavailable) {
		t.Errorf("append after close: got %v, want unavailable", err)
	}
	if _, err := j.Load(t.Context(), "a"); !errors.Is(err, persistence.ErrUnavailable) {
		t.Errorf("load after close: got %v, want unavailable", err)
	}
	open(t, dir).Close()
}

// Goal: tools make no store where there is none. Method: each tool on a folder that does not exist.
func TestToolsNeedAStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, errCheck := badger.Check(dir)
	for name, err := range map[string]error{
		"check": errCheck, "seal": badger.Seal(context.Background(), dir, "x"),
		"backup": badger.Backup(context.Background(), dir, &bytes.Buffer{}),
		"dump":   badger.Dump(context.Background(), dir, &bytes.Buffer{}, ""),
	} {
		if epu.KindOf(err) != epu.NotFound {
			t.Errorf("%s: got %v, want not found", name, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

// Goal: each store is its own installation, born once. Method: two stores, one opened twice.
func TestBirth(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	var ids []epu.InstallationID
	for _, dir := range append(dirs, dirs[0]) {
		j := open(t, dir)
		m := j.Meta()
		if len(m.Installation) != 26 || m.Epoch != 1 || m.Created.IsZero() {
			t.Errorf("got %+v", m)
		}
		ids = append(ids, m.Installation)
		j.Close()
	}
	if ids[0] != ids[2] || slices.Contains(ids[:1], ids[1]) {
		t.Errorf("got installations %v, want the first and last equal and the second another", ids)
	}
}
