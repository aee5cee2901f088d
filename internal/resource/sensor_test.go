package resource

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
)

// genSensors draws sensors of every source.
func genSensors() *rapid.Generator[map[string]epu.SensorSpec] {
	return rapid.MapOfN(genName, rapid.Custom(genSensor), 0, 4)
}

// genSensor draws a valid sensor.
func genSensor(t *rapid.T) epu.SensorSpec {
	source := epu.SensorSource(rapid.SampledFrom(sourceNames()).Draw(t, "source"))
	var period time.Duration
	if source == epu.SourceCloudWatch {
		period = rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}).Draw(t, "period")
	}
	s := sensorDefaults(source, period)
	s.Query.Period = period
	s.Unit = genText.Draw(t, "unit")
	if rapid.Bool().Draw(t, "own times") {
		s.Every = time.Duration(rapid.Int64Range(int64(everyMin), int64(everyMax)).Draw(t, "every"))
	}
	s.StaleAfter = staleDefault(s.Every, period)
	if rapid.Bool().Draw(t, "own age") {
		s.StaleAfter = time.Duration(rapid.Int64Range(int64(s.Every), int64(6*time.Hour)).Draw(t, "stale"))
	}
	s.WarmUp = rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "warm")
	switch s.Missing = rapid.SampledFrom([]epu.MissingData{epu.MissingHold, epu.MissingLast, epu.MissingFallback}).Draw(t, "missing"); s.Missing {
	case epu.MissingLast:
		s.MaxAge = s.StaleAfter + time.Second
	case epu.MissingFallback:
		s.Value = rapid.Float64Range(-1e300, 1e300).Draw(t, "value")
	}
	if rapid.Bool().Draw(t, "bounds") {
		least := rapid.Float64Range(-1e300, 1e300).Draw(t, "min")
		most := rapid.Float64Range(least, 1e300).Draw(t, "max")
		s.Min, s.Max = &least, &most
	}
	genQuery(t, &s)
	return s
}

// genQuery draws what is asked of a sensor's source.
func genQuery(t *rapid.T, s *epu.SensorSpec) {
	q := &s.Query
	address := rapid.SampledFrom([]string{"http://h:90/a?b=c&d=#e", "https://[::1]/{x}"})
	headers := rapid.MapOfN(rapid.SampledFrom([]string{"X-A", "accept", "*"}), rapid.Custom(func(t *rapid.T) epu.Var {
		if rapid.Bool().Draw(t, "secret") {
			return epu.Var{From: "env:X", Secret: true}
		}
		return epu.Var{Value: rapid.StringMatching(`[ -~]{0,9}`).Draw(t, "header")}
	}), 0, 2)
	has := func(key string) bool { return slices.Contains(sourceFields[s.Source], key) }
	if has("headers") {
		q.Headers = headers.Draw(t, "headers")
		q.BearerToken = rapid.SampledFrom([]epu.Var{{}, {From: "file:/x", Secret: true}}).Draw(t, "token")
		q.URL = address.Draw(t, "url")
	}
	if has("region") {
		q.Region = rapid.SampledFrom([]string{"", "us-east-1"}).Draw(t, "region")
		q.Endpoint = rapid.OneOf(rapid.Just(""), address).Draw(t, "endpoint")
		q.Profile = genText.Draw(t, "profile")
	}
	switch s.Source {
	case epu.SourceRabbitMQ:
		q.Queue = genText.Draw(t, "queue")
	case epu.SourcePrometheus:
		q.Expr = "x" + genText.Draw(t, "expr")
	case epu.SourceHTTP:
		q.Field = rapid.SampledFrom([]string{"", "/", "/a~0/0", "/a b"}).Draw(t, "field")
	case epu.SourceCommand:
		q.Command = append([]string{"/bin/x"}, rapid.SliceOfN(genText, 0, 3).Draw(t, "command")...)
	case epu.SourceSQS:
		q.Queue, q.Count = "q", rapid.SampledFrom([]string{"visible", "total"}).Draw(t, "count")
	case epu.SourceCloudWatch:
		q.Namespace, q.Metric = "N/"+genText.Draw(t, "namespace"), "m"
		q.Statistic = rapid.SampledFrom([]string{"Average", "Sum"}).Draw(t, "statistic")
		q.Dimensions = rapid.MapOfN(rapid.StringMatching(`[!-~]{1,5}`), genText, 0, 2).Draw(t, "dimensions")
	}
}

