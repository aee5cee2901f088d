package gateway

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
)

// Policies knows how policies are checked, and which ones the node has without having been given them. It is
// wired by the daemon.
type Policies interface {
	// Check makes a version of a policy from its files and checks it with every pool that would take it. The
	// error holds every problem; the problems beside it are warnings.
	Check(ctx context.Context, name string, files []epu.PolicyFile, takers []msg.PoolView) (epu.PolicyVersion, []*msg.Problem, error)
	// Stored is the version that the node's library has of a policy.
	Stored(name string) (epu.PolicyVersion, error)
	// Alerts tells of the policies whose newest version is not in force.
	Alerts() []*msg.Alert
}

// policyTries is how often a change of a policy is prepared anew because something else was applied meanwhile.
const policyTries = 3

// heardMax bounds the pools that a change of a policy waits for; the others hear of it as soon.
const heardMax = 100

// ApplyPolicy puts a policy's files in force, for every pool that uses it and pins no version.
func (g *Gateway) ApplyPolicy(ctx context.Context, req *msg.Request, m *msg.PolicyApply, origin epu.PolicyOrigin) (*msg.PolicyApplied, error) {
	files := make([]epu.PolicyFile, len(m.GetFiles()))
	for i, f := range m.GetFiles() {
		files[i] = epu.PolicyFile{Path: f.GetPath(), Text: string(f.GetContent())}
	}
	action := "policy-apply"
	if origin == epu.PolicyFolder {
		action = "policy-reload"
	}
	return g.changePolicy(ctx, req, m.GetName(), action, func(*shelf) (string, []epu.PolicyFile, error) { return "", files, nil }, origin)
}

// rollBack puts an earlier version of a policy in force.
func (g *Gateway) rollBack(ctx context.Context, req *msg.Request, m *msg.PolicyRollback) (*msg.PolicyApplied, error) {
	return g.changePolicy(ctx, req, m.GetName(), "policy-rollback", func(s *shelf) (hash string, files []epu.PolicyFile, err error) {
		if m.GetHash() == "" {
			hash, err = s.book.Before(m.GetName(), s.library.Hash)
		} else {
			hash, err = s.book.Find(m.GetName(), m.GetHash(), s.library.Hash)
		}
		if err != nil {
			return "", nil, err
		}
		v, err := s.version(m.GetName(), hash)
		return hash, v.Files, err
	}, "")
}

// shelf is what there is of one policy at a moment.
type shelf struct {
	view    msg.RegistryView
	book    versions.Book
	library epu.PolicyVersion // without a hash when the library has none that is sound
	lost    error             // why
}

func (g *Gateway) shelf(ctx context.Context, name string) (*shelf, error) {
	view, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	s := &shelf{view: view, book: view.Policies}
	s.library, s.lost = g.policies.Stored(name)
	return s, nil
}

// current is the hash of the version in force; empty when there is none.
func (s *shelf) current(name string) string { return cmp.Or(s.book[name].Current, s.library.Hash) }

func (s *shelf) version(name, hash string) (epu.PolicyVersion, error) {
	if v, ok := s.book.Get(name, hash); ok {
		return v, nil
	}
	if hash != "" && hash == s.library.Hash {
		return s.library, nil
	}
	if hash == "" && s.lost != nil {
		return epu.PolicyVersion{}, s.lost
	}
	return epu.PolicyVersion{}, epu.E(epu.NotFound, "find version "+hash+" of policy", name, errors.New("it is not kept"))
}

// users are the pools of a policy: those that take what is in force, and those that pin a version.
func (s *shelf) users(name string) (takers, pinned []epu.PoolID) {
	for _, id := range slices.Sorted(maps.Keys(s.view.Pools)) {
		switch p := s.view.Pools[id]; {
		case p.Spec.Policy.Name != name || p.Removing:
		case p.Version != "":
			pinned = append(pinned, id)
		default:
			takers = append(takers, id)
		}
	}
	return takers, pinned
}

// changePolicy checks what choose gives and puts it in force: for an apply files, for a rollback a version.
func (g *Gateway) changePolicy(
	ctx context.Context, req *msg.Request, name, action string,
	choose func(*shelf) (hash string, files []epu.PolicyFile, err error), origin epu.PolicyOrigin,
) (*msg.PolicyApplied, error) {
	for try := 1; ; try++ {
		s, err := g.shelf(ctx, name)
		if err != nil {
			return nil, err
		}
		hash, files, err := choose(s)
		if err != nil {
			return nil, err
		}
		takers, pinned := s.users(name)
		views, err := g.inForce(ctx, s.view, takers)
		if err != nil {
			return nil, err
		}
		before, _ := s.version(name, s.current(name)) // none: the policy is new to this node
		v, warnings, err := g.policies.Check(ctx, name, files, views)
		if err != nil {
			return nil, passage(err, v, before)
		}
		out := &msg.PolicyApplied{
			Name: name, Hash: v.Hash, Before: before.Hash, Origin: string(origin), Warnings: warnings,
			Pools: texts(takers), Pinned: texts(pinned), Files: differing(before.Files, v.Files),
		}
		order := msg.ApplyPolicy{Gen: s.view.Gen, Name: name, Hash: v.Hash, Action: action, Before: before.Hash, Sender: sender(req)}
		if hash != "" { // a rollback keeps nothing new, and what the library has is what follows the library
			if hash == s.library.Hash {
				order.Hash = ""
			}
			kept, _ := s.version(name, hash)
			out.Origin = string(kept.Origin)
		} else {
			v.Origin, v.Time, v.By = origin, g.tree.Clock.Now(), req.GetUser()
			order.Keep = s.keep(v)
		}
		if v.Hash == before.Hash {
			out.Origin = string(before.Origin)
			return out, nil
		}
		if _, err := ask[*msg.Done](ctx, g, actors.RegistryAddress, order); err != nil {
			if epu.KindOf(err) == epu.Conflict && try < policyTries {
				continue
			}
			return nil, err
		}
		out.Changed = true
		g.heard(ctx, takers)
		return out, nil
	}
}

