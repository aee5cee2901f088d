//go:build linux

package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: what keepers say of their troubles fills no disk, and the newest stays readable. Method: a keeper that fails
// in a folder with a large log.
func TestKeeperLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keeper.log")
	old := strings.Repeat("it could not be done\n", 60_000)
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one finds room
		log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		keeper := exec.Command(os.Args[0], local.KeeperCommand, dir)
		keeper.Stdout, keeper.Stderr = log, log
		if err := keeper.Run(); err == nil {
			t.Fatal("a keeper of an empty folder has no complaint")
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(path)
	if err != nil || len(now) > 10_000 || strings.Count(string(now), "keeper of "+dir) != 2 {
		t.Errorf("got %d bytes, %v, want the two new complaints\n%.300s", len(now), err, now)
	}
	if before, err := os.ReadFile(path + ".1"); err != nil || string(before) != old {
		t.Errorf("put aside are %d bytes, %v, want the %d from before", len(before), err, len(old))
	}
}
