package actors_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/gateway"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/policies"
)

// What operators are told by a gateway over a whole tree of actors, in virtual time.

// planned is the reader of files in these tests: what is to be applied is given.
type planned struct {
	pools []epu.PoolSpec
	dry   bool // the site
}

func (p *planned) Plan(view msg.RegistryView, _ map[epu.PoolID]msg.PoolView, _ string, _ []*msg.File) (*msg.Plan, *msg.ApplySpecs, error) {
	site := campaignSite("cloud")
	site.PollEvery, site.VisibilityWindow, site.BackoffFirst = time.Second, 10*time.Second, time.Second
	site.DryRun = p.dry
	m := &msg.ApplySpecs{Gen: view.Gen, Sites: []epu.SiteSpec{site}}
	for _, s := range p.pools {
		m.Pools = append(m.Pools, msg.PoolEntry{Spec: s, Launches: map[epu.SiteID]epu.LaunchSpec{
			"cloud": {Site: "cloud", Type: "worker", Image: "img", Health: s.Health, Drain: s.Drain},
		}})
	}
	return &msg.Plan{}, m, nil
}

// compiled checks policies as far as this package can: it compiles them. The node's own takes preserve_n.
type compiled struct{ during func() } // during a check

const ownPolicy = `return { doc = "of the node", params = { preserve_n = { type = "integer", default = 0 } }, decide = function(control) control.scale_to(1) end }`

func (c compiled) Check(_ context.Context, name string, files []epu.PolicyFile, takers []msg.PoolView) (epu.PolicyVersion, []*msg.Problem, error) {
	if c.during != nil && takers != nil {
		c.during()
	}
	p, err := policies.Compile(name, []byte(files[0].Text), nil)
	if err != nil {
		return epu.PolicyVersion{}, nil, err
	}
	for _, pool := range takers {
		if _, problems := p.Check(pool.Conf); len(problems) > 0 {
			return epu.PolicyVersion{}, nil, epu.E(epu.Invalid, "check", string(pool.Spec.Name), policies.Problems(problems))
		}
	}
	return epu.PolicyVersion{Name: name, Hash: p.Hash, Files: p.Files()}, nil, nil
}

func (c compiled) Stored(name string) (epu.PolicyVersion, error) {
	v, _, err := c.Check(context.Background(), name, []epu.PolicyFile{{Path: name + ".lua", Text: ownPolicy}}, nil)
	v.Origin = epu.PolicyBuiltIn
	return v, err
}

func (compiled) Alerts() []*msg.Alert { return nil }

// operator is who asks a node's gateway.
type operator struct {
	n     *node
	g     *gateway.Gateway
	files *planned
}

func newOperator(n *node) *operator {
	o := &operator{n: n, files: &planned{}}
	o.g = gateway.New(n.Tree, o.files, compiled{}, gateway.NodeInfo{Name: "n1", Version: &msg.Version{Version: "test"}})
	return o
}

func (o *operator) try(body proto.Message) (proto.Message, error) {
	return o.g.Ask(context.Background(), &msg.Request{Id: "c", User: "anna"}, body)
}

func (o *operator) ask(body proto.Message) proto.Message {
	o.n.t.Helper()
	answer, err := o.try(body)
	if err != nil {
		o.n.t.Fatalf("%T: %v", body, err)
	}
	return answer
}

// says holds the text of a command's answer.
func (o *operator) says(body proto.Message, want string) {
	o.n.t.Helper()
	if got := o.ask(body).(*msg.Done).GetText(); !strings.Contains(got, want) {
		o.n.t.Errorf("%T: got %q, want %q in it", body, got, want)
	}
}

func (o *operator) explain(q *msg.ExplainQuery) string {
	o.n.t.Helper()
	e := o.ask(q).(*msg.Explanation)
	return strings.Join(append(e.GetDoing(), e.GetWouldChange()...), "\n")
}

