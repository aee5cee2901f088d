package versions

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
)

// Bounds of what is kept.
const (
	// KeptMax is how many versions of one policy are kept, the newest ones. What is in force or pinned by a
	// pool is kept beyond that.
	KeptMax = 10
	// SizeMax bounds one version: the bytes of its files as they are stored, which is JSON. One event must hold it.
	SizeMax = 240 << 10
	// BookMax bounds all versions of all policies together, in bytes of their files. Beyond it the oldest go
	// that nobody uses, and when that does not suffice a new version is refused. Even if all of it had to be
	// escaped, a snapshot would hold it.
	BookMax = 5 << 20
)

// Book is every policy of which versions are kept, by name. It is never changed: what is done to it gives
// a new one.
type Book map[string]epu.PolicyVersions

// Pinned says which versions pools pin, by name and hash.
type Pinned map[string]map[string]bool

// Add notes that a pool pins a version.
func (p Pinned) Add(name, hash string) {
	if p[name] == nil {
		p[name] = map[string]bool{}
	}
	p[name][hash] = true
}

// Store adds a version as the newest of its name. Another one with its hash gives it its place: the sources
// are the same.
func (b Book) Store(v epu.PolicyVersion, pinned Pinned) Book {
	out := maps.Clone(b)
	if out == nil {
		out = Book{}
	}
	p := out[v.Name]
	kept := []epu.PolicyVersion{v}
	for _, old := range p.Kept {
		if old.Hash != v.Hash && (len(kept) < KeptMax || old.Hash == p.Current || pinned[v.Name][old.Hash]) {
			kept = append(kept, old)
		}
	}
	p.Kept = kept
	out[v.Name] = p
	out.shrink(v, pinned)
	return out
}

// shrink forgets the oldest versions that nobody uses while there is too much. The newest stays.
func (b Book) shrink(newest epu.PolicyVersion, pinned Pinned) {
	size := b.Size()
	for size > BookMax {
		name, at := "", -1
		for _, n := range slices.Sorted(maps.Keys(b)) {
			p := b[n]
			for i, v := range slices.Backward(p.Kept) {
				if v.Hash == p.Current || pinned[n][v.Hash] || n == newest.Name && v.Hash == newest.Hash {
					continue
				}
				if at < 0 || v.Time.Before(b[name].Kept[at].Time) {
					name, at = n, i
				}
				break
			}
		}
		if at < 0 {
			return
		}
		p := b[name]
		size -= sizeOf(p.Kept[at].Files)
		p.Kept = slices.Delete(slices.Clone(p.Kept), at, at+1)
		b[name] = p
	}
}

// Put puts a version in force; an empty hash leaves it to the node's library.
func (b Book) Put(name, hash string) Book {
	out := maps.Clone(b)
	if out == nil {
		out = Book{}
	}
	p := out[name]
	p.Current = hash
	out[name] = p
	return out
}

// Fits refuses a version that is too large by itself, or for which there is no room even when all that
// nobody uses is forgotten.
func (b Book) Fits(v epu.PolicyVersion, pinned Pinned) error {
	if n := stored(v.Files); n > SizeMax {
		return &epu.Error{
			Kind: epu.Invalid, Op: "keep policy", On: v.Name, Err: fmt.Errorf("its files are %d KiB, at most %d KiB fit", n>>10, SizeMax>>10),
			Try: "move large tables out of the policy, into its configuration or a sensor",
		}
	}
	if n := b.Store(v, pinned).Size(); n > BookMax {
		return &epu.Error{
			Kind: epu.Quota, Op: "keep policy", On: v.Name, Err: fmt.Errorf("all policies in use would be %d MiB, at most %d MiB fit", n>>20, BookMax>>20),
			Try: "epumgmt policy versions shows what pools pin; let them follow the newest version",
		}
	}
	return nil
}

// Size is how much is kept in all.
func (b Book) Size() (n int) {
	for _, p := range b {
		for _, v := range p.Kept {
			n += sizeOf(v.Files)
		}
	}
	return n
}

func sizeOf(files []epu.PolicyFile) (n int) {
	for _, f := range files {
		n += len(f.Path) + len(f.Text)
	}
	return n
}

// stored is how long files are in JSON, at most.
func stored(files []epu.PolicyFile) (n int) {
	for _, f := range files {
		n += len(f.Path) + len(f.Text) + len(`{"path":"","text":""},`)
		for _, r := range f.Path + f.Text {
			switch {
			case r == '"', r == '\\', r == '\n', r == '\t', r == '\r':
				n++
			case r < 0x20, r == 0x7f, r == '\u2028', r == '\u2029', r == '\ufffd':
				n += 5
			}
		}
	}
	return n
}

// InForce is the hash of the version that a pool runs: the one it pins, or the current one. Empty is what
// the node's library has.
func (b Book) InForce(name, pinned string) string { return cmp.Or(pinned, b[name].Current) }

// Get finds a version by its whole hash.
func (b Book) Get(name, hash string) (epu.PolicyVersion, bool) {
	p := b[name]
	if i := slices.IndexFunc(p.Kept, func(v epu.PolicyVersion) bool { return v.Hash == hash }); i >= 0 {
		return p.Kept[i], true
	}
	return epu.PolicyVersion{}, false
}

// Find gives the hash that the first digits of one mean, among the versions of a policy that are kept and
// the one that the node's library has (empty = none). The error names what there is.
func (b Book) Find(name, digits, library string) (string, error) {
	hashes := b.Hashes(name, library)
	var found []string
	for _, h := range hashes {
		if strings.HasPrefix(h, digits) || strings.HasPrefix(digits, h) { // a whole SHA-256 is longer than what is kept
			found = append(found, h)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	e := &epu.Error{Kind: epu.NotFound, Op: "find version " + digits + " of policy", On: name, Err: errors.New("there is no such version"), Try: "use one of: " + strings.Join(hashes, ", ")}
	switch {
	case len(found) > 1:
		e.Kind, e.Err, e.Try = epu.Invalid, errors.New("several versions begin with it"), "use one of: "+strings.Join(found, ", ")
	case len(hashes) == 0:
		e.Try = "epumgmt policy versions lists what there is"
	}
	return "", e
}

// Hashes are those of all versions of a policy, newest first, with the one that the node's library has (empty =
// none). Where that one is not kept it is the newest while it is in force, and the oldest otherwise.
func (b Book) Hashes(name, library string) []string {
	var out []string
	for _, v := range b[name].Kept {
		out = append(out, v.Hash)
	}
	switch {
	case library == "" || slices.Contains(out, library):
	case b[name].Current == "": // its files were changed since, and they are in force
		out = slices.Insert(out, 0, library)
	default:
		out = append(out, library)
	}
	return out
}

// Before gives the hash of the version that stood before the one in force, in the order of Hashes.
func (b Book) Before(name, library string) (string, error) {
	hashes := b.Hashes(name, library)
	i := slices.Index(hashes, cmp.Or(b[name].Current, library))
	if i < 0 || i+1 >= len(hashes) {
		return "", &epu.Error{
			Kind: epu.NotFound, Op: "roll back policy", On: name, Err: errors.New("no earlier version of it is kept"),
			Try: fmt.Sprintf("epumgmt policy versions %s lists those that are kept; epumgmt policy rollback %s HASH puts any of them in force", name, name),
		}
	}
	return hashes[i+1], nil
}
