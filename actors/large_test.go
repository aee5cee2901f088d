package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/persistence"
)

// Goal: what is larger than one event of a stream neither fails an actor nor is lost: an apply of many pools is
// done in parts, and a wish that can't be kept is its policy's fault. Method: pools with as much behind them as
// files leave, and a policy that wants more named workers than a stream takes.
func TestMoreThanAnEventHolds(t *testing.T) {
	inNode(t, func(n *node) {
		origins := map[string]string{}
		for i := range 60 {
			origins[fmt.Sprint("a.rather.long.key.of.a.pool", i)] = "a/rather/long/path/of/a/file/of/pools.yaml:117"
		}
		many := func(count int) (pools []epu.PoolSpec) {
			for i := range count {
				p := treePool(epu.PoolID(fmt.Sprint("many-", i)), 0)
				p.Origins = origins
				pools = append(pools, p)
			}
			return pools
		}
		n.apply(many(100)...)
		n.apply(many(100)...) // as when their type changes
		n.expect(time.Minute, 0, map[epu.PoolID]int{"many-0": 0, "many-99": 0})
		v := ask[msg.RegistryView](n, actors.RegistryAddress, msg.RegistryQuery{})
		if len(v.Pools) != 100 || n.pool("many-99").Gen != v.Pools["many-99"].Gen || v.Pools["many-99"].Gen <= 1 {
			t.Errorf("got %d pools, and many-99 knows generation %d of %d", len(v.Pools), n.pool("many-99").Gen, v.Pools["many-99"].Gen)
		}
		huge := treePool("huge", 0)
		huge.Description = strings.Repeat("x", 300<<10)
		m := msg.ApplySpecs{Gen: v.Gen, Pools: []msg.PoolEntry{{Spec: huge}}}
		if _, err := n.Ask(context.Background(), actors.RegistryAddress, m); epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "huge") {
			t.Errorf("a pool that no event holds: got %v, want a refusal that names it", err)
		}
		greedy := treePool("greedy", 1)
		n.apply(greedy)
		n.expect(time.Minute, 1, map[epu.PoolID]int{"greedy": 1})
		greedy.Policy.Conf = map[string]any{"preserve_n": 8000, "names": 8000}
		n.apply(greedy)
		n.expect(time.Minute, 1, map[epu.PoolID]int{"greedy": 1})
		if got := n.pool("greedy"); !strings.Contains(got.Failure, "KiB") || got.Wish.Target != 1 {
			t.Errorf("got the failure %q and a target of %d, want the last wish to stand", got.Failure, got.Wish.Target)
		}
		if last := n.pool("greedy").Last; last == nil || last.Error == "" || last.Wanted.Target != 1 || len(last.Wanted.Uniques)+len(last.Actions) > 0 {
			t.Errorf("the decision that is kept wants %+v, which was refused", last)
		}
		if got := n.Restarts.Load(); got != 0 {
			t.Errorf("%d actors failed", got)
		}
	})
}

// Goal: what a cloud says at length fits into the events of all slots that it stands in. Method: the largest
// launch is refused, and another one's machines end, each with as many words as clouds are known to use.
func TestLongReasonsAreCut(t *testing.T) {
	const n = 100
	words := strings.Repeat("the encoded message is \u00fcber-long ", 200)
	for _, refused := range []bool{true, false} {
		b := newSiteBench(t, nil)
		b.list()
		w := want(1, n, 1)
		_, done := b.launch(w)
		if refused {
			done(nil, epu.E(epu.Denied, "launch", "", errors.New(words)))
		} else {
			var all []iaas.Instance
			for i := range n {
				m := machine(fmt.Sprint("i-", i), w.Launch, iaas.InstanceTerminated)
				m.Reason = words
				all = append(all, m)
			}
			done(all, nil)
		}
		last := b.last(1)
		raw, err := json.Marshal(last.Slots)
		if err != nil || len(raw) > persistence.EventMax/2 || len(last.Slots) != n || !strings.Contains(last.Slots[n-1].Reason, "the encoded message") {
			t.Errorf("refused %v: a report of %d slots has %d bytes and the reason %.60q, %v", refused, len(last.Slots), len(raw), last.Slots[n-1].Reason, err)
		}
	}
}

// Goal: no order that says too much fails a controller. Method: each kind of order with a reason as long as a
// message may be, and a reading from a source with such a name.
func TestLongOrdersAreRefused(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		pool := treePool("web", 1)
		pool.Sensors = map[string]epu.SensorSpec{"depth": {Source: epu.SourcePush, Every: time.Second, StaleAfter: time.Minute, Keep: time.Hour}}
		o.files.pools = []epu.PoolSpec{pool}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		worker, long := string(n.pool("web").Workers[0].ID), strings.Repeat("because ", 100<<10)
		for _, m := range []proto.Message{
			&msg.FreezeCommand{Pool: "web", Reason: long},
			&msg.Protect{Instance: worker, Reason: long},
			&msg.Replace{Instance: worker, Reason: long},
			&msg.Drain{Instance: worker, Reason: long},
			&msg.Kill{Instance: worker, Reason: long},
			&msg.SensorPush{Pool: "web", Values: []*msg.SensorValue{{Sensor: "depth", Value: proto.Float64(1), Source: long}}},
		} {
			if _, err := o.try(m); epu.KindOf(err) != epu.Invalid || len(err.Error()) > 1000 {
				t.Errorf("%T: got %.200v, want a short refusal", m, err)
			}
		}
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		if got := n.Restarts.Load(); got != 0 {
			t.Errorf("%d actors failed", got)
		}
	})
}