// genAround draws a pool's drain, hooks, work, version and limit of spending.
func genAround(t *rapid.T, s *epu.PoolSpec) {
	s.Sensors = genSensors().Draw(t, "sensors")
	for name := range s.Sensors {
		s.Work = epu.WorkSpec{Left: name, Rate: rapid.SampledFrom([]string{"", name}).Draw(t, "rate")}
		s.Work.Deadline = rapid.SampledFrom([]string{"", name, "2026-12-24T18:00:00Z"}).Draw(t, "deadline")
		break
	}
	hook := rapid.Custom(func(t *rapid.T) *epu.HookSpec {
		h := hookDefaults()
		h.Run = append([]string{"/bin/x"}, rapid.SliceOfN(genText, 0, 2).Draw(t, "run")...)
		h.Tries = rapid.IntRange(1, 9).Draw(t, "tries")
		return rapid.SampledFrom([]*epu.HookSpec{nil, &h}).Draw(t, "hook")
	})
	s.Hooks = epu.HooksSpec{Running: hook.Draw(t, "running"), Ending: hook.Draw(t, "ending")}
	s.Drain.ProtectBusy = rapid.Bool().Draw(t, "protect")
	if s.Drain.Forever = rapid.Bool().Draw(t, "forever"); s.Drain.Forever {
		s.Drain.Timeout = 0
	}
	if rapid.Bool().Draw(t, "drained by a program") {
		s.Drain.Command = []string{"/bin/x", genText.Draw(t, "argument")}
	}
	s.Limits.Spend = rapid.SampledFrom([]float64{0, 0.5, 120}).Draw(t, "spend")
	s.Policy.Version = rapid.SampledFrom([]string{"", "7314", "7e10", "00ff"}).Draw(t, "version")
}

const sensorFile = `
schema: epu/v1
kind: pool
name: epu-encode
deployable_type: encode
placement: [{site: local}]
policy: {name: queuelen, version: 7e10}
limits: {max: 5, spend: {usd_per_hour: 1.5, on_exceed: stop-growing}}
sensors:
  queue-length: {source: rabbitmq, queue: encode, unit: messages, warm_up: 30s}
  pushed: {source: push, missing: last, max_age: 1h, min: -40, max: 60.5}
  prom: {source: prometheus, url: "http://prom:9090", query: "sum(x)", headers: {X-Scope-OrgID: a}, bearer_token: {from: env:TOKEN}, every: 1m}
  cw: {source: cloudwatch, namespace: AWS/SQS, metric: Depth, dimensions: {QueueName: q}, region: eu-west-1, period: 5m}
  sqs: {source: sqs, queue: q, missing: fallback, value: 0}
  web: {source: http, url: "http://x/y", field: /a/b, stale_after: 20s, timeout: 2s}
  script: {source: command, command: [./count.sh, "$x"]}
work: {left: queue-length, rate: prom, deadline: 2026-12-24T18:00:00Z}
drain: {wait: forever, protect_busy: false, command: [../drain]}
hooks:
  running: {run: [/opt/register, "a b"]}
  ending: {run: [/opt/leave], timeout: 1m, tries: 2}
`

