package question

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

// Shadow is the command `shadow`.
func Shadow(h Host) *cobra.Command {
	var span time.Duration
	var given settings
	var status, stop bool
	c := &cobra.Command{
		Use: "shadow POOL [POLICY]", Short: "Evaluate another policy beside a pool's own for a while",
		Long: `Have a candidate decide on everything that the pool's policy decides on, with a memory of its own, and note where it
would have wanted something else after the guard rails. Nothing that it wants is done, and if it fails it fails alone.
It is checked on what the pool sees now before it begins, outlives restarts of the node, and ends by itself. Its settings
are the pool's, with what --set and --unset change, or those of the file that --conf names.`,
		Example: "epumgmt policy shadow epu-web ./mine.lua --for 30m\nepumgmt policy shadow epu-web ./mine.lua --unset step_up,step_down --set day=8\nepumgmt policy shadow epu-web --status\nepumgmt policy shadow epu-web --stop",
		Args:    cli.Takes(1, 2), ValidArgsFunction: h.Pools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := h.Pool(args[0])
			if err != nil {
				return err
			}
			next := cli.L("Next: epumgmt policy shadow %s --status", pool)
			try := "epumgmt policy shadow " + pool + " ./mine.lua --for 30m"
			switch begins := len(args) == 2; {
			case status && stop, begins == (status || stop):
				return cli.Usage(try, "name a candidate, or say --status or --stop")
			case !begins && (given.given() || cmd.Flags().Changed("for")):
				return cli.Usage(try, "--for, --set, --unset and --conf go with a candidate")
			case status:
				return h.report(cmd.Context(), &msg.ShadowQuery{Pool: pool})
			case stop:
				return h.Order(cmd.Context(), &msg.Shadow{Pool: pool, Stop: true}, next)
			case span <= 0:
				return cli.Usage("--for 30m", "--for must be a time above 0, up to 168h (7 days), not %v", span)
			}
			v, err := h.variant(given, try)
			if err != nil {
				return err
			}
			p, err := h.Load(args[1])
			if err != nil {
				return err
			}
			return v.placed(h.Order(cmd.Context(), &msg.Shadow{
				Pool: pool, Files: files(p), For: durationpb.New(span), Conf: v.conf, Unset: v.unset, Whole: v.whole,
			}, next), p.Name, args[1])
		},
	}
	c.Flags().DurationVar(&span, "for", 30*time.Minute, "how long, as a `TIME` such as 2h, at most 168h")
	given.flags(c.Flags(), "`KEY=VALUE` for the candidate only; may be repeated")
	c.Flags().BoolVar(&status, "status", false, "show how the candidate does, or did")
	c.Flags().BoolVar(&stop, "stop", false, "end it now")
	return c
}

func (h Host) report(ctx context.Context, q *msg.ShadowQuery) error {
	r, err := ask[*msg.ShadowReport](ctx, h, q)
	if err != nil {
		return err
	}
	return h.Print().Print(reportView(h, r))
}

// reportView draws a candidate's report: what it is and how it does, and below that where it differed.
func reportView(h Host, r *msg.ShadowReport) cli.View {
	now := h.Env.Now()
	when := cli.Clock(r.GetSince().AsTime(), now, h.Env.Zone)
	if r.GetEnded() != nil {
		when += " to " + cli.Clock(r.GetEnded().AsTime(), now, h.Env.Zone)
	} else {
		when += ", until " + cli.Clock(r.GetUntil().AsTime(), now, h.Env.Zone)
	}
	table := cli.Table{Columns: []cli.Column{
		{Name: "TIME"},
		{Name: "OURS", Right: true},
		{Name: "THEIRS", Right: true},
		{Name: "OURS BECAUSE", Optional: true},
		{Name: "THEIRS BECAUSE"},
		{Name: "DECISION", Wide: true},
	}}
	for _, d := range r.GetDifferences() {
		table.Rows = append(table.Rows, cli.Row{Name: d.GetDecision(), Message: d, Cells: []cli.Cell{
			cli.Text(cli.Clock(d.GetTime().AsTime(), now, h.Env.Zone)), cli.Text(fmt.Sprint(d.GetOurs())), cli.Text(fmt.Sprint(d.GetTheirs())),
			cli.Text(d.GetOursBecause()), cli.Text(d.GetTheirsBecause()), cli.Text(d.GetDecision()),
		}})
	}
	v := cli.View{Type: cli.TypeOf(r), Data: r, Lines: []cli.Line{
		cli.L("%s %s in the shadow of %s since %s", r.GetPolicy(), r.GetHash(), r.GetPool(), when),
		cli.L("%s, %d wanted something else, %d failed", plural(int(r.GetEvaluated()), "decision"), r.GetDiffering(), r.GetFailed()),
	}}
	if r.GetError() != "" {
		v.Lines = append(v.Lines, cli.Line{cli.Text("newest error: "), {Text: r.GetError(), Tone: cli.Bad}})
	}
	if len(table.Rows) > 0 {
		v.Tables = []cli.Table{table}
		v.Hints = []cli.Line{cli.L("Next: epumgmt explain %s --at %s", r.GetPool(), r.GetDifferences()[0].GetTime().AsTime().Format(time.RFC3339))}
	}
	return v
}
