package epumgmt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

func statusCommand(s *session) *cobra.Command {
	var watch, check bool
	c := &cobra.Command{
		Use: "status [POOL...]", Short: "Show whether pools are where they want to be", Args: cli.Takes(0, -1),
		Long: `Show each pool on one line: whether it has what it wants (yes, no, capped, frozen, removing, recovery),
whether it is healthy, how many workers it wants, has, starts and drains, how many are bad, and its last
decision with the reason. Then the sites, the nodes, and what to look at next.`,
		Example:           "epumgmt status\nepumgmt status epu-web -o json\nepumgmt status --columns pool,want,have\nepumgmt status epu-web --check",
		ValidArgsFunction: s.completePools(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, p := range args {
				if _, err := s.pool(p); err != nil {
					return err
				}
			}
			if watch && check {
				return cli.Usage("epumgmt wait POOL --for converged", "--check looks once; it can't be watched")
			}
			var last *msg.Status
			err := show(cmd.Context(), s, watch, &msg.StatusQuery{Pools: args}, func(st *msg.Status) (cli.View, error) {
				last = st
				return s.statusView(st), missing(st, args)
			})
			if err != nil || !check {
				return err
			}
			return s.check(last)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	c.Flags().BoolVar(&check, "check", false, "exit with 20 unless every pool is converged and healthy")
	return c
}

// missing is an error if a pool that was asked for is not in the answer.
func missing(st *msg.Status, pools []string) error {
	for _, name := range pools {
		if !slices.ContainsFunc(st.GetPools(), func(p *msg.PoolStatus) bool { return p.GetName() == name }) {
			return epu.E(epu.NotFound, "show the status of", name, errors.New("there is no such pool"))
		}
	}
	return nil
}

// settled reports that a pool has what it wants. A frozen pool that does is no cause for alarm: someone
// decided so.
func settled(p *msg.PoolStatus) bool {
	return p.GetConverged() == "yes" || p.GetConverged() == "frozen" && p.GetGap() == 0 && p.GetEngine() != "PENDING"
}

func healthy(p *msg.PoolStatus) bool { return p.GetHealth() == "ok" }

// check is for scripts and monitoring.
func (s *session) check(st *msg.Status) error {
	bad := false
	for _, p := range st.GetPools() {
		if !settled(p) {
			s.print.Note("not converged: %s (%s)", p.GetName(), strings.TrimSpace(converged(p)))
		}
		if !healthy(p) {
			s.print.Note("not healthy: %s (%s)", p.GetName(), p.GetHealth())
		}
		bad = bad || !settled(p) || !healthy(p)
	}
	if bad {
		return cli.Exit{Code: cli.CodeUnhealthy}
	}
	return nil
}

func (s *session) statusView(st *msg.Status) cli.View {
	now := s.env.Now()
	v := cli.View{
		Type: cli.TypeOf(st), Data: st, Empty: "no pools yet; add some with: epumgmt apply -f DIR",
		Tables: []cli.Table{poolTable(st.GetPools(), now), siteTable(st.GetSites(), now)},
	}
	if len(st.GetNodes()) > 0 || len(st.GetAlerts()) > 0 {
		v.Lines = append(v.Lines, nodesLine(st))
	}
	for _, p := range st.GetPools() {
		if p.GetShadow() != "" {
			v.Lines = append(v.Lines, cli.L("In the shadow of %s: %s", p.GetName(), p.GetShadow()))
		}
	}
	if next := nextSteps(st); next != "" {
		v.Hints = append(v.Hints, cli.L("Next: %s", next))
	}
	return v
}

func poolTable(pools []*msg.PoolStatus, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "POOL"},
		{Name: "CONVERGED"},
		{Name: "HEALTH"},
		{Name: "WANT", Right: true},
		{Name: "HAVE", Right: true},
		{Name: "START", Right: true, Optional: true},
		{Name: "DRAIN", Right: true, Optional: true},
		{Name: "BAD", Right: true},
		{Name: "ENDING", Right: true, Wide: true},
		{Name: "ENGINE", Wide: true},
		{Name: "POLICY", Wide: true},
		{Name: "LAST DECISION"},
	}}
	for _, p := range pools {
		number := func(n int32) cli.Cell { return cli.Text(fmt.Sprint(n)) }
		bad := number(p.GetUnhealthy())
		if p.GetUnhealthy() > 0 {
			bad.Tone = cli.Bad
		}
		policy := p.GetPolicy()
		if h := p.GetPolicyHash(); h != "" {
			policy += "@" + h[:min(len(h), 12)]
		}
		t.Rows = append(t.Rows, cli.Row{Name: p.GetName(), Message: p, Cells: []cli.Cell{
			cli.Text(p.GetName()),
			{Text: converged(p), Tone: convergedTone(p)},
			{Text: p.GetHealth(), Tone: healthTone(p.GetHealth())},
			number(p.GetWant()), number(p.GetHave()), number(p.GetStarting()), number(p.GetDraining()), bad,
			number(p.GetEnding()), cli.Text(p.GetEngine()), cli.Text(policy), lastDecision(p, now),
		}})
	}
	return t
}

func converged(p *msg.PoolStatus) string {
	if p.GetConverged() == "no" && p.GetGap() != 0 {
		return fmt.Sprintf("no  %+d", p.GetGap())
	}
	return p.GetConverged()
}

func convergedTone(p *msg.PoolStatus) cli.Tone {
	switch p.GetConverged() {
	case "yes":
		return cli.Good
	case "frozen", "removing":
		return cli.Dim
	}
	return cli.Warn
}

