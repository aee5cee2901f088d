package policies

import (
	"encoding/json"
	"fmt"
	"io/fs"
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

// Examine finds all that is wrong with a policy, as far as this can be known without a pool: its text and
// those of the files that it requires from lib (nil = none), what it declares, and how it behaves in
// canned situations with a made-up configuration, over many ticks in one state and each tick again in a
// fresh one. Nothing that it finds depends on the machine or the time.
func Examine(name string, src []byte, lib fs.FS) Report { return examine(name, src, lib, nil) }

func examine(name string, src []byte, lib fs.FS, clock func() time.Time) Report {
	var r Report
	d := draft(name, src, lib, clock, true)
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
		rehearse(d.policy, &r)
	}
	r.sort()
	return r
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

type sourceText struct {
	name    string
	text    []byte
	missing bool
}

// sources are a policy's own file and all that it requires, each once.
func sources(name string, src []byte, lib fs.FS) []sourceText {
	out := []sourceText{{name: name + ".lua", text: src}}
	for i := 0; i < len(out) && len(out) < filesMax; i++ {
		for _, wanted := range source.Requires(out[i].name, out[i].text) {
			path := requirePath(wanted)
			if path == "" || slices.ContainsFunc(out, func(f sourceText) bool { return f.name == path }) {
				continue
			}
			f := sourceText{name: path, missing: true}
			if lib != nil {
				if text, err := fs.ReadFile(lib, path); err == nil {
					f.text, f.missing = text, false
				}
			}
			out = append(out, f)
		}
	}
	return out
}

// filesMax bounds the files that one policy is made of.
const filesMax = 100

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
func rehearse(p *Policy, r *Report) {
	conf, problems := p.Check(sample(p.Params))
	if problems != nil {
		r.Warnings = append(r.Warnings, Problem{
			File: p.main, Text: "was not tried out: a made-up configuration is refused: " + Problems(problems).Error(),
			Try: "give a parameter an example: a value with which it can be tried",
		})
		return
	}
	sensors := map[string]bool{}
	for _, d := range p.Params {
		if name, ok := conf[d.Name].(string); ok && d.Type == params.SensorNamed {
			sensors[name] = true
		}
	}
	t := trial{p: p, r: r, confs: []map[string]any{conf}}
	for i := range p.Params {
		if other, _, problems := p.Reconfigure(conf, map[string]any{p.Params[i].Name: another(&p.Params[i], conf)}); problems == nil {
			t.confs = append(t.confs, other)
		}
	}
	for range 3 {
		before := len(sensors)
		t.run(sensors)
		if len(sensors) == before {
			break
		}
	}
	if !t.wished {
		r.Warnings = append(r.Warnings, Problem{File: p.main, Text: "never wished for anything when it was tried out", Try: "call control.scale_to(n) in decide"})
	} else if t.unreasoned {
		r.Warnings = append(r.Warnings, Problem{File: p.main, Text: "gives no reason for some of its wishes", Try: "call control.because(\"why\", \"rule\") wherever it decides"})
	}
	if t.steps > stepsDefault/4 {
		r.Warnings = append(r.Warnings, Problem{File: p.main, Text: fmt.Sprintf("took %d steps for one decision over %d workers: more than %d are stopped", t.steps, situations.Crowd, stepsDefault)})
	}
}

// sample makes up values for the parameters that need one. Examples are taken as they are.
func sample(set params.Set) map[string]any {
	out := map[string]any{}
	for i := range set {
		switch d := &set[i]; {
		case d.Example != nil:
			out[d.Name] = d.Example
		case d.Required:
			out[d.Name] = likely(d.Type, d)
		}
	}
	return out
}

func likely(t params.Type, d *Param) any {
	n := 10.0
	if d.Min != nil {
		n = max(n, *d.Min)
	}
	if d.Max != nil {
		n = min(n, *d.Max)
	}
	switch t {
	case params.Integer, params.Number:
		return n
	case params.DurationOf:
		return time.Duration(max(n, 60) * float64(time.Second)).String()
	case params.Boolean:
		return true
	case params.Enum:
		return d.Values[0]
	case params.List:
		return []any{likely(d.Of, &Param{})}
	case params.Map:
		return map[string]any{"a": likely(d.Of, &Param{})}
	case params.SensorNamed:
		return "queue"
	}
	return "a"
}

// another is a value that differs from the one in force, where that is simple.
func another(d *Param, conf map[string]any) any {
	switch v := conf[d.Name].(type) {
	case int:
		return v + 1
	case float64:
		return v * 2
	case bool:
		return !v
	case string:
		if dur, err := time.ParseDuration(v); d.Type == params.DurationOf && err == nil {
			return (dur + time.Minute).String()
		}
		if d.Type == params.Enum {
			return d.Values[len(d.Values)-1]
		}
	}
	return likely(d.Type, d)
}

// trial is a policy while it is tried out.
type trial struct {
	p          *Policy
	r          *Report
	confs      []map[string]any // the first again and again, the others in between
	wished     bool
	unreasoned bool
	steps      int
}

// run goes through all situations in one kept state.
func (t *trial) run(sensors map[string]bool) {
	e := NewEngine(t.p, Options{})
	defer e.Close()
	var wish epu.Wish
	var memory json.RawMessage
	names := slices.Sorted(maps.Keys(sensors))
	rounds := len(situations.All(rehearsal, nil))
	for i := range 2*rounds + 2*len(t.confs) {
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
		t.judge(d, situation.Doc)
		t.overreach(snap, d, situation.Doc)
		t.steps = max(t.steps, e.host.Steps())
		wish, memory = d.Wanted, d.MemoryAfter
		for _, name := range SensorsRead(d.Inputs) {
			sensors[name] = true
		}
	}
}

// rehearsal is when policies are tried out: a few hours before clocks change in many places.
var rehearsal = time.Date(2026, time.October, 24, 21, 0, 0, 0, time.UTC)

func snapshotOf(s situations.Situation) *Snapshot {
	snap := &Snapshot{
		Pool: situations.Pool, Owner: epu.DefaultOwner, Workers: s.Workers, Readings: s.Readings, Windows: s.Windows,
		Changes: s.Changes, Work: s.Work, Offers: s.Offers, Budget: s.Budget, Places: s.Places, SiteBackoff: s.SiteBackoff,
		Backoff: s.Backoff, Refused: s.Refused, MinMax: [2]int{0, -1},
	}
	for _, w := range s.Workers {
		switch {
		case !w.Open():
			snap.Counts.Ending++
			continue
		case w.State >= epu.Running:
			snap.Counts.Running++
		default:
			snap.Counts.Starting++
		}
		if w.Draining {
			snap.Counts.Draining++
		}
		if w.Unhealthy() {
			snap.Counts.Unhealthy++
			snap.Bad = append(snap.Bad, w)
		}
	}
	return snap
}

// judge looks at one decision, and makes it again in a fresh state.
func (t *trial) judge(d epu.Decision, situation string) {
	if d.Error != "" {
		text, _, _ := strings.Cut(d.Error, "\n")
		at := t.p.problemAt(text)
		at.When = situation
		if _, read, ok := strings.Cut(d.Error, "\nread: "); ok {
			at.When += "; it had read: " + params.Clip(read, 200)
		}
		t.r.add(&t.r.Problems, []Problem{at})
		return
	}
	asked := !slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return strings.HasPrefix(r.Text, "nothing was asked for") }) || len(d.Actions) > 0
	t.wished = t.wished || asked
	t.unreasoned = t.unreasoned || slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return strings.HasSuffix(r.Text, "gives no reason") })
	again, err := Replay(t.p, d)
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
	if a, b := of(d), of(again); err != nil || !reflect.DeepEqual(a, b) {
		what := fmt.Sprintf("it wished for %d (%s), and for %d (%s) in a fresh state", a.Wish.Target, reasonsText(a.Reasons), b.Wish.Target, reasonsText(b.Reasons))
		if b.Error != "" {
			what, _, _ = strings.Cut(b.Error, "\n")
			what = "in a fresh state it fails: " + what
		}
		if !slices.ContainsFunc(t.r.Problems, func(p Problem) bool { return strings.HasPrefix(p.Text, hidden) }) {
			t.r.Problems = append(t.r.Problems, Problem{File: t.p.main, Text: hidden + ": " + what, Try: "keep what must last from one decision to the next in state.memory, not in variables of the file"})
		}
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
