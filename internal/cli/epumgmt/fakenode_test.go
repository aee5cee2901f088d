package epumgmt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli/clitest"
	"github.com/nimbus-epu/epu/internal/relay"
)

// now is the time in every test.
var now = time.Date(2026, 11, 21, 14, 32, 17, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

// fakeNode is a scripted router behind the real relay: it answers as a node would whose pools stand as
// in the example of the specification.
type fakeNode struct {
	mu     sync.Mutex // requests come concurrently
	status *msg.Status
	asked  int      // questions about one pool alone; things move on with each
	left   []string // what terminate-all has not ended yet
	burst  int      // answers since readings were pushed; 0 = none were
	gone   bool     // epu-old is being removed
	log    []string // commands as they came
}

// startNode serves a fake node on loopback and gives its address.
func startNode(stop func(func())) (string, *fakeNode, error) {
	n := &fakeNode{status: exampleStatus(), left: []string{"epu-web-1-1/0", "epu-web-1-1/1", "epu-db-1-1/0"}}
	address, err := clitest.Serve(n, relay.Options{WatchEvery: time.Millisecond}, stop)
	return address, n, err
}

// deadAddress is an address nobody listens at.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func exampleStatus() *msg.Status {
	summary := func(age time.Duration, before, after int32, text string) *msg.DecisionSummary {
		return &msg.DecisionSummary{Id: "01JC0000000000000000000001", Time: ago(age), Direction: "up", Before: before, After: after, Text: text}
	}
	return &msg.Status{
		Pools: []*msg.PoolStatus{
			{Name: "epu-encode", Owner: "default", Converged: "no", Gap: 20, Health: "ok", Want: 240, Have: 220, Starting: 20, Engine: "STABLE", Policy: "queuelen", PolicyHash: "7f3c00112233", LastDecision: summary(12*time.Second, 220, 240, "up 220->240: queue 412 above high water 200")},
			{Name: "epu-web", Owner: "default", Converged: "yes", Health: "degraded", Want: 12, Have: 12, Draining: 1, Unhealthy: 1, Engine: "STABLE", Policy: "queuelen", LastDecision: summary(3*time.Minute, 12, 12, "hold: queue 40 within 30-60")},
			{Name: "epu-gpu", Owner: "default", Converged: "capped", Health: "ok", Want: 4, Have: 4, Engine: "STABLE", Policy: "queuelen", LastDecision: summary(80*time.Second, 2, 4, "up to 6 cut to 4: max (pools/epu-gpu.yaml:9)")},
			{Name: "epu-old", Owner: "default", Converged: "frozen", Health: "ok", Want: 2, Have: 2, Engine: "STABLE", Policy: "npreserving", Freeze: &msg.Freeze{By: "anna", Reason: "migration", Since: ago(2 * time.Hour)}},
		},
		Sites: []*msg.SiteStatus{
			{Name: "ec2-us-east-1", Driver: "ec2", State: "ok, 1 zone without capacity", Instances: 258, InstancesMax: 400, LastListing: ago(4 * time.Second), ApiBudget: 71, ApiBurst: 100},
			{Name: "ec2-eu-west-1", Driver: "ec2", State: "dry run", InstancesMax: 100, LastListing: ago(6 * time.Second), ApiBudget: 100, ApiBurst: 100},
		},
		Nodes: []*msg.NodeStatus{
			{Name: "n1", Version: "1.0.0", Started: ago(time.Hour), Roles: []string{"provisioner"}, Store: "ok", Installation: "i1", Epoch: 1},
			{Name: "n2", Version: "1.0.0", Started: ago(time.Hour), Roles: []string{"controllers"}, Store: "ok", Installation: "i1", Epoch: 1},
			{Name: "n3", Version: "1.0.0", Started: ago(time.Hour), Roles: []string{"controllers"}, Store: "ok", Installation: "i1", Epoch: 1},
		},
		Alerts: []*msg.Alert{{Code: "worker-failing", Severity: "warning", Subject: "epu-web", Text: "1 worker fails again and again", Try: "epumgmt instances epu-web", Since: ago(4 * time.Minute)}},
	}
}

