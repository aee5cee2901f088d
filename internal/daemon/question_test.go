package daemon_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

// Goal: a whole node answers what would be, with the stock policy and its guard rails, and does nothing. Method: a
// pool that follows a queue, asked through the relay.
func TestWhatIfThroughTheNode(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	pool := strings.Replace(files, "policy: {conf: {preserve_n: 2}}", "policy: {name: queuelen, conf: {sensor: depth, queuelen_high_water: 10, queuelen_low_water: 2, step_up: 8, max_instances: 8}}\nsensors: {depth: {source: push}}", 1)
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