// Goal: what a file says of sensors, work, hooks and draining arrives, with the documented defaults.
// Method: one file with every source, against whole values.
func TestSensors(t *testing.T) {
	typ := epu.TypeSpec{Name: "encode", Owner: epu.DefaultOwner, AgentRun: []string{"/bin/true"}, Sites: map[epu.SiteID]epu.TypeSite{"local": {Image: "/bin/true"}}}
	site := SiteDefaults(epu.DriverLocal)
	site.Name = "local"
	opts := Options{Known: Set{Types: []epu.TypeSpec{typ}, Sites: []epu.SiteSpec{site}}, Dir: "/a$b"}
	set, problems := Parse([]File{{Path: "pools/p.yaml", Content: []byte(sensorFile)}}, opts)
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	pool := set.Pools[0]
	const s, m = time.Second, time.Minute
	secret := epu.Var{From: "env:TOKEN", Secret: true}
	coldest, hottest := -40.0, 60.5
	want := map[string]epu.SensorSpec{
		"queue-length": {Source: "rabbitmq", Min: new(float64), Unit: "messages", Every: 15 * s, StaleAfter: 45 * s, Missing: "hold", WarmUp: 30 * s, Keep: time.Hour, Query: epu.SensorQuery{Queue: "encode"}},
		"pushed":       {Source: "push", Min: &coldest, Max: &hottest, Every: 15 * s, StaleAfter: 45 * s, Missing: "last", MaxAge: time.Hour, Keep: time.Hour},
		"prom": {Source: "prometheus", Every: m, Timeout: 10 * s, StaleAfter: 3 * m, Missing: "hold", Keep: time.Hour, Query: epu.SensorQuery{
			URL: "http://prom:9090", Expr: "sum(x)", Headers: map[string]epu.Var{"X-Scope-OrgID": {Value: "a"}}, BearerToken: secret,
		}},
		"cw": {Source: "cloudwatch", Every: 5 * m, Timeout: 10 * s, StaleAfter: 15 * m, Missing: "hold", Keep: time.Hour, Query: epu.SensorQuery{
			Namespace: "AWS/SQS", Metric: "Depth", Dimensions: map[string]string{"QueueName": "q"}, Region: "eu-west-1", Period: 5 * m, Statistic: "Average",
		}},
		"sqs":    {Source: "sqs", Min: new(float64), Every: 15 * s, Timeout: 10 * s, StaleAfter: 45 * s, Missing: "fallback", Keep: time.Hour, Query: epu.SensorQuery{Queue: "q", Count: "visible"}},
		"web":    {Source: "http", Every: 15 * s, Timeout: 2 * s, StaleAfter: 20 * s, Missing: "hold", Keep: time.Hour, Query: epu.SensorQuery{URL: "http://x/y", Field: "/a/b"}},
		"script": {Source: "command", Every: 15 * s, Timeout: 10 * s, StaleAfter: 45 * s, Missing: "hold", Keep: time.Hour, Query: epu.SensorQuery{Command: []string{"/a$b/pools/count.sh", "$x"}}},
	}
	if diff := cmp.Diff(want, pool.Sensors); diff != "" {
		t.Errorf("sensors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(epu.WorkSpec{Left: "queue-length", Rate: "prom", Deadline: "2026-12-24T18:00:00Z"}, pool.Work); diff != "" {
		t.Errorf("work (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(epu.DrainSpec{Forever: true, Command: []string{"/a$b/drain"}}, pool.Drain); diff != "" {
		t.Errorf("drain (-want +got):\n%s", diff)
	}
	wantHooks := epu.HooksSpec{
		Running: &epu.HookSpec{Run: []string{"/opt/register", "a b"}, Timeout: 30 * s, Tries: 5},
		Ending:  &epu.HookSpec{Run: []string{"/opt/leave"}, Timeout: m, Tries: 2},
	}
	if diff := cmp.Diff(wantHooks, pool.Hooks); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
	if pool.Limits.Spend != 1.5 || pool.Policy.Version != "7e10" {
		t.Errorf("got a limit of %g dollars and version %q, want 1.5 and 7e10", pool.Limits.Spend, pool.Policy.Version)
	}
	if got, want := pool.Origins["sensors.prom.query"], "pools/p.yaml:12"; got != want {
		t.Errorf("origin of a sensor's query: got %q, want %q", got, want)
	}
	if text, err := json.Marshal(pool.Sensors["prom"].Query); err != nil || !json.Valid(text) {
		t.Errorf("got %v, want a sensor's query to have a JSON form", err)
	}
}

// Goal: a sensor that was stored before its source had a least value is one that has it: plan shows no difference that
// nobody wrote. Method: such a pool and its file, both ways; and a bound of one's own.
func TestStoredSensorHasTheLeastOfItsSource(t *testing.T) {
	for _, source := range []epu.SensorSource{epu.SourceRabbitMQ, epu.SourceSQS} {
		stored, now, own := PoolDefaults(), PoolDefaults(), PoolDefaults()
		def := sensorDefaults(source, 0)
		now.Sensors = map[string]epu.SensorSpec{"q": def}
		least := 3.0
		def.Min = &least
		own.Sensors = map[string]epu.SensorSpec{"q": def}
		def.Min = nil
		stored.Sensors = map[string]epu.SensorSpec{"q": def}
		if a, b := Diff(&stored, &now), Diff(&now, &stored); len(a)+len(b) > 0 {
			t.Errorf("%s: got the differences %v and %v", source, a, b)
		}
		if diff := cmp.Diff([]Difference{{"sensors.q.min", "0", "3"}}, Diff(&stored, &own)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", source, diff)
		}
		if a, b := string(FormatFull(stored)), string(FormatFull(now)); a != b {
			t.Errorf("%s: got %s\nwant %s", source, a, b)
		}
	}
}

// Goal: plan names what an operator would edit, down to one sensor's one field. Method: two pools that
// differ in nested keys only.
func TestSensorDifferences(t *testing.T) {
	before, after := PoolDefaults(), PoolDefaults()
	def := sensorDefaults(epu.SourcePrometheus, 0)
	def.StaleAfter = staleDefault(def.Every, 0)
	def.Query = epu.SensorQuery{URL: "http://a", Expr: "x", BearerToken: epu.Var{From: "env:A", Secret: true}}
	before.Sensors = map[string]epu.SensorSpec{"q": def}
	def.Query.Expr, def.Query.BearerToken.From, def.Missing, def.Value = "y", "env:B", epu.MissingFallback, 0
	after.Sensors = map[string]epu.SensorSpec{"q": def}
	after.Drain.Timeout, after.Drain.Forever = 0, true
	after.Hooks.Ending = &epu.HookSpec{Run: []string{"/x"}, Timeout: 30 * time.Second, Tries: 5}
	after.Limits.Spend = 3
	want := []Difference{
		{"drain.timeout", "1h", ""},
		{"drain.wait", "", "forever"},
		{"hooks.ending.run", "", "[/x]"},
		{"hooks.ending.timeout", "", "30s"},
		{"hooks.ending.tries", "", "5"},
		{"limits.spend.usd_per_hour", "", "3"},
		{"sensors.q.bearer_token.from", "env:A", "env:B"},
		{"sensors.q.missing", "hold", "fallback"},
		{"sensors.q.query", "x", "y"},
		{"sensors.q.value", "", "0"},
	}
	if diff := cmp.Diff(want, Diff(&before, &after)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
