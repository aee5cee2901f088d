package epumgmt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

const (
	waitTimeout = 10 * time.Minute
	retryEvery  = time.Second // until a node that went away while we waited is there again
)

// What wait waits for.
const (
	untilConverged = "converged"
	untilHealthy   = "healthy"
	untilGone      = "gone"
)

// met reports that a pool is as it is waited for. A nil status means that the pool does not exist.
func (w *waiter) met(p *msg.PoolStatus) bool {
	switch w.until {
	case untilGone:
		return p == nil
	case untilHealthy:
		return p != nil && healthy(p)
	}
	return p != nil && settled(p) && w.decided(p)
}

// decided reports that the policy has decided about all that was new when the wait began: with the wish from
// before a burst of readings any pool is converged. One evaluation may have been at work on the older of it, so
// the newest counts.
func (w *waiter) decided(p *msg.PoolStatus) bool {
	return w.news == nil || p.GetUnseenSince() == nil || p.GetUnseenSince().AsTime().After(w.news.AsTime())
}

func waitCommand(s *session) *cobra.Command {
	var what string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait POOL --for converged|healthy|gone", Short: "Wait until a pool is as it should be", Args: cli.Takes(1, 1),
		Long: `Wait until a pool is converged, healthy or gone. Changes on the way go to stderr. A node that goes away
meanwhile is asked again; when the time is over the exit code is 14 and the error says what is missing.

A pool is converged only once its policy has decided about the newest readings and commands from before
the wait; an evaluation that failed decided nothing. A pool that was removed before is gone; one that never was is an error (exit code 11).`,
		Example:           "epumgmt wait epu-web --for converged --timeout 10m\nepumgmt wait epu-web --for healthy",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			if !slices.Contains([]string{untilConverged, untilHealthy, untilGone}, what) {
				return cli.Usage("--for converged|healthy|gone", "can't wait for %q", what)
			}
			w := waiter{s: s, pool: pool, until: what, timeout: timeout}
			return w.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&what, "for", untilConverged, "`STATE` to wait for: converged, healthy, gone")
	c.Flags().DurationVar(&timeout, "timeout", waitTimeout, "give up after this `TIME`")
	fixed(c, "for", untilConverged, untilHealthy, untilGone)
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
	until   string
	timeout time.Duration
	last    string                 // what was said about the pool
	heard   bool                   // the node answered once, so it is worth asking again
	seen    bool                   // the pool was there
	before  bool                   // it was removed before the wait began
	news    *timestamppb.Timestamp // of the newest that its policy had not decided about then
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
		switch {
		case p == nil && w.until == untilGone && !w.seen:
			return w.wasThere(ctx)
		case p == nil && w.until != untilGone:
			return false, w.noPool(ctx, "there is no such pool")
		case p != nil && !w.seen:
			w.seen, w.news = true, cmp.Or(p.GetUnseenNewest(), p.GetUnseenSince()) // an older node says only the oldest
		}
		if w.met(p) {
			return true, nil
		}
		w.progress(p)
	}
	return false, nil
}

// wasThere tells a pool that was removed before the wait began, as scripts do, from a name that no pool has had.
// The history knows: it has what happened to a pool also when that is gone.
func (w *waiter) wasThere(ctx context.Context) (bool, error) {
	past, err := ask[*msg.Events](ctx, w.s, &msg.EventsQuery{Pool: w.pool, Limit: 1})
	if err != nil {
		return false, err
	}
	if len(past.GetEvents()) > 0 {
		w.before = true
		return true, nil
	}
	return false, w.noPool(ctx, "there is no such pool, and none is known from the past")
}

// noPool is the error about a name that no pool has, with the one that may be meant.
func (w *waiter) noPool(ctx context.Context, why string) error {
	err := epu.E(epu.NotFound, "wait for", w.pool, errors.New(why))
	err.Try = "epumgmt status lists the pools"
	if c := strictyaml.Closest(w.pool, w.s.poolNames(ctx)); c != "" {
		err.Try = "did you mean: " + c
	}
	return err
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
	if p.GetUnseenSince() != nil && w.until == untilConverged {
		now += ", its policy has not decided about the newest readings yet"
	}
	if why, _, _ := strings.Cut(p.GetError(), "\n"); why != "" && w.until != untilGone {
		now += ", which fails: " + why
	}
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
	return cli.TimedOut("wait until "+w.pool+" is "+w.until, "", why, "epumgmt explain "+w.pool)
}

// finish prints the status that ended the wait.
func (w *waiter) finish(ctx context.Context, took time.Duration) error {
	line := []cli.Line{cli.L("%s is %s after %s", w.pool, w.until, cli.Span(took))}
	if w.before {
		line = []cli.Line{cli.L("%s is gone: it was removed before", w.pool)}
	}
	st := &msg.Status{}
	if w.until != untilGone {
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
