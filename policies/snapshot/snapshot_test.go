package snapshot_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/snapshot"
)

// The goal is that a saved snapshot leads to the same decisions as the live one: a policy that reads everything is
// evaluated on both, and the decisions are compared whole.

const curious = `return {
  params = { preserve_n = { type = "integer", default = 3 } },
  decide = function(control, state, conf)
    local all = {}
    for w in state.workers() do all[#all + 1] = w.id .. w.stage .. tostring(w.idle_since) .. tostring(w.price) end
    for w in state.unhealthy() do all[#all + 1] = "bad " .. w.id end
    local w = state.window("queue", 60)
    control.because(table.concat(all, " "))
    control.because("window " .. w.mean .. " " .. w.count .. " " .. w.quality)
    control.because("queue " .. state.sensor("queue").value .. " target " .. state.target .. " memory " .. state.memory.kept)
    control.because("work " .. state.work().left .. " budget " .. state.budget().left .. " offers " .. #state.offers())
    control.because("places " .. state.places()[1].backoff .. " refused " .. #state.refused() .. " changes " .. #state.changes())
    control.because("random " .. math.random(1000) .. " backoff " .. state.backoff() .. " count " .. state.count{stage = "running"})
    state.memory.kept = state.memory.kept + 1
    control.scale_to(conf.preserve_n + state.running())
  end,
}`

func live(t *testing.T) (*policies.Snapshot, map[string]snapshot.Series) {
	t.Helper()
	now := time.Date(2026, 11, 21, 14, 32, 0, 0, time.UTC)
	spec := epu.SensorSpec{Source: epu.SourcePush, StaleAfter: time.Minute, Keep: time.Hour, Missing: epu.MissingHold}
	series := sensing.New("queue", spec, now.Add(-time.Hour))
	for i := range 10 {
		var err error
		if series, _, err = series.Add(sensing.Point{Value: float64(i * i)}, now.Add(time.Duration(i-10)*7*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	reading := series.Reading(now)
	var workers []*epu.Worker
	for i := range 3 {
		id := epu.NewWorkerID("epu-web-1-1", i)
		workers = append(workers, &epu.Worker{
			ID: id, Launch: "epu-web-1-1", Slot: i, State: epu.Running, Health: epu.HealthOK, Created: now.Add(-time.Hour), Price: 0.25,
			IdleSince: now.Add(-time.Minute),
		})
	}
	workers[2].Health = epu.ProcessError
	return &policies.Snapshot{
		Now: now, Pool: "epu-web", Owner: epu.DefaultOwner, Decision: "01JC0000000000000000000001", Seed: 1<<63 + 1,
		Wish: epu.Wish{Target: 3}, Memory: json.RawMessage(`{"kept":4}`), Counts: policies.Counts{Running: 3, Unhealthy: 1},
		Workers: workers, Bad: workers[2:], Readings: map[string]epu.Reading{"queue": reading},
		Windows: func(_ string, span time.Duration) (epu.Window, bool) { return series.Window(now, span) },
		Changes: []epu.Change{{Worker: workers[0].ID, What: "state", From: "a", To: "b", Time: now}}, Work: epu.Work{Left: &reading},
		Offers: []epu.Offer{{Site: "local", Allocation: "small", Market: epu.OnDemand, USDPerHour: 0.25}},
		Budget: epu.Budget{PerHour: 2, Now: 0.75}, Places: []epu.Placement{{Site: "local"}}, Refused: []epu.Reason{{Rule: "limits.max", Text: "no"}},
		Backoff: 5 * time.Second, SiteBackoff: map[epu.SiteID]time.Duration{"local": 7 * time.Second}, MinMax: [2]int{1, 10},
	}, map[string]snapshot.Series{"queue": {Spec: spec, Series: series}}
}

func TestSavedSnapshotDecidesAlike(t *testing.T) {
	p, err := policies.Compile("curious", []byte(curious), nil)
	if err != nil {
		t.Fatal(err)
	}
	conf, problems := p.Check(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	snap, series := live(t)
	want := policies.Evaluate(p, policies.Options{}, snap, conf, conf)
	if want.Error != "" || want.Wanted.Target != 6 {
		t.Fatalf("the policy itself: %+v", want)
	}
	check := func(what string, seen snapshot.Seen) {
		t.Helper()
		raw, err := json.Marshal(snapshot.Document{Schema: snapshot.Schema, Type: snapshot.Type, Pool: "epu-web", Seen: seen})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := snapshot.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		back, err := doc.Seen.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		got := policies.Evaluate(p, policies.Options{}, back, conf, conf)
		of := func(d epu.Decision) string { return fmt.Sprint(d.Wanted, d.Reasons, string(d.MemoryAfter), d.Error) }
		if diff := cmp.Diff(of(want), of(got)); diff != "" {
			t.Errorf("%s decides otherwise (-live +saved):\n%s", what, diff)
		}
		if names := doc.Seen.Sensors(); !cmp.Equal(names, []string{"queue"}) {
			t.Errorf("%s: sensors %q, want queue", what, names)
		}
	}
	check("a saved snapshot", snapshot.Of(snap, series))
	check("a saved record", snapshot.Seen{Record: &want})
}

func TestReadRefusesOtherDocuments(t *testing.T) {
	for _, text := range []string{``, `{}`, `{"schema":"epu/v1","type":"status"}`, `[1]`} {
		if _, err := snapshot.Read([]byte(text)); epu.KindOf(err) != epu.Invalid {
			t.Errorf("Read(%q): %v, want an error of the kind invalid", text, err)
		}
	}
	for _, seen := range []snapshot.Seen{{}, {Live: &snapshot.Live{}, Record: &epu.Decision{}}} {
		if _, err := seen.Snapshot(); epu.KindOf(err) != epu.Invalid {
			t.Errorf("%+v: %v, want an error of the kind invalid", seen, err)
		}
	}
}

// The page about the form names every field of it.
func TestPageNamesEveryField(t *testing.T) {
	raw, err := os.ReadFile("../../docs/reference/policy-snapshot.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.Contains(string(raw), `"`+name+`"`) && !strings.Contains(string(raw), "`"+name+"`") {
				t.Errorf("the page does not name %s of %s", name, of.Name())
			}
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && strings.HasSuffix(inner.PkgPath(), "/snapshot") {
				check(inner)
			}
		}
	}
	check(reflect.TypeFor[snapshot.Document]())
}
