package epumgmt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

// instancesNow lists workers for a confirmation.
func (s *session) instancesNow(ctx context.Context, pool string) (*msg.Instances, error) {
	return ask[*msg.Instances](ctx, s, &msg.InstancesQuery{Pool: pool})
}

func (s *session) showInstances(list *msg.Instances) func() error {
	return func() error {
		return s.onStderr(cli.View{Tables: []cli.Table{instanceTable(list.GetInstances(), s.env.Now())}, Empty: "no workers"})
	}
}

func removeCommand(s *session) *cobra.Command {
	var confirm string
	c := &cobra.Command{
		Use: "remove POOL", Short: "Drain and end a pool, then archive it", Args: cli.Takes(1, 1),
		Long: `Take a pool out of service: drain its workers, see that their machines are gone, archive its record.
On a terminal its workers are shown and its name must be typed; scripts give --confirm=POOL.`,
		Example:           "epumgmt remove epu-old --confirm=epu-old",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			list, err := s.instancesNow(cmd.Context(), pool)
			if err != nil {
				return err
			}
			err = cli.Confirmation{
				Given: confirm, Want: pool, Command: "epumgmt remove " + pool,
				Stake: fmt.Sprintf("this ends %s of %s", plural(len(list.GetInstances()), "worker"), pool),
			}.Ask(cmd.Context(), s.io, s.env.StdinTTY, s.showInstances(list))
			if err != nil {
				return err
			}
			return s.command(cmd.Context(), &msg.Remove{Pool: pool}, cli.L("Next: epumgmt wait %s --for gone", pool))
		},
	}
	c.Flags().StringVar(&confirm, "confirm", "", "`POOL` again, instead of typing it")
	return c
}

const (
	terminateTimeout = 15 * time.Minute
	terminateEvery   = 2 * time.Second // between questions what is left
	confirmAll       = "ALL"
)

func terminateAllCommand(s *session) *cobra.Command {
	var confirm string
	var protectedToo bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "terminate-all", Short: "End every worker of every pool", Args: cli.Takes(0, 0),
		Long: `Switch launching off, end every worker of every pool that is not protected, and wait until none is
left. What is left when the time is over is named, and the exit code is then 14. Undo the switch with
enable. On a terminal the workers are shown and ALL must be typed; scripts give --confirm=ALL.`,
		Example: "epumgmt terminate-all --confirm=ALL --timeout 5m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := s.instancesNow(cmd.Context(), "")
			if err != nil {
				return err
			}
			stay := ""
			if !protectedToo {
				if list, stay, err = s.withoutProtected(cmd.Context(), list); err != nil {
					return err
				}
			}
			err = cli.Confirmation{
				Given: confirm, Want: confirmAll, Command: "epumgmt terminate-all",
				Stake: fmt.Sprintf("this switches launching off and ends %s%s", plural(len(list.GetInstances()), "worker"), stay),
			}.Ask(cmd.Context(), s.io, s.env.StdinTTY, s.showInstances(list))
			if err != nil {
				return err
			}
			return s.terminateAll(cmd.Context(), &msg.TerminateAll{ProtectedToo: protectedToo}, timeout)
		},
	}
	c.Flags().StringVar(&confirm, "confirm", "", "`ALL`, instead of typing it")
	c.Flags().BoolVar(&protectedToo, "protected-too", false, "also pools with protect_from_terminate_all")
	c.Flags().DurationVar(&timeout, "timeout", terminateTimeout, "stop waiting after this `TIME`; what was begun goes on")
	return c
}

// withoutProtected leaves the workers of protected pools out, and says in words which stay.
func (s *session) withoutProtected(ctx context.Context, list *msg.Instances) (ending *msg.Instances, stay string, err error) {
	st, err := ask[*msg.Status](ctx, s, &msg.StatusQuery{})
	if err != nil {
		return nil, "", err
	}
	counts := map[string]int{} // of protected pools
	for _, p := range st.GetPools() {
		if p.GetProtected() {
			counts[p.GetName()] = 0
		}
	}
	ending = &msg.Instances{}
	for _, i := range list.GetInstances() {
		if _, protected := counts[i.GetPool()]; protected {
			counts[i.GetPool()]++
		} else {
			ending.Instances = append(ending.Instances, i)
		}
	}
	if len(counts) == 0 {
		return ending, "", nil
	}
	var words []string
	for _, pool := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s (%s)", pool, plural(counts[pool], "worker")))
	}
	return ending, "; protected and left alone: " + strings.Join(words, ", "), nil
}

// terminateAll repeats the command, which is absolute, until nothing is left. A node that goes away
// meanwhile is asked again: stopping half-way is what nobody wants here.
func (s *session) terminateAll(ctx context.Context, m *msg.TerminateAll, timeout time.Duration) error {
	end := s.env.Now().Add(timeout)
	var last *msg.Done
	said, changed := -1, false
	for {
		done, err := ask[*msg.Done](ctx, s, m)
		changed = changed || done.GetChanged()
		switch {
		case err == nil && len(done.GetLeft()) == 0:
			done.Changed = changed // by the first time it was said
			return s.done(done, cli.L("Launching is off. Undo: epumgmt enable"))
		case ctx.Err() != nil:
			return s.stopWaiting()
		case err == nil:
			last = done
			if n := len(done.GetLeft()); n != said {
				s.print.Note("%s left", plural(n, "worker"))
				said = n
			}
		case last == nil || !epu.KindOf(err).Retryable():
			return err
		default:
			s.print.Note("%v; asking again", err)
		}
		if !s.env.Now().Before(end) {
			return cli.TimedOut("end all workers", "", fmt.Errorf("%s left after %v: %s", plural(len(last.GetLeft()), "worker"), timeout, strings.Join(last.GetLeft(), ", ")),
				"epumgmt instances, then epumgmt terminate-all again")
		}
		if s.pause(ctx, terminateEvery) != nil {
			return s.stopWaiting()
		}
	}
}

