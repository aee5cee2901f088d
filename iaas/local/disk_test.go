//go:build linux

package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: on a full disk nothing is half launched, what runs goes on and can be ended, and everything is
// well once there is room again.
// Method: a small file system in memory is filled to the last byte; needs root.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system of our own can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	c := newCloudIn(t, dir, local.Options{})
	id := c.launch(t, c.request("before", 1, "idle"))[0].ID
	c.awaitState(t, id, iaas.InstanceRunning)
	c.log(t, id, "ready <nil>")
	program, err := unix.PidfdOpen(c.record(t, id).PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(program)

	full := filepath.Join(dir, "full")
	fill(t, full)
	if _, err := c.Launch(t.Context(), c.request("while-full", 2, "idle")); epu.KindOf(err) != epu.Transient || epu.TryOf(err) == "" {
		t.Errorf("launch: got %v, want a transient error that says what to do", err)
	}
	if got := c.list(t); len(got) != 1 || got[id].State != iaas.InstanceRunning {
		t.Errorf("list: got %v, want the one instance that runs", got)
	}
	if err := c.Terminate(t.Context(), []epu.InstanceID{id}); err != nil && epu.KindOf(err) != epu.Transient {
		t.Errorf("terminate: got %v, want no error or a transient one", err)
	}
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(program), Events: unix.POLLIN}}, 30_000)
	}
	if n != 1 {
		t.Errorf("the program could not be ended on a full disk: %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	c.awaitState(t, id, iaas.InstanceTerminated)
	again := c.launch(t, c.request("while-full", 2, "idle"))
	for _, in := range again {
		c.awaitState(t, in.ID, iaas.InstanceRunning)
	}
}

// fill writes until there is no room for another byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
