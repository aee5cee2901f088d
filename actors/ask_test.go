package actors_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: who asks an actor waits until its own context ends and not longer, since a node that stops waits
// for those who ask. Method: questions that nobody answers, in virtual time.
func TestAskEndsWithItsContext(t *testing.T) {
	inNode(t, func(n *node) {
		p := treePool("web", 1)
		p.Health = campaignPool().Health
		n.apply(p)
		agents := newAgents(n, "web")
		n.expect(2*time.Minute, 1, map[epu.PoolID]int{"web": 1})
		worker := msg.WorkerAddress(epu.DefaultOwner, "web", n.pool("web").Workers[0].ID)
		for _, tt := range []struct {
			name   string
			cancel time.Duration // 0 = never
			limit  time.Duration // of the context; 0 = none
			to     msg.Address
			took   time.Duration
			kind   epu.Kind
			cause  error
		}{
			{"called off", 3 * time.Second, time.Hour, worker, 3 * time.Second, epu.Unavailable, context.Canceled},
			{"deadline", 0, 2 * time.Second, worker, 2 * time.Second, epu.Unavailable, context.DeadlineExceeded},
			{"no deadline", 0, 0, worker, 10 * time.Second, epu.Unavailable, context.DeadlineExceeded},
			{"nobody there", 0, 0, worker + "x", 0, epu.NotFound, nil},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			if tt.limit > 0 {
				ctx, cancel = context.WithTimeout(context.Background(), tt.limit)
			}
			if tt.cancel > 0 {
				actors.WallClock{}.AfterFunc(tt.cancel, cancel)
			}
			start := time.Now()
			answer, err := n.Ask(ctx, tt.to, msg.CommandsQuery{})
			cancel()
			if took := time.Since(start); took != tt.took || epu.KindOf(err) != tt.kind || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("%s: got %v and %v (%v) after %v, want %v (%v) after %v", tt.name, answer, err, epu.KindOf(err), took, tt.kind, tt.cause, tt.took)
			}
		}
		agents.stop()
		for _, bucket := range n.Actors.ProcessRegistry.LocalPIDs.LocalPIDs {
			for _, name := range bucket.Keys() {
				if strings.HasPrefix(name, "future") {
					t.Errorf("the asker %s was left behind", name)
				}
			}
		}
	})
}
