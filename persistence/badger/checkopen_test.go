package badger_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// Goal: a store can be checked while a node writes to it, with the same result as when it is closed, and
// never finds damage that is only a change under way. Method: check in the midst of appends, then compare.
func TestCheckWhileOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	appendN(t, j, "pool/a", 50)
	if err := j.Snapshot(t.Context(), 1, "pool/a", 20, []byte(`"s"`)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		var rev epu.Revision
		for ctx.Err() == nil {
			next, err := j.Append(context.Background(), 1, "pool/b", rev, persistence.Event{ID: "e", Type: "t", Data: []byte(`{}`)})
			if err != nil {
				t.Error(err)
				return
			}
			rev = next
		}
	})
	for range 30 {
		r, err := j.Check(t.Context())
		if err != nil || len(r.Problems) > 0 {
			t.Errorf("got %v and the problems %v", err, r.Problems)
		}
	}
	stop()
	writer.Wait()
	running, err := j.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	closed, err := badger.Check(dir)
	if err != nil || running.Meta != closed.Meta || running.Streams != closed.Streams || running.Events != closed.Events ||
		running.SnapshotBytes != closed.SnapshotBytes || running.Commits != closed.Commits || len(closed.Problems) > 0 {
		t.Errorf("running: %+v\nclosed: %+v, %v", running, closed, err)
	}
	if _, err := j.Check(t.Context()); epu.KindOf(err) != epu.Unavailable {
		t.Errorf("after Close: got %v, want it unavailable", err)
	}
}

// Goal: damage on the disk is found while the node runs. Method: change a byte of an open store's table.
func TestCheckFindsDamageWhileOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	appendN(t, j, "pool/a", 500)
	if err := j.Close(); err != nil { // brings everything into tables
		t.Fatal(err)
	}
	j = open(t, dir)
	tables, err := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("got tables %v and %v", tables, err)
	}
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 100); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := j.Check(t.Context())
	if err != nil || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].String(), "db/") {
		t.Errorf("got %v and %v, want the damaged table named", r.Problems, err)
	}
}

// Goal: a restore over a store that is in use is refused before anything is built. Method: restore a
// backup of an open store over it.
func TestRestoreOverAStoreInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	appendN(t, j, "pool/a", 5)
	var backup strings.Builder
	if err := j.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	_, err := badger.Restore(t.Context(), strings.NewReader(backup.String()), dir, badger.RestoreOptions{})
	if epu.KindOf(err) != epu.Conflict || !strings.Contains(err.Error(), "is running on this folder") {
		t.Errorf("got %v, want the store in use", err)
	}
	if left, err := filepath.Glob(dir + ".*"); err != nil || len(left) > 0 {
		t.Errorf("got %v and %v beside the store, want nothing", left, err)
	}
}

// Goal: a check leaves a store as it was found, to the byte and the time, also one that a killed process left.
// Method: the files of a store that was closed well, and of one that was copied while it was open, with an empty
// table as a kill leaves it; before and after.
func TestCheckChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, dir)
	for _, id := range []epu.StreamID{"pool/a", "pool/b"} {
		appendN(t, j, id, 200)
	}
	killed := filepath.Join(t.TempDir(), "journal")
	copyDir(t, dir, killed)
	if err := os.WriteFile(filepath.Join(killed, "db", "009999.sst"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"closed well": dir, "left by a killed process": killed} {
		before := inventory(t, at)
		for range 2 {
			r, err := badger.Check(at)
			if err != nil || len(r.Problems) > 0 || r.Streams != 2 || r.Events != 400 {
				t.Errorf("%s: got %+v, %v", name, r, err)
			}
		}
		if diff := cmp.Diff(before, inventory(t, at)); diff != "" {
			t.Errorf("%s: the check has changed it (-before +after):\n%s", name, diff)
		}
		again := open(t, at)
		if r, err := again.Check(t.Context()); err != nil || r.Events != 400 {
			t.Errorf("%s: opened after the checks it has %+v, %v", name, r, err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// inventory is every file of a folder with its size, time and content. The lock, which names who had it last, is none.
func inventory(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join(dir, "lock") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%d bytes of %s: %x", info.Size(), info.ModTime(), sha256.Sum256(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
