package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/policies"
)

// These are questions of what would happen. Method: a fleet on a calm cloud, in virtual time.

// demanding wants a worker for each twenty of the sensor load.
func demanding(s *policies.Snapshot, d *epu.Decision) {
	r, ok := s.Readings["load"]
	if !ok || r.Quality == epu.QualityUnknown {
		return
	}
	d.Inputs = append(d.Inputs, epu.Input{Name: "sensor load", Value: r})
	d.Wanted.Target = int(math.Ceil(r.Value / 20))
	d.Reasons = []epu.Reason{{Rule: "load", Text: fmt.Sprintf("load %v", r.Value)}}
}

func whatIf(t *testing.T, f *actortest.Fleet, q *msg.WhatIfQuery) actors.WhatIf {
	t.Helper()
	w, ok := f.Ask(q).(actors.WhatIf)
	if !ok {
		t.Fatalf("%v: got no answer, or a refusal", q)
	}
	return w
}

func settings(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What would be is told with the guard rails and the first steps; what is stays beside it.
func TestWhatIfShowsBothSides(t *testing.T) {
	f := calmFleet(t, 3, func(p *epu.PoolSpec) {
		loadSensors(p)
		load := p.Sensors["load"]
		load.Min = proto.Float64(0)
		p.Sensors["load"] = load
		p.Limits.Max = 8
	})
	f.Policy = demanding
	done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(60)}))
	f.Run(time.Minute)
	w := whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": 500}})
	if w.Now.Wish.Target != 3 || len(w.Now.Actions) != 0 || w.Now.Before != 3 {
		t.Errorf("now: wish %d, actions %v, before %d; want 3, none, 3", w.Now.Wish.Target, w.Now.Actions, w.Now.Before)
	}
	launched := 0
	for _, a := range w.Then.Actions {
		if a.Kind != epu.ActLaunch {
			t.Errorf("then: %+v is no launch", a)
		}
		launched += a.Count
	}
	if w.Then.Wanted.Target != 25 || w.Then.Wish.Target != 8 || launched != 5 || w.Then.Clamps[0].Rule != "limits.max" {
		t.Errorf("then: wanted %d, wish %d, %d launched, clamps %v; want 25, 8, 5 and limits.max", w.Then.Wanted.Target, w.Then.Wish.Target, launched, w.Then.Clamps)
	}
	w = whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": 20}})
	if w.Then.Wish.Target != 1 || len(w.Then.Actions) == 0 || w.Then.Actions[0].Kind != epu.ActDrain {
		t.Errorf("less load: wish %d, actions %v; want 1 and drains", w.Then.Wish.Target, w.Then.Actions)
	}
	w = whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": math.NaN()}, Conf: settings(t, map[string]any{"preserve_n": 6})})
	if w.Then.Wish.Target != 6 || w.Now.Wish.Target != 3 {
		t.Errorf("an unknown load: wish %d, now %d; want 6 and 3", w.Then.Wish.Target, w.Now.Wish.Target)
	}
	outside := whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": -5}, Conf: settings(t, map[string]any{"preserve_n": 6})})
	if outside.Then.Wish.Target != 6 {
		t.Errorf("a load below its min: wish %d, want 6 as with an unknown one", outside.Then.Wish.Target)
	}
	done(t, f, true, &msg.FreezeCommand{Pool: "epu-web"})
	w = whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": 500}})
	if w.Then.Wish.Target != 8 || len(w.Then.Actions) != 0 || len(w.Then.Rejected) == 0 || !strings.Contains(w.Then.Rejected[0].Text, "thaw") {
		t.Errorf("frozen: wish %d, actions %v, rejected %v; want 8, none, and the freeze", w.Then.Wish.Target, w.Then.Actions, w.Then.Rejected)
	}
}

