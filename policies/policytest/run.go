package policytest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// pool is the pool that every test is about.
const pool epu.PoolID = "epu-test"

// Result is the outcome of one case.
type Result struct {
	Case     string
	Line     int      // where it stands in its file; 0 when not known
	Failures []string // empty when it passed; each says when, what was got and what was wanted, and may have several lines
	Printed  []string // what the policy printed
	Took     time.Duration
}

// Passed reports that nothing failed.
func (r Result) Passed() bool { return len(r.Failures) == 0 }

// ScenarioSuffix is how the names of scenario files end.
const ScenarioSuffix = ".scenarios.yaml"

// Options say how tests run. The zero value is usable.
type Options struct {
	Now func() time.Time // the clock behind Result.Took; nil leaves it 0
}

// Files lists the test files at the top of a library: Lua files that end in _test.lua and scenario
// files, sorted.
func Files(lib *policies.Library) ([]string, error) {
	names, err := lib.Tests()
	if err != nil {
		return nil, err
	}
	return append(names, scenarioFiles(lib)...), nil
}

// Run runs one test file of a library, in either form. The error is about the file itself; what a policy
// does wrong is in the results.
func Run(lib *policies.Library, file string) ([]Result, error) {
	return RunWith(context.Background(), lib, file, Options{})
}

// RunWith is Run with options. The error may be that of the context, at most one decision after it ended.
func RunWith(ctx context.Context, lib *policies.Library, file string, opts Options) ([]Result, error) {
	src, err := fs.ReadFile(lib.FS(), file)
	if err != nil {
		return nil, epu.E(epu.NotFound, "run policy test", file, fs.ErrNotExist)
	}
	if strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml") {
		s, err := LoadScenarios(file, src)
		if err != nil {
			return nil, err
		}
		return s.Run(ctx, lib, opts)
	}
	r := &runner{lib: lib, file: file}
	if _, err := policies.Script(file, src, lib.FS(), Table, r.api()); err != nil {
		return nil, err
	}
	if r.policy == nil && len(r.wrong) == 0 {
		r.say(1, "names no policy", `test.policy "name"`)
	}
	if len(r.cases) == 0 && len(r.wrong) == 0 {
		r.say(1, "has no case", `test.case { name = "what it shows", expect = { target = 3 } }`)
	}
	if len(r.wrong) > 0 {
		return nil, epu.E(epu.Invalid, "read policy test", file, r.wrong)
	}
	var out []Result
	for _, c := range r.cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, opts.timed(func() Result { return r.run(c) }))
	}
	return out, nil
}

// timed notes how long a test took.
func (o Options) timed(run func() Result) Result {
	if o.Now == nil {
		return run()
	}
	began := o.Now()
	r := run()
	r.Took = o.Now().Sub(began)
	return r
}

type runner struct {
	lib    *policies.Library
	policy *policies.Policy
	cases  []Case
	file   string
	wrong  policies.Problems // of the test file itself
}

func (r *runner) say(line int, text, try string) {
	r.wrong = append(r.wrong, policies.Problem{File: r.file, Line: line, Text: text, Try: try})
}

// api is the global table `test` of a test file. What is wrong with a call is noted, so that all of it is
// said at once.
func (r *runner) api() map[string]policies.GoFunc {
	return map[string]policies.GoFunc{
		"policy": func(line int, args []any) (any, error) {
			name, _ := first(args).(string)
			p, err := r.lib.Load(name)
			if err != nil {
				r.say(line, "test.policy: "+err.Error(), epu.TryOf(err))
			}
			r.policy = p
			return nil, nil
		},
		"case": func(line int, args []any) (any, error) {
			c := Case{line: line}
			b, err := json.Marshal(first(args))
			if err == nil {
				err = strict(b, &c)
			}
			if err != nil {
				r.say(line, "test.case"+quoted(first(args))+": "+err.Error(), "")
			} else if c.Name == "" {
				r.say(line, "test.case: has no name", `name = "what it shows"`)
			} else if key := c.lost(); key != "" {
				r.say(line, fmt.Sprintf("test.case %q: %s beside steps is never looked at", c.Name, key), "put it into the step that it belongs to")
			}
			r.cases = append(r.cases, c)
			return nil, nil
		},
	}
}

