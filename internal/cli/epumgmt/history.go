package epumgmt

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// past are the flags of questions about what was.
type past struct {
	since time.Duration
	limit int32
}

func (p *past) flags(c *cobra.Command, limit int32, what string) {
	c.Flags().DurationVar(&p.since, "since", 0, "only of the last `TIME`, such as 2h")
	c.Flags().Int32Var(&p.limit, "limit", limit, "at most this many `N` "+what)
}

// start is the time before which nothing is wanted; nil when --since was not given.
func (p *past) start(now time.Time) (*timestamppb.Timestamp, error) {
	if p.since < 0 || p.limit < 1 {
		return nil, cli.Usage("--since 2h --limit 20", "--since and --limit must be positive")
	}
	if p.since == 0 {
		return nil, nil
	}
	return timestamppb.New(now.Add(-p.since)), nil
}

func decisionsCommand(s *session) *cobra.Command {
	const limit = 20
	var of past
	var watch bool
	c := &cobra.Command{
		Use: "decisions POOL", Short: "List a pool's past decisions", Args: cli.Takes(1, 1),
		Long:              `List what the policy of a pool decided, newest first. Give an ID to explain --decision for all about it.`,
		Example:           "epumgmt decisions epu-web\nepumgmt decisions epu-web --since 2h --limit 5",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			since, err := of.start(s.env.Now())
			if err != nil {
				return err
			}
			q := &msg.DecisionsQuery{Pool: pool, Since: since, Limit: of.limit}
			return show(cmd.Context(), s, watch, q, func(a *msg.Decisions) (cli.View, error) {
				return cli.View{
					Type: cli.TypeOf(a), Data: a, Empty: "no decisions in that time",
					Tables: []cli.Table{decisionTable(a.GetDecisions(), s.env.Now())},
				}, nil
			})
		},
	}
	of.flags(c, limit, "decisions")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	return c
}

func decisionTable(list []*msg.DecisionSummary, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "DECISION"},
		{Name: "WHEN"},
		{Name: "DIRECTION", Wide: true},
		{Name: "BEFORE", Right: true},
		{Name: "AFTER", Right: true},
		{Name: "REASON"},
	}}
	for _, d := range list {
		t.Rows = append(t.Rows, cli.Row{Name: d.GetId(), Message: d, Cells: []cli.Cell{
			cli.Text(d.GetId()),
			{Age: cli.Ago(d.GetTime(), now)},
			cli.Text(d.GetDirection()),
			cli.Text(fmt.Sprint(d.GetBefore())), cli.Text(fmt.Sprint(d.GetAfter())), cli.Text(d.GetText()),
		}})
	}
	return t
}

func alertsCommand(s *session) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use: "alerts", Short: "List what needs a person", Args: cli.Takes(0, 0),
		Long:    `List what does not mend itself, each with its next step.`,
		Example: "epumgmt alerts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), s, watch, &msg.StatusQuery{}, func(st *msg.Status) (cli.View, error) {
				return cli.View{
					Type: "alerts", Data: alertList{Alerts: cli.Messages(st.GetAlerts())}, Empty: "no alerts",
					Tables: []cli.Table{alertTable(st.GetAlerts(), s.env.Now())},
				}, nil
			})
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	return c
}

// alertList is the answer of alerts in machine output.
type alertList struct {
	Alerts []cli.Message `json:"alerts"`
}

func alertTable(list []*msg.Alert, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "CODE"}, {Name: "SEVERITY"}, {Name: "SUBJECT"}, {Name: "SINCE", Optional: true}, {Name: "TRY", Wide: true}, {Name: "ALERT"},
	}}
	for _, a := range list {
		severity := cli.Cell{Text: a.GetSeverity(), Tone: cli.Warn}
		if a.GetSeverity() == "error" {
			severity.Tone = cli.Bad
		}
		t.Rows = append(t.Rows, cli.Row{Name: strings.TrimSuffix(a.GetCode()+"/"+a.GetSubject(), "/"), Message: a, Cells: []cli.Cell{
			cli.Text(a.GetCode()), severity, cli.Text(orDash(a.GetSubject())), since(a.GetSince(), now), cli.Text(a.GetTry()), cli.Text(a.GetText()),
		}})
	}
	return t
}

