package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/policies"
)

// The goal is that questions are answered by the real engine and leave no trace in the one that decides. Method: a
// policy that counts how often it was called, in its Lua state and in its memory.

const counting = `local calls = 0
return {
  params = { per = { type = "integer", default = 20, min = 1 }, from = { type = "sensor", default = "queue" } },
  initialize = function(control, state, conf) state.memory.born = (state.memory.born or 0) + 1 end,
  decide = function(control, state, conf)
    calls = calls + 1
    state.memory.n = (state.memory.n or 0) + 1
    control.because("call " .. calls .. " memory " .. state.memory.n .. " born " .. tostring(state.memory.born))
    control.scale_to(math.ceil(state.sensor(conf.from).value / conf.per))
  end,
  reconfigure = function(control, state, conf, old, changed) state.memory.n = 100 end,
}`

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	most := 5995.0
	return engine.New(engine.Options{
		Pool: "epu-web", Now: func() time.Time { return time.Unix(0, 0) }, Getenv: func(string) string { return "" },
		Shelf: engine.NewShelf(engine.ShelfOptions{
			Library: policies.NewLibrary(fstest.MapFS{"counting.lua": {Data: []byte(counting)}}), Now: func() time.Time { return time.Unix(0, 0) },
		}),
		Log: slog.New(slog.DiscardHandler),
		Spec: func(context.Context) (epu.PoolSpec, error) {
			return epu.PoolSpec{Sensors: map[string]epu.SensorSpec{"queue": {Max: &most}, "other": {}}}, nil
		},
	})
}

// seen is what the policy sees, after a decision.
func seen(d epu.Decision, queue float64) actors.DecideCall {
	s := &policies.Snapshot{Now: time.Unix(0, 0), Pool: "epu-web", Decision: "d", Memory: d.MemoryAfter, Wish: d.Wish}
	s = s.With(epu.Reading{Sensor: "queue", Value: queue, Quality: epu.QualityOK})
	return actors.DecideCall{Policy: "counting", Conf: map[string]any{"per": 20}, Snapshot: s}
}

func do[T any](t *testing.T, e *engine.Engine, call any) T {
	t.Helper()
	got, err := e.Do(context.Background(), call)
	if err != nil {
		t.Fatalf("%T: %v", call, err)
	}
	return got.(T)
}

func TestWhatIfAnswersAsThePoolWould(t *testing.T) {
	e := newEngine(t)
	last := do[epu.Decision](t, e, seen(epu.Decision{}, 100))
	now := seen(last, 100)
	ask := func(c actors.WhatIfCall) actors.WhatIfDecided {
		c.Now = now
		if c.Then == nil {
			c.Then = now.Snapshot
		}
		return do[actors.WhatIfDecided](t, e, c)
	}
	w := ask(actors.WhatIfCall{Then: now.Snapshot.With(epu.Reading{Sensor: "queue", Value: 5000, Quality: epu.QualityOK})})
	if w.Now.Wanted.Target != 5 || w.Then.Wanted.Target != 250 || w.Then.Reasons[0].Text != "call 1 memory 2 born 1" {
		t.Errorf("readings: %d, %d %v", w.Now.Wanted.Target, w.Then.Wanted.Target, w.Then.Reasons)
	}
	w = ask(actors.WhatIfCall{Variant: policies.Variant{Changes: map[string]any{"per": 10.0}}})
	if w.Now.Wanted.Target != 5 || w.Then.Wanted.Target != 10 || !strings.Contains(w.Then.Reasons[0].Text, "memory 101") {
		t.Errorf("settings: %d, %d %v; reconfigure must run first", w.Now.Wanted.Target, w.Then.Wanted.Target, w.Then.Reasons)
	}
	own := now // what the pool has set stays, on both sides
	own.Conf = map[string]any{"per": 25.0}
	w = do[actors.WhatIfDecided](t, e, actors.WhatIfCall{Now: own, Then: now.Snapshot.With(epu.Reading{Sensor: "queue", Value: 50, Quality: epu.QualityOK})})
	if w.Now.Wanted.Target != 4 || w.Then.Wanted.Target != 2 {
		t.Errorf("a pool's own settings: %d, %d", w.Now.Wanted.Target, w.Then.Wanted.Target)
	}
	candidate := []epu.PolicyFile{
		{Path: "mine.lua", Text: strings.Replace(counting, "local calls = 0", `local calls = require("lib.start")`, 1)},
		{Path: "lib/start.lua", Text: "return 40"},
	}
	w = ask(actors.WhatIfCall{Files: candidate})
	if w.Then.Policy != "mine" || w.Then.Reasons[0].Text != "call 41 memory 2 born 2" {
		t.Errorf("a candidate: %s %v; its initialize must run", w.Then.Policy, w.Then.Reasons)
	}
	w = ask(actors.WhatIfCall{Variant: policies.Variant{Changes: map[string]any{"pre": 1.0, "per": 0.0}}})
	if len(w.Problems) != 2 {
		t.Errorf("wrong settings: %q, want two problems", w.Problems)
	}
	w = ask(actors.WhatIfCall{Variant: policies.Variant{Changes: map[string]any{"from": "quee"}}})
	if len(w.Problems) != 1 || !strings.Contains(w.Problems[0], "did you mean queue?") {
		t.Errorf("a sensor that there is not: %q", w.Problems)
	}
	for _, files := range [][]epu.PolicyFile{
		{{Path: "mine.txt", Text: counting}},
		{{Path: "mine.lua", Text: "return 1"}},
		{{Path: "mine.lua", Text: counting}, {Path: "lib/x.lua", Text: strings.Repeat(" ", 1<<20)}},
	} {
		if _, err := e.Do(context.Background(), actors.WhatIfCall{Now: now, Then: now.Snapshot, Files: files}); epu.KindOf(err) != epu.Invalid {
			t.Errorf("candidate %s: got %v, want that it is invalid", files[0].Path, err)
		}
	}
}

