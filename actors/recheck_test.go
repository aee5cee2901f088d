package actors_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: a change of the configuration that one version of the policy has found good is checked again when another
// version is in force by the time it would be applied, and so it is when the configuration was applied anew: what a
// version refuses never reaches it. Method: the answer of the first check is on its way for ten seconds, in which
// the registry puts another version in force that takes at most five workers, or one that takes the change too.
func TestReconfigurationIsCheckedByTheVersionInForce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		define   func(d *msg.Define)
		asked    string // versions that were asked
		size     int    // in the end
		refused  bool
		confThen int // preserve_n that the last check starts from
	}{
		{"nothing comes between", func(*msg.Define) {}, "v1", 9, false, 3},
		{"a version that refuses it", func(d *msg.Define) { d.Version = "strict" }, "v1 strict", 3, true, 3},
		{"a version that takes it", func(d *msg.Define) { d.Version = "v2" }, "v1 v2", 9, false, 3},
		{"another configuration", func(d *msg.Define) {
			d.ConfGen++
			d.Spec.Policy.Conf = map[string]any{"preserve_n": 4}
		}, "v1 v1", 9, false, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := calmFleet(t, 3, nil)
			f.Redefine(func(d *msg.Define) { d.Version = "v1" })
			f.Run(10 * time.Second)
			var asked []string
			var before any
			f.CheckConf = func(c actors.CheckConfCall) ([]string, time.Duration) {
				asked = append(asked, c.Version)
				before = c.Conf["preserve_n"]
				slow := 10 * time.Second
				if len(asked) > 1 {
					slow = 0
				}
				if c.Version == "strict" {
					return []string{"preserve_n: must be at most 5"}, slow
				}
				return nil, slow
			}
			answer := f.Order(&msg.Scale{N: 9})
			if answer != nil || !slices.Equal(asked, []string{"v1"}) {
				t.Fatalf("got the answer %v after checks by %v, want the first check to be out", answer, asked)
			}
			f.Redefine(tt.define)
			f.Run(30 * time.Second)
			if r, refused := f.Answer().(msg.Refused); refused != tt.refused || refused && !slices.Contains(r.Problems, "preserve_n: must be at most 5") {
				t.Errorf("got the answer %v, want it refused %v with what the version says", f.Answer(), tt.refused)
			}
			v := f.Ask(msg.PoolQuery{}).(msg.PoolView)
			if got := strings.Join(asked, " "); got != tt.asked || before != tt.confThen {
				t.Errorf("checked by %q, at last from preserve_n = %v; want %q from %d", got, before, tt.asked, tt.confThen)
			}
			if v.Wish.Target != tt.size || v.Conf["preserve_n"] != tt.size {
				t.Errorf("%d are wanted with %v, want %d", v.Wish.Target, v.Conf, tt.size)
			}
			f.Run(5 * time.Minute)
			settled(t, f, tt.size, 0)
		})
	}
}

// Goal: who changes a pool whose policy does not load is told what to do about that, not to read the help. Method:
// a check that fails so.
func TestAChangeOfAPoolWhosePolicyIsBrokenSaysWhatToDo(t *testing.T) {
	f := calmFleet(t, 3, nil)
	f.CheckErr = epu.E(epu.Invalid, "load policy", "good", errors.New("good.lua:1: parse error near 'is'"))
	f.Order(&msg.Scale{N: 9})
	f.Run(30 * time.Second)
	r, refused := f.Answer().(msg.Refused)
	if !refused || epu.KindOf(r.Err) != epu.Invalid || !strings.Contains(epu.TryOf(r.Err), "epumgmt policy check") {
		t.Errorf("got %v, try %q", f.Answer(), epu.TryOf(r.Err))
	}
}
