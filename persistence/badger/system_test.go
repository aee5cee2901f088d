//go:build system && linux

package badger_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// Goal: a disk that is really full does not end the process, though Badger writes through memory maps,
// and the store goes on when there is room. Method: a file system of 200 MiB; first the store itself
// comes down to the reserve, then, with the store at rest, another file takes the last byte. Only a
// real file system shows that the refusal comes before the signal. Not shown, since it can't be
// prevented: someone who takes the last byte while Badger merges tables ends the process; then the
// next start finds everything, as after any kill.
func TestRealDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=200m"); err != nil {
		t.Skipf("can't mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "journal")
	opt := badger.Options{ReserveBytes: 64 << 20}
	acked := epu.Revision(0)
	write := func(j *badger.Journal, n int) error {
		for range n {
			if _, err := j.Append(t.Context(), 1, "pool/a", acked, event(strings.Repeat("e", 20))); err != nil {
				return err
			}
			acked++
		}
		return nil
	}
	start := func() *badger.Journal {
		j, err := badger.Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	has := func(j *badger.Journal, when string) {
		if l, err := j.Load(t.Context(), "pool/a"); err != nil || l.Revision != acked {
			t.Fatalf("%s: got %d, %v, want %d", when, l.Revision, err, acked)
		}
	}
	ballast, err := os.Create(filepath.Join(mount, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	if _, err := ballast.Write(make([]byte, 100<<20)); err != nil {
		t.Fatal(err)
	}
	j := start()
	if err := write(j, 100_000); !errors.Is(err, persistence.ErrUnavailable) || acked == 0 {
		t.Fatalf("after %d appends: got %v, want unavailable", acked, err)
	}
	has(j, "at the reserve")
	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := write(j, 100); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = start()
	if err := write(j, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := ballast.WriteAt(make([]byte, 200<<20), 0); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: got %v, want it full", err)
	}
	if err := write(j, 1); !errors.Is(err, persistence.ErrUnavailable) {
		t.Fatalf("with nothing free: got %v, want unavailable", err)
	}
	has(j, "with nothing free")
	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := write(j, 10); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	has(j, "with room again")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