func exampleInstances() []*msg.Instance {
	return []*msg.Instance{
		{Worker: "epu-web-1-1/0", Pool: "epu-web", Instance: "i-07ab", Site: "ec2-us-east-1", Zone: "us-east-1a", Allocation: "c7i.large", Market: "spot", State: "600-RUNNING", Health: "OK", Address: "10.0.0.7", Created: ago(5 * time.Hour), LastBeat: ago(3 * time.Second), Vars: map[string]string{"QUEUE": "web", "LEVEL": "info"}},
		{Worker: "epu-web-1-1/1", Pool: "epu-web", Instance: "i-07ac", Site: "ec2-us-east-1", State: "600-RUNNING", Health: "PROCESS_ERROR", Draining: true, Created: ago(5 * time.Hour), LastBeat: ago(8 * time.Second), Errors: []*msg.ProcessError{{Program: "worker", ExitStatus: 3}}},
		{Worker: "epu-web-1-2/0", Pool: "epu-web", Site: "ec2-us-east-1", State: "300-ERROR_RETRYING", Health: "UNKNOWN", Created: ago(40 * time.Second), Error: "no capacity in us-east-1b"},
	}
}

func (n *fakeNode) Ask(_ context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !relay.IsQuestion(body) {
		if req.GetId() == "" || req.GetUser() != "anna" || req.GetClient() != "epumgmt 1.0.0" {
			return nil, epu.E(epu.Invalid, "read", "the request", fmt.Errorf("id %q of %q with %q", req.GetId(), req.GetUser(), req.GetClient()))
		}
		n.log = append(n.log, strings.TrimSpace(relay.NameOf(body)+" "+pretty(body)))
	}
	switch m := body.(type) {
	case *msg.StatusQuery:
		return n.statusOf(m.GetPools())
	case *msg.InstancesQuery:
		if err := n.known(m.GetPool()); m.GetPool() != "" && err != nil {
			return nil, err
		}
		if m.GetPool() != "" && m.GetPool() != "epu-web" {
			return &msg.Instances{}, nil
		}
		return &msg.Instances{Instances: exampleInstances()}, nil
	case *msg.ExplainQuery:
		return n.explain(m)
	case *msg.WhatIfQuery:
		return n.whatIf(m)
	case *msg.DecisionsQuery:
		if err := n.known(m.GetPool()); err != nil {
			return nil, err
		}
		list := []*msg.DecisionSummary{
			{Id: "01JC0000000000000000000002", Time: ago(3 * time.Minute), Direction: "hold", Before: 12, After: 12, Text: "hold: queue 40 within 30-60"},
			{Id: "01JC0000000000000000000001", Time: ago(26 * time.Hour), Direction: "up", Before: 8, After: 12, Text: "up 8->12: queue 90 above 60"},
		}
		return &msg.Decisions{Decisions: list[:min(len(list), int(m.GetLimit()))]}, nil
	case *msg.EventsQuery:
		if m.GetLimit() == 1 && m.GetPool() != "epu-old" && n.known(m.GetPool()) != nil {
			return &msg.Events{}, nil
		}
		return &msg.Events{Events: exampleEvents()[:2]}, nil
	case *msg.SweepQuery:
		return &msg.Strays{Recovery: true, Strays: []*msg.Stray{{Instance: "i-0bad", Site: "ec2-us-east-1", Pool: "epu-web", Launch: "epu-web-1-9", Verdict: "listed", Why: "older epoch 1"}}}, nil
	case *msg.SensorsQuery:
		if m.GetPool() != "" {
			if err := n.known(m.GetPool()); err != nil {
				return nil, err
			}
		}
		return &msg.Sensors{Sensors: []*msg.SensorStatus{{
			Pool: "epu-web", Sensor: "queue-length", Source: "rabbitmq", Unit: "messages", Quality: "ok", Value: 118, Time: ago(12 * time.Second),
			Age: durationpb.New(12 * time.Second), Every: durationpb.New(15 * time.Second), Missing: "hold",
			Recent: []*msg.Sample{{Time: ago(27 * time.Second), Value: 40}, {Time: ago(12 * time.Second), Value: 118}},
		}}}, nil
	case *msg.VersionQuery:
		return &msg.Version{Version: "1.0.0", Commit: "0123456789abcdef", Go: "go1.26"}, nil
	case *msg.DoctorQuery:
		return &msg.Doctor{Checks: []*msg.Check{
			{Code: "store", Name: "store", Children: []*msg.Check{
				{Code: "store-open", Name: "open", Result: "ok", Text: "epoch 1"},
				{Code: "clock-skew", Name: "clocks", Result: "warning", Text: "n2 is 4 s ahead", Try: "run an NTP client on n2"},
			}},
		}}, nil
	}
	return n.command(body)
}

