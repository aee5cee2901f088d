package epumgmt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

func instancesCommand(s *session) *cobra.Command {
	var watch, all bool
	c := &cobra.Command{
		Use: "instances [POOL]", Short: "List workers and the machines behind them", Args: cli.Takes(0, 1),
		Long: `List the workers of a pool, or of all pools, with their machines, states and health. Tables show a
state's word, machine output the full string, such as 600-RUNNING, which sorts in life-cycle order.`,
		Example:           "epumgmt instances epu-web\nepumgmt instances --all -o wide\nepumgmt instances epu-web -o name",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &msg.InstancesQuery{All: all}
			if len(args) == 1 {
				var err error
				if q.Pool, err = s.pool(args[0]); err != nil {
					return err
				}
			}
			return show(cmd.Context(), s, watch, q, func(a *msg.Instances) (cli.View, error) {
				return cli.View{
					Type: cli.TypeOf(a), Data: a, Empty: "no workers",
					Tables: []cli.Table{instanceTable(a.GetInstances(), s.env.Now())},
				}, nil
			})
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	c.Flags().BoolVar(&all, "all", false, "also those that ended in the last hour")
	return c
}

func instanceTable(list []*msg.Instance, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "WORKER"},
		{Name: "POOL", Optional: true},
		{Name: "NAME", Wide: !slices.ContainsFunc(list, func(i *msg.Instance) bool { return i.GetName() != "" })}, // unique workers have one
		{Name: "INSTANCE"},
		{Name: "SITE", Optional: true},
		{Name: "ZONE", Wide: true},
		{Name: "ALLOCATION", Wide: true},
		{Name: "MARKET", Wide: true},
		{Name: "ADDRESS", Wide: true},
		{Name: "STATE"},
		{Name: "HEALTH"},
		{Name: "AGE", Right: true},
		{Name: "LAST BEAT", Optional: true},
		{Name: "VARS", Wide: true},
		{Name: "NOTE"},
	}}
	for _, i := range list {
		age := cli.Cell{Age: "-"}
		if i.GetCreated() != nil {
			age.Age = cli.Span(now.Sub(i.GetCreated().AsTime()))
		}
		t.Rows = append(t.Rows, cli.Row{Name: i.GetWorker(), Message: i, Cells: []cli.Cell{
			cli.Text(i.GetWorker()), cli.Text(i.GetPool()), cli.Text(i.GetName()), cli.Text(orDash(i.GetInstance())),
			cli.Text(i.GetSite()), cli.Text(i.GetZone()), cli.Text(i.GetAllocation()), cli.Text(i.GetMarket()), cli.Text(i.GetAddress()),
			stateCell(i), instanceHealth(i), age,
			{Age: cli.Ago(i.GetLastBeat(), now)},
			cli.Text(vars(i.GetVars())), cli.Text(note(i)),
		}})
	}
	return t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// word is the part of 600-RUNNING that people read.
func word(state string) string {
	if _, w, ok := strings.Cut(state, "-"); ok {
		return w
	}
	return orDash(state)
}

func stateCell(i *msg.Instance) cli.Cell {
	c := cli.Text(word(i.GetState()))
	switch {
	case c.Text == "RUNNING" && i.GetDraining():
		c.Text, c.Tone = "RUNNING draining", cli.Warn
	case c.Text == "RUNNING":
		c.Tone = cli.Good
	case c.Text == "RUNNING_FAILED" || c.Text == "FAILED" || c.Text == "REJECTED":
		c.Tone = cli.Bad
	case c.Text == "TERMINATED" || c.Text == "TERMINATING":
		c.Tone = cli.Dim
	default:
		c.Tone = cli.Warn
	}
	return c
}

func instanceHealth(i *msg.Instance) cli.Cell {
	c := cli.Text(orDash(i.GetHealth()))
	switch c.Text {
	case "OK":
		c.Tone = cli.Good
	case "UNKNOWN", "-":
		c.Tone = cli.Dim
	case "OUT_OF_CONTACT":
		c.Tone = cli.Warn
	default:
		c.Tone = cli.Bad
	}
	if i.GetSuspect() {
		c.Text, c.Tone = c.Text+" suspect", cli.Warn
	}
	return c
}

// note is what a person should know about a worker: what went wrong, or what keeps it and awaits it.
func note(i *msg.Instance) string {
	switch {
	case i.GetError() != "":
		return i.GetError()
	case len(i.GetErrors()) > 0:
		e := i.GetErrors()[len(i.GetErrors())-1]
		if e.GetSignal() != "" {
			return fmt.Sprintf("%s ended by %s", e.GetProgram(), e.GetSignal())
		}
		return fmt.Sprintf("%s exited with %d", e.GetProgram(), e.GetExitStatus())
	case i.GetEndReason() != "":
		return i.GetEndReason()
	}
	var parts []string
	if i.GetReplacing() && !i.GetDraining() { // afterwards the state says so
		parts = append(parts, "to be replaced once another runs")
	}
	if i.GetProtected() {
		parts = append(parts, "protected")
	}
	if i.GetBusyUntil() != nil {
		parts = append(parts, "busy")
	}
	return strings.Join(parts, ", ")
}

func vars(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}
