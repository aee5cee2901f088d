package engine

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/source"
)

// compiledMax bounds the compiled versions that a shelf holds. Past it they are compiled anew when an engine
// wants them; those that engines run are not affected.
const compiledMax = 200

// ShelfOptions are what a Shelf works with.
type ShelfOptions struct {
	// Library is what the node has in its folder of policies and behind that, and BuiltIn the latter alone.
	Library *policies.Library
	BuiltIn fs.FS
	// Kept asks the registry for a version; nil = there is none.
	Kept func(ctx context.Context, name, hash string) (epu.PolicyVersion, error)
	Now  func() time.Time
}

// Shelf holds a node's compiled policies, each once for all pools: the versions that the registry keeps, by
// hash, and what the library had when the node first needed it. Many engines use it at once.
type Shelf struct {
	opts ShelfOptions

	mu       sync.Mutex                  // guards all below; nothing is read, asked or compiled under it
	library  map[string]*policies.Policy // by name, as first loaded or last taken over
	compiled map[string]*policies.Policy // by name and hash
	good     map[string]bool             // by name: the library or the registry had a version that could be loaded
	faults   map[subject]fault
	loads    loads
}

// NewShelf makes an empty shelf.
func NewShelf(opts ShelfOptions) *Shelf {
	return &Shelf{
		opts: opts, library: map[string]*policies.Policy{}, compiled: map[string]*policies.Policy{}, faults: map[subject]fault{},
		good:  map[string]bool{},
		loads: loads{running: map[string]*loading{}, failed: map[string]failure{}},
	}
}

// Policy gives a version of a policy; an empty hash is what the library has. A kept version is compiled from what
// is kept, before anything of the library is: its file may be broken, or take seconds to say so.
func (s *Shelf) Policy(ctx context.Context, name, hash string) (*policies.Policy, error) {
	if hash == "" {
		return s.Library(name)
	}
	if p := s.have(name, hash); p != nil {
		return p, nil
	}
	var err error = epu.E(epu.NotFound, "load policy", name+" "+hash, errors.New("nothing keeps versions here"))
	if s.opts.Kept != nil {
		v, kerr := s.opts.Kept(ctx, name, hash)
		if kerr == nil {
			return s.compile(v)
		}
		err = kerr
	}
	if p, lerr := s.Library(name); lerr == nil && p.Hash == hash {
		return p, nil
	}
	return nil, err
}

// have gives a version that needs no loading; nil if there is none.
func (s *Shelf) have(name, hash string) *policies.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.compiled[name+" "+hash]; p != nil {
		return p
	}
	if p := s.library[name]; p != nil && p.Hash == hash {
		return p
	}
	return nil
}

// compile makes a kept version's policy. What it is made of stands in the version alone, so that no file of
// this node can change it.
func (s *Shelf) compile(v epu.PolicyVersion) (*policies.Policy, error) {
	key := v.Name + " " + v.Hash
	p, err := s.once(key, func() string { return source.Digest(v.Files) }, func() (*policies.Policy, error) {
		p, err := policies.NewLibrary(source.FS(v.Files)).Timed(s.opts.Now).Compile(v.Name, []byte(v.Files[0].Text))
		if err == nil && p.Hash != v.Hash {
			err = epu.E(epu.Internal, "load policy", key, errors.New("its sources have another hash: they are not what was kept"))
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.compiled) >= compiledMax {
		clear(s.compiled)
	}
	s.compiled[key], s.good[v.Name] = p, true
	return p, nil
}

// Library gives what the node's library has. It is loaded once: what becomes of the files later is not
// looked at before it is taken over or the node starts anew, so that all pools run the same.
func (s *Shelf) Library(name string) (*policies.Policy, error) {
	known := func() *policies.Policy {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.library[name]
	}
	if p := known(); p != nil {
		return p, nil
	}
	stamp := func() string { return source.Digest(s.opts.Library.Sources(name)) }
	return s.once(name, stamp, func() (*policies.Policy, error) {
		if p := known(); p != nil { // another load ended just now, or a version was taken over
			return p, nil
		}
		p, err := s.opts.Library.Load(name)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if taken := s.library[name]; taken != nil {
			return taken, nil
		}
		s.library[name], s.good[name] = p, true
		return p, nil
	})
}

// Stored is what the library has, as a version that can be kept.
func (s *Shelf) Stored(name string) (epu.PolicyVersion, error) {
	p, err := s.Library(name)
	if err != nil {
		return epu.PolicyVersion{}, err
	}
	return epu.PolicyVersion{Name: name, Hash: p.Hash, Files: p.Files(), Origin: s.Origin(name), Time: s.opts.Now()}, nil
}

// Origin says where the library has a policy from.
func (s *Shelf) Origin(name string) epu.PolicyOrigin {
	stock, err := fs.ReadFile(s.opts.BuiltIn, name+".lua")
	if p, lerr := s.Library(name); err == nil && lerr == nil && p.Files()[0].Text == string(stock) {
		return epu.PolicyBuiltIn
	}
	return epu.PolicyFolder
}

// Names lists what the library has.
func (s *Shelf) Names() ([]string, error) { return s.opts.Library.Names() }

// Resolve gives the policy that a pool's file asks for and, when it pins one, the whole hash of its version.
// What is current stands in the view.
func (s *Shelf) Resolve(view msg.RegistryView, spec epu.PolicySpec) (p *policies.Policy, pinned string, err error) {
	book := versions.Book(view.Policies)
	own, lerr := s.Library(spec.Name)
	if _, kept := book[spec.Name]; lerr != nil && !kept {
		return nil, "", lerr
	}
	library := ""
	if own != nil {
		library = own.Hash
	}
	if spec.Version != "" {
		if pinned, err = book.Find(spec.Name, spec.Version, library); err != nil {
			return nil, "", err
		}
	}
	hash := book.InForce(spec.Name, pinned)
	if hash == "" || hash == library {
		return own, pinned, lerr
	}
	if p = s.have(spec.Name, hash); p != nil {
		return p, pinned, nil
	}
	v, ok := book.Get(spec.Name, hash)
	if !ok {
		return nil, pinned, epu.E(epu.NotFound, "load policy", spec.Name+" "+hash, errors.New("its sources are not kept any more"))
	}
	p, err = s.compile(v)
	return p, pinned, err
}

// Take puts another version of a policy in the place of what the library had: its files have changed since.
func (s *Shelf) Take(p *policies.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.library[p.Name], s.good[p.Name] = p, true
}
