package policytest

import (
	"fmt"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

func worldOf(m *strictyaml.Map) world {
	w := world{
		Workers: m.Get("workers").Int(0, 0, crowdMax),
		Boot:    m.Get("boot").Duration(0, 0, 24*time.Hour),
		Drain:   m.Get("drain").Duration(0, 0, 24*time.Hour),
		Notice:  m.Get("notice").Duration(0, 0, 24*time.Hour),
		Fail:    map[time.Duration]int{}, Prices: map[epu.SiteID]float64{}, Busy: map[time.Duration]busySpan{},
	}
	for _, item := range m.Get("fail").List() {
		f := item.Map()
		w.Fail[f.Need("at", "at: 30s").Duration(0, 0, lengthMax)] += f.Get("workers").Int(1, 1, crowdMax)
		f.Done()
	}
	for _, item := range m.Get("busy").List() {
		b := item.Map()
		at := b.Need("at", "at: 30s").Duration(0, 0, lengthMax)
		w.Busy[at] = busySpan{
			Workers: b.Get("workers").Int(1, 1, crowdMax),
			For:     b.Need("for", "for: 10m").Duration(0, time.Millisecond, lengthMax),
		}
		b.Done()
	}
	for site, item := range m.Get("prices").Map().All() {
		w.Prices[epu.SiteID(site)] = item.Float(0, 0, 1e6)
	}
	m.Done()
	return w
}

func reconfigureOf(v strictyaml.Value) reconfigure {
	m := v.Map()
	r := reconfigure{At: m.Need("at", "at: 30s").Duration(0, 0, lengthMax), Line: line(v), Refused: m.Get("refused").Text("")}
	conf := m.Need("conf", "conf: {key: value}")
	if any, ok := conf.Any().(map[string]any); ok {
		r.Conf = any
	} else if conf.Present() {
		conf.Fail("keys with values were expected here", "{key: value}")
	}
	m.Done()
	return r
}

// momentOf reads what is expected at one time, which must be that of a decision.
func (t *Scenario) momentOf(v strictyaml.Value) Moment {
	m := v.Map()
	at := m.Need("at", "at: 30s")
	e := Moment{
		At: at.Duration(0, 0, lengthMax), Line: line(v),
		Target: wholeOf(m, "target"), Wanted: wholeOf(m, "wanted"), Running: wholeOf(m, "running"), Starting: wholeOf(m, "starting"),
		Draining: wholeOf(m, "draining"), Launches: wholeOf(m, "launches"), Terminations: wholeOf(m, "terminations"),
		Because: textsOf(m, "because"), Alert: m.Get("alert").Text(""), Error: m.Get("error").Text(""), Refused: textsOf(m, "refused"),
	}
	if u := m.Get("uniques"); u.Present() {
		e.Uniques = append([]string{}, u.Texts()...)
		slices.Sort(e.Uniques)
	}
	if e.At%t.Interval != 0 {
		before := e.At / t.Interval * t.Interval
		at.Fail(fmt.Sprintf("there is no decision at %s: they come every %s", strictyaml.FormatDuration(e.At), strictyaml.FormatDuration(t.Interval)),
			fmt.Sprintf("%s or %s", strictyaml.FormatDuration(before), strictyaml.FormatDuration(before+t.Interval)))
	}
	if len(m.Names()) == 1 && m.Has("at") {
		v.Fail("expects nothing", "{at: 30s, target: 2}")
	}
	m.Done()
	return e
}

func totalsOf(v strictyaml.Value) Totals {
	m := v.Map()
	t := Totals{
		Line: line(v), Launches: wholeOf(m, "launches"), Terminations: wholeOf(m, "terminations"), Drains: wholeOf(m, "drains"),
		Failures: wholeOf(m, "failures"), TargetMax: wholeOf(m, "target_max"), TargetMin: wholeOf(m, "target_min"), Changes: wholeOf(m, "changes"),
	}
	m.Done()
	return t
}

// wholeOf reads a whole number that may be left out.
func wholeOf(m *strictyaml.Map, key string) *int {
	v := m.Get(key)
	if !v.Present() {
		return nil
	}
	n := v.Int(0, 0, 1<<31-1)
	return &n
}

// textsOf reads one text or a list of them.
func textsOf(m *strictyaml.Map, key string) []string {
	v := m.Get(key)
	switch {
	case !v.Present():
		return nil
	case v.IsList():
		return v.Texts()
	}
	return []string{v.Text("")}
}