// Goal: a script may scale a pool right after its first apply. Method: both, with no time between them.
func TestCommandRightAfterApply(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 1), treePool("db", 1)}
		began := time.Now()
		o.ask(&msg.Apply{})
		o.says(&msg.Scale{Pool: "web", N: 3}, "preserve_n = 3")
		o.says(&msg.FreezeCommand{Pool: "db"}, "is frozen")
		if took := time.Since(began); took > time.Second {
			t.Errorf("apply and two commands took %s", took)
		}
		if _, err := o.try(&msg.Scale{Pool: "wbe", N: 3}); epu.KindOf(err) != epu.NotFound || !strings.Contains(epu.TryOf(err), "db, web") {
			t.Errorf("got %v (%s), want not found with the pools there are", err, epu.TryOf(err))
		}
		o.says(&msg.Thaw{Pool: "db"}, "not frozen")
		n.expect(time.Minute, 4, map[epu.PoolID]int{"web": 3, "db": 1})
		o.ask(&msg.Remove{Pool: "db"})
		if _, err := o.try(&msg.Scale{Pool: "db", N: 3}); epu.KindOf(err) != epu.Conflict {
			t.Errorf("scaling a pool that is being removed gave %v, want a conflict", err)
		}
	})
}

// Goal: commands to a pool that may not act say when they take effect; status and explain name what
// keeps it. Method: a freeze with and without healing, then terminate-all.
func TestAnswersWhileNothingMayHappen(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		p := treePool("web", 3)
		p.Limits.Max = 3
		o.files.pools = []epu.PoolSpec{p}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 3})
		victim := func() string { return string(n.pool("web").Workers[0].ID) }
		o.says(&msg.Kill{Instance: victim()}, "will be replaced if it is still wanted")
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 3})
		o.ask(&msg.FreezeCommand{Pool: "web", Healing: true})
		o.says(&msg.Kill{Instance: victim()}, "will be replaced if it is still wanted")
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 3})
		o.ask(&msg.FreezeCommand{Pool: "web", For: durationpb.New(time.Hour)})
		o.says(&msg.Kill{Instance: victim()}, "will be replaced once the pool is thawed (epumgmt thaw web)")
		o.says(&msg.Scale{Pool: "web", N: 5}, "it takes effect once the pool is thawed")
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		o.ask(&msg.Thaw{Pool: "web"})
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 3})
		line := func() *msg.PoolStatus { return o.ask(&msg.StatusQuery{}).(*msg.Status).GetPools()[0] }
		if p := line(); p.GetConverged() != "capped" || !strings.HasPrefix(p.GetLastDecision().GetText(), "hold at 3, 5 wanted: limits.max") {
			t.Errorf("got %q and %q for 5 wanted and 3 allowed", p.GetConverged(), p.GetLastDecision().GetText())
		}
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "limits.max >= 5") || !strings.Contains(got, "preserve_n other than 5") {
			t.Errorf("explain says\n%s", got)
		}
		o.ask(&msg.TerminateAll{})
		n.expect(time.Minute, 0, map[epu.PoolID]int{"web": 0})
		if p := line(); p.GetConverged() != "yes" || !strings.Contains(p.GetLastDecision().GetText(), "terminate-all") {
			t.Errorf("got %q and %q after terminate-all", p.GetConverged(), p.GetLastDecision().GetText())
		}
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "terminate-all") || !strings.Contains(got, "epumgmt enable") {
			t.Errorf("explain says after terminate-all\n%s", got)
		}
		o.says(&msg.Scale{Pool: "web", N: 1}, "it takes effect once launching is switched on again (epumgmt enable)")
	})
}

