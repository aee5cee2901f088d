package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// bench is a folder of policies, a shelf over it, and what a registry would keep.
type bench struct {
	t      *testing.T
	dir    string
	now    time.Time
	shelf  *engine.Shelf
	folder *engine.Folder
	view   msg.RegistryView
	conf   map[string]any // of the one pool, in force
	took   []string       // extras of the versions that were put in force
	tried  []string       // names of policies that were to be put in force
	tick   time.Duration  // how long a look at the clock takes
	lost   error          // the registry can't be asked
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), now: time.Unix(1000, 0), conf: map[string]any{"keep": 1}}
	b.view.Pools = map[epu.PoolID]msg.PoolEntry{}
	b.start()
	return b
}

// start is a start of the node: nothing is compiled, and nobody has looked at the folder.
func (b *bench) start() {
	library := policies.NewLibrary(os.DirFS(b.dir), scripts.Policies())
	b.shelf = engine.NewShelf(engine.ShelfOptions{
		Library: library, BuiltIn: scripts.Policies(), Now: b.clock,
		Kept: func(_ context.Context, name, hash string) (epu.PolicyVersion, error) {
			if v, ok := versions.Book(b.view.Policies).Get(name, hash); ok && b.lost == nil {
				return v, nil
			}
			return epu.PolicyVersion{}, errors.Join(b.lost, epu.E(epu.NotFound, "load", name, errors.New("it is not kept")))
		},
	})
	b.folder = engine.NewFolder(engine.FolderOptions{
		Dir: os.DirFS(b.dir), Library: library, Shelf: b.shelf, Log: slog.New(slog.DiscardHandler),
		View: func(context.Context) (msg.RegistryView, error) { return b.view, b.lost },
		Apply: func(_ context.Context, m *msg.PolicyApply) (*msg.PolicyApplied, error) {
			b.tried = append(b.tried, m.GetName())
			v, err := b.check(m.GetName(), string(m.GetFiles()[0].GetContent()))
			if err != nil {
				return nil, err
			}
			b.took = append(b.took, extra(v.Files[0].Text))
			b.put(v, epu.PolicyFolder)
			return &msg.PolicyApplied{Name: v.Name, Hash: v.Hash, Changed: true}, nil
		},
	})
}

func (b *bench) clock() time.Time {
	if b.tick > 0 {
		b.now = b.now.Add(b.tick)
	}
	return b.now
}

func (b *bench) check(name, text string) (epu.PolicyVersion, error) {
	pool := msg.PoolView{Spec: epu.PoolSpec{Name: "epu-web", Origins: map[string]string{"name": "web.yaml:3"}}, Conf: b.conf}
	v, _, err := b.shelf.Check(b.t.Context(), name, []epu.PolicyFile{{Path: name + ".lua", Text: text}}, []msg.PoolView{pool})
	return v, err
}

// put puts a version in force, as the registry does.
func (b *bench) put(v epu.PolicyVersion, origin epu.PolicyOrigin) {
	b.now = b.now.Add(time.Second)
	v.Origin, v.Time = origin, b.now
	b.view.Policies = versions.Book(b.view.Policies).Store(v, nil).Put(v.Name, v.Hash)
}

// use has a pool use a policy.
func (b *bench) use(name string) {
	b.view.Pools["epu-web"] = msg.PoolEntry{Spec: epu.PoolSpec{Name: "epu-web", Policy: epu.PolicySpec{Name: name}}}
}

func keeper(extra string) string {
	return fmt.Sprintf(`return {
  doc = "Keep some workers.",
  params = { keep = { type = "integer", min = 0, default = 1, doc = "workers" } },
  decide = function(control, state, conf)
    control.because("keep " .. conf.keep, "keep")
    control.scale_to(conf.keep + %s)
  end,
}
`, extra)
}

