package question

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/decision"
)

// WhatIf is the command `whatif`.
func WhatIf(h Host) *cobra.Command {
	var sensors []string
	var given settings
	var candidate string
	c := &cobra.Command{
		Use: "whatif POOL", Short: "Say what a pool would want with other readings or settings",
		Long: `Have a pool's policy evaluated on what it sees now, and once more with other sensor readings, settings or another
policy, and show both decisions side by side: what it saw, the rule, what the guard rails would change, and what would
be launched, drained and ended at once. Nothing is done, and the policy keeps nothing of it. A reading is a number or
unknown, and counts as if it had been that all along; settings are as for reconfigure. A policy that takes other
settings than the pool's is asked with --unset and --set, or with all of them in a file (--conf).`,
		Example:           "epumgmt whatif epu-web --sensor queue-length=5000\nepumgmt whatif epu-web --sensor queue-length=unknown --set min_instances=5\nepumgmt whatif epu-web --policy queuelen --unset preserve_n --set queuelen_high_water=60 --set queuelen_low_water=10",
		Args:              cli.Takes(1, 1),
		ValidArgsFunction: h.Pools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := h.Pool(args[0])
			if err != nil {
				return err
			}
			try := "epumgmt whatif " + pool + " --sensor queue-length=5000 --set min_instances=5"
			q := &msg.WhatIfQuery{Pool: pool}
			if q.Sensors, err = readings(sensors); err != nil {
				return cli.Usage(try, "--sensor: %w", err)
			}
			v, err := h.variant(given, "epumgmt whatif "+pool)
			if err != nil {
				return err
			}
			q.Conf, q.Unset, q.Whole = v.conf, v.unset, v.whole
			own := ""
			if candidate != "" {
				p, err := h.Load(candidate)
				if err != nil {
					return err
				}
				q.Policy, own = files(p), p.Name
			}
			if len(sensors) == 0 && !given.given() && candidate == "" {
				return cli.Usage(try, "say what would be otherwise: --sensor, --set, --unset, --conf or --policy")
			}
			return v.placed(whatIf(cmd.Context(), h, q), own, candidate)
		},
	}
	c.Flags().StringArrayVar(&sensors, "sensor", nil, "`SENSOR=VALUE` in place of what the sensor reads; may be repeated")
	given.flags(c.Flags(), "`KEY=VALUE` in place of a setting; may be repeated")
	c.Flags().StringVar(&candidate, "policy", "", "`FILE` of a policy, or the name of one, in place of the pool's")
	return c
}

func whatIf(ctx context.Context, h Host, q *msg.WhatIfQuery) error {
	answer, err := ask[*msg.WhatIf](ctx, h, q)
	if err != nil {
		return err
	}
	now, err := decision.Read(answer.GetNow())
	if err != nil {
		return epu.E(epu.Internal, "read the answer about", q.GetPool(), errForm)
	}
	then, err := decision.Read(answer.GetDecision())
	if err != nil {
		return epu.E(epu.Internal, "read the answer about", q.GetPool(), errForm)
	}
	p := h.Print()
	v := cli.View{Type: cli.TypeOf(answer), Data: answer, Lines: sides(q.GetPool(), now, then, answer, p.Width)}
	if q.GetPolicy() == nil && len(q.GetSensors()) == 0 && !q.GetWhole() {
		v.Hints = []cli.Line{cli.L("Next: epumgmt reconfigure %s %s puts it in force", q.GetPool(), inForce(q))}
	}
	return p.Print(v)
}

// inForce are a query's settings as reconfigure takes them; null is the default.
func inForce(q *msg.WhatIfQuery) string {
	var parts []string
	for _, key := range q.GetUnset() {
		if _, ok := q.GetConf().GetFields()[key]; !ok {
			parts = append(parts, key+"=null")
		}
	}
	for key, v := range q.GetConf().AsMap() {
		parts = append(parts, fmt.Sprintf("%s=%v", key, v))
	}
	if len(parts) != 1 {
		return "KEY=VALUE..."
	}
	return parts[0]
}

const (
	usualWidth = 100 // off a terminal
	labelWidth = 12
	gap        = 3 // between the sides
	sideMin    = 24
)

// sides lays two decisions out beside each other.
func sides(pool string, now, then decision.Decided, actions *msg.WhatIf, width int) []cli.Line {
	if width <= 0 {
		width = usualWidth
	}
	width = max((width-labelWidth-gap)/2, sideMin)
	lines := []cli.Line{
		cli.L("%s wants %s now, and would want %s", pool, plural(now.Wish.Target, "instance"), plural(then.Wish.Target, "instance")),
		row("", "NOW", "THEN", width),
	}
	if now.PolicyHash != then.PolicyHash {
		lines = append(lines, rows("policy", []string{version(now)}, []string{version(then)}, width)...)
	}
	failed := func(d decision.Decided) []string {
		if d.Error == "" {
			return nil
		}
		return []string{d.Error, "the last wish stands"}
	}
	for _, r := range []struct {
		label     string
		now, then []string
	}{
		{"failed", failed(now), failed(then)},
		{"saw", decision.Inputs(now.Inputs), decision.Inputs(then.Inputs)},
		{"rule", decision.Reasons(now.Reasons), decision.Reasons(then.Reasons)},
		{"clamped", decision.Reasons(now.Clamps), decision.Reasons(then.Clamps)},
		{"rejected", decision.Reasons(now.Rejected), decision.Reasons(then.Rejected)},
		{"alert", now.Alerts, then.Alerts},
		{"wants", []string{plural(now.Wish.Target, "instance")}, []string{plural(then.Wish.Target, "instance")}},
		{"at once", orNothing(actions.GetNowActions()), orNothing(actions.GetActions())},
	} {
		lines = append(lines, rows(r.label, r.now, r.then, width)...)
	}
	for _, note := range actions.GetNotes() {
		lines = append(lines, cli.L("Note: %s", note))
	}
	return append(lines, cli.L("Nothing was done."))
}

func version(d decision.Decided) string {
	return strings.TrimSuffix(d.Policy+" "+d.PolicyHash[:min(4, len(d.PolicyHash))], " ")
}

func orNothing(list []string) []string {
	if len(list) == 0 {
		return []string{"nothing"}
	}
	return list
}

// rows puts two lists beside each other, the label before the first line.
func rows(label string, now, then []string, width int) []cli.Line {
	left, right := broken(now, width), broken(then, width)
	var out []cli.Line
	for i := range max(len(left), len(right)) {
		out = append(out, row(label, at(left, i), at(right, i), width))
		label = ""
	}
	return out
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func row(label, left, right string, width int) cli.Line {
	text := left
	if right != "" {
		text += strings.Repeat(" ", max(0, width-utf8.RuneCountInString(left))+gap) + right
	}
	return cli.Line{{Text: fmt.Sprintf("  %-*s", labelWidth-2, label), Tone: cli.Dim}, cli.Text(text)}
}

// broken breaks texts into lines of at most width; what goes on is indented.
func broken(texts []string, width int) (out []string) {
	for _, text := range texts {
		line := ""
		for _, word := range strings.Fields(cli.Clean(text)) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				out = append(out, line)
				line = "  " + word
			}
			for utf8.RuneCountInString(line) > width {
				r := []rune(line)
				out = append(out, string(r[:width]))
				line = "  " + string(r[width:])
			}
		}
		out = append(out, line)
	}
	return out
}