// statusOf answers about some pools. epu-encode gets ten workers more each time it is asked about alone,
// and epu-web gets well after a few times.
func (n *fakeNode) statusOf(pools []string) (proto.Message, error) {
	st := proto.Clone(n.status).(*msg.Status)
	if n.gone && n.asked > 2 {
		st.Pools = slices.DeleteFunc(st.Pools, func(p *msg.PoolStatus) bool { return p.GetName() == "epu-old" })
		n.status = proto.Clone(st).(*msg.Status)
	}
	if len(pools) == 0 {
		return st, nil
	}
	for _, p := range pools {
		if err := n.known(p); err != nil {
			return nil, err
		}
	}
	st.Pools = slices.DeleteFunc(st.Pools, func(p *msg.PoolStatus) bool { return !slices.Contains(pools, p.GetName()) })
	if len(pools) == 1 {
		n.asked++
	}
	if p := st.GetPools()[0]; p.GetName() == "epu-web" && n.burst > 0 { // readings come all the time; those from before are decided about with the third answer
		p.UnseenSince, p.UnseenNewest = ago(time.Minute), ago(30*time.Second) // the policy is at work on the older
		switch n.burst++; {
		case n.burst > 3:
			p.UnseenSince, p.UnseenNewest = ago(time.Second), ago(time.Second)
		case n.burst > 2: // it had failed, or was at work on the older until now
			p.UnseenSince = ago(30 * time.Second)
			p.Error = "web.lua:3: boom\nstack"
		}
	} else if p.GetName() == "epu-web" && n.asked > 3 {
		p.Health = "ok"
	} else if p.GetName() == "epu-encode" {
		p.Have = min(220+10*int32(n.asked), p.GetWant())
		p.Starting, p.Gap = p.GetWant()-p.GetHave(), p.GetWant()-p.GetHave()
		if p.GetGap() == 0 {
			p.Converged = "yes"
		}
	}
	return st, nil
}

func (n *fakeNode) known(pool string) error {
	for _, p := range n.status.GetPools() {
		if p.GetName() == pool {
			return nil
		}
	}
	return epu.E(epu.NotFound, "find pool", pool, errors.New("there is no such pool"))
}

