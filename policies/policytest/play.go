package policytest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/simulate"
)

// ScenarioFolder is where a policy folder may keep scenario files, besides NAME.scenarios.yaml at its top.
const ScenarioFolder = "scenarios"

// scenarioFiles lists the scenario files of a library.
func scenarioFiles(lib *policies.Library) (out []string) {
	names, _ := lib.Names()
	for _, name := range names {
		if _, err := fs.Stat(lib.FS(), name+ScenarioSuffix); err == nil {
			out = append(out, name+ScenarioSuffix)
		}
	}
	entries, _ := fs.ReadDir(lib.FS(), ScenarioFolder) // there may be none
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") {
			out = append(out, ScenarioFolder+"/"+e.Name())
		}
	}
	return out
}

// Run runs every test of the file against the policy as the library has it now.
func (s *Scenarios) Run(ctx context.Context, lib *policies.Library, opts Options) ([]Result, error) {
	policy, err := lib.Load(s.Policy)
	if err != nil {
		return nil, err
	}
	var out []Result
	for i := range s.Tests {
		out = append(out, opts.timed(func() Result { return s.play(ctx, policy, &s.Tests[i]) }))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// stage is a scenario while it runs.
type stage struct {
	*Result
	*Scenario
	file    string
	pool    *simulate.Pool
	sensors *simulate.Sensors
	now     time.Duration // since the start
	next    int           // of Expect
	audit   string        // what is wrong with the newest decision itself
	broken  bool          // the decision before failed
	targets []int
	read    []string // sensors that the policy asked for
}

func (s *Scenarios) play(ctx context.Context, policy *policies.Policy, t *Scenario) Result {
	g := &stage{Result: &Result{Case: t.Name, Line: t.Line}, Scenario: t, file: s.File}
	conf, problems := policy.Check(t.Conf)
	if !g.refusal("the configuration", t.refusedLine, t.Refused, problems) {
		return *g.Result
	}
	g.pool = simulate.NewPool(simulate.PoolConfig{
		Policy: policy, Conf: conf, Limits: t.Limits, Placement: t.Placement, World: t.World.model(),
		Drain: epu.DrainSpec{ProtectBusy: true},
		Print: func(line string) { g.Printed = append(g.Printed, line) },
		Audit: func(d epu.Decision) { g.audit = replayFault(policy, d) },
	})
	defer g.pool.Close()
	g.pool.Start(t.World.Workers, t.Start)
	specs := map[string]epu.SensorSpec{}
	for name := range t.Series {
		specs[name] = simulate.SensorDefaults(t.Sensors[name], t.Interval)
	}
	for name, spec := range t.Sensors {
		specs[name] = simulate.SensorDefaults(spec, t.Interval)
	}
	g.sensors = simulate.NewSensors(specs, t.Start)
	end := t.length()
	for i := 0; g.now <= end; i++ {
		if ctx.Err() != nil {
			return *g.Result // which nobody gets
		}
		g.surroundings(g.now - t.Interval)
		g.sense(i)
		senses := g.sensors.Senses(g.clock())
		senses.Work = t.Work.At(senses.Readings)
		d := g.pool.Decide(g.clock(), senses)
		g.targets = append(g.targets, d.Wish.Target)
		for _, name := range policies.SensorsRead(d.Inputs) {
			if !slices.Contains(g.read, name) {
				g.read = append(g.read, name)
			}
		}
		g.look(d)
		g.now += t.Interval
	}
	g.totals()
	g.unread()
	return *g.Result
}

// unread finds series of sensors that the policy never asked for: most often a misspelt name, with which a
// test shows nothing. One that reads no sensor at all may have a series for the length of the test.
func (g *stage) unread() {
	if g.broken || len(g.read) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(g.Series)) {
		if !slices.Contains(g.read, name) {
			g.fault(g.Series[name].line, "the policy never read the sensor %s: it read %s", name, strings.Join(g.read, ", "))
		}
	}
}

// model is the world as the simulation takes it.
func (w world) model() simulate.World {
	m := simulate.World{Boot: func() time.Duration { return w.Boot }, Notice: w.Notice, Drain: w.Drain}
	if len(w.Prices) > 0 {
		m.Price = func(p epu.Placement) float64 { return w.Prices[p.Site] }
	}
	return m
}

func (g *stage) clock() time.Time { return g.Start.Add(g.now) }

// surroundings lets happen what the test says about the time after the decision before, up to this one.
func (g *stage) surroundings(since time.Duration) {
	due := func(at time.Duration) bool { return at > since && at <= g.now || at == 0 && g.now == 0 }
	var times []time.Duration
	for at := range g.World.Fail {
		times = append(times, at)
	}
	for at := range g.World.Busy {
		times = append(times, at)
	}
	slices.Sort(times)
	for _, at := range slices.Compact(times) {
		if !due(at) {
			continue
		}
		then := g.Start.Add(at)
		g.pool.Advance(then)
		g.pool.Fail(g.World.Fail[at], then)
		g.pool.Occupy(g.World.Busy[at].Workers, then, g.World.Busy[at].For)
	}
	g.pool.Advance(g.clock())
	if slices.ContainsFunc(g.Restart, due) {
		g.pool.Restart()
	}
	for _, r := range g.Reconfigure {
		if due(r.At) {
			g.refusal("the change", r.Line, r.Refused, g.pool.Reconfigure(r.Conf))
		}
	}
}

// sense takes the i-th sample of every series.
func (g *stage) sense(i int) {
	for _, name := range slices.Sorted(maps.Keys(g.Series)) {
		if s := g.Series[name].samples; i < len(s) && !s[i].none {
			_ = g.sensors.Add(name, s[i].Point, g.clock()) // refuses only what the notation can't write
		}
	}
}

// refusal compares problems with the text they should hold, and reports that things may go on.
func (g *stage) refusal(what string, line int, want string, problems []policies.Problem) bool {
	got := policies.Problems(problems).Error()
	switch {
	case want == "" && problems != nil:
		g.fault(line, "%s was refused: %s", what, got)
	case want != "" && problems == nil:
		g.fault(line, "%s was accepted, want it refused with %q", what, want)
	case !strings.Contains(got, want):
		g.fault(line, "%s was refused with %q, want %q in it", what, got, want)
	}
	return problems == nil && want == ""
}

// fault notes a failure with its place in the file; 0 stands for the test itself.
func (g *stage) fault(line int, format string, args ...any) {
	if line == 0 {
		line = g.Scenario.Line
	}
	first, rest, more := strings.Cut(fmt.Sprintf(format, args...), "\n")
	first += fmt.Sprintf(" (%s:%d)", g.file, line)
	if more {
		first += "\n" + rest
	}
	g.Failures = append(g.Failures, first)
}

// look compares one decision with what is expected of it.
func (g *stage) look(d epu.Decision) {
	failures := len(g.Failures)
	at := strictyaml.FormatDuration(g.now)
	expectsError := false
	for ; g.next < len(g.Expect) && g.Expect[g.next].At <= g.now; g.next++ {
		e := g.Expect[g.next]
		expectsError = expectsError || e.Error != ""
		for _, wrong := range e.wrong(d, g.pool) {
			g.fault(e.Line, "at %s: %s", at, wrong)
		}
	}
	if d.Error != "" && !expectsError && !g.broken {
		g.fault(0, "at %s: the policy failed: %s", at, strings.ReplaceAll(d.Error, "\n", "\n    "))
	}
	g.broken = d.Error != ""
	if g.audit != "" {
		g.fault(0, "at %s: %s", at, g.audit)
	}
	if len(g.Failures) > failures {
		g.Failures[len(g.Failures)-1] += g.scene(d)
	}
}

// totals compares the counts over the whole test.
func (g *stage) totals() {
	t, tally := g.Totals, g.pool.Tally()
	changes := 0
	for i := range g.targets[1:] {
		if g.targets[i] != g.targets[i+1] {
			changes++
		}
	}
	for _, c := range []struct {
		what string
		want *int
		got  int
	}{
		{"launches", t.Launches, tally.Launches},
		{"terminations", t.Terminations, tally.Terminations},
		{"drains", t.Drains, tally.Drains},
		{"failures", t.Failures, tally.Failures},
		{"highest target", t.TargetMax, slices.Max(g.targets)},
		{"lowest target", t.TargetMin, slices.Min(g.targets)},
		{"changes of the target", t.Changes, changes},
	} {
		if c.want != nil && *c.want != c.got {
			g.fault(t.Line, "in all: got %d %s, want %d", c.got, c.what, *c.want)
		}
	}
}

// Decisions is how many evaluations all tests of the file take.
func (s *Scenarios) Decisions() (n int) {
	for i := range s.Tests {
		n += int(s.Tests[i].length()/s.Tests[i].Interval) + 1
	}
	return n
}
