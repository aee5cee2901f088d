package resource

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// Ranges of a sensor's settings.
const (
	sensorsMax    = 64 // of a pool: each is polled, kept and shown
	everyMin      = 100 * time.Millisecond
	periodDefault = time.Minute // of CloudWatch
	everyMax      = time.Hour
	staleMin      = 30 * time.Second // of the default: a slow poll or two are no news
	keepMin       = time.Second
	keepMax       = 24 * time.Hour
	dimensionMax  = 30
)

// countDefault is what is counted of a queue of SQS: what waits to be taken.
const countDefault = "visible"

// sourceFields are the fields that only sensors of one source have, in the order of files.
var sourceFields = map[epu.SensorSource][]string{
	epu.SourcePush:       {},
	epu.SourceRabbitMQ:   {"queue"},
	epu.SourcePrometheus: {"url", "query", "headers", "bearer_token", "timeout"},
	epu.SourceCloudWatch: {"namespace", "metric", "dimensions", "statistic", "period", "region", "endpoint", "aws_profile", "timeout"},
	epu.SourceSQS:        {"url", "queue", "count", "region", "endpoint", "aws_profile", "timeout"},
	epu.SourceHTTP:       {"url", "field", "headers", "bearer_token", "timeout"},
	epu.SourceCommand:    {"command", "timeout"},
}

// sourceNames lists the sources as they are spelt in files.
func sourceNames() []string {
	var names []string
	for s := range sourceFields {
		names = append(names, string(s))
	}
	slices.Sort(names)
	return names
}

// sensorDefaults is a sensor of which only the defaults are known. CloudWatch has nothing new before its
// period is over, so asking it more often only costs money.
func sensorDefaults(source epu.SensorSource, period time.Duration) epu.SensorSpec {
	s := epu.SensorSpec{Source: source, Every: 15 * time.Second, Missing: epu.MissingHold, Keep: time.Hour}
	if source.Pulled() {
		s.Timeout = 10 * time.Second
	}
	s.Min = s.Least()
	if source == epu.SourceCloudWatch {
		s.Every = period
		s.Query.Period = periodDefault
		s.Query.Statistic = "Average"
	}
	return s
}

// staleDefault is the age at which readings are stale unless the file says so: three are missing.
// Readings come no more often than the source makes them.
func staleDefault(every, period time.Duration) time.Duration {
	return max(staleMin, 3*max(every, period))
}

// sensorsOf reads the sensors of a pool by name.
func (p *parser) sensorsOf(v strictyaml.Value) map[string]epu.SensorSpec {
	m := v.Map()
	if n := len(m.Names()); n > sensorsMax {
		v.Fail(fmt.Sprintf("has %d sensors, more than %d", n, sensorsMax), "")
	}
	out := map[string]epu.SensorSpec{}
	for name, item := range m.All() {
		if !nameForm.MatchString(name) || len(name) > nameMax {
			item.Fail(fmt.Sprintf("%q can't be the name of a sensor", name), "letters, digits, dots, underscores and hyphens, a letter or digit first")
			continue
		}
		out[name] = p.sensor(item)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// sensor reads one sensor.
func (p *parser) sensor(v strictyaml.Value) epu.SensorSpec {
	m := v.Map()
	word := m.Need("source", "source: push, or another of "+list(sourceNames()))
	source := epu.SensorSource(word.Word("", sourceNames()...))
	var period time.Duration
	if source == epu.SourceCloudWatch {
		period = periodOf(m.Get("period"))
	}
	s := sensorDefaults(source, period)
	s.Unit = m.Get("unit").Text("")
	s.Every = m.Get("every").Duration(s.Every, everyMin, everyMax)
	s.WarmUp = m.Get("warm_up").Duration(0, 0, time.Hour)
	s.Keep = m.Get("keep").Duration(s.Keep, keepMin, keepMax)
	s.StaleAfter = m.Get("stale_after").Duration(staleDefault(s.Every, period), everyMin, keepMax)
	if s.StaleAfter < s.Every {
		m.Get("stale_after").Fail(fmt.Sprintf("%s is shorter than every (%s): each reading would be stale before the next one",
			strictyaml.FormatDuration(s.StaleAfter), strictyaml.FormatDuration(s.Every)), "at least three times every")
	}
	missingOf(m, &s)
	boundsOf(m, &s)
	foreignFields(m, source)
	p.sensorQuery(m, period, &s)
	m.Done()
	return s
}

// sensorFields lists sensors by name, each with the fields that its source has.
func sensorFields(sensors map[string]epu.SensorSpec) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(sensors)) {
		s := sensors[name]
		period := s.Query.Period
		def := sensorDefaults(s.Source, period)
		fields := []field{{key: "source", value: string(s.Source)}}
		for _, key := range sourceFields[s.Source] {
			fields = append(fields, queryField(key, s, def))
		}
		fields = append(fields,
			leaf("unit", s.Unit, ""),
			leaf("every", s.Every, def.Every),
			leaf("stale_after", s.StaleAfter, staleDefault(s.Every, period)),
			leaf("missing", string(s.Missing), string(def.Missing)),
		)
		switch s.Missing {
		case epu.MissingLast:
			fields = append(fields, field{key: "max_age", value: s.MaxAge})
		case epu.MissingFallback:
			fields = append(fields, field{key: "value", value: s.Value})
		}
		out = append(out, section(name, append(fields,
			boundField("min", s.Least(), def.Min),
			boundField("max", s.Max, def.Max),
			leaf("warm_up", s.WarmUp, 0),
			leaf("keep", s.Keep, def.Keep),
		)...))
	}
	return out
}