func (n *fakeNode) explain(m *msg.ExplainQuery) (proto.Message, error) {
	if err := n.known(m.GetPool()); err != nil {
		return nil, err
	}
	e := &msg.Explanation{Pool: &msg.PoolStatus{Name: m.GetPool(), Engine: "STABLE"}}
	switch {
	case m.GetPool() == "epu-old":
		e.WouldChange = []string{"a first tick"}
		return e, nil
	case m.GetDecision() != "" && !strings.HasSuffix(m.GetDecision(), "1"):
		return nil, epu.E(epu.NotFound, "find decision", m.GetDecision(), errors.New("it is not in the history"))
	}
	if at := m.GetAt(); at != nil && at.AsTime().Before(now.Add(-24*time.Hour)) {
		return nil, epu.E(epu.NotFound, "find decision", "of "+at.AsTime().Format(time.RFC3339), errors.New("the history has none that is as old"))
	}
	d := epu.Decision{
		ID: "01JC0000000000000000000001", Pool: epu.PoolID(m.GetPool()), Time: now.Add(-12 * time.Second), Policy: "queuelen", PolicyHash: "7f3c00112233",
		Seed: 1<<64 - 1, Conf: map[string]any{"sensor": "queue_depth", "per_worker": 20, "retry_after": "10m", "sites": []any{"us-east-1c"}},
		Inputs: []epu.Input{
			{Name: "sensor queue_depth", Value: map[string]any{"sensor": "queue_depth", "value": 118, "age": 12 * time.Second, "quality": "ok", "unit": "messages"}},
			{Name: "running", Value: 2},
			{Name: "window queue_depth 60", Value: map[string]any{"mean": 101.5, "max": 118, "quality": "ok"}},
		},
		Reasons: []epu.Reason{{Rule: "step", Text: "ceil(118 / 20) = 6"}}, Wanted: epu.Wish{Target: 6}, Wish: epu.Wish{Target: 4}, Before: 2,
		Clamps:   []epu.Reason{{Rule: "limits.max", Text: "pool limits.max = 4", Origin: "pools/epu-gpu.yaml:9"}},
		Rejected: []epu.Reason{{Rule: "us-east-1b", Text: "no capacity since 14:29 (3 tries, next 14:34)"}},
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	e.Decision = &structpb.Struct{}
	if err := e.Decision.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	e.Doing = []string{"launch 2 x g5.xlarge spot in us-east-1c   requested 14:32:06"}
	e.WouldChange = []string{"limits.max >= 6", "queue_depth <= 40"}
	return e, nil
}

func exampleEvents() []*msg.EventRecord {
	data := func(m map[string]any) *structpb.Struct {
		s, err := structpb.NewStruct(m)
		if err != nil {
			panic(err)
		}
		return s
	}
	return []*msg.EventRecord{
		{Id: "01E1", Kind: "event", Name: "worker_running", Pool: "epu-web", Time: ago(5 * time.Minute), Data: data(map[string]any{"worker": "epu-web-1-1/0", "took_s": 41})},
		{Id: "01E2", Kind: "audit", Name: "scale", Pool: "epu-web", Time: ago(4 * time.Minute), Data: data(map[string]any{"n": 12, "user": "anna", "why": "more \x1b[31mload"})},
		{Id: "01E3", Kind: "event", Name: "launch_failed", Pool: "epu-web", Time: ago(time.Second), Data: data(map[string]any{"error": "no capacity"})},
	}
}

// command answers what changes something.
func (n *fakeNode) command(body proto.Message) (proto.Message, error) {
	switch m := body.(type) {
	case *msg.Scale:
		return n.doneOn(m.GetPool(), fmt.Sprintf("%s keeps %d workers, was 12", m.GetPool(), m.GetN()), m.GetN() != 12)
	case *msg.Reconfigure:
		if _, known := m.GetConf().GetFields()["preserv_n"]; known {
			return nil, &epu.Error{Kind: epu.Invalid, Op: "reconfigure", On: m.GetPool(), Err: errors.New("unknown setting preserv_n"), Try: "did you mean preserve_n?"}
		}
		return n.doneOn(m.GetPool(), fmt.Sprintf("%s has new settings: %s", m.GetPool(), pretty(m.GetConf())), true)
	case *msg.FreezeCommand:
		return n.doneOn(m.GetPool(), m.GetPool()+" is frozen", true)
	case *msg.Thaw:
		return n.doneOn(m.GetPool(), m.GetPool()+" acts again", m.GetPool() == "epu-old")
	case *msg.SensorPush:
		n.burst = 1
		return n.doneOn(m.GetPool(), fmt.Sprintf("%s has %d new readings", m.GetPool(), len(m.GetValues())), true)
	case *msg.Remove:
		n.gone = true
		return n.doneOn(m.GetPool(), m.GetPool()+" is being removed", true)
	case *msg.Adopt:
		if len(m.GetInstances()) == 2 {
			return &msg.Done{Changed: true, Text: "1 machine is a worker of " + m.GetPool(), Left: []string{"i-0aa2: of another pool"}}, nil
		}
		return n.doneOn(m.GetPool(), "3 machines are workers of "+m.GetPool(), true)
	case *msg.Kill:
		if m.GetInstance() != "epu-web-1-1/0" {
			return nil, epu.E(epu.NotFound, "kill", m.GetInstance(), errors.New("no worker has this ID"))
		}
		return &msg.Done{Changed: true, Text: m.GetInstance() + " ends"}, nil
	case *msg.Drain:
		return n.oneWorker("drain", m.GetInstance(), "takes no new work, ends when it has none")
	case *msg.Resume:
		return n.oneWorker("resume", m.GetInstance(), "is back in service")
	case *msg.Replace:
		return n.oneWorker("replace", m.GetInstance(), "goes once another runs in its place")
	case *msg.Protect:
		return n.oneWorker("protect", m.GetInstance(), "is never chosen as surplus")
	case *msg.Unprotect:
		return n.oneWorker("unprotect", m.GetInstance(), "may be chosen as surplus")
	case *msg.TerminateAll:
		left := slices.Clone(n.left)
		if !m.GetProtectedToo() && len(n.left) > 0 { // with protected ones nothing ends: a stuck cloud
			n.left = n.left[1:]
		}
		return &msg.Done{Changed: true, Text: "launching is off, every worker has ended", Left: left}, nil
	case *msg.Enable:
		return &msg.Done{Changed: true, Text: "pools launch again"}, nil
	case *msg.Sweep:
		return &msg.Done{Changed: true, Text: strings.Join(m.GetInstances(), ", ") + " ends"}, nil
	case *msg.EndRecovery:
		return &msg.Done{Changed: true, Text: "the store acts again"}, nil
	case *msg.PlanQuery:
		return n.plan(m.GetFiles())
	case *msg.Apply:
		if m.GetIndex() != "ix-1" {
			return nil, epu.E(epu.Conflict, "apply the plan", m.GetIndex(), errors.New("pool epu-web changed since: scale by bob"))
		}
		if strings.Contains(string(m.GetFiles()[0].GetContent()), "guard") {
			n.status.Pools[1].Protected = true // epu-web
		}
		return &msg.Applied{Changes: exampleChanges(m.GetFiles())}, nil
	}
	panic("no answer is scripted for " + relay.NameOf(body))
}

func (n *fakeNode) oneWorker(verb, instance, text string) (proto.Message, error) {
	switch instance {
	case "epu-web-1-1/0":
		return &msg.Done{Changed: true, Text: instance + " " + text}, nil
	case "epu-web-1-1/1":
		return nil, epu.E(epu.Conflict, verb, instance, errors.New("its end is decided and durable: killed by bob"))
	}
	return nil, epu.E(epu.NotFound, verb, instance, errors.New("no pool has such a worker"))
}

func (n *fakeNode) doneOn(pool, text string, changed bool) (proto.Message, error) {
	if err := n.known(pool); err != nil {
		return nil, err
	}
	return &msg.Done{Changed: changed, Text: text}, nil
}

func (n *fakeNode) plan(files []*msg.File) (proto.Message, error) {
	for _, f := range files {
		if strings.Contains(string(f.GetContent()), "bad:") {
			return nil, &msg.Refusal{Err: epu.E(epu.Invalid, "read", "the files", errors.New("2 problems")), List: []*msg.Problem{
				{File: f.GetPath(), Line: 3, Text: "unknown key tikc", Try: "did you mean tick?"},
				{File: f.GetPath(), Line: 7, Text: "duration 5 has no unit", Try: "5s"},
			}}
		}
	}
	return &msg.Plan{Index: "ix-1", Changes: exampleChanges(files)}, nil
}

func exampleChanges(files []*msg.File) []*msg.Change {
	var changes []*msg.Change
	for _, f := range files {
		switch text := string(f.GetContent()); {
		case strings.Contains(text, "new"):
			changes = append(changes, &msg.Change{Action: "add", Kind: "pool", Name: "epu-new", Differences: []*msg.Difference{
				{Key: "limits.max", After: "none", ByDefault: true, Weighty: true},
				{Key: "placement[0].max", After: "none", ByDefault: true},
				{Key: "policy.conf.preserve_n", After: "2"},
				{Key: "tick", After: "5s", ByDefault: true},
			}, Effect: "starts 2 workers"})
		case strings.Contains(text, "drop"):
			changes = append(changes, &msg.Change{Action: "remove", Kind: "pool", Name: "epu-old", Effect: "drains and ends 2 workers"})
		case strings.Contains(text, "web"):
			changes = append(changes, &msg.Change{Action: "change", Kind: "pool", Name: "epu-web", Differences: []*msg.Difference{{Key: "limits.max", Before: "20", After: "30", By: "scale by anna"}}})
		default:
			changes = append(changes, &msg.Change{Action: "none", Kind: "site", Name: "local"})
		}
	}
	return changes
}

func (n *fakeNode) Watch(ctx context.Context, _ *msg.Request, body proto.Message, send func(proto.Message) error) error {
	since := body.(*msg.EventsQuery).GetSince().AsTime()
	for _, e := range exampleEvents() {
		if !e.GetTime().AsTime().Before(since) {
			if err := send(e); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// pretty is a message as stable text.
func pretty(m proto.Message) string {
	switch m := m.(type) {
	case *structpb.Struct:
		raw, err := json.Marshal(m.AsMap())
		if err != nil {
			return err.Error()
		}
		return string(raw)
	case *durationpb.Duration:
		return m.AsDuration().String()
	}
	var parts []string
	m.ProtoReflect().Range(rangeInto(&parts))
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
