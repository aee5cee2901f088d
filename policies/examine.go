package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/situations"
	"github.com/nimbus-epu/epu/policies/source"
)

// Report is what an examination of a policy found.
type Report struct {
	Policy   *Policy  // nil if it can't be loaded
	Problems Problems // what must be mended, by file and line
	Warnings Problems // what should be looked at
}

// Sound reports that nothing must be mended.
func (r *Report) Sound() bool { return len(r.Problems) == 0 }

// examinedFor bounds a whole examination, with a clock. What is left is not tried out then, and the report says so.
const examinedFor = 5 * time.Second

// Examine finds all that is wrong with a policy, as far as this can be known without a pool: its text and
// those of the files that it requires from the library, what it declares, and how it behaves in canned
// situations with a made-up configuration, over many ticks in one state and each tick again in a fresh one.
// Decisions have the bounds that they have in a pool; the first that is stopped ends the examination. Where
// the library has no clock, nothing that is found depends on the machine or the time. The error is that of
// the context, and comes at most one decision later; the report is empty then.
func (l *Library) Examine(ctx context.Context, name string, src []byte) (Report, error) {
	var r Report
	lib := l.layers
	d := draft(name, src, lib, l.clock, true)
	globals, libs := Names()
	words := source.NewWords(Functions(), Classes(), libs)
	for i, f := range sources(name, src, lib) {
		words.Params = nil
		if i == 0 { // a policy that another one requires has parameters of its own
			words.Params = declared(d)
		}
		if f.missing {
			continue // loading says so, with the line that requires it
		}
		_, problems := source.Compile(f.name, f.text, globals)
		r.add(&r.Problems, problems)
		r.add(&r.Problems, source.Lint(f.name, f.text, words))
	}
	r.add(&r.Problems, d.problems)
	if len(d.problems) == 0 {
		r.Policy = d.policy
	}
	if d.runs {
		r.documented(d.policy)
		rehearse(ctx, d.policy, &r)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	r.sort()
	return r, nil
}

// add takes problems that are not there yet.
func (r *Report) add(to *Problems, more []Problem) {
	for _, p := range more {
		if !slices.ContainsFunc(*to, func(q Problem) bool {
			return q.File == p.File && q.Line == p.Line && (p.Line > 0 && sameName(p.Text, q.Text) || p.Text == q.Text)
		}) {
			*to = append(*to, p)
		}
	}
}

// sameName reports that two problems of one line are about the same thing: what the text shows is found
// again when it runs.
func sameName(a, b string) bool {
	a, _, _ = strings.Cut(a, "; did you mean")
	b, _, _ = strings.Cut(b, "; did you mean")
	a = strings.Replace(a, "can't set the global ", "sets the global ", 1)
	if head, _, found := strings.Cut(a, ", got "); found && strings.HasPrefix(b, head) {
		return true // the same with other values
	}
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

func (r *Report) sort() {
	for _, list := range []Problems{r.Problems, r.Warnings} {
		slices.SortStableFunc(list, func(a, b Problem) int {
			if a.File != b.File {
				return strings.Compare(a.File, b.File)
			}
			return a.Line - b.Line
		})
	}
}

// declared lists the names that conf has; nil when they are not known.
func declared(d drafted) []string {
	if !d.declared {
		return nil
	}
	names := []string{}
	for _, p := range d.policy.Params {
		names = append(names, p.Name)
	}
	return names
}

// documented warns of what has no words.
func (r *Report) documented(p *Policy) {
	if p.Doc == "" {
		r.Warnings = append(r.Warnings, Problem{File: p.main, Text: "has no doc", Try: "add doc = \"what it does, in a sentence\" to the table it returns"})
	}
	for _, d := range p.Params {
		if d.Doc == "" {
			r.Warnings = append(r.Warnings, Problem{File: p.main, Line: p.files[p.main].Line(d.Name), Text: fmt.Sprintf("parameter '%s' has no doc", d.Name)})
		}
	}
}

// rehearse runs a policy through canned situations, more than once: what it asks a sensor for is known
// only after it has asked.
func rehearse(ctx context.Context, p *Policy, r *Report) {
	t := trial{p: p, r: r, opts: Options{Now: p.clock}}
	if p.clock != nil {
		t.began = p.clock()
	}
	conf, problems := p.Params.Check(p.Params.Sample(), t.validate)
	if problems != nil {
		if !t.stopped {
			r.Warnings = append(r.Warnings, Problem{
				File: p.main, Text: "was not tried out: a made-up configuration is refused: " + Problems(problems).Error(),
				Try: "give a parameter an example: a value with which it can be tried",
			})
		}
		return
	}
	sensors := map[string]bool{}
	for _, d := range p.Params {
		if name, ok := conf[d.Name].(string); ok && d.Type == params.SensorNamed {
			sensors[name] = true
		}
	}
	t.confs = []map[string]any{conf}
	for i := range p.Params {
		if t.over(ctx) {
			break
		}
		if other, _, problems := p.Params.Reconfigure(conf, map[string]any{p.Params[i].Name: p.Params[i].Another(conf[p.Params[i].Name])}, t.validate); problems == nil {
			t.confs = append(t.confs, other)
		}
	}
	for range 3 {
		before := len(sensors)
		t.run(ctx, sensors)
		if len(sensors) == before {
			break
		}
	}
	t.warn()
}

// trial is a policy while it is tried out.
type trial struct {
	p          *Policy
	r          *Report
	opts       Options
	began      time.Time        // by the clock of the policy's library, if it has one
	confs      []map[string]any // the first again and again, the others in between
	wished     bool
	unreasoned bool
	stopped    bool // a bound of evaluations was reached, which ends the trial
	short      bool // a bound of the examination was
	steps      int  // the most of one decision
	slow       time.Duration
	slowWhen   string
}

// over says that nothing more is tried out.
func (t *trial) over(ctx context.Context) bool {
	t.short = t.short || t.p.clock != nil && t.p.clock().Sub(t.began) > examinedFor
	return t.short || t.stopped || ctx.Err() != nil
}

// warn tells of what is no mistake and came up while the policy was tried out.
func (t *trial) warn() {
	warn := func(text, when, try string) {
		t.r.Warnings = append(t.r.Warnings, Problem{File: t.p.main, Text: text, When: when, Try: try})
	}
	switch {
	case t.stopped: // what else is missing may come after that
	case t.short:
		warn("was tried out in part only, because its decisions take long", "", "make them shorter, so that all can be tried")
	case !t.wished:
		warn("never wished for anything when it was tried out", "", "call control.scale_to(n) in decide")
	case t.unreasoned:
		warn("gives no reason for some of its wishes", "", "call control.because(\"why\", \"rule\") wherever it decides")
	}
	switch {
	case t.slow > deadlineDefault/2:
		warn(fmt.Sprintf("took %v for one decision: what takes more than %v is stopped", t.slow.Round(time.Millisecond), deadlineDefault), t.slowWhen, "")
	case t.steps > stepsDefault/4:
		warn(fmt.Sprintf("took %d steps for one decision over %d workers: more than %d are stopped", t.steps, situations.Crowd, stepsDefault), "", "")
	}
}

// validate runs the policy's own rules. Those that are stopped are a mistake, whatever the configuration.
func (t *trial) validate(full map[string]any) []Problem {
	e := NewEngine(t.p, Options{})
	defer e.Close()
	problems := e.host.validate(full)
	if e.host.Spent() != nil {
		t.stopped = true
		t.r.add(&t.r.Problems, problems)
	}
	return problems
}

// run goes through all situations in one kept state.
func (t *trial) run(ctx context.Context, sensors map[string]bool) {
	e := NewEngine(t.p, t.opts)
	defer e.Close()
	var wish epu.Wish
	var memory json.RawMessage
	var before map[string]any
	names := slices.Sorted(maps.Keys(sensors))
	rounds := len(situations.All(rehearsal, nil))
	for i := range 2*rounds + 2*len(t.confs) {
		if t.over(ctx) {
			return
		}
		now := rehearsal.Add(time.Duration(i) * 5 * time.Second)
		situation := situations.All(now, names)[i%rounds]
		snap := snapshotOf(situation)
		snap.Now, snap.Decision, snap.Seed = now, epu.DecisionID(fmt.Sprintf("rehearsal-%d", i)), uint64(i)
		snap.Wish, snap.Memory = wish, memory
		conf := t.confs[0]
		if i >= rounds {
			conf = t.confs[(i/2)%len(t.confs)]
		}
		d := e.Decide(snap, conf)
		t.steps = max(t.steps, e.host.Steps())
		if e.host.Spent() != nil {
			d, t.stopped = t.fresh(snap, conf, before)
		}
		if d.Error == "" { // else the hooks come again
			before = conf
		}
		t.judge(d, situation.Doc)
		t.overreach(snap, d, situation.Doc)
		wish, memory = d.Wanted, d.MemoryAfter
		for _, name := range SensorsRead(d.Inputs) {
			sensors[name] = true
		}
	}
}

// fresh makes a decision in a state of its own, as Evaluate does. What was stopped is made once more: the machine may have been
// busy with something else.
func (t *trial) fresh(snap *Snapshot, conf, before map[string]any) (d epu.Decision, stopped bool) {
	for range 2 {
		e := NewEngine(t.p, t.opts)
		d = e.once(snap, conf, before)
		stopped = e.host.Spent() != nil
		e.Close()
		if !stopped || t.opts.Now == nil {
			break
		}
	}
	return d, stopped
}

// rehearsal is when policies are tried out: a few hours before clocks change in many places.
var rehearsal = time.Date(2026, time.October, 24, 21, 0, 0, 0, time.UTC)

func snapshotOf(s situations.Situation) *Snapshot {
	snap := &Snapshot{
		Pool: situations.Pool, Owner: epu.DefaultOwner, Workers: s.Workers, Readings: s.Readings, Windows: s.Windows,
		Changes: s.Changes, Work: s.Work, Offers: s.Offers, Budget: s.Budget, Places: s.Places, SiteBackoff: s.SiteBackoff,
		Backoff: s.Backoff, Refused: s.Refused, MinMax: [2]int{0, -1},
	}
	snap.Counts, snap.Bad = Sum(s.Workers)
	return snap
}

// judge looks at one decision, and makes it again in a fresh state.
func (t *trial) judge(d epu.Decision, situation string) {
	if d.Error != "" {
		t.failed(d, situation)
		return
	}
	asked := !slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return strings.HasPrefix(r.Text, "nothing was asked for") }) || len(d.Actions) > 0
	t.wished = t.wished || asked
	t.unreasoned = t.unreasoned || slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return strings.HasSuffix(r.Text, "gives no reason") })
	snap, err := Recall(d)
	if err != nil {
		t.hides(err.Error())
		return
	}
	again, stopped := t.fresh(snap, d.Conf, nil)
	if stopped { // it is slow when it starts, and an error would have it start again at each tick
		t.stopped = true
		t.failed(again, situation+", at the start of a node")
		return
	}
	if slow := min(d.Took, again.Took); slow > t.slow {
		t.slow, t.slowWhen = slow, situation
	}
	type outcome struct {
		Wish    epu.Wish
		Reasons []epu.Reason
		Actions []epu.Action
		Alerts  []string
		Memory  string
		Error   string
	}
	of := func(d epu.Decision) outcome {
		return outcome{d.Wanted, d.Reasons, d.Actions, d.Alerts, string(d.MemoryAfter), d.Error}
	}
	if a, b := of(d), of(again); !reflect.DeepEqual(a, b) {
		what := fmt.Sprintf("it wished for %d (%s), and for %d (%s) in a fresh state", a.Wish.Target, reasonsText(a.Reasons), b.Wish.Target, reasonsText(b.Reasons))
		if b.Error != "" {
			what, _, _ = strings.Cut(b.Error, "\n")
			what = "in a fresh state it fails: " + what
		}
		t.hides(what)
	}
}