// passage says how pools get from the settings of one version of a policy to those of another, where the other is
// sound and is refused for settings of pools.
func passage(err error, refused, inForce epu.PolicyVersion) error {
	var r *msg.Refusal
	if errors.As(err, &r) && refused.Hash != "" && inForce.Hash != "" {
		r.Err.Try = "mend these settings; where the version takes other ones, first pin the one in force (policy.version: " + inForce.Hash +
			") in these pools' files and apply them, run this command again, then apply the files with the new settings and without the pin"
	}
	return err
}

// heard waits until pools have heard what is in force, for who asks next must not find them as they were. It is in
// force all the same when they have not.
func (g *Gateway) heard(ctx context.Context, pools []epu.PoolID) {
	bounded, cancel := context.WithDeadline(ctx, g.tree.Clock.Now().Add(definedWait))
	defer cancel()
	for _, pool := range pools[:min(len(pools), heardMax)] {
		if _, err := g.defined(bounded, pool); err != nil {
			return
		}
	}
}

// keep lists what must be kept with a version, oldest first: when the library's version is replaced for the
// first time, that one too, for a rollback must find it when the files of the library have changed.
func (s *shelf) keep(v epu.PolicyVersion) []epu.PolicyVersion {
	out := []epu.PolicyVersion{v}
	if lib := s.library; s.book[v.Name].Current == "" && lib.Hash != "" && lib.Hash != v.Hash {
		out = []epu.PolicyVersion{lib, v}
	}
	return out
}

// inForce asks pools for their configuration in force. All must answer: one that was not checked could fail.
func (g *Gateway) inForce(ctx context.Context, view msg.RegistryView, pools []epu.PoolID) ([]msg.PoolView, error) {
	views, failed := g.pools(ctx, pools)
	out := make([]msg.PoolView, 0, len(pools))
	for _, id := range pools {
		if err := failed[id]; err != nil {
			return nil, epu.E(epu.Unavailable, "check the configuration of", string(id), err)
		}
		v := views[id]
		if applied := view.Pools[id]; v.Gen < applied.Gen { // its controller has not heard of its file's last change
			v.Spec = applied.Spec
			if v.Conf == nil || len(v.Overrides) == 0 {
				v.Conf = applied.Spec.Policy.Conf
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// policyVersions lists the versions of one policy, or of all that were applied or are used.
func (g *Gateway) policyVersions(ctx context.Context, q *msg.PolicyVersionsQuery) (proto.Message, error) {
	view, err := g.registry(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	if q.GetName() != "" {
		names[q.GetName()] = true
	} else {
		for name := range view.Policies {
			names[name] = true
		}
		for _, p := range view.Pools {
			names[p.Spec.Policy.Name] = true
		}
	}
	out := &msg.PolicyVersions{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		s := &shelf{view: view, book: view.Policies}
		s.library, s.lost = g.policies.Stored(name)
		list := s.list(name)
		if len(list) == 0 && q.GetName() != "" {
			return nil, s.lost
		}
		out.Versions = append(out.Versions, list...)
	}
	return out, nil
}

// list is every version of a policy, newest first. What only the library has is the oldest.
func (s *shelf) list(name string) (out []*msg.PolicyVersion) {
	users := map[string][]string{}
	for id, p := range s.view.Pools {
		if p.Spec.Policy.Name == name && !p.Removing {
			hash := cmp.Or(s.book.InForce(name, p.Version), s.library.Hash)
			users[hash] = append(users[hash], string(id))
		}
	}
	add := func(v epu.PolicyVersion) {
		line := &msg.PolicyVersion{
			Name: name, Hash: v.Hash, By: v.By, Current: v.Hash == s.current(name), Pools: users[v.Hash], Origin: string(v.Origin),
		}
		if v.Origin == epu.PolicyApplied || v.By != "" {
			line.Applied = timestamppb.New(v.Time)
		}
		slices.Sort(line.Pools)
		out = append(out, line)
	}
	for _, hash := range s.book.Hashes(name, s.library.Hash) {
		if v, err := s.version(name, hash); err == nil {
			add(v)
		}
	}
	return out
}

// policySource gives the files of a version.
func (g *Gateway) policySource(ctx context.Context, q *msg.PolicySourceQuery) (proto.Message, error) {
	s, err := g.shelf(ctx, q.GetName())
	if err != nil {
		return nil, err
	}
	hash := s.current(q.GetName())
	if q.GetHash() != "" {
		if hash, err = s.book.Find(q.GetName(), q.GetHash(), s.library.Hash); err != nil {
			return nil, err
		}
	}
	v, err := s.version(q.GetName(), hash)
	if err != nil {
		return nil, err
	}
	out := &msg.PolicySource{Hash: hash}
	for _, f := range v.Files {
		out.Files = append(out.Files, &msg.File{Path: f.Path, Content: []byte(f.Text)})
	}
	return out, nil
}

// differing says which files differ between two versions.
func differing(before, after []epu.PolicyFile) []string {
	old := map[string]string{}
	for _, f := range before {
		old[f.Path] = f.Text
	}
	var out []string
	for _, f := range after {
		text, had := old[f.Path]
		switch delete(old, f.Path); {
		case !had:
			out = append(out, "added "+f.Path)
		case text != f.Text:
			out = append(out, "changed "+f.Path)
		}
	}
	for path := range old {
		out = append(out, "removed "+path)
	}
	slices.SortFunc(out, func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	return out
}

func texts[S ~string](names []S) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}