func eventsCommand(s *session) *cobra.Command {
	const limit = 50
	var of past
	var follow bool
	c := &cobra.Command{
		Use: "events [POOL]", Short: "List life-cycle events, or follow them", Args: cli.Takes(0, 1),
		Long: `List what happened to workers and pools and who ordered it, oldest first. With --follow go on with what
happens from now on, one line for each.`,
		Example:           "epumgmt events epu-web\nepumgmt events --since 1h -o jsonl",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &msg.EventsQuery{Limit: of.limit}
			var err error
			if len(args) == 1 {
				if q.Pool, err = s.pool(args[0]); err != nil {
					return err
				}
			}
			if q.Since, err = of.start(s.env.Now()); err != nil {
				return err
			}
			if follow {
				return s.follow(cmd.Context(), q)
			}
			a, err := ask[*msg.Events](cmd.Context(), s, q)
			if err != nil {
				return err
			}
			empty := "no events in that time"
			if q.Pool != "" && len(a.GetEvents()) == 0 {
				if known := s.poolNames(cmd.Context()); len(known) > 0 && !slices.Contains(known, q.Pool) {
					empty = "no events in that time, and there is no pool " + q.Pool + " now"
					if c := strictyaml.Closest(q.Pool, known); c != "" {
						empty += "; did you mean: " + c
					}
				}
			}
			return s.print.Print(cli.View{
				Type: cli.TypeOf(a), Data: a, Empty: empty, Tables: []cli.Table{eventTable(a.GetEvents(), s.env.Now())},
			})
		},
	}
	of.flags(c, limit, "past events")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new events")
	return c
}

func eventTable(list []*msg.EventRecord, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "WHEN"}, {Name: "KIND", Wide: true}, {Name: "ID", Wide: true}, {Name: "POOL"}, {Name: "EVENT"}, {Name: "DATA"},
	}}
	for _, e := range list {
		t.Rows = append(t.Rows, cli.Row{Name: e.GetId(), Message: e, Cells: []cli.Cell{
			{Age: cli.Ago(e.GetTime(), now)}, cli.Text(e.GetKind()), cli.Text(e.GetId()), cli.Text(orDash(e.GetPool())), cli.Text(e.GetName()), cli.Text(fields(e.GetData())),
		}})
	}
	return t
}

// whoFirst are the keys that say what a record is about and why: a narrow terminal cuts what stands last.
var whoFirst = []string{"worker", "launch", "user", "reason", "error", "from", "to"}

// fields writes data as key=value: whom it is about first, the others in order of keys. What is empty is left out: machines get it all.
func fields(data *structpb.Struct) string {
	m := data.AsMap()
	var parts []string
	keys := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	for _, k := range keys {
		text, ok := m[k].(string)
		if m[k] == nil || ok && text == "" {
			continue
		}
		if !ok {
			raw, err := json.Marshal(m[k])
			if err != nil {
				continue
			}
			text = string(raw)
		} else if strings.ContainsAny(text, " \"=") {
			text = strconv.Quote(text)
		}
		parts = append(parts, k+"="+text)
	}
	return strings.Join(parts, " ")
}

func place(key string) int {
	if i := slices.Index(whoFirst, key); i >= 0 {
		return i
	}
	return len(whoFirst)
}

// follow shows past events and then new ones. The watch begins where the past ends, and what is in both
// is shown once.
func (s *session) follow(ctx context.Context, q *msg.EventsQuery) error {
	if f := s.out.Form; f == cli.FormJSON || f == cli.FormYAML || f == cli.FormName {
		return cli.Usage("-o jsonl", "events that go on never end, and a document of %s would not either", f)
	}
	a, err := ask[*msg.Events](ctx, s, q)
	if err != nil {
		return err
	}
	shown := make(map[string]bool)
	for _, e := range a.GetEvents() {
		shown[e.GetId()] = true
		if err := s.event(e); err != nil {
			return err
		}
	}
	q.Since = timestamppb.New(s.env.Now())
	if n := len(a.GetEvents()); n > 0 {
		q.Since = a.GetEvents()[n-1].GetTime()
	}
	for e, err := range relay.Watch[*msg.EventRecord](ctx, s.client, q) {
		if err != nil {
			return err
		}
		if shown[e.GetId()] {
			continue
		}
		if err := s.event(e); err != nil {
			return err
		}
	}
	return nil
}

// event prints one event on one line.
func (s *session) event(e *msg.EventRecord) error {
	if s.out.Form == cli.FormJSONL {
		return s.print.Print(cli.View{Type: cli.TypeOf(e), Data: e})
	}
	line := cli.L("%s  %s  %s  %s", cli.Clock(e.GetTime().AsTime(), s.env.Now(), s.env.Zone), orDash(e.GetPool()), e.GetName(), fields(e.GetData()))
	return s.print.Print(cli.View{Lines: []cli.Line{line}})
}

// since is how long an alert has been there. Nobody knows it of a site that does not answer.
func since(t *timestamppb.Timestamp, now time.Time) cli.Cell {
	if t == nil {
		return cli.Text("-")
	}
	return cli.Cell{Age: cli.Ago(t, now)}
}