// What a policy would ask for once is carried out in thought, and the wish after it.
func TestWhatIfCarriesOutActions(t *testing.T) {
	f := calmFleet(t, 3, loadSensors)
	victim := f.Workers()[0].ID
	f.Policy = func(s *policies.Snapshot, d *epu.Decision) {
		if s.Readings["load"].Value > 1 {
			d.Actions = []epu.Action{{Kind: epu.ActTerminate, Workers: []epu.WorkerID{victim}}, {Kind: epu.ActLaunch, Count: 9}}
		}
	}
	w := whatIf(t, f, &msg.WhatIfQuery{Sensors: map[string]float64{"load": 2}})
	var kinds []string
	for _, a := range w.Then.Actions {
		kinds = append(kinds, fmt.Sprint(a.Kind, " ", a.Count, len(a.Workers)))
	}
	if got := strings.Join(kinds, ", "); got != "terminate 0 1, launch 1 0" {
		t.Errorf("actions %s; want one end, and one launch in its place", got)
	}
	f.Run(time.Minute)
	settled(t, f, 3, 0)
}

// What can't be asked is refused with all that is wrong and what may be meant.
func TestWhatIfRefusesWhatThereIsNot(t *testing.T) {
	f := calmFleet(t, 1, loadSensors)
	no, ok := f.Ask(&msg.WhatIfQuery{Sensors: map[string]float64{"laod": 1, "depht": 2}}).(msg.Refused)
	if !ok || no.Err.Kind != epu.Invalid || len(no.Problems) != 2 || !strings.Contains(no.Problems[1], "did you mean 'load'?") {
		t.Errorf("sensors: got %+v", no)
	}
	no, ok = f.Ask(&msg.WhatIfQuery{Conf: settings(t, map[string]any{"preserve": 1})}).(msg.Refused)
	if !ok || no.Err.Kind != epu.Invalid || len(no.Problems) != 1 {
		t.Errorf("settings: got %+v", no)
	}
	f.Redefine(func(d *msg.Define) { d.Removing = true })
	f.Run(5 * time.Second)
	if no, ok = f.Ask(&msg.WhatIfQuery{}).(msg.Refused); !ok || no.Err.Kind != epu.Conflict {
		t.Errorf("a pool that is being removed: got %+v", no)
	}
}

