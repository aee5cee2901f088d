//go:build linux

package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: whoever opens a copy of the folder, a backup say, does not touch the original's instances.
// Method: the copy's listing heals it, which ends what its state files say is running; the original
// goes on.
func TestCopiedFolder(t *testing.T) {
	c := newCloud(t, local.Options{})
	id := c.launch(t, c.request("original", 1, "idle"))[0].ID
	c.log(t, id, "ready <nil>")
	c.awaitState(t, id, iaas.InstanceRunning)
	dir := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", c.dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p, err := local.New(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := &cloud{Provider: p, dir: dir, exe: c.exe}
	if in := again.awaitState(t, id, iaas.InstanceTerminated); in.Reason != "its keeper was killed" {
		t.Errorf("the copy: got reason %q", in.Reason)
	}
	if s := c.list(t)[id].State; s != iaas.InstanceRunning || len(marked(id)) != 1 {
		t.Errorf("the original: got %v with processes %v, want it to go on", s, marked(id))
	}
}

// Goal: after a restart of the machine instances are ended for that reason; a folder that lost its
// identity is refused rather than launched into twice.
// Method: the state file of a dead keeper is given another boot; then the identity is removed.
func TestOtherBootAndLostIdentity(t *testing.T) {
	c := newCloud(t, local.Options{})
	if err := c.MakeOnly(c.once("a")); err != nil {
		t.Fatal(err)
	}
	for id := range c.peek(t) {
		old := []byte(`{"phase":"running","pid":1,"keeper_pid":1,"boot":"another"}`)
		if err := os.WriteFile(filepath.Join(c.folder(id), "state.json"), old, 0o600); err != nil {
			t.Fatal(err)
		}
		if in := c.awaitState(t, id, iaas.InstanceTerminated); in.Reason != "the machine was restarted" {
			t.Errorf("got reason %q", in.Reason)
		}
	}
	c.wantStarts(t, 0)
	if err := os.Remove(filepath.Join(c.dir, "id")); err != nil {
		t.Fatal(err)
	}
	if _, err := local.New(c.dir, local.Options{}); err == nil {
		t.Error("a folder with launches and without identity was opened")
	}
}