func extra(text string) string {
	_, rest, _ := strings.Cut(text, "conf.keep + ")
	out, _, _ := strings.Cut(rest, ")")
	return out
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// look lets the folder be looked at as often as a change needs, and compares what was put in force so far.
func (b *bench) look(what, took string) {
	b.t.Helper()
	for range 3 {
		b.folder.Sweep(b.t.Context())
	}
	if got := strings.Join(b.took, " "); got != took {
		b.t.Errorf("%s: put in force %q, want %q", what, got, took)
	}
}

func (b *bench) alert() string {
	var out []string
	for _, a := range b.shelf.Alerts() {
		out = append(out, a.GetCode()+" "+a.GetSubject()+" "+a.GetText())
	}
	return strings.Join(out, "\n")
}

// Goal: a change of a file takes effect once and whole, whoever did what before. Method: a story, look by look.
func TestFolder(t *testing.T) {
	b := newBench(t)
	b.look("an empty folder", "")
	b.write("keeper.lua", keeper("0"))
	b.look("a policy that no pool uses", "")
	b.use("keeper")
	b.look("a pool that takes the file as it is", "")
	b.write("keeper.lua", keeper("10"))
	b.folder.Sweep(t.Context())
	if len(b.took) > 0 {
		t.Error("a file was taken in while it may still be written")
	}
	b.look("a changed file", "10")
	b.look("nothing new", "10")
	b.write("other.lua", keeper("0"))
	b.look("another file", "10")

	b.write("keeper.lua", "return { decide = function() nothing.at() end }")
	b.look("a file that fails", "10")
	if got := b.alert(); !strings.Contains(got, "policy-broken keeper ") || !strings.Contains(got, "keeper.lua:1") {
		t.Errorf("a file that fails: the alert is %q", got)
	}
	b.write("keeper.lua", "local n = 0\n"+strings.Replace(keeper("n"), "control.because", "n = n + 1 control.because", 1))
	b.look("a file that hides state", "10")
	if got := b.alert(); !strings.Contains(got, "keeper.lua: hides state") {
		t.Errorf("what stands in no line: the alert is %q", got)
	}
	b.write("npreserving.lua", "return 1")
	b.look("a file that others require", "10")
	if got := b.alert(); strings.Contains(got, "combine") {
		t.Errorf("policies that nobody uses and nobody wrote: the alert is %q", got)
	}
	if err := os.Remove(filepath.Join(b.dir, "npreserving.lua")); err != nil {
		t.Fatal(err)
	}
	b.write("keeper.lua", keeper("10"))
	b.look("the same as before again", "10")
	if got := b.alert(); got != "" {
		t.Errorf("nothing is wrong any more, and the alert is %q", got)
	}

	b.conf = map[string]any{"keep": -1}
	b.write("keeper.lua", keeper("200"))
	b.look("a file that the pool does not fit", "10")
	if got := b.alert(); !strings.Contains(got, "web.yaml:3: pool epu-web: policy.conf.keep") {
		t.Errorf("a file that the pool does not fit: the alert is %q", got)
	}
	b.conf = map[string]any{"keep": 1}
	for range 20 {
		b.folder.Sweep(t.Context())
	}
	b.look("the pool was mended", "10 200")

	b.lost = epu.E(epu.Unavailable, "ask", "the registry", errors.New("it is busy"))
	b.write("keeper.lua", keeper("3000"))
	b.look("nobody can be asked", "10 200")
	b.lost = nil
	b.look("the registry is back", "10 200 3000")
	if err := os.Remove(filepath.Join(b.dir, "keeper.lua")); err != nil {
		t.Fatal(err)
	}
	b.look("the file is gone", "10 200 3000")
}

// Goal: nobody is told that a good version goes on where there is none, as when a node starts on a broken file; nor
// that none does where there is one. Method: the alert of a broken file at a first start, once a version was applied,
// and after a good start.
func TestFolderSaysWhetherAGoodVersionGoesOn(t *testing.T) {
	b := newBench(t)
	b.use("keeper")
	b.write("keeper.lua", "this is no policy")
	says := func(when, want, not string) {
		t.Helper()
		b.look(when, "")
		if got := b.alert(); !strings.Contains(got, want) || strings.Contains(got, not) || !strings.Contains(got, "keeper.lua:1") {
			t.Errorf("%s: the alert is %q, want %q", when, got, want)
		}
	}
	none, good := "no version of it is in force", "the last good version goes on"
	says("a start on a broken file", none, good)
	v, err := b.check("keeper", keeper("1"))
	if err != nil {
		t.Fatal(err)
	}
	b.put(v, epu.PolicyApplied)
	runs := func() { // as its pool's engine does
		if _, err := b.shelf.Policy(t.Context(), "keeper", v.Hash); err != nil {
			t.Fatal(err)
		}
	}
	runs()
	says("a version was applied", good, none)
	b.start()
	runs()
	says("a start with that version", good, none)
	b.view.Policies = nil
	b.write("keeper.lua", keeper("0"))
	b.start()
	b.look("a good start", "")
	if _, err := b.shelf.Library("keeper"); err != nil {
		t.Fatal(err)
	}
	b.write("keeper.lua", "this is no policy")
	says("a file that breaks while its pools run", good, none)
}

// Goal: a file that never comes to an end holds up no other: its alert is there at once, with its line, and what
// changes later does not wait for it to be tried again. Method: two pools, two files, on a clock that goes on while
// policies run.
func TestFolderWithAnEndlessFile(t *testing.T) {
	b := newBench(t)
	b.tick = 200 * time.Microsecond
	for _, name := range []string{"endless", "keeper"} {
		b.view.Pools[epu.PoolID("epu-"+name)] = msg.PoolEntry{Spec: epu.PoolSpec{Name: epu.PoolID("epu-" + name), Policy: epu.PolicySpec{Name: name}}}
		b.write(name+".lua", keeper("0"))
	}
	b.look("two policies in use", "")
	b.write("endless.lua", strings.Replace(keeper("1"), "    control.because", "    while conf.keep do end\n    control.because", 1))
	began := b.now
	b.look("a policy that never ends", "")
	if took := b.now.Sub(began); took > time.Second {
		t.Errorf("it took %v to find that a policy never ends", took)
	}
	if got := b.alert(); !strings.Contains(got, "policy-broken endless ") || !strings.Contains(got, "endless.lua:5: stopped after 50ms") {
		t.Errorf("the alert is %q", got)
	}
	b.tried = nil
	b.write("keeper.lua", keeper("20"))
	b.look("another policy is changed", "20")
	if got := strings.Join(b.tried, " "); got != "keeper endless" {
		t.Errorf("tried %q, want what was broken at the end", got)
	}
	b.write("endless.lua", keeper("300"))
	b.look("it was mended", "20 300")
	if got := b.alert(); got != "" {
		t.Errorf("nothing is wrong any more, and the alert is %q", got)
	}
}

// Goal: a start takes in what changed while the node was down, and nothing else: neither what was gone back on, nor
// in the place of what an operator applied.
func TestFolderAtTheStart(t *testing.T) {
	b := newBench(t)
	b.use("keeper")
	b.write("keeper.lua", keeper("0"))
	b.look("a first start", "")
	b.write("keeper.lua", keeper("10"))
	b.look("a change", "10")
	b.start()
	b.look("nothing changed", "10")
	b.write("keeper.lua", keeper("200"))
	b.start()
	b.look("a change while the node was down", "10 200")

	b.view.Policies = versions.Book(b.view.Policies).Put("keeper", b.view.Policies["keeper"].Kept[1].Hash)
	b.start()
	b.look("a rollback", "10 200")
	b.write("unrelated.lua", keeper("1"))
	b.look("another file after a rollback", "10 200")

	v, err := b.check("keeper", keeper("4000"))
	if err != nil {
		t.Fatal(err)
	}
	b.put(v, epu.PolicyApplied)
	b.write("keeper.lua", keeper("50000"))
	b.start()
	b.look("a change while the node was down, of a policy that was applied", "10 200")
	b.write("keeper.lua", keeper("90000"))
	b.look("a change while it runs", "10 200 90000")
}

// Goal: a pool's engine never leaves a good version for one that can't be had or does not load, says so, and all
// pools share what is compiled. Method: decisions of two engines while the registry loses and breaks versions.
func TestEngineKeepsItsVersion(t *testing.T) {
	b := newBench(t)
	newEngine := func() *engine.Engine {
		return engine.New(engine.Options{
			Pool: "epu-web", Shelf: b.shelf, Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler),
			Getenv: func(string) string { return "" },
		})
	}
	e := newEngine()
	target := func(e *engine.Engine, version string) (int, string, error) {
		result, err := e.Do(t.Context(), actors.DecideCall{
			Policy: "keeper", Version: version, Conf: map[string]any{"keep": 1}, Snapshot: &policies.Snapshot{Now: b.now, Decision: "d"},
		})
		d, _ := result.(epu.Decision)
		return d.Wanted.Target, d.PolicyHash, err
	}
	var hashes []string
	for _, extra := range []string{"1", "2"} {
		v, err := b.check("keeper", keeper(extra))
		if err != nil {
			t.Fatal(err)
		}
		b.put(v, epu.PolicyApplied)
		hashes = append(hashes, v.Hash)
	}
	if n, hash, err := target(e, hashes[0]); n != 2 || hash != hashes[0] || err != nil {
		t.Errorf("first version: got %d by %s (%v)", n, hash, err)
	}
	if n, hash, err := target(e, hashes[1]); n != 3 || hash != hashes[1] || err != nil {
		t.Errorf("second version: got %d by %s (%v)", n, hash, err)
	}
	broken := epu.PolicyVersion{Name: "keeper", Hash: "badbadbadbad", Files: []epu.PolicyFile{{Path: "keeper.lua", Text: "return {\n  decide = 7,\n"}}}
	b.put(broken, epu.PolicyApplied) // as if another program had written it
	if n, hash, err := target(e, broken.Hash); n != 3 || hash != hashes[1] || err != nil {
		t.Errorf("a version that does not load: got %d by %s (%v), want the second to go on", n, hash, err)
	}
	if got := b.alert(); !strings.Contains(got, "policy-broken keeper its version can't be used") || !strings.Contains(got, "keeper.lua") {
		t.Errorf("the alert is %q", got)
	}
	if _, _, err := target(newEngine(), broken.Hash); epu.KindOf(err) != epu.Invalid {
		t.Errorf("an engine that has no good version: got %v, want the reason", err)
	}
	forged := epu.PolicyVersion{Name: "keeper", Hash: "facefaceface", Files: []epu.PolicyFile{{Path: "keeper.lua", Text: keeper("9")}}}
	b.put(forged, epu.PolicyApplied) // sound, and not what its hash says
	if n, hash, err := target(e, forged.Hash); n != 3 || hash != hashes[1] || err != nil || !strings.Contains(b.alert(), "another hash") {
		t.Errorf("sources that changed where they were kept: got %d by %s (%v), alert %q", n, hash, err, b.alert())
	}
	if n, hash, err := target(e, hashes[0]); n != 2 || hash != hashes[0] || err != nil || b.alert() != "" {
		t.Errorf("back to the first: got %d by %s (%v), alert %q", n, hash, err, b.alert())
	}
	first, err1 := b.shelf.Policy(t.Context(), "keeper", hashes[0])
	again, err2 := b.shelf.Policy(t.Context(), "keeper", hashes[0])
	if first != again || err1 != nil || err2 != nil {
		t.Errorf("a version was compiled twice (%v, %v)", err1, err2)
	}
}

// Goal: engines of many pools may use one shelf at once, whatever versions they want. Method: the race detector over
// engines that change between two versions.
func TestShelfIsShared(t *testing.T) {
	b := newBench(t)
	var hashes []string
	for _, extra := range []string{"1", "2"} {
		v, err := b.check("keeper", keeper(extra))
		if err != nil {
			t.Fatal(err)
		}
		b.put(v, epu.PolicyApplied)
		hashes = append(hashes, v.Hash)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			e := engine.New(engine.Options{
				Shelf: b.shelf, Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Getenv: func(string) string { return "" },
			})
			for i := range 6 {
				want := hashes[i%2]
				result, err := e.Do(t.Context(), actors.DecideCall{
					Policy: "keeper", Version: want, Conf: map[string]any{}, Snapshot: &policies.Snapshot{Now: b.now, Decision: "d"},
				})
				if d, _ := result.(epu.Decision); err != nil || d.PolicyHash != want || d.Wanted.Target != 2+i%2 {
					t.Errorf("got %d by %s (%v), want version %s", d.Wanted.Target, d.PolicyHash, err, want)
				}
				b.shelf.Alerts()
			}
		})
	}
	all.Wait()
}
