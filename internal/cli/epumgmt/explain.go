package epumgmt

import (
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
	"github.com/nimbus-epu/epu/internal/cli/decision"
)

func explainCommand(s *session) *cobra.Command {
	var decision, at string
	var watch bool
	c := &cobra.Command{
		Use: "explain POOL", Short: "Say why a pool wants what it wants", Args: cli.Takes(1, 1),
		Long: `Say what the policy of a pool saw, which rule it followed, what the guard rails changed, what it
rejected, what is being done, the policy's settings, and what would change the answer. With --decision or --at: of a decision of the
past, and what it led to at once. --at takes a time of day, a date with a time, or how long ago.`,
		Example:           "epumgmt explain epu-web\nepumgmt explain epu-web --at 14:30\nepumgmt explain epu-web --decision 01JC0000000000000000000001",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			q := &msg.ExplainQuery{Pool: pool, Decision: decision}
			switch {
			case at != "" && decision != "":
				return cli.Usage("epumgmt explain "+pool+" --at "+at, "a decision is named by --decision or by --at, not by both")
			case watch && (decision != "" || at != ""):
				return cli.Usage("epumgmt explain "+pool+" -w", "a past decision does not change: leave out -w, or --decision and --at")
			case at != "":
				t, err := moment(at, s.env.Now(), s.env.Zone)
				if err != nil {
					return cli.Usage("--at 14:30   or   --at '2026-11-21 14:30'   or   --at '10m ago'", "--at: %w", err)
				}
				q.At = timestamppb.New(t)
			}
			return show(cmd.Context(), s, watch, q, s.explanationView)
		},
	}
	c.Flags().StringVar(&at, "at", "", "the decision that was in force at this `TIME`")
	c.Flags().StringVar(&decision, "decision", "", "`ID` of a past decision; the newest otherwise")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	return c
}

// moment reads a time as people write it: a time of day is the last one that has passed.
func moment(text string, now time.Time, zone *time.Location) (time.Time, error) {
	now = now.In(zone)
	if d, err := time.ParseDuration(strings.TrimSpace(strings.TrimSuffix(text, "ago"))); err == nil {
		if d < 0 {
			return now, fmt.Errorf("%q lies in the future", text)
		}
		return now.Add(-d), nil
	}
	for _, form := range []string{"15:04", time.TimeOnly} {
		t, err := time.ParseInLocation(form, text, zone)
		if err != nil {
			continue
		}
		y, m, d := now.Date()
		t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, zone)
		if t.After(now) {
			t = t.AddDate(0, 0, -1)
		}
		return t, nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(form, text, zone); err == nil {
			if t.After(now) {
				return now, fmt.Errorf("%q lies in the future", text)
			}
			return t, nil
		}
	}
	return now, fmt.Errorf("%q is no time", text)
}

func (s *session) explanationView(e *msg.Explanation) (cli.View, error) {
	v := cli.View{Type: cli.TypeOf(e), Data: e}
	name := e.GetPool().GetName()
	if e.GetDecision() == nil || len(e.GetDecision().GetFields()) == 0 {
		v.Lines = []cli.Line{cli.L("%s has made no decision yet (engine %s)", name, orDash(e.GetPool().GetEngine()))}
		v.Lines = append(v.Lines, labelled("doing", atMost(doingMax, e.GetDoing()))...)
		v.Lines = append(v.Lines, s.settings(e.GetPool().GetPolicy(), e.GetPool().GetConf().AsMap())...)
		v.Lines = append(v.Lines, wouldChange(e)...)
		return v, nil
	}
	d, err := decision.Read(e.GetDecision())
	if err != nil {
		return v, &epu.Error{Op: "read the explanation of", On: name, Err: errors.New("its form is unknown to this program: " + err.Error()), Try: "use the client that came with the node, or -o json"}
	}
	v.Lines = s.explanation(e, d)
	return v, nil
}

const (
	explainWidth = 100 // of lines of inputs, off a terminal
	doingMax     = 10  // lines for people of what is being done; machines get all
)

// atMost cuts a list short and says how much is left out.
func atMost(n int, list []string) []string {
	if len(list) <= n {
		return list
	}
	return append(slices.Clone(list[:n-1]), fmt.Sprintf("and %d more (epumgmt instances, or -o json)", len(list)-n+1))
}