// failed takes a decision that failed among the problems.
func (t *trial) failed(d epu.Decision, situation string) {
	text, _, _ := strings.Cut(d.Error, "\n")
	at := t.p.problemAt(text)
	at.When = situation
	if _, read, ok := strings.Cut(d.Error, "\nread: "); ok {
		at.When += "; it had read: " + params.Clip(read, 200)
	}
	t.r.add(&t.r.Problems, []Problem{at})
}

// hides takes note, once, of a decision that is another one in a fresh state.
func (t *trial) hides(what string) {
	if !slices.ContainsFunc(t.r.Problems, func(p Problem) bool { return strings.HasPrefix(p.Text, hidden) }) {
		t.r.Problems = append(t.r.Problems, Problem{File: t.p.main, Text: hidden + ": " + what, Try: "keep what must last from one decision to the next in state.memory, not in variables of the file"})
	}
}

// overreach warns of a decision that a pool with the default guard rails would refuse as a whole.
func (t *trial) overreach(snap *Snapshot, d epu.Decision, situation string) {
	in := reconcile.Input{Workers: snap.Workers, Limits: epu.Limits{Terminations: epu.Count{Window: 10 * time.Minute}}}
	if text := reconcile.Overreach(in, d.Actions); text != "" && d.Error == "" {
		at := t.p.problemAt(text)
		at.When = situation
		if !slices.ContainsFunc(t.r.Warnings, func(p Problem) bool { return p.File == at.File && p.Line == at.Line }) { // once, with whatever numbers
			t.r.Warnings = append(t.r.Warnings, at)
		}
	}
}

const hidden = "hides state between decisions, which is lost at a restart"

func reasonsText(list []epu.Reason) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Text)
	}
	return params.Clip(strings.Join(out, "; "), 100)
}
