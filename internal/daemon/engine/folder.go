package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/policies"
)

// filesMax bounds the files of a folder that are looked at.
const filesMax = 10_000

// refusedEvery is after how many looks a version is offered again that did not fit a pool: the pool may have
// been mended.
const refusedEvery = 20

// FolderOptions are what a Folder works with.
type FolderOptions struct {
	Dir     fs.FS // the operator's own folder
	Library *policies.Library
	Shelf   *Shelf
	Log     *slog.Logger
	// View asks the registry what is applied.
	View func(ctx context.Context) (msg.RegistryView, error)
	// Apply puts a version in force for all pools that take it, if it is sound and fits them.
	Apply func(ctx context.Context, m *msg.PolicyApply) (*msg.PolicyApplied, error)
}

// Folder has changed files of a folder of policies take effect. It belongs to one goroutine.
type Folder struct {
	opts   FolderOptions
	seen   string            // what the folder looked like at the last look
	done   string            // what it looked like when it was taken in
	hashes map[string]string // of the policies as they were taken in, by name
	failed map[string]bool   // policies that could not be taken in at the last look
	wait   int               // looks until what was refused is offered again; 0 = nothing was
}

// NewFolder makes a folder that has not been looked at. Its first Sweep finds what changed while nobody looked.
func NewFolder(opts FolderOptions) *Folder {
	return &Folder{opts: opts, hashes: map[string]string{}, failed: map[string]bool{}}
}

// Sweep looks at the folder once. What has changed is taken in when it looks the same twice in a row: a file
// that is being written is not broken.
func (f *Folder) Sweep(ctx context.Context) {
	now := f.look()
	if now != f.seen {
		f.seen = now
		return
	}
	if f.wait > 0 {
		f.wait--
	}
	if now == f.done && f.wait != 1 {
		return
	}
	f.wait = 0
	if err := f.take(ctx); err != nil {
		if f.done != now {
			f.opts.Log.Warn("the folder of policies can't be taken in yet", "error", err)
		}
		f.wait = 2 // at the next look
	}
	f.done = now
}

// look describes the Lua files of the folder by their names, sizes and times. A folder that is not there is
// an empty one.
func (f *Folder) look() string {
	var b strings.Builder
	n := 0
	_ = fs.WalkDir(f.opts.Dir, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return nil
		case n >= filesMax:
			return fs.SkipAll
		case path.Ext(name) != ".lua":
			return nil
		}
		n++
		if info, err := fs.Stat(f.opts.Dir, name); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}

// take takes in what has changed. The error says that it must be tried again soon.
func (f *Folder) take(ctx context.Context) error {
	view, err := f.opts.View(ctx)
	if err != nil {
		return err
	}
	names, err := f.opts.Library.Names()
	if err != nil {
		return err
	}
	broken := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !f.failed[name] })
	names = append(slices.DeleteFunc(names, func(name string) bool { return f.failed[name] }), broken...) // what fails may take a while
	var late error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		delete(f.failed, name)
		if err := f.takeOne(ctx, view, name); err != nil {
			late = errors.Join(late, err)
		}
	}
	for name := range f.hashes {
		if !slices.Contains(names, name) {
			delete(f.hashes, name)
			f.opts.Shelf.Broken(FromFolder, name, "")
			f.opts.Log.Info("the policy's file is gone; pools go on with the version they run", "policy", name)
		}
	}
	return late
}

func (f *Folder) takeOne(ctx context.Context, view msg.RegistryView, name string) error {
	fresh, err := f.opts.Library.Load(name)
	if err != nil {
		f.broken(view, name, err)
		return nil
	}
	before, looked := f.hashes[name]
	if looked && before == fresh.Hash {
		f.opts.Shelf.Broken(FromFolder, name, "") // what was wrong was taken back
		return nil
	}
	if !f.offers(view, fresh, looked) {
		f.hashes[name] = fresh.Hash
		f.opts.Shelf.Broken(FromFolder, name, "")
		if !used(view, name) && len(view.Policies[name].Kept) == 0 {
			f.opts.Shelf.Take(fresh)
		}
		return nil
	}
	m := &msg.PolicyApply{Name: name}
	for _, file := range fresh.Files() {
		m.Files = append(m.Files, &msg.File{Path: file.Path, Content: []byte(file.Text)})
	}
	done, err := f.opts.Apply(ctx, m)
	switch {
	case err != nil && epu.KindOf(err) == epu.Invalid:
		f.broken(view, name, err)
		f.wait = refusedEvery
		return nil
	case err != nil:
		return err
	}
	f.hashes[name] = fresh.Hash
	f.opts.Shelf.Take(fresh)
	f.opts.Shelf.Broken(FromFolder, name, "")
	f.opts.Log.Info("a changed policy is in force", "policy", name, "version", done.GetHash(), "before", done.GetBefore(),
		"pools", len(done.GetPools()), "pinned", len(done.GetPinned()))
	return nil
}

// offers reports that a version is to be put in force: pools use the policy, and its file has changed. At the
// first look after a start that is so when the version in force came from the folder too and is not the newest
// that came from there; then somebody has gone back to it.
func (f *Folder) offers(view msg.RegistryView, fresh *policies.Policy, looked bool) bool {
	p := view.Policies[fresh.Name]
	if !used(view, fresh.Name) && len(p.Kept) == 0 {
		return false // the pool that names it first takes it as it is then
	}
	if looked {
		return true
	}
	if p.Current == "" {
		old, err := f.opts.Shelf.Library(fresh.Name)
		return err == nil && old.Hash != fresh.Hash
	}
	for _, v := range p.Kept {
		if v.Origin == epu.PolicyFolder && v.Hash == fresh.Hash {
			return false
		}
	}
	i := slices.IndexFunc(p.Kept, func(v epu.PolicyVersion) bool { return v.Hash == p.Current })
	return i >= 0 && p.Kept[i].Origin == epu.PolicyFolder
}

// used reports that a pool names a policy.
func used(view msg.RegistryView, name string) bool {
	for _, p := range view.Pools {
		if p.Spec.Policy.Name == name && !p.Removing {
			return true
		}
	}
	return false
}

// broken notes what is wrong with a file. A file of the operator's own that no pool uses and that never was
// sound may be no policy at all; and a built-in policy that requires a broken one matters to those who use it.
func (f *Folder) broken(view msg.RegistryView, name string, err error) {
	f.failed[name] = true
	_, looked := f.hashes[name]
	if _, missing := fs.Stat(f.opts.Dir, name+".lua"); !used(view, name) && (!looked || missing != nil) {
		f.opts.Log.Debug("a policy of the folder can't be loaded, and no pool uses it", "policy", name, "error", err)
		return
	}
	text := faultText(err)
	if f.opts.Shelf.Broken(FromFolder, name, text) {
		f.opts.Log.Warn("a policy's file is not in force", "policy", name, "error", text)
	}
}