func TestQuestionsLeaveTheEngineAsItIs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := newEngine(t)
		var d epu.Decision
		for n := 1; n <= 5; n++ {
			for range rapid.IntRange(0, 3).Draw(rt, "questions") {
				call := actors.WhatIfCall{Now: seen(d, 1)}
				call.Then = call.Now.Snapshot.With(epu.Reading{Sensor: "queue", Value: rapid.Float64Range(0, 1e6).Draw(rt, "queue"), Quality: epu.QualityOK})
				switch rapid.IntRange(0, 3).Draw(rt, "kind") {
				case 0:
					call.Variant.Changes = map[string]any{"per": 3.0}
				case 1:
					call.Files = []epu.PolicyFile{{Path: "counting.lua", Text: counting + "\n"}}
				case 2:
					call.Files = []epu.PolicyFile{{Path: "hostile.lua", Text: `return { decide = function() while true do end end }`}}
				}
				_, _ = e.Do(context.Background(), call)
			}
			d = do[epu.Decision](t, e, seen(d, 100))
			if want := fmt.Sprintf("call %d memory %d born 1", n, n); d.Error != "" || d.Reasons[0].Text != want {
				rt.Fatalf("decision %d said %q %s, want %q", n, d.Reasons[0].Text, d.Error, want)
			}
		}
	})
}

