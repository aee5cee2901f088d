package actors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/gateway"
	"github.com/nimbus-epu/epu/actors/msg"
)

// ownVersion is a version of a policy that takes the tests' configuration.
func ownVersion(name string, n int) *msg.PolicyApply {
	text := fmt.Sprintf(`return {
  doc = "version %[1]d", params = { preserve_n = { type = "integer", default = 1 } },
  decide = function(control) control.scale_to(%[1]d) end,
}`, n)
	return &msg.PolicyApply{Name: name, Files: []*msg.File{{Path: name + ".lua", Content: []byte(text)}}}
}

// Goal: a change of a policy is checked with the pools as they are when it comes into force. Method: other things
// are applied while it is being checked, once and then again and again.
func TestPolicyWhileOthersApply(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 1)}
		o.ask(&msg.Apply{})
		checks, meanwhile := 0, 1
		o.g = gateway.New(n.Tree, o.files, compiled{during: func() {
			if checks++; checks <= meanwhile {
				o.files.pools = append(o.files.pools, treePool(epu.PoolID(fmt.Sprint("more-", len(o.files.pools))), 1))
				o.ask(&msg.Apply{})
			}
		}}, gateway.NodeInfo{Name: "n1"})
		done := o.ask(ownVersion("npreserving", 1)).(*msg.PolicyApplied)
		if !done.GetChanged() || strings.Join(done.GetPools(), " ") != "more-1 web" || checks != 2 {
			t.Errorf("got %v after %d checks, want it in force for the new pool too", done, checks)
		}
		checks, meanwhile = 0, 100
		if _, err := o.try(ownVersion("npreserving", 2)); epu.KindOf(err) != epu.Conflict || !strings.Contains(epu.TryOf(err), "again") {
			t.Errorf("while something is applied all the time: got %v (%s), want a conflict", err, epu.TryOf(err))
		}
	})
}

// Goal: all pools hear of a version and record that they did, a pool that can't be asked keeps all from changing,
// and the first rollback leads to what the node had by itself. Method: two pools, one of them without a controller
// that answers.
func TestPolicyOfManyPools(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 1), treePool("db", 1)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 1, "db": 1})
		first := o.ask(ownVersion("npreserving", 1)).(*msg.PolicyApplied)
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 1, "db": 1})
		own, err := compiled{}.Stored("npreserving")
		if err != nil || first.GetBefore() != own.Hash || len(first.GetPools()) != 2 {
			t.Errorf("got %v (%v), want the node's own version %s before", first, err, own.Hash)
		}
		for _, p := range []epu.PoolID{"web", "db"} {
			if got := n.pool(p).Last.PolicyHash; got != first.GetHash() {
				t.Errorf("%s is decided by version %q, want %q", p, got, first.GetHash())
			}
		}
		recorded := o.ask(&msg.ExplainQuery{Pool: "web", At: timestamppb.Now()}).(*msg.Explanation).GetDecision()
		if got := recorded.GetFields()["policy_hash"].GetStringValue(); got != first.GetHash() {
			t.Errorf("the history's newest decision is by version %q, want %q although it decided the same", got, first.GetHash())
		}
		back := o.ask(&msg.PolicyRollback{Name: "npreserving"}).(*msg.PolicyApplied)
		if !back.GetChanged() || back.GetHash() != own.Hash || back.GetOrigin() != string(epu.PolicyBuiltIn) {
			t.Errorf("rollback: got %v, want version %s", back, own.Hash)
		}
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 1, "db": 1})
		if got := n.pool("web").Last.PolicyHash; got != "" {
			t.Errorf("after the rollback version %q decides, want what the node has", got)
		}
		list := o.ask(&msg.PolicyVersionsQuery{}).(*msg.PolicyVersions).GetVersions()
		if len(list) != 2 || list[0].GetHash() != first.GetHash() || !list[1].GetCurrent() || strings.Join(list[1].GetPools(), " ") != "db web" {
			t.Errorf("versions: got %v", list)
		}
	})
}
