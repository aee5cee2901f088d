package local

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/nimbus-epu/epu"
)

const (
	collectEvery = time.Minute
	// spentFor is how long a token is remembered after its folder is gone. A caller that repeats a
	// launch after this long has been dead for longer than any backup of its records is useful.
	spentFor = 30 * 24 * time.Hour
	// asideFor is how old an unfinished folder or claim must be before it can't be under way any more.
	asideFor = time.Hour
)

// collect forgets launches that ended long ago and clears away what crashes left behind. It does so
// at most once a minute, and ignores failures: it comes again, and listing must not fail for it.
func (p *Provider) collect() {
	now := p.opts.Clock()
	p.mu.Lock()
	due := now.Sub(p.collected) >= collectEvery || now.Before(p.collected)
	if due {
		p.collected = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	for _, e := range entries(filepath.Join(p.dir, "launches")) {
		p.collectLaunch(e.Name(), now)
	}
	for _, e := range entries(filepath.Join(p.dir, "tmp")) {
		if olderThan(e, now, asideFor) {
			p.discard(filepath.Join(p.dir, "tmp", e.Name()))
		}
	}
	for _, e := range entries(filepath.Join(p.dir, "spent")) {
		if olderThan(e, now, spentFor) {
			_ = os.Remove(filepath.Join(p.dir, "spent", e.Name()))
		}
	}
	for _, e := range entries(filepath.Join(p.dir, "addresses")) {
		if olderThan(e, now, asideFor) {
			p.collectAddress(e.Name())
		}
	}
}

// collectLaunch removes a launch whose instances all ended long ago. The token is remembered first,
// so that at no moment a late repetition could start them again.
func (p *Provider) collectLaunch(hash string, now time.Time) {
	l, err := p.load(hash)
	if err != nil || l == nil {
		return
	}
	folder := p.folder(hash)
	for slot := range l.Instances {
		s, err := readState(slotFolder(folder, slot))
		if err != nil || s.Phase != phaseEnded || now.Sub(s.Ended) < p.opts.Keep {
			return
		}
	}
	if err := writeFile(filepath.Join(p.dir, "spent", hash), []byte(l.Token), true); err != nil {
		return
	}
	p.discard(folder)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.launches, hash)
	for _, in := range l.Instances {
		delete(p.ended, in.ID)
	}
}

// discard removes a folder that others may still have in hand. It goes at once, by a rename; a
// launch that was frozen for an hour must not move half a folder into place.
func (p *Provider) discard(path string) {
	aside := filepath.Join(p.dir, "tmp", "discarded-"+rand.Text())
	if err := os.Rename(path, aside); err == nil {
		_ = os.RemoveAll(aside)
	}
}

// collectAddress frees an address that no launch says it has.
func (p *Provider) collectAddress(address string) {
	path := filepath.Join(p.dir, "addresses", address)
	id, err := os.ReadFile(path)
	if err != nil {
		return
	}
	l, _, slot, err := p.locate(epu.InstanceID(id))
	if err != nil || l != nil && l.Instances[slot].Address == address {
		return
	}
	_ = os.Remove(path)
}

func entries(dir string) []os.DirEntry {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	return es
}

func olderThan(e os.DirEntry, now time.Time, age time.Duration) bool {
	info, err := e.Info()
	return err == nil && now.Sub(info.ModTime()) > age
}
