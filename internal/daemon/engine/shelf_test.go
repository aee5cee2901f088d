package engine_test

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/policies"
)

// gate is a folder in which one file is read only after release; reached tells of the first try.
type gate struct {
	fs.FS
	file    string
	reached chan struct{}
	release chan struct{}

	mu    sync.Mutex
	opens int
}

func (g *gate) Open(name string) (fs.File, error) {
	if name == g.file {
		g.mu.Lock()
		g.opens++
		if g.opens == 1 {
			close(g.reached)
		}
		g.mu.Unlock()
		<-g.release
	}
	return g.FS.Open(name)
}

// Goal: a policy that takes long to load keeps no other one waiting, and is loaded once for all who want it.
// Method: a file that is not read before the test says so; meanwhile the shelf answers for another policy.
func TestShelfLoadsAPolicyAlone(t *testing.T) {
	folder := &gate{
		FS:   fstest.MapFS{"slow.lua": {Data: []byte(keeper("1"))}, "keeper.lua": {Data: []byte(keeper("2"))}},
		file: "slow.lua", reached: make(chan struct{}), release: make(chan struct{}),
	}
	shelf := engine.NewShelf(engine.ShelfOptions{Library: policies.NewLibrary(folder), Now: func() time.Time { return time.Unix(1000, 0) }})
	var all sync.WaitGroup
	got := make([]*policies.Policy, 4)
	for i := range got {
		all.Go(func() {
			p, err := shelf.Library("slow")
			if err != nil {
				t.Error(err)
			}
			got[i] = p
		})
	}
	<-folder.reached
	if p, err := shelf.Library("keeper"); err != nil || p.Name != "keeper" || len(shelf.Alerts()) > 0 {
		t.Errorf("meanwhile: got %v (%v), want the other policy", p, err)
	}
	close(folder.release)
	all.Wait()
	for _, p := range got {
		if p == nil || p != got[0] {
			t.Errorf("got %p and %p, want one policy for all", p, got[0])
		}
	}
	if folder.opens != 2 { // to know its stamp, and to load it
		t.Errorf("the file was read %d times, want 2", folder.opens)
	}
}

// Goal: a policy that does not load is loaded again only when its sources have changed, those that it requires
// included, or after a while. Method: the same error value says that nothing was done.
func TestShelfRemembersFailures(t *testing.T) {
	files := fstest.MapFS{
		"keeper.lua":  {Data: []byte("local n = require 'lib.n'\n" + strings.Replace(keeper("1"), "keep + 1", "keep + n", 1))},
		"lib/n.lua":   {Data: []byte("return nothing")},
		"lib/odd.lua": {Data: []byte("return 1")},
	}
	now := time.Unix(1000, 0)
	shelf := engine.NewShelf(engine.ShelfOptions{Library: policies.NewLibrary(files), Now: func() time.Time { return now }})
	_, first := shelf.Library("keeper")
	_, second := shelf.Library("keeper")
	if epu.KindOf(first) != epu.Invalid || first != second {
		t.Errorf("got %v, then %v; want the same", first, second)
	}
	now = now.Add(2 * time.Minute)
	if _, err := shelf.Library("keeper"); epu.KindOf(err) != epu.Invalid || err == first {
		t.Errorf("got %v, want it to be tried again after a while", err)
	}
	files["lib/n.lua"] = &fstest.MapFile{Data: []byte("return 7")}
	if p, err := shelf.Library("keeper"); err != nil {
		t.Errorf("got %v, %v after the file that it requires was mended", p, err)
	}
	if _, err := shelf.Library("absent"); epu.KindOf(err) != epu.NotFound {
		t.Errorf("got %v, want not found", err)
	}
	files["absent.lua"] = &fstest.MapFile{Data: []byte(keeper("3"))}
	if p, err := shelf.Library("absent"); err != nil {
		t.Errorf("got %v, %v after the file came", p, err)
	}
}

// Goal: a version that is kept is had without the library, whose file of that name may be broken or slow. Method: a
// folder that gives the file to nobody.
func TestShelfAsksForKeptVersionsFirst(t *testing.T) {
	source := keeper("1")
	p, err := policies.Compile("keeper", []byte(source), nil)
	if err != nil {
		t.Fatal(err)
	}
	folder := &gate{FS: fstest.MapFS{"keeper.lua": {Data: []byte("while true do end")}}, file: "keeper.lua", reached: make(chan struct{}), release: make(chan struct{})}
	close(folder.release)
	shelf := engine.NewShelf(engine.ShelfOptions{
		Library: policies.NewLibrary(folder), Now: func() time.Time { return time.Unix(1000, 0) },
		Kept: func(context.Context, string, string) (epu.PolicyVersion, error) {
			return epu.PolicyVersion{Name: "keeper", Hash: p.Hash, Files: p.Files()}, nil
		},
	})
	if got, err := shelf.Policy(t.Context(), "keeper", p.Hash); err != nil || got.Hash != p.Hash || folder.opens != 0 {
		t.Errorf("got %v (%v) after %d reads of the library's file, want the kept version and none", got, err, folder.opens)
	}
}