// A candidate has an engine and a memory of its own for as long as it is in the shadow, and fails alone.
func TestShadowHasAnEngineOfItsOwn(t *testing.T) {
	e := newEngine(t)
	files := []epu.PolicyFile{{Path: "mine.lua", Text: counting}}
	var ours, theirs epu.Decision
	decide := func(began int64, files []epu.PolicyFile, changes map[string]any) (epu.Decision, error) {
		c := actors.ShadowCall{Began: time.Unix(began, 0), Files: files, Variant: policies.Variant{Changes: changes}, Decide: seen(theirs, 100)}
		d, err := e.Do(context.Background(), c)
		if err != nil {
			return epu.Decision{}, err
		}
		return d.(epu.Decision), nil
	}
	for n := 1; n <= 3; n++ {
		ours = do[epu.Decision](t, e, seen(ours, 100))
		var err error
		if theirs, err = decide(1, files, map[string]any{"per": 10.0}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("call %d memory %d born 1", n, n)
		if ours.Reasons[0].Text != want || theirs.Reasons[0].Text != want || ours.Wanted.Target != 5 || theirs.Wanted.Target != 10 {
			t.Errorf("round %d: ours %d %v, theirs %d %v", n, ours.Wanted.Target, ours.Reasons, theirs.Wanted.Target, theirs.Reasons)
		}
	}
	theirs = epu.Decision{}
	if d, err := decide(2, files, nil); err != nil || d.Reasons[0].Text != "call 1 memory 1 born 1" {
		t.Errorf("another candidate: %v, %v", d.Reasons, err)
	}
	if _, err := decide(3, files, map[string]any{"pre": 1.0}); epu.KindOf(err) != epu.Invalid {
		t.Errorf("settings that it does not take: %v", err)
	}
	if _, err := decide(4, nil, nil); err != nil {
		t.Errorf("its end: %v", err)
	}
	if d := do[epu.Decision](t, e, seen(ours, 100)); d.Reasons[0].Text != "call 4 memory 4 born 1" {
		t.Errorf("the pool's own then: %v", d.Reasons)
	}
}

// other has other settings than counting, of which one is required.
const other = `return {
  params = { day = { type = "integer", required = true }, night = { type = "integer", default = 1 }, from = { type = "sensor", default = "queue" } },
  decide = function(control, state, conf) control.because("day") control.scale_to(conf.day) end,
}`

// Goal: a candidate with other settings is refused with exactly the flags that it takes, and taken with them; what is
// unset stays so while the pool's configuration changes. Method: what is refused is asked again with what that says.
func TestVariantsOfSettings(t *testing.T) {
	e := newEngine(t)
	files := []epu.PolicyFile{{Path: "mine.lua", Text: other}}
	now := seen(epu.Decision{}, 100)
	now.Conf = map[string]any{"per": 20, "from": "queue"}
	ask := func(v policies.Variant, files ...epu.PolicyFile) actors.WhatIfDecided {
		t.Helper()
		return do[actors.WhatIfDecided](t, e, actors.WhatIfCall{Now: now, Then: now.Snapshot, Files: files, Variant: v})
	}
	for _, c := range []struct {
		v    policies.Variant
		mend string
		want int
	}{
		{policies.Variant{}, "--unset per --set day=VALUE", 0},
		{policies.Variant{Unset: []string{"per"}}, "--set day=VALUE", 0},
		{policies.Variant{Changes: map[string]any{"day": 7}}, "--unset per", 0},
		{policies.Variant{Unset: []string{"per"}, Changes: map[string]any{"day": 7}}, "", 7},
		{policies.Variant{Whole: true, Changes: map[string]any{"day": 8}}, "", 8},
		{policies.Variant{Whole: true}, "--set day=VALUE", 0},
		{policies.Variant{Whole: true, Changes: map[string]any{"day": 8, "per": 1}}, "", 0}, // who wrote it knows
		{policies.Variant{Unset: []string{"per"}, Changes: map[string]any{"day": 7, "night": "x"}}, "", 0},
	} {
		d := ask(c.v, files...)
		if d.Mend != c.mend || (len(d.Problems) == 0) != (c.want > 0) || d.Then.Wanted.Target != c.want {
			t.Errorf("%+v: mend %q, problems %q, wants %d; want %q and %d", c.v, d.Mend, d.Problems, d.Then.Wanted.Target, c.mend, c.want)
		}
	}
	now.Conf["from"] = "quee"
	if d := ask(policies.Variant{Unset: []string{"per"}, Changes: map[string]any{"day": 1}}, files...); d.Mend != "--set from=SENSOR" {
		t.Errorf("a sensor that there is not: mend %q (%q)", d.Mend, d.Problems)
	}
	now.Conf = map[string]any{"per": 5}
	if d := ask(policies.Variant{Unset: []string{"per"}}); d.Now.Wanted.Target != 20 || d.Then.Wanted.Target != 5 {
		t.Errorf("the default in place of a setting: %d and %d, want 20 and 5 (%q)", d.Now.Wanted.Target, d.Then.Wanted.Target, d.Problems)
	}
	for _, conf := range []map[string]any{{"per": 20}, {"per": 25}, {"per": 25, "from": "queue", "later": true}} {
		call := seen(epu.Decision{}, 100)
		call.Conf = conf
		got := do[epu.Decision](t, e, actors.ShadowCall{
			Began: time.Unix(1, 0), Files: files, Variant: policies.Variant{Unset: []string{"per"}, Changes: map[string]any{"day": 9}}, Decide: call,
		})
		if got.Wanted.Target != 9 {
			t.Errorf("in the shadow of %v it wants %d (%s), want 9", conf, got.Wanted.Target, got.Error)
		}
	}
}

// Goal: a changed configuration holds what somebody chose and no defaults, or another version of the policy with other
// parameters would be refused for what nobody ever set. Method: changes of one setting, from and to its default.
func TestReconfiguredHoldsWhatWasChosen(t *testing.T) {
	e := newEngine(t)
	for _, c := range []struct {
		conf, changes map[string]any
		want          string
	}{
		{map[string]any{}, map[string]any{"per": 5}, "map[per:5] [per]"},
		{map[string]any{"from": "other"}, map[string]any{"per": 5}, "map[from:other per:5] [per]"},
		{map[string]any{"per": 5}, map[string]any{"per": nil}, "map[per:20] [per]"},
		{map[string]any{"per": 5}, map[string]any{"per": 5}, "map[per:5] []"},
	} {
		got := do[actors.CheckedConf](t, e, actors.CheckConfCall{Policy: "counting", Conf: c.conf, Changes: c.changes})
		if text := fmt.Sprint(got.Conf, " ", got.Changed); text != c.want || len(got.Problems) > 0 {
			t.Errorf("%v with %v: got %s %q, want %s", c.conf, c.changes, text, got.Problems, c.want)
		}
	}
}
