package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/internal/cli/clitest"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/snapshot"
	"github.com/nimbus-epu/epu/policies/source"
)

// node is what stands behind the relay in scripts: it keeps versions as the registry does, and compiles them.
// Every policy but `unused` has two pools, and one more that pins a version.
type node struct {
	mu   sync.Mutex // requests come concurrently
	book versions.Book
	at   time.Time
}

// startNode serves a node on loopback and gives its address.
func startNode(stop func(func())) (string, error) {
	return clitest.Serve(&node{at: time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)}, relay.Options{}, stop)
}

// Ask answers as a node does.
func (n *node) Ask(_ context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch m := body.(type) {
	case *msg.PolicyApply:
		return n.apply(req, m)
	case *msg.SnapshotQuery:
		return snapshotOf(m)
	case *msg.Shadow:
		if m.GetStop() {
			return &msg.Done{Changed: true, Text: "ended: mine 3f2a wanted something else in 2 of 40 decisions"}, nil
		}
		if _, wrong := m.GetConf().GetFields()["wrong"]; wrong {
			first := "wrong: is no parameter of the policy; did you mean 'right'?"
			err := &epu.Error{Kind: epu.Invalid, Op: "shadow", On: m.GetPool(), Err: errors.New(first), Try: policies.Advice("mine", "--set x=VALUE")}
			if _, one := m.GetConf().GetFields()["x"]; one {
				return nil, err
			}
			err.Err = errors.New(first + "; x: is required")
			return nil, &msg.Refusal{Err: err, List: []*msg.Problem{{Text: first}, {Text: "x: is required"}}}
		}
		return &msg.Done{Changed: true, Text: fmt.Sprintf("mine is in the shadow of %s for %s with %d settings, without %q, whole %v", m.GetPool(), m.GetFor().AsDuration(), len(m.GetConf().GetFields()), m.GetUnset(), m.GetWhole())}, nil
	case *msg.ShadowQuery:
		return shadowOf(m)
	case *msg.PolicyRollback:
		hash, err := n.book.Find(m.GetName(), m.GetHash(), "")
		if err != nil {
			return nil, err
		}
		return n.put(m.GetName(), hash), nil
	case *msg.PolicyVersionsQuery:
		return n.list(m)
	}
	return nil, epu.E(epu.Invalid, "answer", msg.NameOf(body), errors.New("this node does not know it"))
}

// Watch has nothing that goes on.
func (n *node) Watch(context.Context, *msg.Request, proto.Message, func(proto.Message) error) error {
	return errors.New("nothing goes on here")
}

func (n *node) apply(req *msg.Request, m *msg.PolicyApply) (proto.Message, error) {
	var files []epu.PolicyFile
	for _, f := range m.GetFiles() {
		files = append(files, epu.PolicyFile{Path: f.GetPath(), Text: string(f.GetContent())})
	}
	p, err := policies.Compile(m.GetName(), m.GetFiles()[0].GetContent(), source.FS(files))
	if err != nil {
		return nil, err
	}
	if _, problems := p.Check(map[string]any{"workers": 3}); len(problems) > 0 && m.GetName() != "unused" {
		return nil, &msg.Refusal{
			Err:  &epu.Error{Kind: epu.Invalid, Op: "put policy in force", On: m.GetName(), Err: errors.New("1 problem"), Try: "mend it, then run the command again; nothing was changed"},
			List: []*msg.Problem{{File: "pools/web.yaml", Line: 7, Text: "pool epu-web: policy.conf." + problems[0].String()}},
		}
	}
	n.at = n.at.Add(time.Hour)
	n.book = n.book.Store(epu.PolicyVersion{Name: p.Name, Hash: p.Hash, Files: p.Files(), Origin: epu.PolicyApplied, Time: n.at, By: req.GetUser()}, nil)
	return n.put(p.Name, p.Hash), nil
}

func (n *node) put(name, hash string) *msg.PolicyApplied {
	out := &msg.PolicyApplied{Name: name, Hash: hash, Before: n.book[name].Current, Changed: n.book[name].Current != hash, Origin: "applied"}
	if out.GetBefore() != "" {
		out.Files = []string{"changed " + name + ".lua"}
	}
	if name != "unused" {
		out.Pools, out.Pinned = []string{"epu-batch", "epu-web"}, []string{"epu-gpu"}
	}
	n.book = n.book.Put(name, hash)
	return out
}

func (n *node) list(q *msg.PolicyVersionsQuery) (proto.Message, error) {
	out := &msg.PolicyVersions{}
	for name, p := range n.book {
		if q.GetName() != "" && q.GetName() != name {
			continue
		}
		for _, v := range p.Kept {
			line := &msg.PolicyVersion{Name: name, Hash: v.Hash, Applied: timestamppb.New(v.Time), By: v.By, Current: v.Hash == p.Current, Origin: string(v.Origin)}
			if line.GetCurrent() {
				line.Pools = []string{"epu-batch", "epu-web"}
			}
			out.Versions = append(out.Versions, line)
		}
	}
	if len(out.GetVersions()) == 0 && q.GetName() != "" {
		return nil, epu.E(epu.NotFound, "load policy", q.GetName(), errors.New("there is no such policy"))
	}
	return out, nil
}

// snapshotOf is what a pool of two workers sees, whose policy keeps three.
func snapshotOf(q *msg.SnapshotQuery) (proto.Message, error) {
	if q.GetPool() != "epu-web" {
		return nil, epu.E(epu.NotFound, "find pool", q.GetPool(), errors.New("there is no such pool"))
	}
	now := time.Date(2026, 11, 21, 14, 32, 0, 0, time.UTC)
	conf := map[string]any{"preserve_n": 3}
	seen := snapshot.Of(&policies.Snapshot{Now: now, Pool: "epu-web", Wish: epu.Wish{Target: 2}, Counts: policies.Counts{Running: 2}}, nil)
	if q.GetDecision() != "" {
		seen = snapshot.Seen{Record: &epu.Decision{ID: epu.DecisionID(q.GetDecision()), Time: now, Conf: conf, Inputs: []epu.Input{{Name: "running", Value: 1}}}}
	}
	raw, err := json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	s, err := structpb.NewStruct(conf)
	return &msg.SnapshotReply{Snapshot: raw, Conf: s, PolicyName: "npreserving"}, err
}

// shadowOf is the report of a candidate that differed twice and failed once.
func shadowOf(q *msg.ShadowQuery) (proto.Message, error) {
	if q.GetPool() != "epu-web" {
		return nil, epu.E(epu.NotFound, "report on the shadow of", q.GetPool(), errors.New("no candidate has been there"))
	}
	at := func(minute int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 11, 21, 14, minute, 0, 0, time.UTC))
	}
	return &msg.ShadowReport{
		Pool: q.GetPool(), Policy: "mine", Hash: "3f2a00112233", Since: at(0), Until: at(30), Evaluated: 40, Differing: 2, Failed: 1, Error: "mine.lua:7: no",
		Differences: []*msg.ShadowDifference{
			{Time: at(12), Decision: "01JC0000000000000000000002", Ours: 3, Theirs: 9, OursBecause: "queue 40 within 30-60", TheirsBecause: "queue 40 above 30"},
			{Time: at(7), Decision: "01JC0000000000000000000001", Ours: 3, Theirs: 1, OursBecause: "queue 31 within 30-60", TheirsBecause: "nothing waits"},
		},
	}, nil
}