// boundField is a bound of a sensor's values where there is one.
func boundField(key string, v, def *float64) field {
	if v == nil {
		return section(key)
	}
	return field{key: key, value: *v, def: def != nil && *def == *v}
}

// missingOf reads what a sensor means while it has no good reading, with what each meaning needs.
func missingOf(m *strictyaml.Map, s *epu.SensorSpec) {
	s.Missing = epu.MissingData(m.Get("missing").Word(string(s.Missing), string(epu.MissingHold), string(epu.MissingLast), string(epu.MissingFallback)))
	age, value := m.Get("max_age"), m.Get("value")
	switch {
	case s.Missing == epu.MissingLast && !age.Present():
		age.Fail("is missing: it says how long the last value counts as good", "max_age: 10m")
	case s.Missing == epu.MissingLast:
		s.MaxAge = age.Duration(s.StaleAfter, everyMin, keepMax)
		if s.MaxAge < s.StaleAfter {
			age.Fail(fmt.Sprintf("%s is shorter than stale_after (%s), until which a reading is good anyway",
				strictyaml.FormatDuration(s.MaxAge), strictyaml.FormatDuration(s.StaleAfter)), "a longer one, or missing: hold")
		}
	case age.Present():
		age.Fail("is only for missing: last", "missing: last, or leave it out")
	}
	switch {
	case s.Missing == epu.MissingFallback && !value.Present():
		value.Fail("is missing: it stands for a reading that did not come", "value: 0")
	case s.Missing == epu.MissingFallback:
		s.Value = value.Float(0, -math.MaxFloat64, math.MaxFloat64)
	case value.Present():
		value.Fail("is only for missing: fallback", "missing: fallback, or leave it out")
	}
}

// boundsOf reads which values a sensor can have.
func boundsOf(m *strictyaml.Map, s *epu.SensorSpec) {
	bound := func(v strictyaml.Value, def *float64) *float64 {
		if !v.Present() {
			return def
		}
		n := v.Float(0, -math.MaxFloat64, math.MaxFloat64)
		return &n
	}
	most := m.Get("max")
	s.Min, s.Max = bound(m.Get("min"), s.Min), bound(most, s.Max)
	if s.Min != nil && s.Max != nil && *s.Max < *s.Min { // no max stands where the file gives none
		most.Fail(fmt.Sprintf("%s is below min (%s): no reading would be taken", formatNumber(*s.Max), formatNumber(*s.Min)), "one above min")
	}
}

// foreignFields refuses what only sensors of other sources have, by name: to call it unknown would send
// the reader looking for a slip that is not there.
func foreignFields(m *strictyaml.Map, source epu.SensorSource) {
	for _, name := range m.Names() {
		if slices.Contains(sourceFields[source], name) {
			continue
		}
		var owners []string
		for _, other := range slices.Sorted(maps.Keys(sourceFields)) {
			if slices.Contains(sourceFields[other], name) {
				owners = append(owners, string(other))
			}
		}
		if len(owners) == 0 {
			continue
		}
		if v := m.Get(name); source != "" {
			v.Fail(fmt.Sprintf("a sensor of the source %s has none", source), "leave it out, or source: "+strings.Join(owners, ", "))
		}
	}
}

// checkWork refuses a work whose sensors the pool does not have.
func checkWork(m *strictyaml.Map, w epu.WorkSpec, sensors map[string]epu.SensorSpec) {
	names := slices.Sorted(maps.Keys(sensors))
	known := func(key, name string) {
		if _, ok := sensors[name]; !ok && name != "" {
			m.Get(key).Fail(fmt.Sprintf("there is no sensor %s in this pool", name), suggestOr(name, names, "define it under sensors"))
		}
	}
	known("left", w.Left)
	known("rate", w.Rate)
	if _, err := time.Parse(time.RFC3339, w.Deadline); err == nil {
		return
	}
	if strings.ContainsAny(w.Deadline, ": ") {
		m.Get("deadline").Fail(fmt.Sprintf("%q is no time", w.Deadline), "2026-12-24T18:00:00Z, or the name of a sensor that gives seconds since 1970")
		return
	}
	known("deadline", w.Deadline)
}

// workOf reads which sensors tell of a finite amount of work.
func workOf(v strictyaml.Value, sensors map[string]epu.SensorSpec) epu.WorkSpec {
	m := v.Map()
	w := epu.WorkSpec{
		Rate:     m.Get("rate").Text(""),
		Deadline: m.Get("deadline").Text(""),
	}
	left := m.Get("left")
	if w.Left = left.Text(""); v.IsMap() && w.Left == "" {
		left.Fail("is missing: it names the sensor of the work that is left", "left: <name of a sensor>")
	}
	checkWork(m, w, sensors)
	m.Done()
	return w
}