// Goal: a node that starts while policies are not asked does not deny the past: status and explain show the last
// recorded decision, and that the policy is not asked. Method: a start after a freeze, another after terminate-all,
// one without a history.
func TestAnswersAfterAStartWhileNothingMayHappen(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 3)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 3, map[epu.PoolID]int{"web": 3})
		last := o.ask(&msg.DecisionsQuery{Pool: "web"}).(*msg.Decisions).GetDecisions()[0].GetId()
		again := func(when string, want int32, says ...string) {
			t.Helper()
			history := n.history
			n.stop()
			if last != "" {
				n.history = history
			}
			n.start()
			o.g = newOperator(n).g
			p := o.ask(&msg.StatusQuery{}).(*msg.Status).GetPools()[0]
			if p.GetHealth() != "ok" || p.GetWant() != want || p.GetLastDecision().GetId() != last {
				t.Errorf("%s: status has %v, want %d wanted and the decision %s", when, p, want, last)
			}
			e := o.ask(&msg.ExplainQuery{Pool: "web"}).(*msg.Explanation)
			if got := e.GetDecision().GetFields()["id"].GetStringValue(); got != last {
				t.Errorf("%s: explain shows the decision %q, want %q", when, got, last)
			}
			for _, text := range says {
				if got := strings.Join(e.GetDoing(), "\n"); !strings.Contains(got, text) {
					t.Errorf("%s: explain says\n%s\nwithout %q", when, got, text)
				}
			}
		}
		o.ask(&msg.FreezeCommand{Pool: "web"})
		again("frozen", 3, "keeps its last wish, 3 workers: its policy is not asked while the pool is frozen", "epumgmt thaw web")
		o.ask(&msg.Thaw{Pool: "web"})
		o.ask(&msg.TerminateAll{})
		n.expect(time.Minute, 0, map[epu.PoolID]int{"web": 0})
		last = o.ask(&msg.DecisionsQuery{Pool: "web"}).(*msg.Decisions).GetDecisions()[0].GetId()
		again("after terminate-all", 0, "wants none instead of its last wish, 3 workers, and its policy is not asked: terminate-all", "epumgmt enable")
		last = ""
		again("without a history", 0, "its last wish, 3 workers, and its policy is not asked")
	})
}

// Goal: decisions show replacements, which no decision ordered; explain finds what was in force at a
// time. Method: a worker that dies, a pool that is scaled, and questions about before and after.
func TestAnswersAboutThePast(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 2)}
		before := time.Now()
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		small := time.Now()
		n.expect(time.Second, 2, map[epu.PoolID]int{"web": 2})
		o.ask(&msg.Scale{Pool: "web", N: 4})
		n.expect(time.Minute, 4, map[epu.PoolID]int{"web": 4})

		var lines []string
		list := o.ask(&msg.DecisionsQuery{Pool: "web"}).(*msg.Decisions).GetDecisions()
		for _, d := range list {
			lines = append(lines, d.GetText())
			if d.GetDirection() == "heal" && (d.GetBefore() != 2 || d.GetAfter() != 2) {
				t.Errorf("the replacement goes from %d to %d, want 2 all along", d.GetBefore(), d.GetAfter())
			}
		}
		text := strings.Join(lines, "\n")
		if !strings.Contains(text, "up 2->4: preserve_n = 4\nheal: 1 worker launched in place of web-1-1/0: disappeared\nhold: preserve_n = 2\nup 0->2") {
			t.Errorf("got the decisions\n%s", text)
		}
		if got := o.ask(&msg.DecisionsQuery{Pool: "web", Limit: 2}).(*msg.Decisions).GetDecisions(); len(got) != 2 || got[1].GetBefore() != 2 {
			t.Errorf("got %v for the last two", got)
		}

		e := o.ask(&msg.ExplainQuery{Pool: "web", At: timestamppb.New(small)}).(*msg.Explanation)
		if got := e.GetDecision().GetFields()["wish"].GetStructValue().GetFields()["target"].GetNumberValue(); got != 2 {
			t.Errorf("the target in force before scaling was %v, want 2", got)
		}
		first := list[len(list)-1].GetId()
		if got := o.explain(&msg.ExplainQuery{Pool: "web", Decision: first}); got != "launch 2 workers at cloud: 2 wanted, 0 there\npreserve_n other than 2" {
			t.Errorf("the first decision led to\n%s", got)
		}
		if _, err := o.try(&msg.ExplainQuery{Pool: "web", At: timestamppb.New(before.Add(-time.Hour))}); epu.KindOf(err) != epu.NotFound {
			t.Errorf("explain of a time before the pool gave %v, want not found", err)
		}
		// A decision that repeats another has no record: it names the one that has.
		shown := o.ask(&msg.ExplainQuery{Pool: "web"}).(*msg.Explanation).GetDecision().GetFields()["same"].GetStringValue()
		if again, err := o.try(&msg.ExplainQuery{Pool: "web", Decision: shown}); err != nil || shown == "" {
			t.Errorf("the decision shown now is %q, and asking for it gives %v, %v", shown, again, err)
		}
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "launched 2 workers (web-1-3) ") || strings.Contains(got, "asked for") {
			t.Errorf("explain says\n%s", got)
		}
	})
}