// quoted is the name of a case that can't be read otherwise.
func quoted(c any) string {
	if m, ok := c.(map[string]any); ok && m["name"] != nil {
		return fmt.Sprintf(" %q", m["name"])
	}
	return ""
}

func first(args []any) any {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// scene is a case while it runs.
type scene struct {
	*Result
	p      *policies.Policy
	e      *policies.Engine
	conf   map[string]any
	now    time.Time
	step   int
	before Step // with what the steps so far have set
	wish   epu.Wish
	memory json.RawMessage
}

func (r *runner) run(c Case) Result {
	s := &scene{Result: &Result{Case: c.Name, Line: c.line}, p: r.policy, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	conf, problems := r.policy.Check(c.Conf)
	s.refusal("the configuration", c.Refused, problems)
	if problems != nil || c.Refused != "" {
		return *s.Result
	}
	s.conf = conf
	s.restart()
	defer func() { s.e.Close() }()
	if c.Start != "" {
		start, err := time.Parse(time.RFC3339, c.Start)
		if err != nil {
			s.fail("start is no time such as 2026-03-29T00:00:00Z: %v", err)
		}
		s.now = start
	}
	steps := c.Steps
	if len(steps) == 0 {
		steps = list[Step]{c.Step}
	} else {
		s.before = c.Step
	}
	for i, step := range steps {
		s.step = i + 1
		s.run(step)
	}
	return *s.Result
}

func (s *scene) restart() {
	if s.e != nil {
		s.e.Close()
	}
	s.e = policies.NewEngine(s.p, policies.Options{Print: func(line string) { s.Printed = append(s.Printed, line) }})
}

func (s *scene) fail(format string, args ...any) {
	at := ""
	if s.step > 0 {
		at = fmt.Sprintf("step %d: ", s.step)
	}
	s.Failures = append(s.Failures, at+fmt.Sprintf(format, args...))
}

// refusal compares problems with the text they should hold.
func (s *scene) refusal(what, want string, problems []policies.Problem) {
	got := policies.Problems(problems).Error()
	switch {
	case want == "" && problems != nil:
		s.fail("%s was refused: %s", what, got)
	case want != "" && problems == nil:
		s.fail("%s was accepted, want it refused with %q", what, want)
	case !strings.Contains(got, want):
		s.fail("%s was refused with %q, want %q in it", what, got, want)
	}
}

func (s *scene) run(step Step) {
	s.now = s.now.Add(seconds(or(step.After, 5)))
	if step.Workers == nil {
		step.Workers = s.before.Workers
	}
	if step.Sensors == nil {
		step.Sensors = s.before.Sensors
	}
	step.Around = step.Around.after(s.before.Around)
	s.before = step
	if step.Restart {
		s.restart()
	}
	if step.Reconfigure != nil {
		merged, _, problems := s.p.Reconfigure(s.conf, step.Reconfigure)
		s.refusal("the change", step.Refused, problems)
		if problems == nil {
			s.conf = merged
		}
	}
	if step.Wish != nil {
		s.wish.Target = *step.Wish
	}
	snap, err := s.snapshot(step)
	if err != nil {
		s.fail("%v", err)
		return
	}
	d := s.e.Decide(snap, s.conf)
	s.expect(step.Expect, d)
	if fault := replayFault(s.p, d); fault != "" {
		s.fail("%s", fault)
	}
	s.wish, s.memory = d.Wanted, d.MemoryAfter
}

func (s *scene) snapshot(step Step) (*policies.Snapshot, error) {
	var in []Worker
	if step.Workers != nil {
		in = *step.Workers
	}
	workers, err := workersOf(in, s.now)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(workers, func(a, b *epu.Worker) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(string(a.ID), string(b.ID)))
	})
	snap := &policies.Snapshot{
		Now: s.now, Pool: pool, Owner: epu.DefaultOwner, Decision: epu.DecisionID(fmt.Sprintf("step-%d", s.step)),
		Seed: uint64(s.step), Wish: s.wish, Memory: s.memory, Workers: workers,
		Readings: readings(step.Sensors, s.now), Backoff: seconds(step.Backoff), MinMax: [2]int{-1, -1},
	}
	snap.Counts, snap.Bad = policies.Sum(workers)
	for _, c := range step.Clamped {
		snap.Refused = append(snap.Refused, epu.Reason{Rule: c["rule"], Text: c["text"]})
	}
	step.put(snap)
	return snap, nil
}

