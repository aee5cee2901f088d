//go:build linux

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// BenchmarkList is one look at 100 living instances, which a site has once a second.
func BenchmarkList(b *testing.B) {
	c := newCloud(b, local.Options{})
	for i := range 10 {
		c.launch(b, c.request(epu.Token(fmt.Sprint("list-", i)), 10, "idle"))
	}
	c.await(b, "all run", func() bool {
		for _, in := range c.list(b) {
			if in.State != iaas.InstanceRunning {
				return false
			}
		}
		return true
	})
	for b.Loop() {
		if got := c.list(b); len(got) != 100 {
			b.Fatalf("got %d instances, want 100", len(got))
		}
	}
}

// BenchmarkLife is an instance from launch to its confirmed end.
func BenchmarkLife(b *testing.B) {
	c := newCloud(b, local.Options{})
	i := 0
	for b.Loop() {
		i++
		id := c.launch(b, c.request(epu.Token(fmt.Sprint("life-", i)), 1, "exit", "0"))[0].ID
		c.await(b, "it has ended", func() bool {
			got, err := c.List(b.Context(), iaas.ListRequest{IDs: []epu.InstanceID{id}})
			return err == nil && got[0].State == iaas.InstanceTerminated
		})
	}
}

// FuzzDamagedFiles: whatever a folder's files hold, a listing is an error or whole, and names only
// instances that are in a state.
func FuzzDamagedFiles(f *testing.F) {
	good := `{"token":"t","digest":"d","request":{"token":"t","min":1,"max":1,"image":"i"},"instances":[{"id":"i-0123456789abcdef-0","address":"127.1.1.1"}]}`
	for _, l := range []string{good, "", "{", "null", `{"instances":[{},{}]}`, `{"instances":-1}`, good[:40]} {
		for _, s := range []string{`{"phase":"ended","reason":"exit status 0"}`, "", "{", `{"phase":"running","pid":-1}`, `{"phase":7}`} {
			f.Add([]byte(l), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, launch, state []byte) {
		dir := t.TempDir()
		p, err := local.New(dir, local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		slot := filepath.Join(dir, "launches", "0123456789abcdef", "0") // without a lock: nothing can be started
		if err := os.MkdirAll(slot, 0o700); err != nil {
			t.Fatal(err)
		}
		for path, b := range map[string][]byte{filepath.Join(filepath.Dir(slot), "launch.json"): launch, filepath.Join(slot, "state.json"): state} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := p.List(t.Context(), iaas.ListRequest{})
		if err != nil && (len(got) > 0 || epu.KindOf(err) != epu.Transient) {
			t.Errorf("got %v with error %v, want one or the other", got, err)
		}
		for _, in := range got {
			if in.State != iaas.InstanceTerminated { // the only one that a missing lock allows
				t.Errorf("got %+v", in)
			}
		}
		_ = p.Terminate(t.Context(), []epu.InstanceID{"i-0123456789abcdef-0", "i-0123456789abcdef-1"})
		_, _ = p.Launch(t.Context(), iaas.LaunchRequest{})
	})
}
