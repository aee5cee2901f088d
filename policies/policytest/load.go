package policytest

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies/simulate"
)

// LoadScenarios reads a scenario file. The error, if any, is a *strictyaml.Error with every problem of
// the file, each with its line.
func LoadScenarios(file string, content []byte) (*Scenarios, error) {
	var log strictyaml.Log
	docs := strictyaml.Documents(file, content, &log)
	if len(docs) != 1 && log.Len() == 0 {
		log.Add(strictyaml.Problem{File: file, Line: 1, Text: fmt.Sprintf("has %d documents, but a scenario file is one", len(docs)), Try: "schema: " + Schema})
	}
	if len(docs) != 1 {
		return nil, strictyaml.NewError(log.Sorted())
	}
	out := scenariosOf(file, docs[0])
	if problems := log.Sorted(); len(problems) > 0 {
		return nil, strictyaml.NewError(problems)
	}
	return out, nil
}

func scenariosOf(file string, m *strictyaml.Map) *Scenarios {
	out := &Scenarios{File: file}
	m.Need("schema", "schema: "+Schema).Word("", Schema)
	if p := m.Need("policy", "policy: name.lua"); p.Present() {
		out.Policy = strings.TrimSuffix(path.Base(p.Text("")), ".lua")
	}
	shared := setting{
		Conf: map[string]any{}, Interval: 5 * time.Second, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Limits: simulate.DefaultLimits(), Placement: []epu.Placement{{Site: "site"}}, Sensors: map[string]epu.SensorSpec{},
	}
	shared.read(m)
	tests := m.Need("tests", "tests: [{name: ..., series: ..., expect: ...}]")
	list := tests.List()
	if tests.Present() && len(list) == 0 {
		tests.Fail("has no test", "")
	}
	if len(list) > testsMax {
		tests.Fail(fmt.Sprintf("%d tests in one file: at most %d", len(list), testsMax), "split it")
		list = nil
	}
	names := map[string]bool{}
	for _, v := range list {
		out.Tests = append(out.Tests, shared.test(v, names))
	}
	m.Done()
	return out
}

// test reads one test over what all tests share.
func (s setting) test(v strictyaml.Value, names map[string]bool) Scenario {
	m := v.Map()
	t := Scenario{Line: line(v), setting: s}
	name := m.Need("name", "name: what the policy should do")
	t.Name, t.Doc = name.Text(""), m.Get("doc").Text("")
	if names[t.Name] {
		name.Fail(fmt.Sprintf("%q is the name of another test already", t.Name), "")
	}
	names[t.Name] = true
	t.Conf, t.Sensors = maps.Clone(s.Conf), maps.Clone(s.Sensors)
	t.read(m)
	t.Series = map[string]series{}
	for sensor, item := range m.Get("series").Map().All() {
		text, _ := item.Scalar()
		samples, err := parseSeries(text)
		if err != nil {
			item.Fail(err.Error(), "")
		}
		t.Series[sensor] = series{samples: samples, line: line(item)}
	}
	t.knowsWork(m)
	for _, item := range m.Get("reconfigure").List() {
		t.Reconfigure = append(t.Reconfigure, reconfigureOf(item))
	}
	for _, item := range m.Get("restart").List() {
		t.Restart = append(t.Restart, item.Duration(0, 0, lengthMax))
	}
	expect := m.Get("expect").List()
	if len(expect) > expectMax {
		m.Get("expect").Fail(fmt.Sprintf("%d moments: at most %d", len(expect), expectMax), "")
		expect = nil
	}
	for _, item := range expect {
		t.Expect = append(t.Expect, t.momentOf(item))
	}
	slices.SortStableFunc(t.Expect, func(a, b Moment) int { return int(a.At/t.Interval) - int(b.At/t.Interval) })
	t.Totals = totalsOf(m.Get("totals"))
	if r := m.Get("refused"); r.Present() {
		t.Refused, t.refusedLine = r.Text(""), line(r)
	}
	if !m.Has("expect") && !m.Has("totals") && !m.Has("refused") {
		v.Fail("expects nothing, so it can't fail", "expect: [{at: 0s, target: 0}]")
	}
	if t.length()/t.Interval > ticksMax {
		v.Fail(fmt.Sprintf("has more than %d decisions", ticksMax), "make interval longer, or the test shorter")
	}
	m.Done()
	return t
}

// length is the time of the last decision that the test asks for.
func (t *Scenario) length() time.Duration {
	last := time.Duration(0)
	for _, s := range t.Series {
		last = max(last, time.Duration(len(s.samples)-1)*t.Interval)
	}
	for _, e := range t.Expect {
		last = max(last, e.At)
	}
	return last
}

// read takes what a map says of a setting.
func (s *setting) read(m *strictyaml.Map) {
	for key, v := range m.Get("conf").Map().All() {
		s.Conf[key] = v.Any()
	}
	s.Interval = m.Get("interval").Duration(s.Interval, 100*time.Millisecond, 24*time.Hour)
	if v := m.Get("start"); v.Present() {
		t, err := time.Parse(time.RFC3339, v.Text(""))
		if err != nil {
			v.Fail(fmt.Sprintf("%q is no time", v.Text("")), "2026-03-28T22:00:00Z")
		} else {
			s.Start = t
		}
	}
	if m.Has("limits") {
		s.Limits = limitsOf(m.Get("limits").Map(), s.Limits)
	} else {
		m.Get("limits")
	}
	if v := m.Get("placement"); v.Present() {
		s.Placement = placementOf(v)
	}
	for name, v := range m.Get("sensors").Map().All() {
		s.Sensors[name] = sensorOf(v.Map())
	}
	if v := m.Get("work"); v.Present() {
		s.Work = workOf(v)
	}
	if v := m.Get("world"); v.Present() {
		s.World = worldOf(v.Map())
	}
}

