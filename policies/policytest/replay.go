package policytest

import (
	"fmt"
	"reflect"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// replayFault evaluates a decision again from its record in a fresh state, and says what is wrong, or "". A
// difference means that the policy kept something between decisions elsewhere than in state.memory.
func replayFault(p *policies.Policy, d epu.Decision) string {
	again, err := policies.Replay(p, d)
	if err != nil {
		return fmt.Sprintf("replay: %v", err)
	}
	type outcome struct {
		wish    epu.Wish
		reasons []epu.Reason
		actions []epu.Action
		alerts  []string
		memory  string
		failed  string
	}
	of := func(d epu.Decision) outcome {
		return outcome{d.Wanted, d.Reasons, d.Actions, d.Alerts, string(d.MemoryAfter), d.Error}
	}
	if a, b := of(d), of(again); !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("the policy hides state: evaluated again from its record it wished for %d (%v), not %d (%v); keep what must last in state.memory",
			again.Wanted.Target, again.Reasons, d.Wanted.Target, d.Reasons)
	}
	return ""
}
