package answers_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/answers"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

var now = time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)

func decision(before, wanted, got int, clamps ...epu.Reason) *epu.Decision {
	return &epu.Decision{
		Before: before, Wanted: epu.Wish{Target: wanted}, Wish: epu.Wish{Target: got}, Clamps: clamps,
		Reasons: []epu.Reason{{Text: "preserve_n = 5"}},
	}
}

// Goal: one line says which way a decision went and what cut it. Method: a table of all ways.
func TestSummary(t *testing.T) {
	most := epu.Reason{Rule: "limits.max", Origin: "pools/web.yaml:9"}
	least := epu.Reason{Rule: "limits.min"}
	for _, tt := range []struct {
		d    *epu.Decision
		want string
	}{
		{decision(5, 5, 5), "hold: preserve_n = 5"},
		{decision(2, 5, 5), "up 2->5: preserve_n = 5"},
		{decision(7, 5, 5), "down 7->5: preserve_n = 5"},
		{decision(2, 400, 20, most), "up to 400 cut to 20: limits.max (pools/web.yaml:9)"},
		{decision(20, 400, 20, most), "hold at 20, 400 wanted: limits.max (pools/web.yaml:9)"},
		{decision(30, 400, 20, most), "down 30->20, 400 wanted: limits.max (pools/web.yaml:9)"},
		{decision(2, 0, 2, least), "hold at 2, 0 wanted: limits.min"},
		{decision(5, 0, 2, least), "down 5->2, 0 wanted: limits.min"},
	} {
		if got := answers.Summary(tt.d).GetText(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Goal: of several reasons the line shows the one that fits its number. Method: the same reasons as stock policies
// give, of targets that move and that stay.
func TestSummaryShowsTheReasonThatMovedTheTarget(t *testing.T) {
	unknown := epu.Reason{Text: "requests are unknown, so the target stays 0", Rule: "no data"}
	least := epu.Reason{Text: "raised from 0 to min_instances 2", Rule: "min_instances"}
	placed := epu.Reason{Text: "placed: east 2", Rule: "place"}
	largest := epu.Reason{Text: "rule 1 (schedule) wants 2: the day", Rule: "largest"}
	answer := epu.Reason{Text: "rule 2 (npreserving) wants 1: preserve_n = 1", Rule: "answer"}
	for _, tt := range []struct {
		before, after int
		reasons       []epu.Reason
		want          string
	}{
		{0, 2, []epu.Reason{unknown, least}, "up 0->2: raised from 0 to min_instances 2"},
		{2, 2, []epu.Reason{unknown, least}, "hold: requests are unknown, so the target stays 0"},
		{0, 2, []epu.Reason{unknown, least, placed}, "up 0->2: raised from 0 to min_instances 2"},
		{0, 2, []epu.Reason{largest, answer}, "up 0->2: rule 1 (schedule) wants 2: the day"},
		{2, 2, []epu.Reason{largest, answer}, "hold: rule 1 (schedule) wants 2: the day"},
		{0, 2, []epu.Reason{placed}, "up 0->2: placed: east 2"},
	} {
		d := decision(tt.before, tt.after, tt.after)
		if d.Reasons = tt.reasons; answers.Summary(d).GetText() != tt.want {
			t.Errorf("got %q, want %q", answers.Summary(d).GetText(), tt.want)
		}
	}
}

// Goal: explain says what would lead elsewhere. Method: a decision with every kind of cause.
func TestWouldChange(t *testing.T) {
	d := decision(20, 400, 20, epu.Reason{Rule: "limits.max", Origin: "web.yaml:9"}, epu.Reason{Rule: "limits.spend"})
	d.Inputs = []epu.Input{
		{Name: "sensor queue", Value: epu.Reading{Sensor: "queue", Value: 118, Quality: epu.QualityOK}},
		{Name: "sensor load", Value: map[string]any{"sensor": "load", "value": 0.5, "quality": "stale"}},
		{Name: "sensor none", Value: nil},
		{Name: "running", Value: 3},
	}
	d.Conf = map[string]any{"preserve_n": 400}
	v := msg.PoolView{
		Spec: epu.PoolSpec{Name: "web"}, Conf: d.Conf, EndAll: true, Freeze: &msg.FreezeState{},
		Refused: []epu.Reason{{Rule: "limits.launches", Origin: "web.yaml:12"}, {Rule: "first sync"}},
	}
	reads := []string{"other readings of queue", "a good reading of load instead of one that is stale", "a reading of none"}
	want := slices.Concat([]string{"limits.max >= 400 (web.yaml:9)", "another limits.spend", "a higher limits.launches (web.yaml:12)"}, reads,
		[]string{"preserve_n other than 400 (epumgmt scale web N)", "epumgmt thaw web", "epumgmt enable"})
	if diff := cmp.Diff(want, answers.WouldChange(d, v, msg.Turns{}, "preserve_n")); diff != "" {
		t.Error(diff)
	}
	want = slices.Concat([]string{"limits.max >= 400 (web.yaml:9)", "another limits.spend"}, reads, []string{"preserve_n other than 400"})
	if diff := cmp.Diff(want, answers.WouldChange(d, msg.PoolView{}, msg.Turns{}, "preserve_n")); diff != "" {
		t.Errorf("of the past: %s", diff)
	}
	d.Clamps, d.Conf, d.Inputs = nil, nil, d.Inputs[:1]
	turns := msg.Turns{Known: true, Next: 20, Sensors: []msg.Turn{
		{Sensor: "other"}, {Sensor: "queue", Above: &msg.Edge{Value: 1120.5, Target: 21}, Below: &msg.Edge{Value: 3, Target: 1}},
	}}
	want = []string{"queue >= 1120.5 (then 21)", "queue <= 3 (then 1)"}
	if diff := cmp.Diff(want, answers.WouldChange(d, msg.PoolView{}, turns, "preserve_n")); diff != "" {
		t.Errorf("with turns: %s", diff)
	}
	turns.Sensors[1] = msg.Turn{Sensor: "queue", Above: &msg.Edge{Value: 27, Target: 21, Beyond: true}, Below: &msg.Edge{Value: 3, Target: 1, Beyond: true}}
	want = []string{"queue > 27 (then 21)", "queue < 3 (then 1)"}
	if diff := cmp.Diff(want, answers.WouldChange(d, msg.PoolView{}, turns, "preserve_n")); diff != "" {
		t.Errorf("with turns right beyond: %s", diff)
	}
	turns.Next = 19
	if got := answers.WouldChange(d, msg.PoolView{}, turns, "preserve_n"); got[0] != "nothing at all (the next decision gives 19)" {
		t.Errorf("of a decision that does not hold any more: got %q", got)
	}
}

func event(ago time.Duration, name, data string, args ...any) persistence.Record {
	return persistence.Record{ID: "e-" + ago.String(), Name: name, Time: now.Add(-ago), Data: []byte(fmt.Sprintf(data, args...))}
}

// Goal: many losses don't push out the rest, and what goes on is told once. Method: a pool's last minutes.
func TestDoneIsGrouped(t *testing.T) {
	var past []persistence.Record
	for i := range 50 {
		past = append(past, event(9*time.Minute, "worker_terminated", `{"worker":"web-1-1/%d","reason":"disappeared"}`, i))
	}
	past = append(past,
		event(8*time.Minute, "launch_opened", `{"launch":"web-1-2","n":50,"reason":"50 wanted, 0 there"}`),
		event(7*time.Minute, "worker_failed", `{"worker":"web-1-2/0","reason":"no capacity"}`),
		event(6*time.Minute, "worker_ended", `{"worker":"web-1-2/1","reason":"MISSING: silent"}`),
		event(5*time.Minute, "worker_terminated", `{"worker":"web-1-2/1","reason":"asked for"}`),
		event(4*time.Minute, "launch_opened", `{"launch":"web-1-3","n":2,"reason":"50 wanted, 48 there"}`),
		event(3*time.Minute, "worker_ended", `{"worker":"web-1-2/2","reason":"surplus"}`),
	)
	v := msg.PoolView{Workers: []*epu.Worker{
		{ID: "web-1-2/3", Launch: "web-1-2", State: epu.Running},
		{ID: "web-1-3/0", Launch: "web-1-3", State: epu.Pending, Site: "cloud"},
		{ID: "web-1-3/1", Launch: "web-1-3", State: epu.Pending, Site: "cloud"},
	}}
	want := []string{
		"lost 50 workers (web-1-1/0, web-1-1/1, web-1-1/2, ...) the last 9m0s ago: disappeared",
		"launched 50 workers (web-1-2) 8m0s ago: 50 wanted, 0 there",
		"could not launch web-1-2/0 7m0s ago: no capacity",
		"replaced web-1-2/1 6m0s ago: MISSING: silent",
		"ended web-1-2/2 3m0s ago: surplus",
	}
	if diff := cmp.Diff(want, answers.Done(past, v, now)); diff != "" {
		t.Error(diff)
	}
	v.Workers[0].Site, v.Workers[0].Replacing = "cloud", true
	doing := []string{"replace web-1-2/3 at cloud once another runs", "launch 2 workers (web-1-3/0, web-1-3/1) at cloud: PENDING"}
	if diff := cmp.Diff(doing, answers.Doing(v)); diff != "" {
		t.Error(diff)
	}
}

// Goal: a replacement stands among the decisions with what it replaced. Method: events with and without a
// decision behind them.
func TestHealings(t *testing.T) {
	past := []persistence.Record{
		event(9*time.Minute, "launch_opened", `{"launch":"web-1-1","n":2,"reason":"2 wanted, 0 there"}`),
		event(8*time.Minute, "worker_ended", `{"worker":"web-1-1/0","reason":"PROCESS_ERROR: exit 3"}`),
		event(7*time.Minute, "worker_terminated", `{"worker":"web-1-1/0","reason":"asked for"}`),
		event(6*time.Minute, "launch_opened", `{"launch":"web-1-2","n":1,"healing":true,"reason":"2 wanted, 1 there"}`),
		event(5*time.Minute, "launch_opened", `{"launch":"web-1-3","n":1,"healing":true,"reason":"2 wanted, 1 there"}`),
	}
	var got []string
	list := answers.WithHealings([]*msg.DecisionSummary{answers.Summary(&epu.Decision{Time: now, Wish: epu.Wish{Target: 3}, Before: 2})},
		answers.Healings(past), answers.Summary(decision(0, 2, 2)), 20)
	for _, d := range list {
		got = append(got, fmt.Sprint(d.GetBefore(), "->", d.GetAfter(), " ", d.GetText()))
	}
	want := []string{
		"2->3 up 2->3",
		"2->2 heal: 1 worker launched (2 wanted, 1 there)",
		"2->2 heal: 1 worker launched in place of web-1-1/0: PROCESS_ERROR: exit 3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Goal: each alert has a listed code, a time since when it is so, and a next step that is no circle; recovery is one alert that says
// what to do, with or without machines. Method: a status in which all is wrong.
func TestAlertsHelp(t *testing.T) {
	st := &msg.Status{
		Pools: []*msg.PoolStatus{{Name: "a", Health: "policy-failing", Error: "p.lua:1: x\n    1 | error(\"x\")\nread: nothing"}, {Name: "b", Health: "suspect"}, {
			Name: "c", Health: "ok", Gap: 2, Backoff: durationpb.New(time.Minute), Freeze: &msg.Freeze{By: msg.FreezeOnFailures, Reason: "3 launches in a row failed"},
		}},
		Sites: []*msg.SiteStatus{
			{Name: "s1", State: "unreachable", Error: "denied"}, {Name: "s2", State: "ok", Foreign: 1, Stuck: 2}, {Name: "s3", State: "recovery"},
		},
		Nodes: []*msg.NodeStatus{{Name: "n1", Store: "degraded: no space"}},
	}
	at := now.Add(-time.Hour)
	broken := msg.SiteView{FaultSince: at, StuckSince: at, Started: at, Strays: []msg.StrayView{{Since: now}, {Since: at}}}
	views := answers.Views{
		Pools: map[epu.PoolID]msg.PoolView{"a": {FailingSince: at}, "b": {SuspectSince: at}, "c": {LaunchesFail: at, LaunchFault: "no room", Freeze: &msg.FreezeState{Since: at}}},
		Sites: map[epu.SiteID]msg.SiteView{"s1": broken, "s2": broken, "s3": broken}, Started: at, Degraded: at,
	}
	check := func(want ...string) {
		t.Helper()
		var got []string
		for _, a := range answers.Alerts(st, views) {
			got = append(got, a.GetCode())
			if !slices.Contains(msg.AlertCodes(), msg.AlertCode(a.GetCode())) {
				t.Errorf("%s is not among the codes", a.GetCode())
			}
			if !a.GetSince().AsTime().Equal(at) {
				t.Errorf("%s is there since %v, want %v", a.GetCode(), a.GetSince().AsTime(), at)
			}
			if a.GetTry() == "" || strings.Contains(a.GetText(), "\n") || strings.Contains(a.GetTry(), "doctor") || regexp.MustCompile(`\b0 machines|\b1 machines`).MatchString(a.GetText()) {
				t.Errorf("%s: %s; try %q", a.GetCode(), a.GetText(), a.GetTry())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check("policy-failing", "workers-silent", "frozen-by-failures", "site-unreachable", "ending-stuck", "strays", "site-recovery", "store")
	st.Sites, st.Pools, st.Nodes[0].Store = []*msg.SiteStatus{{Name: "s1", State: "recovery", Foreign: 2}, {Name: "s2", State: "recovery"}}, nil, "recovery"
	check("recovery")
	if a := answers.Alerts(st, views)[0]; !strings.Contains(a.GetText(), "2 machines") || !strings.Contains(a.GetTry(), "epumgmt adopt") {
		t.Errorf("got %q; try %q", a.GetText(), a.GetTry())
	}
	st.Sites[0].Foreign = 0
	if a := answers.Alerts(st, views)[0]; a.GetTry() != "epumgmt end-recovery --confirm" {
		t.Errorf("with no machine to decide about: %q", a.GetTry())
	}
	st.Alerts = answers.Alerts(st, views)
	if c := answers.Doctor(st, "n1").GetChecks()[0]; c.GetResult() != "failure" || len(c.GetChildren()) != 1 {
		t.Errorf("the doctor's store check is %v", c)
	}
}

// Goal: readings are shown with their unit. Method: a reading with and one without.
func TestWithUnits(t *testing.T) {
	d := &epu.Decision{Inputs: []epu.Input{{Name: "sensor queue", Value: epu.Reading{Sensor: "queue", Value: 3}}, {Name: "running", Value: 3}}}
	before := slices.Clone(d.Inputs)
	shown := *d
	answers.WithUnits(&shown, map[string]epu.SensorSpec{"queue": {Unit: "messages"}})
	if got := fmt.Sprintf("%+v", shown.Inputs[0].Value); !strings.Contains(got, "Unit:messages") {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff(before, d.Inputs); diff != "" {
		t.Errorf("the record was changed: %s", diff)
	}
}