// Goal: who watches hears of a freeze however short. Method: a freeze and a thaw, and what is signalled.
func TestChangesAreSignalled(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 1)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		changed, cancel := o.g.Changes()
		for _, body := range []proto.Message{&msg.FreezeCommand{Pool: "web"}, &msg.Thaw{Pool: "web"}} {
			o.ask(body)
			<-changed
		}
		cancel()
	})
}

// Goal: a site that is switched to dry run live is left alone by its pools: nothing is asked for, nothing
// counts as failed, nothing is ended, and explain says so. Method: scaling both ways while it is.
func TestDryRunWhilePoolsLive(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 2)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		o.files.dry = true
		o.ask(&msg.Apply{})
		o.ask(&msg.Scale{Pool: "web", N: 4})
		n.expect(time.Hour, 2, map[epu.PoolID]int{"web": 2})
		st := o.ask(&msg.StatusQuery{}).(*msg.Status)
		if p := st.GetPools()[0]; p.GetHealth() != "ok" || p.GetGap() != 2 || p.GetBackoff() != nil || len(st.GetAlerts()) > 0 {
			t.Errorf("got %v with the alerts %v", p, st.GetAlerts())
		}
		if got := n.pool("web").Launches; got != 1 {
			t.Errorf("the pool has %d launches, want the first one only", got)
		}
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "site cloud is in dry run: 2 more would be launched") {
			t.Errorf("explain says\n%s", got)
		}
		o.ask(&msg.Scale{Pool: "web", N: 1})
		n.expect(time.Hour, 2, map[epu.PoolID]int{"web": 2})
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "would be ended") {
			t.Errorf("explain says\n%s", got)
		}
		if _, err := o.try(&msg.Kill{Instance: string(n.pool("web").Workers[0].ID)}); epu.KindOf(err) != epu.Conflict {
			t.Errorf("kill at a site in dry run gave %v, want a conflict", err)
		}
		o.files.pools, o.files.dry = nil, false // the site alone is applied
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
	})
}

// Goal: terminate-all names what is left, and nothing of protected pools. Method: one pool of each kind.
func TestTerminateAllLeavesProtectedPools(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		kept := treePool("kept", 2)
		kept.Protected = true
		o.files.pools = []epu.PoolSpec{treePool("web", 2), kept}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 4, map[epu.PoolID]int{"web": 2, "kept": 2})
		left := func(m *msg.TerminateAll) []string { return o.ask(m).(*msg.Done).GetLeft() }
		if got := strings.Join(left(&msg.TerminateAll{}), "\n"); !strings.Contains(got, "web-1-1/1") || strings.Contains(got, "kept") {
			t.Errorf("left at first:\n%s", got)
		}
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 0, "kept": 2})
		if got := left(&msg.TerminateAll{}); len(got) > 0 {
			t.Errorf("left in the end: %q", got)
		}
		if got := left(&msg.TerminateAll{ProtectedToo: true}); len(got) < 2 {
			t.Errorf("left when protected ones are to end too: %q", got)
		}
		n.expect(time.Minute, 0, nil)
	})
}