// expect compares one decision with what is expected of it.
func (s *scene) expect(want *Expect, d epu.Decision) {
	if want == nil {
		want = &Expect{}
	}
	if d.Error != "" && (want.Error == "" || !strings.Contains(d.Error, want.Error)) {
		if want.Error == "" {
			s.fail("the policy failed: %s", strings.ReplaceAll(d.Error, "\n", "\n    "))
		} else {
			s.fail("got error %q, want %q", d.Error, want.Error)
		}
		return
	}
	if want.Error != "" && d.Error == "" {
		s.fail("got no error, want %q", want.Error)
	}
	same(s, "target", want.Target, d.Wanted.Target)
	heal := !d.Wanted.NoHeal
	same(s, "heal", want.Heal, heal)
	same(s, "victims", want.Victims, string(d.Wanted.Victims))
	same(s, "site", want.Site, string(d.Wanted.Site))
	same(s, "allocation", want.Allocation, string(d.Wanted.Allocation))
	same(s, "number of actions", want.Actions, len(d.Actions))
	if want.Vars != nil {
		s.vars("the workers", want.Vars, d.Wanted.Vars)
	}
	if want.Uniques != nil {
		s.uniques(want.Uniques, d.Wanted.Uniques)
	}
	if want.Sites != nil {
		got := map[string]int{}
		for site, n := range d.Wanted.Sites {
			got[string(site)] = n
		}
		if !maps.Equal(want.Sites, got) {
			s.fail("got %v at sites, want %v", got, want.Sites)
		}
	}
	var reasons []string
	for _, r := range d.Reasons {
		reasons = append(reasons, r.Text)
	}
	for _, part := range want.Because {
		if !strings.Contains(strings.Join(reasons, "\n"), part) {
			s.fail("got reasons %q, want %q among them", reasons, part)
		}
	}
	if want.Alert != "" && !strings.Contains(strings.Join(d.Alerts, "\n"), want.Alert) {
		s.fail("got alerts %q, want %q among them", d.Alerts, want.Alert)
	}
}

func same[T comparable](s *scene, what string, want *T, got T) {
	if want != nil && *want != got {
		s.fail("got %s %v, want %v", what, got, *want)
	}
}

func (s *scene) uniques(want map[string]any, got map[string]epu.Unique) {
	names := func(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
	have := slices.Sorted(maps.Keys(got))
	if !slices.Equal(names(want), have) {
		s.fail("got unique workers %v, want %v", have, names(want))
		return
	}
	for _, name := range names(want) {
		if vars, ok := want[name].(map[string]any); ok {
			s.vars("unique worker "+name, vars, got[name].Vars)
		}
	}
}

func (s *scene) vars(of string, want map[string]any, got map[string]string) {
	texts := map[string]string{}
	for k, v := range want {
		texts[k] = fmt.Sprint(v)
	}
	if len(texts)+len(got) > 0 && !reflect.DeepEqual(texts, got) {
		s.fail("got variables %v of %s, want %v", got, of, texts)
	}
}
