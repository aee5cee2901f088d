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

// small is a store on a file system of 200 MiB of its own, with a file that takes room beside it.
type small struct {
	t       *testing.T
	j       *badger.Journal
	ballast *os.File
	acked   epu.Revision
}

func newSmall(t *testing.T) *small {
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
	ballast, err := os.Create(filepath.Join(mount, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ballast.Close() })
	j, err := badger.Open(filepath.Join(mount, "journal"), badger.Options{ReserveBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return &small{t: t, j: j, ballast: ballast}
}

func (s *small) write(n int) error {
	for range n {
		if _, err := s.j.Append(s.t.Context(), 1, "pool/a", s.acked, event(strings.Repeat("e", 20))); err != nil {
			return err
		}
		s.acked++
	}
	return nil
}

// fullThenFree expects refusal with everything acknowledged still readable, then frees the disk and
// expects writes to go on.
func (s *small) fullThenFree(n int) {
	s.t.Helper()
	if err := s.write(n); !errors.Is(err, persistence.ErrUnavailable) || s.acked == 0 {
		s.t.Fatalf("after %d appends: got %v, want unavailable", s.acked, err)
	}
	s.complete()
	if err := s.ballast.Truncate(0); err != nil {
		s.t.Fatal(err)
	}
	if err := s.write(100); err != nil {
		s.t.Fatalf("with room again: %v", err)
	}
	s.complete()
}

func (s *small) complete() {
	s.t.Helper()
	if l, err := s.j.Load(s.t.Context(), "pool/a"); err != nil || l.Revision != s.acked {
		s.t.Fatalf("got %d, %v, want %d", l.Revision, err, s.acked)
	}
}

// Goal: a store that fills its disk stops at the reserve and goes on when there is room. Method: a
// small real file system, and appends until one is refused.
func TestSystemRealDiskDownToReserve(t *testing.T) {
	s := newSmall(t)
	if _, err := s.ballast.Write(make([]byte, 100<<20)); err != nil {
		t.Fatal(err)
	}
	s.fullThenFree(100_000)
}

// Goal: a disk without a free byte does not end the process, though Badger writes through memory maps.
// Method: another file takes the last byte while the store is at rest. Not shown, since it can't be
// prevented: someone who takes it while Badger merges tables ends the process by a signal; then the
// next start with room finds everything, as after any kill.
func TestSystemRealDiskFull(t *testing.T) {
	s := newSmall(t)
	if err := s.write(10); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ballast.Write(make([]byte, 200<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: got %v, want it full", err)
	}
	s.fullThenFree(1)
}