func limitsOf(m *strictyaml.Map, l epu.Limits) epu.Limits {
	l.Min = m.Get("min").Int(l.Min, 0, crowdMax)
	l.Max = m.Get("max").Int(l.Max, 0, crowdMax)
	l.InFlight = m.Get("in_flight").Int(l.InFlight, 1, crowdMax)
	l.Launches = countOf(m.Get("launches"), l.Launches)
	l.Terminations = countOf(m.Get("terminations"), l.Terminations)
	l.Spend = m.Get("spend").Float(l.Spend, 0, 1e9)
	if l.Max >= 0 && l.Min > l.Max {
		m.Get("min").Fail(fmt.Sprintf("%d is above max (%d)", l.Min, l.Max), "")
	}
	m.Done()
	return l
}

// countOf reads "50 per 1m", as the file of a pool has it.
func countOf(v strictyaml.Value, def epu.Count) epu.Count {
	text, ok := v.Scalar()
	if !ok {
		return def
	}
	count, window, found := strings.Cut(text, " per ")
	n, badCount := strictyaml.ParseInt(strings.TrimSpace(count), 0, crowdMax)
	w, badWindow := strictyaml.ParseDuration(strings.TrimSpace(window), time.Second, 24*time.Hour)
	if !found || badCount != nil || badWindow != nil {
		v.Fail(fmt.Sprintf("%q is no count per window", text), "50 per 10m")
		return def
	}
	return epu.Count{N: int(n), Window: w}
}

func placementOf(v strictyaml.Value) (out []epu.Placement) {
	for _, item := range v.List() {
		m := item.Map()
		out = append(out, epu.Placement{
			Site:       epu.SiteID(m.Need("site", "site: name").Text("")),
			Allocation: epu.Allocation(m.Get("allocation").Text("")),
			Market:     epu.Market(m.Get("market").Word("", string(epu.OnDemand), string(epu.Reserved), string(epu.Spot))),
			Max:        m.Get("max").Int(0, 1, crowdMax),
		})
		m.Done()
	}
	if len(out) == 0 {
		v.Fail("names no site", "[{site: near, max: 2}, {site: far}]")
	}
	return out
}

func sensorOf(m *strictyaml.Map) epu.SensorSpec {
	s := epu.SensorSpec{
		StaleAfter: m.Get("stale_after").Duration(0, time.Second, 24*time.Hour),
		Missing: epu.MissingData(m.Get("missing").Word("", string(epu.MissingHold), string(epu.MissingLast),
			string(epu.MissingFallback))),
		MaxAge: m.Get("max_age").Duration(0, time.Second, 24*time.Hour),
		Value:  m.Get("value").Float(0, -1e15, 1e15),
		WarmUp: m.Get("warm_up").Duration(0, 0, 24*time.Hour),
		Keep:   m.Get("keep").Duration(0, time.Second, 24*time.Hour),
		Min:    bound(m, "min"),
		Max:    bound(m, "max"),
	}
	if s.Min != nil && s.Max != nil && *s.Min > *s.Max {
		m.Get("min").Fail("is above max", "raise max or lower min")
	}
	if s.Missing == epu.MissingLast && s.MaxAge == 0 {
		m.At().Fail("missing: last needs max_age", "max_age: 5m")
	}
	m.Done()
	return s
}

// bound is a bound of values; nil where there is none.
func bound(m *strictyaml.Map, key string) *float64 {
	v := m.Get(key)
	if !v.Present() {
		return nil
	}
	b := v.Float(0, -1e15, 1e15)
	return &b
}

// workOf reads which sensors tell of the work that is left, as in a pool's file.
func workOf(v strictyaml.Value) epu.WorkSpec {
	m := v.Map()
	w := epu.WorkSpec{Left: m.Need("left", "left: <name of a series>").Text(""), Rate: m.Get("rate").Text(""), Deadline: m.Get("deadline").Text("")}
	if _, err := time.Parse(time.RFC3339, w.Deadline); err != nil && strings.ContainsAny(w.Deadline, ": ") {
		m.Get("deadline").Fail(fmt.Sprintf("%q is no time", w.Deadline), "2026-01-01T02:00:00Z, or the name of a series of seconds since 1970")
	}
	m.Done()
	return w
}

// knowsWork finds names in work that the test has no sensor for: the policy would see nothing and say so, and
// nobody would know why.
func (t *Scenario) knowsWork(m *strictyaml.Map) {
	names := []string{t.Work.Left, t.Work.Rate}
	if _, err := time.Parse(time.RFC3339, t.Work.Deadline); err != nil {
		names = append(names, t.Work.Deadline)
	}
	for _, name := range names {
		_, series := t.Series[name]
		if _, sensor := t.Sensors[name]; name != "" && !strings.ContainsAny(name, ": ") && !series && !sensor {
			m.At().Fail(fmt.Sprintf("work names %s, but the test has no series of that name", name), "series: {"+name+": ...}")
		}
	}
}

func line(v strictyaml.Value) int {
	where := v.Where()
	n := 0
	_, _ = fmt.Sscanf(where[strings.LastIndexByte(where, ':')+1:], "%d", &n)
	return n
}