// However often and whatever is asked, nothing is stored, launched or ended, and decisions go on as before.
func TestQuestionsChangeNothing(t *testing.T) {
	f := calmFleet(t, 3, loadSensors)
	f.Policy = demanding
	done(t, f, true, pushed(&msg.SensorValue{Sensor: "load", Value: proto.Float64(60)}))
	f.Run(time.Second)
	stored := func() string {
		l, err := f.Journal.Load(context.Background(), epu.PoolStream(epu.DefaultOwner, "epu-web"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(l.Tail)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(l.Revision, " ", string(raw), string(l.Snapshot))
	}
	before, machines := stored(), len(f.Machines())
	rapid.Check(t, func(rt *rapid.T) {
		q := &msg.WhatIfQuery{Sensors: map[string]float64{}}
		if rapid.Bool().Draw(rt, "load is given") {
			q.Sensors["load"] = rapid.Float64().Draw(rt, "load")
		}
		if rapid.Bool().Draw(rt, "preserve_n is given") {
			q.Conf = settings(t, map[string]any{"preserve_n": rapid.IntRange(0, 1000).Draw(rt, "preserve_n")})
		}
		if _, ok := f.Ask(q).(actors.WhatIf); !ok {
			rt.Errorf("%v: no answer", q)
		}
		if _, ok := f.Ask(&msg.SnapshotQuery{}).(actors.Glimpse); !ok {
			rt.Error("no snapshot")
		}
		if after := stored(); after != before || len(f.Machines()) != machines {
			rt.Errorf("%v stored something, or changed the machines:\n%s\n%s", q, before, after)
		}
	})
	settled(t, f, 3, 0)
}

func candidate(span time.Duration) *msg.Shadow {
	return &msg.Shadow{
		Pool: "epu-web", For: durationpb.New(span), Files: []*msg.File{{Path: "mine.lua", Content: []byte("return {}")}},
	}
}

func report(t *testing.T, f *actortest.Fleet) *msg.ShadowReport {
	t.Helper()
	r, ok := f.Ask(&msg.ShadowQuery{}).(*msg.ShadowReport)
	if !ok {
		t.Fatal("there is no report")
	}
	return r
}

// A candidate decides on what the policy decides on, with a memory of its own; what it wants is counted and not done,
// a restart does not end it, and its time does.
func TestCandidateInTheShadow(t *testing.T) {
	f := calmFleet(t, 3, loadSensors)
	f.Policy = func(_ *policies.Snapshot, d *epu.Decision) { d.MemoryAfter = json.RawMessage(`{"ours":1}`) }
	calls, memories := 0, map[string]int{}
	f.Candidate = func(s *policies.Snapshot, d *epu.Decision) error {
		calls++
		memories[string(s.Memory)]++
		d.MemoryAfter = json.RawMessage(`{"theirs":1}`)
		switch {
		case calls%3 == 0:
			return errors.New("mine.lua:7: no")
		case calls%3 == 1:
			d.Wanted.Target = 50
		}
		return nil
	}
	if no := f.Ask(&msg.ShadowQuery{}); no.(msg.Refused).Err.Kind != epu.NotFound {
		t.Errorf("before there was one: %+v", no)
	}
	done(t, f, true, candidate(20*time.Minute))
	f.Run(12 * time.Minute)
	r := report(t, f)
	if r.GetEvaluated() < 100 || r.GetDiffering() < r.GetEvaluated()/4 || r.GetFailed() < r.GetEvaluated()/4 || r.GetError() != "mine.lua:7: no" || r.GetEnded() != nil {
		t.Errorf("after 12 minutes: %v", r)
	}
	if memories[`{"ours":1}`] > 0 || memories[`{"theirs":1}`] == 0 {
		t.Errorf("it was called with the memories %v", memories)
	}
	if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); !strings.Contains(v.Shadow, "wanted something else in ") || v.Failure != "" {
		t.Errorf("the pool says %q, and fails with %q", v.Shadow, v.Failure)
	}
	f.Crash()
	f.Run(time.Minute)
	if again := report(t, f); again.GetEvaluated() < 100 || again.GetEnded() != nil || !again.GetSince().AsTime().Equal(r.GetSince().AsTime()) {
		t.Errorf("after a restart: %v", again)
	}
	f.Run(10 * time.Minute)
	ended, so := report(t, f), calls
	if ended.GetEnded() == nil || ended.GetEvaluated() < r.GetEvaluated() {
		t.Errorf("after its time: %v", ended)
	}
	f.Run(5 * time.Minute)
	if calls != so {
		t.Errorf("it was evaluated %d times after its end", calls-so)
	}
	if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); v.Shadow != "" {
		t.Errorf("after its end the pool says %q", v.Shadow)
	}
	settled(t, f, 3, 0)
}

