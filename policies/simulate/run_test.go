package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/simulate"
	"github.com/nimbus-epu/epu/scripts"
)

func load(t testing.TB, name string) *policies.Policy {
	t.Helper()
	p, err := policies.NewLibrary(scripts.Policies()).Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func workload(t testing.TB, text string, length time.Duration) *simulate.Workload {
	t.Helper()
	w, err := simulate.Generate(text, length, 1)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func spread(t testing.TB, text string) simulate.Spread {
	t.Helper()
	s, err := simulate.ParseSpread(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, cfg simulate.Config) *simulate.Result {
	t.Helper()
	r, err := simulate.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Errors > 0 {
		t.Fatalf("the policy failed: %v", r.Errors)
	}
	return r
}

// Goal: queue and workers behave as queueing theory says. Method: a fixed number of workers, random
// arrivals and lengths: Erlang's formula gives the mean wait.
func TestWaitsAreErlangs(t *testing.T) {
	const workers, perMinute, minutes = 5, 4.0, 1.0
	r := run(t, simulate.Config{
		Policy: load(t, "npreserving"), Conf: map[string]any{"preserve_n": workers}, Workers: workers, Tick: time.Hour,
		Workload: workload(t, "poisson(4/min)", 1000*time.Hour), JobLength: spread(t, "exp(1m)"),
	})
	load, sum, term := perMinute*minutes, 0.0, 1.0
	for k := range workers {
		if k > 0 {
			term *= load / float64(k)
		}
		sum += term
	}
	term *= load / workers
	queued := term * workers / (workers - load)
	want := queued / (sum + queued) / (workers/minutes - perMinute) * 60
	if got := r.Totals.WaitMean; math.Abs(got/want-1) > 0.05 {
		t.Errorf("got a mean wait of %.2f s over %.0f jobs, want %.2f s", got, r.Totals.Jobs, want)
	}
	if got := r.Totals.BusyShare; math.Abs(got-load/workers) > 0.02 {
		t.Errorf("got workers busy for %.3f of the time, want %.3f", got, load/workers)
	}
}

// Goal: a flow does what as many single jobs do. Method: the same steady work in both forms under one
// policy.
func TestFlowIsManyJobs(t *testing.T) {
	var flow simulate.Workload
	flow.Every = time.Minute
	var jobs simulate.Workload
	for m := range 600 {
		n := 30
		if m > 200 && m < 300 {
			n = 120
		}
		flow.Flows = append(flow.Flows, simulate.Flow{At: time.Duration(m) * time.Minute, Count: float64(n)})
		for i := range n {
			jobs.Jobs = append(jobs.Jobs, simulate.Job{At: time.Duration(m)*time.Minute + time.Duration(i)*time.Minute/time.Duration(n)})
		}
	}
	var got [2]simulate.Totals
	for i, w := range []*simulate.Workload{&flow, &jobs} {
		got[i] = run(t, simulate.Config{
			Policy: load(t, "npreserving"), Workload: w, JobLength: simulate.Always(10 * time.Second), Boot: simulate.Always(time.Minute),
			Conf: map[string]any{"preserve_n": 15},
		}).Totals
	}
	for _, c := range []struct {
		what string
		of   func(simulate.Totals) float64
	}{
		{"jobs done", func(t simulate.Totals) float64 { return t.Done }},
		{"mean wait", func(t simulate.Totals) float64 { return t.WaitMean }},
		{"longest queue", func(t simulate.Totals) float64 { return t.WaitingMax }},
		{"busy share", func(t simulate.Totals) float64 { return t.BusyShare }},
	} {
		a, b := c.of(got[0]), c.of(got[1])
		if math.Abs(a-b) > 0.02*math.Max(a, b) {
			t.Errorf("%s: the flow gives %.2f, single jobs %.2f", c.what, a, b)
		}
	}
}

// Goal: workers that fail are replaced and their jobs are done again. Method: short lives, long work.
func TestFailuresAreHealed(t *testing.T) {
	cfg := simulate.Config{
		Policy: load(t, "npreserving"), Conf: map[string]any{"preserve_n": 8}, Workload: workload(t, "poisson(1/min)", 48*time.Hour),
		JobLength: spread(t, "exp(4m)"), Boot: simulate.Always(2 * time.Minute), Life: spread(t, "exp(3h)"),
	}
	r := run(t, cfg)
	n := r.Totals
	if n.Failures < 50 || n.Launches != n.Failures+8 && n.Launches != n.Failures+7 {
		t.Errorf("got %d launches for %d failures of 8 workers", n.Launches, n.Failures)
	}
	if n.Done != n.Jobs {
		t.Errorf("got %.0f of %.0f jobs done", n.Done, n.Jobs)
	}
	if diff := cmp.Diff(r, run(t, cfg)); diff != "" {
		t.Errorf("the same run again:\n%s", diff)
	}
}

// Goal: money and time add up. Method: one worker for 90 minutes, by the second and by the hour.
func TestBill(t *testing.T) {
	for _, c := range []struct {
		charge time.Duration
		want   float64
	}{{0, 1.5}, {time.Hour, 2}} {
		r := run(t, simulate.Config{
			Policy: load(t, "npreserving"), Conf: map[string]any{"preserve_n": 1}, Workload: workload(t, "steady(1/min)", time.Hour),
			Length: 90 * time.Minute, Price: 1, Charge: c.charge,
		})
		if r.Totals.WorkerHours != 1.5 || r.Totals.USD != c.want {
			t.Errorf("charged by %v: got %v h and $%v, want 1.5 h and $%v", c.charge, r.Totals.WorkerHours, r.Totals.USD, c.want)
		}
	}
}

// Goal: whatever a policy wants, the guard rails hold, no job is lost and none is done twice. Method: a
// policy of pure chance over random worlds.
func TestGuardRailsHold(t *testing.T) {
	chance, err := policies.NewLibrary(fstest.MapFS{"chance.lua": {Data: []byte(`
return { decide = function(control, state)
  control.scale_to(math.random(0, 30))
  if math.random() < 0.2 then
    for w in state.workers { stage = "running" } do
      if math.random() < 0.3 then control.drain(w) elseif math.random() < 0.1 then control.terminate(w.id) end
    end
  end
  if math.random() < 0.3 then control.launch { count = math.random(1, 5) } end
end }`)}}).Load("chance")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		limits := simulate.DefaultLimits()
		limits.Max = rapid.IntRange(1, 25).Draw(rt, "max")
		limits.Min = rapid.IntRange(0, limits.Max).Draw(rt, "min")
		limits.InFlight = rapid.IntRange(1, 10).Draw(rt, "in flight")
		w, err := simulate.Generate("poisson(6/min) burst(30, 10m)", 20*time.Minute, rapid.Uint64().Draw(rt, "seed"))
		if err != nil {
			rt.Fatal(err)
		}
		r, err := simulate.Run(t.Context(), simulate.Config{
			Policy: chance, Workload: w, JobLength: spread(t, "exp(1m)"), Boot: spread(t, "uniform(10s, 90s)"),
			Life: simulate.Always(time.Duration(rapid.IntRange(0, 40).Draw(rt, "life")) * time.Minute), Limits: &limits,
			Length: 30 * time.Minute, Tick: time.Duration(rapid.IntRange(5, 60).Draw(rt, "tick")) * time.Second,
		})
		if err != nil {
			rt.Fatal(err)
		}
		for _, e := range r.Errors {
			if !strings.Contains(e, "chance.lua:6: control.terminate was asked to end ") { // too many at once
				rt.Fatalf("the policy failed: %s", e)
			}
		}
		for _, p := range r.Series {
			serving := p.Running + p.Starting - p.Draining
			switch {
			case serving > limits.Max, p.Wish > limits.Max, p.Wish < limits.Min:
				rt.Fatalf("%+v with limits %d to %d", p, limits.Min, limits.Max)
			case p.Starting > limits.InFlight:
				rt.Fatalf("%+v with %d in flight", p, limits.InFlight)
			case p.Busy > float64(p.Running):
				rt.Fatalf("%+v: more workers busy than running", p)
			}
		}
		last := r.Series[len(r.Series)-1]
		if got := r.Totals.Done + last.Waiting + last.Busy; got != r.Totals.Jobs {
			rt.Fatalf("%v jobs came, %v are done, wait or are in work", r.Totals.Jobs, got)
		}
	})
}

// Goal: mistakes in a simulation are told in words.
func TestRefused(t *testing.T) {
	w := workload(t, "steady(1/min)", time.Hour)
	for _, c := range []struct {
		name string
		cfg  simulate.Config
		want string
	}{
		{"configuration", simulate.Config{Conf: map[string]any{"queuelen_high_water": "x"}}, "queuelen_low_water: is required"},
		{"measure", simulate.Config{Sensors: map[string]string{"a": "b"}}, `nothing is called "b" here`},
		{"sensor", simulate.Config{Conf: map[string]any{"sensor": "other"}}, "reads the sensor other (sensor), which is not measured here"},
		{"length", simulate.Config{Length: 1e6 * time.Hour, Tick: time.Second}, "are too many"},
	} {
		conf := map[string]any{"queuelen_high_water": 5, "queuelen_low_water": 1}
		for k, v := range c.cfg.Conf {
			conf[k] = v
		}
		if c.name == "configuration" {
			conf = c.cfg.Conf
		}
		c.cfg.Policy, c.cfg.Workload, c.cfg.Conf = load(t, "queuelen"), w, conf
		if _, err := simulate.Run(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// Goal: the sensors measure what their names say. Method: a policy that prints what it reads.
func TestMeasures(t *testing.T) {
	var src strings.Builder
	src.WriteString("return { decide = function(control, state) control.scale_to(2)\n")
	for _, m := range simulate.Measures() {
		fmt.Fprintf(&src, "print('%[1]s', state.sensor('%[1]s').value)\n", m[0])
	}
	src.WriteString("end }")
	p, err := policies.Compile("prints", []byte(src.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	r := run(t, simulate.Config{
		Policy: p, Tick: time.Minute, Workers: 2, JobLength: simulate.Always(90 * time.Second), Length: time.Minute,
		Workload: &simulate.Workload{Jobs: []simulate.Job{{At: 0}, {At: 30 * time.Second}, {At: 40 * time.Second}}},
		Sensors:  map[string]string{"mine": "jobs"},
		Print:    func(l string) { printed = append(printed, strings.ReplaceAll(l, "\t", " ")) },
	})
	want := []string{
		"queue-length 1", "jobs 3", "jobs-per-worker 1.5", "utilization 100", "idle-workers 0", "arrivals-per-minute 2", "work-left 180",
	}
	if diff := cmp.Diff(want, printed[len(printed)-len(want):]); diff != "" {
		t.Errorf("at one minute:\n%s", diff)
	}
	if last := r.Series[len(r.Series)-1]; last.Demand != 3 {
		t.Errorf("got demand %v, want 3", last.Demand)
	}
}

// Goal: a simulated pool shrinks exactly where a real one does. Method: five workers, none left to do by a reading
// that is stale, then by one that is not.
func TestStaleWorkDoesNotShrink(t *testing.T) {
	p, err := policies.Compile("asks", []byte("return { decide = function(control, state) control.scale_to(state.work().left) end }"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := simulate.NewPool(simulate.PoolConfig{Policy: p, Limits: epu.Limits{Max: 10}, Placement: []epu.Placement{{Site: "local"}}})
	defer pool.Close()
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		left    float64
		quality epu.Quality
		want    int
	}{{5, epu.QualityOK, 5}, {0, epu.QualityStale, 5}, {0, epu.QualityOK, 0}} {
		d := pool.Decide(now, simulate.Senses{Work: epu.Work{Left: &epu.Reading{Value: c.left, Time: now, Quality: c.quality}}})
		if d.Error != "" || d.Wish.Target != c.want {
			t.Errorf("%v left, %s: %d wanted (%s), want %d", c.left, c.quality, d.Wish.Target, d.Error, c.want)
		}
	}
}

// Goal: who no longer waits ends a simulation. Method: what the policy prints ends the context.
func TestRunEndsWithItsContext(t *testing.T) {
	p, err := policies.Compile("p", []byte("return { decide = function(control) print('again') control.scale_to(1) end }"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := simulate.Generate("steady(6/min)", time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	printed := 0
	r, err := simulate.Run(ctx, simulate.Config{Policy: p, Workload: w, Length: 24 * time.Hour, Print: func(string) {
		if printed++; printed == 3 {
			cancel()
		}
	}})
	if r != nil || !errors.Is(err, context.Canceled) || printed != 3 {
		t.Errorf("got %v, %v after %d decisions, want an end after 3", r, err, printed)
	}
}
