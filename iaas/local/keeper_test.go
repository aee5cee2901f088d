//go:build linux

package local_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu/iaas/local"
)

// complain runs a keeper with a log as its output, and says how it ended.
func complain(t *testing.T, dir string, log *os.File) error {
	t.Helper()
	keeper := exec.Command(os.Args[0], local.KeeperCommand, dir)
	keeper.Stdout, keeper.Stderr = log, log
	return keeper.Run()
}

// logged opens a keeper's log as its spawner does.
func logged(t *testing.T, path string) *os.File {
	t.Helper()
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// largeLog is a folder with nothing but a log that is too large.
func largeLog(t *testing.T) (dir, path, old string) {
	t.Helper()
	dir = t.TempDir()
	path, old = filepath.Join(dir, "keeper.log"), strings.Repeat("it could not be done\n", 60_000)
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path, old
}

// Goal: what keepers say of their troubles fills no disk, and the newest stays readable. Method: a keeper that fails
// in a folder with a large log; one whose log was put aside already; and one that can make no new one.
func TestKeeperLogIsBounded(t *testing.T) {
	dir, path, old := largeLog(t)
	said := func(file string, complaints int, rest string) {
		t.Helper()
		now, err := os.ReadFile(file)
		if err != nil || strings.Count(string(now), "keeper of "+dir) != complaints || !strings.HasPrefix(string(now), rest) || len(now) > len(rest)+10_000 {
			t.Errorf("%s: got %d bytes, %v, want %d complaints after %d bytes\n%.300s", filepath.Base(file), len(now), err, complaints, len(rest), now)
		}
	}
	first := logged(t, path)
	for i, log := range []func() *os.File{
		func() *os.File { return first },
		func() *os.File { return logged(t, path) },
		func() *os.File { return first }, // it is keeper.log.1 by now
	} {
		if err := complain(t, dir, log()); err == nil {
			t.Fatal("a keeper of an empty folder has no complaint")
		}
		said(path, i+1, "")
		said(path+".1", 0, old)
	}
	if err := errors.Join(os.Rename(path+".1", path), os.Mkdir(path+".new", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := complain(t, dir, first); err == nil {
		t.Fatal("a keeper of an empty folder has no complaint")
	}
	said(path, 1, old)
}

// Goal: a living keeper goes on to write where people look. Method: a large log and a lock that is held, and another
// keeper that only finds it taken.
func TestOnlyTheKeeperInChargeMovesItsLog(t *testing.T) {
	dir, path, old := largeLog(t)
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if err := complain(t, dir, logged(t, path)); err != nil {
		t.Errorf("the other keeper ended with %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != old {
		t.Errorf("the log has %d bytes, %v, want the %d from before", len(now), err, len(old))
	}
}