// Goal: recovery is named wherever it is in the way, and its end begins a new epoch in which pools act.
// Method: a node whose store is in recovery, with workers that the store knows.
func TestEndOfRecovery(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 2)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		o.says(&msg.EndRecovery{}, "not in recovery")
		n.stop()
		if err := n.journal.SetRecovery(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		n.start()
		o = newOperator(n)
		o.says(&msg.Scale{Pool: "web", N: 4}, "it takes effect once recovery has ended (epumgmt end-recovery)")
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		if got := o.explain(&msg.ExplainQuery{Pool: "web"}); !strings.Contains(got, "the store is in recovery") {
			t.Errorf("explain says\n%s", got)
		}
		alerts := o.ask(&msg.StatusQuery{}).(*msg.Status).GetAlerts()
		if len(alerts) != 1 || alerts[0].GetCode() != "recovery" || alerts[0].GetTry() != "epumgmt end-recovery --confirm" {
			t.Errorf("got the alerts %v", alerts)
		}
		o.says(&msg.EndRecovery{}, "in epoch 2")
		o.says(&msg.Scale{Pool: "web", N: 5}, "preserve_n = 5") // at once
		n.expect(time.Minute, 5, map[epu.PoolID]int{"web": 5})
		for _, w := range n.pool("web").Workers {
			if _, epoch, _, _ := w.Launch.Parse(); (epoch == 2) != (w.Launch != "web-1-1") {
				t.Errorf("got worker %s, want the first two of epoch 1 and the others of epoch 2", w.ID)
			}
		}
		n.clouds.at("cloud").Kill(n.alive()[0])
		n.expect(time.Minute, 5, map[epu.PoolID]int{"web": 5})
	})
}

// Goal: a sweep or an adoption that names a machine which is no stray changes nothing: what it did would be in
// no audit. Method: a stray of an older epoch, named beside one that there is not, and then alone.
func TestOneWrongNameSweepsNothing(t *testing.T) {
	inNode(t, func(n *node) {
		o := newOperator(n)
		o.files.pools = []epu.PoolSpec{treePool("web", 1)}
		o.ask(&msg.Apply{})
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		made, err := n.clouds.at("cloud").Launch(context.Background(), iaas.LaunchRequest{
			Token: "old", Min: 1, Max: 1, Image: "img", Tags: map[string]string{
				iaas.TagInstallation: string(n.Journal.Meta().Installation), iaas.TagSite: "cloud", iaas.TagOwner: "default",
				iaas.TagKeeper: string(epu.PoolKeeper("default", "web")), iaas.TagLaunch: "web-0-1",
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 1}) // until it is listed as stray
		id := string(made[0].ID)
		for _, m := range []proto.Message{
			&msg.Sweep{Instances: []string{id, "i-none"}},
			&msg.Adopt{Pool: "web", Instances: []string{id, "i-none"}},
		} {
			if _, err := o.try(m); epu.KindOf(err) != epu.NotFound || !strings.Contains(err.Error(), "i-none") || strings.Contains(err.Error(), id) {
				t.Errorf("%T: got %v, want i-none not found", m, err)
			}
			if s := o.ask(&msg.SweepQuery{}).(*msg.Strays).GetStrays(); len(s) != 1 || s[0].GetInstance() != id || s[0].GetVerdict() != "listed" {
				t.Fatalf("after %T: got the strays %v, want %s untouched", m, s, id)
			}
		}
		o.says(&msg.Sweep{Instances: []string{id}}, "1 machine being ended")
		events := o.ask(&msg.EventsQuery{}).(*msg.Events).GetEvents()
		if last := events[len(events)-1]; last.GetName() != "sweep" {
			t.Errorf("the newest record is %s, want the audit of the sweep", last.GetName())
		}
	})
}