func (s *session) explanation(e *msg.Explanation, d decision.Decided) []cli.Line {
	now := s.env.Now()
	version := ""
	if d.PolicyHash != "" {
		version = ", version " + d.PolicyHash[:min(4, len(d.PolicyHash))]
	}
	wants := plural(d.Wish.Target, "instance")
	id, same := d.ID, ""
	if d.Same != "" { // only that one can be asked for later
		id, same = d.Same, "the same as "
	}
	if p := e.GetPool(); p.GetLastDecision().GetId() == id && int(p.GetWant()) != d.Wish.Target {
		wants = fmt.Sprintf("%s now, and %d by its policy", plural(int(p.GetWant()), "instance"), d.Wish.Target)
	}
	lines := []cli.Line{{
		cli.Text(e.GetPool().GetName()),
		cli.Text(fmt.Sprintf(" wants %s (policy %s%s, decided %s, %sdecision %s)", wants,
			d.Policy, version, cli.Clock(d.Time, now, s.env.Zone), same, id)),
	}}
	if d.Error != "" {
		lines = append(lines, cli.Line{cli.Text(pad("failed")), {Text: d.Error + "; the last wish stands", Tone: cli.Bad}})
	}
	lines = append(lines, labelled("saw", decision.Wrap(decision.Inputs(d.Inputs), s.explainWidth()-labelWidth))...)
	lines = append(lines, labelled("rule", decision.Reasons(d.Reasons))...)
	clamps := decision.Reasons(d.Clamps)
	if len(clamps) > 0 && d.Wanted.Target != d.Wish.Target && !strings.Contains(clamps[0], " -> ") { // it may say so itself
		clamps[0] = fmt.Sprintf("%d -> %d   %s", d.Wanted.Target, d.Wish.Target, clamps[0])
	}
	lines = append(lines, labelled("clamped", clamps)...)
	lines = append(lines, labelled("rejected", decision.Reasons(d.Rejected))...)
	lines = append(lines, labelled("doing", atMost(doingMax, e.GetDoing()))...)
	lines = append(lines, labelled("alert", d.Alerts)...)
	if f := e.GetPool().GetFreeze(); f != nil {
		c := lastDecision(e.GetPool(), now)
		lines = append(lines, cli.Line{cli.Text(pad("frozen")), {Text: strings.TrimPrefix(c.Text, "frozen "), Stamp: c.Stamp, Tone: cli.Warn}})
	}
	if p := e.GetPool(); p.GetShadow() != "" {
		lines = append(lines, labelled("shadow", []string{p.GetShadow() + "  (epumgmt policy shadow " + p.GetName() + " --status)"})...)
	}
	conf := d.Conf
	if p := e.GetPool(); p.GetLastDecision().GetId() == id { // what was changed since it counts from the next one on
		conf = p.GetConf().AsMap()
	}
	lines = append(lines, s.settings(d.Policy, conf)...)
	if d.Equal > 0 {
		lines = append(lines, labelled("before", []string{"the decision before this one was repeated " + plural(d.Equal, "time")})...)
	}
	return append(lines, wouldChange(e)...)
}

// settings shows a policy's configuration as reconfigure takes it. What is not set has its default.
func (s *session) settings(policy string, conf map[string]any) []cli.Line {
	if len(conf) == 0 {
		if policy == "" {
			return nil
		}
		return labelled("settings", []string{"none but the defaults of its policy (epumgmt policy doc " + policy + ")"})
	}
	return labelled("settings", decision.Wrap(decision.Settings(conf), s.explainWidth()-labelWidth))
}

func (s *session) explainWidth() int {
	if s.print.Width > 0 {
		return s.print.Width
	}
	return explainWidth
}

func wouldChange(e *msg.Explanation) []cli.Line {
	if len(e.GetWouldChange()) == 0 {
		return nil
	}
	return []cli.Line{cli.L("  would change if   %s", strings.Join(e.GetWouldChange(), ", or "))}
}

const labelWidth = 12

func pad(label string) string { return fmt.Sprintf("  %-*s", labelWidth-2, label) }

// labelled puts a label before the first line and as much space before the others.
func labelled(label string, texts []string) []cli.Line {
	var lines []cli.Line
	for _, text := range texts {
		lines = append(lines, cli.Line{{Text: pad(label), Tone: cli.Dim}, cli.Text(text)})
		label = ""
	}
	return lines
}