// Settings are taken away for the question only, and a candidate goes without them after a restart too. What there is
// not can't be taken away, and what the pool's settings are to blame for is said with the flags that mend it.
func TestVariantsOfThePoolsSettings(t *testing.T) {
	f := calmFleet(t, 3, loadSensors)
	w := whatIf(t, f, &msg.WhatIfQuery{Unset: []string{"preserve_n"}})
	if w.Now.Wish.Target != 3 || w.Then.Wanted.Target != 0 {
		t.Errorf("unset: now %d, then %d; want 3 and 0", w.Now.Wish.Target, w.Then.Wanted.Target)
	}
	w = whatIf(t, f, &msg.WhatIfQuery{Whole: true, Conf: settings(t, map[string]any{"names": 1})})
	if w.Then.Wanted.Target != 0 || len(w.Then.Wanted.Uniques) != 1 {
		t.Errorf("whole: then %+v, want one unique worker", w.Then.Wanted)
	}
	for _, c := range []struct {
		q              *msg.WhatIfQuery
		says, try, not string
	}{
		{&msg.WhatIfQuery{Unset: []string{"preserve"}}, "did you mean 'preserve_n'?", "leave these out of --unset", "sensor list"},
		{&msg.WhatIfQuery{Unset: []string{"preserve_n"}, Whole: true}, "the configuration is given whole", "--unset", "sensor list"},
		{&msg.WhatIfQuery{Unset: []string{"x"}, Sensors: map[string]float64{"y": 1}}, "it sets preserve_n", "sensor list", "leave"},
		{&msg.WhatIfQuery{Conf: settings(t, map[string]any{"day": 1})}, "day: there is no such setting", "add --unset day; epumgmt policy doc npreserving", "sensor"},
	} {
		no, ok := f.Ask(c.q).(msg.Refused)
		if !ok || !strings.Contains(no.Err.Error(), c.says) || !strings.Contains(no.Err.Try, c.try) || strings.Contains(no.Err.Try, c.not) {
			t.Errorf("%v: got %v, try %q; want %q, %q", c.q, no.Err, no.Err.Try, c.says, c.try)
		}
	}
	wants := map[int]int{}
	f.Candidate = func(_ *policies.Snapshot, d *epu.Decision) error { wants[d.Wanted.Target]++; return nil }
	for _, c := range []struct {
		unset []string
		whole bool
		want  int
	}{{[]string{"preserve_n"}, false, 0}, {nil, true, 0}, {nil, false, 3}} {
		m := candidate(time.Hour)
		m.Unset, m.Whole = c.unset, c.whole
		done(t, f, true, m)
		clear(wants)
		f.Run(time.Minute)
		f.Crash()
		f.Run(time.Minute)
		if wants[c.want] < 10 || len(wants) != 1 {
			t.Errorf("unset %q, whole %v: it wanted %v, want %d each time", c.unset, c.whole, wants, c.want)
		}
	}
	settled(t, f, 3, 0)
}

// What can't go into the shadow is refused; another candidate takes the place of the one before, and stop ends it.
func TestShadowIsBegunAndEnded(t *testing.T) {
	f := calmFleet(t, 1, nil)
	refused(t, f, epu.Invalid, &msg.Shadow{Pool: "epu-web"})
	for _, span := range []time.Duration{-time.Second, 900 * time.Hour} {
		long, ok := f.Order(candidate(span)).(msg.Refused)
		if !ok || epu.KindOf(long.Err) != epu.Invalid || !strings.Contains(long.Err.Error(), "up to 168h (7 days)") || !strings.Contains(epu.TryOf(long.Err), "--for 168h") {
			t.Errorf("for %v: got %v, try %q", span, long.Err, epu.TryOf(long.Err))
		}
	}
	big := candidate(time.Hour)
	big.Files = append(big.Files, &msg.File{Path: "big.lua", Content: make([]byte, 300<<10)})
	refused(t, f, epu.Invalid, big)
	wrong := candidate(time.Hour)
	wrong.Conf = settings(t, map[string]any{"what": 1})
	no, ok := f.Order(wrong).(msg.Refused)
	if !ok || epu.KindOf(no.Err) != epu.Invalid || !strings.HasPrefix(no.Err.Error(), "shadow epu-web: ") || !strings.Contains(epu.TryOf(no.Err), "policy doc mine ") {
		t.Errorf("a setting that the candidate does not have: got %v, try %q", no.Err, epu.TryOf(no.Err))
	}
	done(t, f, false, &msg.Shadow{Pool: "epu-web", Stop: true})
	done(t, f, true, candidate(time.Hour))
	f.Run(time.Minute)
	first := report(t, f)
	done(t, f, true, candidate(2*time.Hour))
	f.Run(10 * time.Second)
	if r := report(t, f); r.GetEvaluated() >= first.GetEvaluated() || !r.GetSince().AsTime().After(first.GetSince().AsTime()) {
		t.Errorf("the second candidate: %v", r)
	}
	if text := done(t, f, true, &msg.Shadow{Pool: "epu-web", Stop: true}); !strings.Contains(text, "wanted something else in 0 of ") {
		t.Errorf("stop says %q", text)
	}
	if r := report(t, f); r.GetEnded() == nil {
		t.Errorf("after stop: %v", r)
	}
	settled(t, f, 1, 0)
}
