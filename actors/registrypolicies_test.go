package actors_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// shelves is a registry on the deterministic host, with pools that take in what it defines, and an operator who
// applies policies and pools from what was seen last, which may be old.
type shelves struct {
	*actortest.World
	t       *testing.T
	seen    msg.RegistryView
	views   int
	defined map[epu.PoolID]msg.Define
	tried   map[string][]string // hashes that may be in force, by policy: the one that was confirmed last, and those tried since
	answer  any
	n       int // versions made so far
}

func newShelves(t *testing.T, seed uint64) *shelves {
	journal := memory.New(persistence.Meta{Installation: "shelves", Epoch: 1, Created: time.Unix(0, 0)})
	s := &shelves{World: actortest.NewWorld(seed, journal), t: t, defined: map[epu.PoolID]msg.Define{}, tried: map[string][]string{}}
	s.OnStart = func() {
		s.Spawn(actors.RegistryAddress, actors.RegistryStream, actors.RegistryCodec(), func() actors.Core {
			return actors.NewRegistry(epu.DefaultOwner, 1)
		}, nil, nil)
		for i := range 4 {
			pool := epu.PoolID(fmt.Sprint("epu-", i))
			addr := msg.ControllerAddress(epu.DefaultOwner, pool)
			s.SpawnPlain(addr, func(m any, from msg.Address) {
				d := m.(msg.Define)
				if d.Gen >= s.defined[pool].Gen {
					s.defined[pool] = d
				}
				s.Send(from, addr, msg.Defined{Owner: epu.DefaultOwner, Pool: pool, Gen: s.defined[pool].Gen})
			})
		}
		s.SpawnPlain("operator", s.hear)
	}
	s.OnCrash = func() { s.After(time.Second, s.Start) }
	s.Start()
	return s
}

func (s *shelves) hear(m any, _ msg.Address) {
	if v, ok := m.(msg.RegistryView); ok {
		s.seen, s.views = v, s.views+1
		return
	}
	s.answer = m
}

// look asks for the view.
func (s *shelves) look() {
	if s.Up() {
		s.Send(actors.RegistryAddress, "operator", msg.RegistryQuery{})
		s.Run(time.Second)
	}
}

// order sends a change of a policy and notes what becomes of it.
func (s *shelves) order(m msg.ApplyPolicy) any {
	if !s.Up() {
		return nil
	}
	s.answer = nil
	s.tried[m.Name] = append(s.tried[m.Name], m.Hash)
	s.Send(actors.RegistryAddress, "operator", m)
	s.Run(time.Second)
	if done, ok := s.answer.(*msg.Done); ok && done.GetChanged() {
		s.tried[m.Name] = []string{m.Hash}
	}
	return s.answer
}

// version makes another version of a policy.
func (s *shelves) version(name string, bytes int) epu.PolicyVersion {
	s.n++
	return epu.PolicyVersion{
		Name: name, Hash: fmt.Sprintf("%012x", s.n), Files: []epu.PolicyFile{{Path: name + ".lua", Text: fmt.Sprint("-- ", s.n) + strings.Repeat("x", bytes)}},
		Origin: epu.PolicyApplied, Time: s.Now(), By: "anna",
	}
}

// apply puts a new version in force.
func (s *shelves) apply(name string, bytes int) any {
	v := s.version(name, bytes)
	return s.order(msg.ApplyPolicy{Gen: s.seen.Gen, Name: name, Hash: v.Hash, Keep: []epu.PolicyVersion{v}, Action: "policy-apply", Sender: msg.Sender{ID: "c", User: "anna"}})
}

// pools applies a pool, which may pin a version that is kept.
func (s *shelves) pool(i int, name, pinned string) {
	spec := epu.PoolSpec{Name: epu.PoolID(fmt.Sprint("epu-", i)), Policy: epu.PolicySpec{Name: name, Version: pinned}}
	s.Send(actors.RegistryAddress, "operator", msg.ApplySpecs{
		Gen: s.seen.Gen, Pools: []msg.PoolEntry{{Spec: spec, Version: pinned}}, Sender: msg.Sender{ID: "c", User: "anna"},
	})
	s.Run(time.Second)
}

// check compares what the registry says, and what pools were told, with what may be.
func (s *shelves) check() {
	s.t.Helper()
	book := versions.Book(s.seen.Policies)
	for name, p := range book {
		if _, ok := book.Get(name, p.Current); !ok && p.Current != "" {
			s.t.Errorf("%s: version %s is in force and not kept", name, p.Current)
		}
		if len(s.tried[name]) > 0 && !slices.Contains(s.tried[name], p.Current) {
			s.t.Errorf("%s: version %q is in force, want one of %q", name, p.Current, s.tried[name])
		}
		used := 0
		for _, e := range s.seen.Pools {
			if e.Spec.Policy.Name == name && e.Version != "" {
				used++
			}
		}
		if len(p.Kept) > versions.KeptMax+1+used {
			s.t.Errorf("%s: %d versions are kept", name, len(p.Kept))
		}
	}
	for id, e := range s.seen.Pools {
		if _, ok := book.Get(e.Spec.Policy.Name, e.Version); !ok && e.Version != "" {
			s.t.Errorf("%s pins version %s, which is not kept", id, e.Version)
		}
		if got, want := s.defined[id].Version, book.InForce(e.Spec.Policy.Name, e.Version); got != want || s.defined[id].Gen != e.Gen {
			s.t.Errorf("%s was told version %q at generation %d, want %q at %d", id, got, s.defined[id].Gen, want, e.Gen)
		}
	}
}