// stopWaiting says what Ctrl-C did not stop.
func (s *session) stopWaiting() error {
	s.print.Note("interrupted: launching stays off, and what was begun goes on; undo with: epumgmt enable")
	return errInterrupted
}

func adoptCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "adopt POOL [INSTANCE...]", Short: "Take machines of an older life in as workers", Args: cli.Takes(1, -1),
		Long: `Take machines that an older life of the store launched in as workers of a pool. Without instances, all
that carry the pool's tags. sweep lists them.`,
		Example:           "epumgmt adopt epu-web\nepumgmt adopt epu-web i-0aa1 i-0aa2",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			return s.command(cmd.Context(), &msg.Adopt{Pool: pool, Instances: args[1:]}, cli.L("Next: epumgmt instances %s", pool))
		},
	}
}

func sweepCommand(s *session) *cobra.Command {
	var site string
	var confirm bool
	c := &cobra.Command{
		Use: "sweep [--confirm INSTANCE...]", Short: "List machines that no record explains, or end some", Args: cli.Takes(0, -1),
		Long: `List the machines of this installation that no record explains: of an older life of the store, of an
unknown launch. With --confirm end those that are named, and no others.`,
		Example: "epumgmt sweep\nepumgmt sweep --confirm i-0bad",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case confirm && len(args) == 0:
				return cli.Usage("epumgmt sweep, then epumgmt sweep --confirm INSTANCE...", "--confirm needs the machines to end by name")
			case !confirm && len(args) > 0:
				return cli.Usage("epumgmt sweep --confirm "+strings.Join(args, " "), "ending machines needs a confirmation")
			case confirm:
				return s.command(cmd.Context(), &msg.Sweep{Site: site, Instances: args})
			}
			return show(cmd.Context(), s, false, &msg.SweepQuery{Site: site}, func(a *msg.Strays) (cli.View, error) {
				return strayView(a), nil
			})
		},
	}
	c.Flags().StringVar(&site, "site", "", "only at this `SITE`")
	c.Flags().BoolVar(&confirm, "confirm", false, "end the machines that are named")
	return c
}

func strayView(a *msg.Strays) cli.View {
	t := cli.Table{Columns: []cli.Column{{Name: "INSTANCE"}, {Name: "SITE"}, {Name: "POOL"}, {Name: "LAUNCH", Optional: true}, {Name: "VERDICT"}, {Name: "WHY"}}}
	for _, x := range a.GetStrays() {
		verdict := cli.Text(x.GetVerdict())
		if x.GetVerdict() == "condemned" {
			verdict.Tone = cli.Warn
		}
		t.Rows = append(t.Rows, cli.Row{Name: x.GetInstance(), Message: x, Cells: []cli.Cell{
			cli.Text(x.GetInstance()), cli.Text(x.GetSite()), cli.Text(orDash(x.GetPool())), cli.Text(orDash(x.GetLaunch())), verdict, cli.Text(x.GetWhy()),
		}})
	}
	v := cli.View{Type: cli.TypeOf(a), Data: a, Tables: []cli.Table{t}, Empty: "no stray machines"}
	if a.GetRecovery() {
		v.Lines = []cli.Line{{{Text: "The store is in recovery: nothing is launched or ended until every machine is decided about.", Tone: cli.Warn}}}
		v.Hints = []cli.Line{cli.L("Next: epumgmt adopt POOL   or   epumgmt sweep --confirm INSTANCE...   then   epumgmt end-recovery --confirm")}
	}
	return v
}

func endRecoveryCommand(s *session) *cobra.Command {
	var confirm bool
	c := &cobra.Command{
		Use: "end-recovery", Short: "Let a restored store act again", Args: cli.Takes(0, 0),
		Long: `Say that you have decided about every machine that sweep lists: the restored store launches and ends
again, in a new epoch. Machines that still no record explains are listed by sweep and left alone.`,
		Example: "epumgmt end-recovery --confirm",
		RunE: func(cmd *cobra.Command, _ []string) error {
			strays, err := ask[*msg.Strays](cmd.Context(), s, &msg.SweepQuery{})
			if err != nil {
				return err
			}
			if !strays.GetRecovery() {
				return s.done(&msg.Done{Text: "the store is not in recovery"}, cli.L("Next: epumgmt status"))
			}
			if !confirm {
				stake := fmt.Sprintf("the store acts again, and %s %s undecided", plural(len(strays.GetStrays()), "machine"), isAre(len(strays.GetStrays())))
				if !s.env.StdinTTY {
					return cli.Usage("epumgmt sweep, then epumgmt end-recovery --confirm", "%w", errors.New(stake+"; that needs a confirmation"))
				}
				err = cli.Confirmation{Want: "end-recovery", Command: "epumgmt end-recovery", Stake: stake}.
					Ask(cmd.Context(), s.io, true, func() error { return s.onStderr(strayView(strays)) })
				if err != nil {
					return err
				}
			}
			return s.command(cmd.Context(), &msg.EndRecovery{}, cli.L("Next: epumgmt status"))
		},
	}
	c.Flags().BoolVar(&confirm, "confirm", false, "you looked at what sweep lists")
	return c
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
