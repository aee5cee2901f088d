package daemon_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/policies/snapshot"
)

// Goal: a whole node answers what would be, with the stock policy and its guard rails, and does nothing. Method: a
// pool that follows a queue, asked through the relay.
func TestWhatIfThroughTheNode(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	pool := strings.Replace(files, "policy: {conf: {preserve_n: 2}}", "policy: {name: queuelen, conf: {sensor: depth, queuelen_high_water: 10, queuelen_low_water: 2, step_up: 8, max_instances: 8}}\nsensors: {depth: {source: push, min: 0}}", 1)
	pool = strings.Replace(pool, "limits: {", "limits: {max: 4, ", 1)
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{{Path: "pool.yaml", Content: []byte(pool)}}})
	ask[*msg.Done](t, r, &msg.SensorPush{Pool: "epu-test", Values: []*msg.SensorValue{{Sensor: "depth", Value: proto.Float64(5)}}})

	w := ask[*msg.WhatIf](t, r, &msg.WhatIfQuery{Pool: "epu-test", Sensors: map[string]float64{"depth": 5000}})
	then, now := w.GetDecision().AsMap(), w.GetNow().AsMap()
	target := func(d map[string]any) float64 { n, _ := d["wish"].(map[string]any)["target"].(float64); return n }
	if target(then) <= target(now) || then["policy"] != "queuelen" || then["policy_hash"] != now["policy_hash"] {
		t.Errorf("got %v in place of %v, want more workers of the same policy", then, now)
	}
	if len(w.GetActions()) == 0 || !strings.HasPrefix(w.GetActions()[0], "launch ") {
		t.Errorf("at once: %q, want a launch", w.GetActions())
	}
	odd := ask[*msg.WhatIf](t, r, &msg.WhatIfQuery{Pool: "epu-test", Sensors: map[string]float64{"depth": -5}})
	if notes := strings.Join(odd.GetNotes(), "\n"); notes != "depth: -5 is below the sensor's min of 0; taken as unknown" || !strings.Contains(odd.GetDecision().String(), "depth is unknown, so the wish stays") {
		t.Errorf("a value that there can't be: got %v with the notes %q, want it unknown, and that said", odd.GetDecision(), notes)
	}
	_, err := relay.Ask[*msg.WhatIf](t.Context(), r.client, &msg.WhatIfQuery{Pool: "epu-test", Sensors: map[string]float64{"dept": 1}})
	if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "did you mean 'depth'?") {
		t.Errorf("a sensor that there is not: %v", err)
	}
	conf := &structpb.Struct{Fields: map[string]*structpb.Value{"min_instance": structpb.NewNumberValue(3)}}
	_, err = relay.Ask[*msg.WhatIf](t.Context(), r.client, &msg.WhatIfQuery{Pool: "epu-test", Conf: conf})
	if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "min_instances") {
		t.Errorf("a setting that there is not: %v", err)
	}
	conf = &structpb.Struct{Fields: map[string]*structpb.Value{"min_instances": structpb.NewNumberValue(3)}}
	w = ask[*msg.WhatIf](t, r, &msg.WhatIfQuery{Pool: "epu-test", Conf: conf})
	if got := target(w.GetDecision().AsMap()); got != 3 {
		t.Errorf("with min_instances=3 it would want %v", got)
	}
	st := ask[*msg.Status](t, r, &msg.StatusQuery{})
	if n := st.GetPools()[0].GetConf().AsMap()["min_instances"]; n != nil {
		t.Errorf("asking has set min_instances = %v", n)
	}
}

// Goal: a whole node evaluates a candidate beside the pool's policy, keeps it over a restart, and hands out what the
// policy sees. Method: a candidate that wants one more, and the snapshot decided on anew.
func TestShadowAndSnapshotThroughTheNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, dir)
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{{Path: "pool.yaml", Content: []byte(files)}}})
	r.await(t, "workers", converged(2))
	mine := &msg.File{Path: "mine.lua", Content: []byte(`return {
  params = { preserve_n = { type = "integer", default = 0 } },
  decide = function(control, state, conf)
    control.because("one more")
    control.scale_to(conf.preserve_n + 1)
  end,
}`)}
	done := ask[*msg.Done](t, r, &msg.Shadow{Pool: "epu-test", Files: []*msg.File{mine}})
	if !strings.Contains(done.GetText(), "it would want 3 where 2 are wanted") {
		t.Errorf("begun with %q", done.GetText())
	}
	shadow := func(s *msg.Status) bool {
		return strings.Contains(s.GetPools()[0].GetShadow(), "wanted something else in 1 of 1")
	}
	r.await(t, "a difference", shadow)
	check := func() {
		t.Helper()
		rep := ask[*msg.ShadowReport](t, r, &msg.ShadowQuery{Pool: "epu-test"})
		d := rep.GetDifferences()
		if rep.GetEnded() != nil || len(d) == 0 || d[0].GetOurs() != 2 || d[0].GetTheirs() != 3 || d[0].GetTheirsBecause() != "one more" {
			t.Errorf("the report is %v", rep)
		}
	}
	check()
	seen := ask[*msg.SnapshotReply](t, r, &msg.SnapshotQuery{Pool: "epu-test"})
	if len(seen.GetPolicy()) == 0 || seen.GetPolicyName() != "npreserving" || seen.GetConf().AsMap()["preserve_n"] != 2.0 {
		t.Fatalf("the snapshot comes with %v", seen)
	}
	var form snapshot.Seen
	if err := json.Unmarshal(seen.GetSnapshot(), &form); err != nil {
		t.Fatal(err)
	}
	snap, err := form.Snapshot()
	if err != nil || len(snap.Workers) != 2 || snap.Counts.Running != 2 || snap.Wish.Target != 2 {
		t.Errorf("the snapshot is %+v, %v", snap, err)
	}
	last := ask[*msg.Decisions](t, r, &msg.DecisionsQuery{Pool: "epu-test"}).GetDecisions()[0].GetId()
	past := ask[*msg.SnapshotReply](t, r, &msg.SnapshotQuery{Pool: "epu-test", Decision: last})
	if err := json.Unmarshal(past.GetSnapshot(), &form); err != nil || form.Record == nil || string(form.Record.ID) != last {
		t.Errorf("the recorded snapshot is %s, %v", past.GetSnapshot(), err)
	}
	r.stop(t)
	r = start(t, dir)
	defer r.stop(t)
	r.await(t, "the shadow to go on", func(s *msg.Status) bool { return len(s.GetPools()) > 0 && s.GetPools()[0].GetShadow() != "" })
	check()
	ask[*msg.Done](t, r, &msg.Shadow{Pool: "epu-test", Stop: true})
	if rep := ask[*msg.ShadowReport](t, r, &msg.ShadowQuery{Pool: "epu-test"}); rep.GetEnded() == nil {
		t.Errorf("after stop the report is %v", rep)
	}
}
