package epumgmt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// whatIf answers as a node would whose pool has a worker for each twenty of its queue, and at most four.
func (n *fakeNode) whatIf(m *msg.WhatIfQuery) (proto.Message, error) {
	if err := n.known(m.GetPool()); err != nil {
		return nil, err
	}
	decide := func(queue float64, limit int) epu.Decision {
		quality := "ok"
		wanted := int(math.Ceil(queue / 20))
		d := epu.Decision{
			ID: "01JC0000000000000000000005", Pool: epu.PoolID(m.GetPool()), Time: now, Policy: "queuelen", PolicyHash: "7f3c00112233",
			Reasons: []epu.Reason{{Rule: "step", Text: fmt.Sprintf("ceil(%v / 20) = %d", queue, wanted)}},
			Wanted:  epu.Wish{Target: wanted}, Wish: epu.Wish{Target: min(wanted, limit)}, Before: 2,
		}
		if math.IsNaN(queue) {
			quality, d.Wanted.Target, d.Wish.Target = "unknown", 2, 2
			d.Reasons = []epu.Reason{{Rule: "hold", Text: "the queue's length is not known"}}
			queue = 0
		}
		d.Inputs = []epu.Input{{Name: "sensor queue-length", Value: map[string]any{"sensor": "queue-length", "value": queue, "age": 0, "quality": quality, "unit": "messages"}}}
		if wanted > limit {
			d.Clamps = []epu.Reason{{Rule: "limits.max", Text: fmt.Sprintf("%d -> %d: limits.max = %d", wanted, limit, limit), Origin: "pools/epu-web.yaml:9"}}
		}
		return d
	}
	queue := 38.0
	for name, v := range m.GetSensors() {
		if name != "queue-length" {
			return nil, &epu.Error{
				Kind: epu.Invalid, Op: "ask what if", On: m.GetPool(), Err: errors.New(`the pool has no sensor "` + name + `"; did you mean 'queue-length'?; it has queue-length`),
				Try: "epumgmt sensor list " + m.GetPool() + " lists the sensors; the pool's file defines them",
			}
		}
		queue = v
	}
	for _, key := range m.GetUnset() {
		if key != "max_instances" && key != "preserve_n" || m.GetWhole() {
			return nil, &epu.Error{Kind: epu.Invalid, Op: "ask what if", On: m.GetPool(), Err: errors.New(key + ": there is nothing to unset: the pool does not set it")}
		}
	}
	if _, known := m.GetConf().GetFields()["max_instances"]; m.GetWhole() && !known {
		return nil, &epu.Error{Kind: epu.Invalid, Op: "ask what if", On: m.GetPool(), Err: errors.New("min_instances: must be at most 3"), Try: "add --set max_instances=VALUE"}
	}
	limit := 4
	if len(m.GetUnset()) > 0 {
		limit = 1000
	}
	if v, ok := m.GetConf().AsMap()["max_instances"].(float64); ok {
		limit = int(v)
	}
	today, then := decide(38, 4), decide(queue, limit)
	if len(m.GetPolicy()) > 0 {
		then.Policy, then.PolicyHash, then.Error = "mine", "0123456789ab", "mine.lua:3: no"
	}
	out := &msg.WhatIf{}
	if n := then.Wish.Target - 2; n > 0 {
		out.Actions = []string{fmt.Sprintf("launch %d workers at local: %d wanted, 2 there", n, n+2)}
	}
	var err error
	if out.Now, err = structOf(today); err == nil {
		out.Decision, err = structOf(then)
	}
	return out, err
}

func structOf(v any) (*structpb.Struct, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(raw)
}
