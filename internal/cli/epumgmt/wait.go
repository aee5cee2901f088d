package epumgmt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/relay"
)

const (
	waitTimeout = 10 * time.Minute
	retryEvery  = time.Second // until a node that went away while we waited is there again
)

// condition is what wait waits for. A nil status means that the pool does not exist.
type condition struct {
	name string
	met  func(*msg.PoolStatus) bool
}

func conditions() []condition {
	return []condition{
		{"converged", func(p *msg.PoolStatus) bool { return p != nil && settled(p) }},
		{"healthy", func(p *msg.PoolStatus) bool { return p != nil && healthy(p) }},
		{"gone", func(p *msg.PoolStatus) bool { return p == nil }},
	}
}

func waitCommand(s *session) *cobra.Command {
	var what string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait POOL --for converged|healthy|gone", Short: "Wait until a pool is as it should be", Args: cli.Takes(1, 1),
		Long: `Wait until a pool is converged, healthy or gone. Changes on the way go to stderr. A node that goes away
meanwhile is asked again; when the time is over the exit code is 14 and the error says what is missing.`,
		Example:           "epumgmt wait epu-web --for converged --timeout 10m\nepumgmt wait epu-web --for healthy",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			for _, c := range conditions() {
				if c.name == what {
					w := waiter{s: s, pool: pool, until: c, timeout: timeout}
					return w.run(cmd.Context())
				}
			}
			return cli.Usage("--for converged|healthy|gone", "can't wait for %q", what)
		},
	}
	c.Flags().StringVar(&what, "for", "converged", "`STATE` to wait for: converged, healthy, gone")
	c.Flags().DurationVar(&timeout, "timeout", waitTimeout, "give up after this `TIME`")
	fixed(c, "for", "converged", "healthy", "gone")
	return c
}

// fixed completes a flag with words that are always the same.
func fixed(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is defined in the lines above the call
	}
}

type waiter struct {
	s       *session
	pool    string
	until   condition
	timeout time.Duration
	last    string // what was said about the pool
	heard   bool   // the node answered once, so it is worth asking again
}

func (w *waiter) run(ctx context.Context) error {
	start := w.s.env.Now()
	c, err := w.s.connect()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	for {
		met, err := w.watch(bounded, c)
		switch {
		case met:
			return w.finish(ctx, w.s.env.Now().Sub(start))
		case ctx.Err() != nil:
			return errInterrupted
		case bounded.Err() != nil, epu.KindOf(err) == epu.UnknownOutcome:
			// The deadline is the wait's own; the node's clock may see it pass a moment before ours does.
			return w.tooLate()
		case err != nil && (epu.KindOf(err) != epu.Unavailable || !w.heard):
			return err
		}
		w.s.print.Note("the node at %s does not answer; asking again", c.Target())
		if w.s.pause(bounded, retryEvery) != nil && ctx.Err() == nil {
			return w.tooLate()
		}
	}
}

// watch reports whether the condition came true before the answers ended.
func (w *waiter) watch(ctx context.Context, c *relay.Client) (bool, error) {
	for st, err := range relay.Watch[*msg.Status](ctx, c, &msg.StatusQuery{Pools: []string{w.pool}}) {
		if err != nil && epu.KindOf(err) != epu.NotFound {
			return false, err
		}
		w.heard = true
		p := find(st, w.pool)
		if w.until.met(p) {
			return true, nil
		}
		if p == nil {
			return false, epu.E(epu.NotFound, "wait for", w.pool, errors.New("there is no such pool"))
		}
		w.progress(p)
	}
	return false, nil
}

func find(st *msg.Status, pool string) *msg.PoolStatus {
	for _, p := range st.GetPools() {
		if p.GetName() == pool {
			return p
		}
	}
	return nil
}

// progress says what changed.
func (w *waiter) progress(p *msg.PoolStatus) {
	now := fmt.Sprintf("%s: wants %d, has %d, starting %d, draining %d, bad %d, %s", p.GetName(), p.GetWant(), p.GetHave(),
		p.GetStarting(), p.GetDraining(), p.GetUnhealthy(), p.GetHealth())
	if now != w.last {
		w.s.print.Note("%s", now)
		w.last = now
	}
}

func (w *waiter) tooLate() error {
	why := errors.New("the node said nothing about it")
	if w.last != "" {
		why = fmt.Errorf("not so after %v: %s", w.timeout, w.last)
	}
	return cli.TimedOut("wait until "+w.pool+" is "+w.until.name, "", why, "epumgmt explain "+w.pool)
}

// finish prints the status that ended the wait.
func (w *waiter) finish(ctx context.Context, took time.Duration) error {
	line := []cli.Line{cli.L("%s is %s after %s", w.pool, w.until.name, cli.Span(took))}
	st := &msg.Status{}
	if w.until.name != "gone" {
		var err error
		if st, err = ask[*msg.Status](ctx, w.s, &msg.StatusQuery{Pools: []string{w.pool}}); err != nil {
			return err
		}
	}
	if w.s.out.Quiet && w.s.out.Form == cli.FormTable {
		return nil
	}
	return w.s.print.Print(cli.View{Type: cli.TypeOf(st), Data: st, Lines: line})
}