func healthTone(health string) cli.Tone {
	switch health {
	case "ok":
		return cli.Good
	case "degraded", "suspect":
		return cli.Warn
	case "policy-failing":
		return cli.Bad
	}
	return cli.Dim
}

// lastDecision says why a pool stands where it stands: a freeze or a failing policy says more than the
// decision before it.
func lastDecision(p *msg.PoolStatus, now time.Time) cli.Cell {
	if f := p.GetFreeze(); f != nil {
		text := "frozen " + cli.Ago(f.GetSince(), now)
		if f.GetBy() != "" {
			text += " by " + f.GetBy()
		}
		if f.GetUntil() != nil {
			text += " for " + cli.Span(f.GetUntil().AsTime().Sub(now)) + " more"
		}
		if f.GetReason() != "" {
			text += ": " + f.GetReason()
		}
		return cli.Cell{Text: text, Stamp: "frozen " + f.GetBy() + f.GetReason()}
	}
	if p.GetError() != "" {
		text, _, _ := strings.Cut(p.GetError(), "\n") // explain shows the source and what was read as well
		return cli.Cell{Text: "policy failing: " + text, Tone: cli.Bad}
	}
	d := p.GetLastDecision()
	if d == nil {
		return cli.Text("none yet")
	}
	return cli.Cell{Age: cli.Ago(d.GetTime(), now), Text: d.GetText()}
}

func siteTable(sites []*msg.SiteStatus, now time.Time) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Name: "SITE"},
		{Name: "STATE"},
		{Name: "INSTANCES", Right: true},
		{Name: "STUCK", Right: true},
		{Name: "DRIVER", Wide: true},
		{Name: "FOREIGN", Right: true, Wide: true},
		{Name: "CONDEMNED", Right: true, Wide: true},
		{Name: "LAST LISTING", Optional: true},
		{Name: "API BUDGET"},
	}}
	for _, x := range sites {
		state := cli.Cell{Text: x.GetState(), Tone: cli.Good}
		if !strings.HasPrefix(x.GetState(), "ok") {
			state.Tone = cli.Warn
		}
		if x.GetError() != "" {
			state.Text += ": " + x.GetError()
			state.Tone = cli.Bad
		}
		count := fmt.Sprint(x.GetInstances())
		if x.GetInstancesMax() > 0 {
			count = fmt.Sprintf("%d/%d", x.GetInstances(), x.GetInstancesMax())
		}
		stuck := cli.Text(fmt.Sprint(x.GetStuck()))
		if x.GetStuck() > 0 {
			stuck.Tone = cli.Bad
		}
		t.Rows = append(t.Rows, cli.Row{Name: x.GetName(), Message: x, Cells: []cli.Cell{
			cli.Text(x.GetName()), state, cli.Text(count), stuck, cli.Text(x.GetDriver()),
			cli.Text(fmt.Sprint(x.GetForeign())), cli.Text(fmt.Sprint(x.GetCondemned())),
			{Age: cli.Ago(x.GetLastListing(), now)},
			budget(x),
		}})
	}
	return t
}

// budget counts as an age: it moves all the time and nobody waits for it.
func budget(x *msg.SiteStatus) cli.Cell {
	return cli.Cell{Age: fmt.Sprintf("%d/%d", x.GetApiBudget(), x.GetApiBurst())}
}

// nodesLine is "Nodes: 2 of 3 (n1 provisioner, n2, n3 down)   Alerts: 1". A node that has not started is
// down. The role is worth a word only where nodes differ.
func nodesLine(st *msg.Status) cli.Line {
	up := 0
	var words []string
	for _, n := range st.GetNodes() {
		word := n.GetName()
		if len(st.GetNodes()) > 1 && slices.Contains(n.GetRoles(), "provisioner") {
			word += " provisioner"
		}
		switch {
		case n.GetStarted() == nil:
			word += " down"
		case n.GetStore() != "" && n.GetStore() != "ok":
			word += " store " + n.GetStore()
			up++
		default:
			up++
		}
		words = append(words, word)
	}
	line := cli.Line{{Text: fmt.Sprintf("Nodes: %d of %d (%s)", up, len(st.GetNodes()), strings.Join(words, ", "))}}
	alerts := cli.Cell{Text: fmt.Sprintf("   Alerts: %d", len(st.GetAlerts()))}
	if len(st.GetAlerts()) > 0 {
		alerts.Tone = cli.Warn
	}
	return append(line, alerts)
}

// nextSteps names the pool that most needs a look, and the alerts.
func nextSteps(st *msg.Status) string {
	var worst *msg.PoolStatus
	for _, p := range st.GetPools() {
		if concern(p) > 0 && (worst == nil || concern(p) > concern(worst)) {
			worst = p
		}
	}
	var steps []string
	if worst != nil {
		steps = append(steps, "epumgmt explain "+worst.GetName())
	}
	if len(st.GetAlerts()) > 0 {
		steps = append(steps, "epumgmt alerts")
	}
	return strings.Join(steps, "     ")
}

// concern ranks what a person should look at first. A pool that is being given what it wants needs
// nobody.
func concern(p *msg.PoolStatus) int {
	switch {
	case p.GetHealth() == "policy-failing":
		return 5
	case p.GetConverged() == "recovery":
		return 4
	case p.GetHealth() == "suspect":
		return 3
	case p.GetConverged() == "capped":
		return 2
	case p.GetHealth() == "degraded", p.GetConverged() == "no" && p.GetStarting() == 0 && p.GetGap() > 0:
		return 1
	}
	return 0
}