// Goal: whatever crashes, is lost or comes late, a version is in force wholly or not at all, what is in force or
// pinned is kept, and every pool hears which version it runs. Method: seeded abuse of a registry on the
// deterministic host, then peace, the invariants, and a restart that must change nothing.
func TestVersionsSurvive(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		s := newShelves(t, seed)
		s.Faults = actortest.Faults{Lose: 0.1, Double: 0.2, Slow: 0.2, SlowMax: 30 * time.Second, Crash: 0.1, Refuse: 0.1}
		names := []string{"queuelen", "target"}
		for range 60 {
			if s.Rand().IntN(4) > 0 {
				s.look()
			}
			name := names[s.Rand().IntN(2)]
			kept := s.seen.Policies[name].Kept
			switch s.Rand().IntN(5) {
			case 0, 1:
				s.apply(name, s.Rand().IntN(300))
			case 2:
				if len(kept) > 0 {
					v := kept[s.Rand().IntN(len(kept))]
					s.order(msg.ApplyPolicy{Gen: s.seen.Gen, Name: name, Hash: v.Hash, Action: "policy-rollback", Sender: msg.Sender{ID: "c", User: "anna"}})
				}
			case 3:
				s.pool(s.Rand().IntN(4), name, "")
			case 4:
				if len(kept) > 0 {
					s.pool(s.Rand().IntN(4), name, kept[s.Rand().IntN(len(kept))].Hash)
				}
			}
			s.Run(time.Duration(s.Rand().Int64N(int64(3 * time.Second))))
		}
		s.Faults = actortest.Faults{}
		s.Run(2 * time.Minute)
		s.look()
		s.check()
		before := s.seen
		s.Crash()
		s.Run(time.Minute)
		s.look()
		if diff := cmp.Diff(before.Policies, s.seen.Policies); diff != "" || s.Failed() != nil {
			t.Errorf("after a restart (%v):\n%s", s.Failed(), diff)
		}
		if t.Failed() {
			t.Fatalf("seed %d, %d crashes", seed, s.Crashes)
		}
	}
}

// Goal: what the registry refuses changes nothing, and it takes no more than its bounds.
func TestPolicyIsRefused(t *testing.T) {
	s := newShelves(t, 1)
	s.Run(time.Second)
	s.look()
	if done, ok := s.apply("queuelen", 100).(*msg.Done); !ok || !done.GetChanged() {
		t.Fatalf("got %v, want the first version taken", s.answer)
	}
	old := s.seen
	s.look()
	for _, tt := range []struct {
		name string
		m    msg.ApplyPolicy
		kind epu.Kind
	}{
		{"a view of before", msg.ApplyPolicy{Gen: old.Gen, Name: "queuelen", Hash: ""}, epu.Conflict},
		{"a version that nobody gave", msg.ApplyPolicy{Gen: s.seen.Gen, Name: "queuelen", Hash: "ffffffffffff"}, epu.NotFound},
		{"a version of another policy", msg.ApplyPolicy{Gen: s.seen.Gen, Name: "target", Hash: "000000000001"}, epu.NotFound},
	} {
		refused, ok := s.order(tt.m).(msg.Refused)
		if !ok || refused.Err.Kind != tt.kind {
			t.Errorf("%s: got %+v, want kind %v", tt.name, s.answer, tt.kind)
		}
	}
	if refused, ok := s.apply("queuelen", versions.SizeMax).(msg.Refused); !ok || refused.Err.Kind != epu.Invalid {
		t.Errorf("a version that is too large: got %+v", s.answer)
	}
	s.look()
	if got := s.seen.Policies["queuelen"]; len(got.Kept) != 1 || got.Current != "000000000001" {
		t.Errorf("after refusals: got %+v", got)
	}
	if done, ok := s.order(msg.ApplyPolicy{Gen: s.seen.Gen, Name: "queuelen", Hash: "000000000001"}).(*msg.Done); !ok || done.GetChanged() {
		t.Errorf("what is in force already: got %+v", s.answer)
	}
	for range 40 { // each nearly as large as one may be: more than all may have together
		s.apply("queuelen", versions.SizeMax-1000)
		s.look()
	}
	if n := versions.Book(s.seen.Policies).Size(); n > versions.BookMax || s.Failed() != nil {
		t.Errorf("%d bytes are kept, at most %d may be (%v)", n, versions.BookMax, s.Failed())
	}
}

// Goal: what a pool pins is kept for as long as it does, however much is applied meanwhile.
func TestPinnedIsKept(t *testing.T) {
	s := newShelves(t, 1)
	s.Run(time.Second)
	s.look()
	s.apply("queuelen", 1)
	s.look()
	s.pool(0, "queuelen", "000000000001")
	kept := func() bool {
		_, ok := versions.Book(s.seen.Policies).Get("queuelen", "000000000001")
		return ok
	}
	for range 2 * versions.KeptMax {
		s.look()
		s.apply("queuelen", 1)
	}
	if s.look(); !kept() || s.defined["epu-0"].Version != "000000000001" {
		t.Errorf("the pool runs %q; kept is %v", s.defined["epu-0"].Version, kept())
	}
	s.pool(0, "queuelen", "")
	s.look()
	s.apply("queuelen", 1)
	if s.look(); kept() {
		t.Error("what nobody pins any more is kept for ever")
	}
	s.check()
}
