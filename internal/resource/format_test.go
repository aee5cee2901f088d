package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/golden"
)

// specs without where their values were given: a file that was written anew has other lines.
var ignoreOrigins = cmp.Options{
	cmpopts.IgnoreFields(epu.PoolSpec{}, "Origins"),
	cmpopts.IgnoreFields(epu.SiteSpec{}, "Origins"),
	cmpopts.IgnoreFields(epu.TypeSpec{}, "Origins"),
	cmpopts.EquateEmpty(),
}

var (
	genName = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)
	genVar  = rapid.StringMatching(`[A-DF-Z_][A-Za-z0-9_]{0,8}`)
	genText = rapid.Custom(func(t *rapid.T) string {
		words := rapid.SampledFrom([]string{
			"", "5", "true", "null", "~", "no", "0x10", "1e3", "- a", "a: b", "#x", "'", `"`, "a\nb", " lead", "trail ", "\t",
			"é", "日本", "\u2028", "\ufeff", "{", "*a", "&a", "!x", "%", "@", "`", "a, b", "<<", "=", "---", "...", "\u0085x", "2001-01-01", "\U0001f600",
		})
		s := rapid.OneOf(words, rapid.StringMatching(`[ -~]{0,12}`)).Draw(t, "text")
		if _, ok := cleanText(s); !ok {
			return "x"
		}
		return s
	})
	genPeriod = rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(int64(periodMin), int64(periodMax)).Draw(t, "period"))
	})
)

// cleanText reports whether a text can stand in a file at all.
func cleanText(s string) (string, bool) {
	for _, r := range s {
		if r == 0x85 || r < 0x20 && r != '\n' && r != '\t' {
			return "", false
		}
	}
	return s, true
}

// genConf draws a value of a policy's configuration.
func genConf(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 3+min(depth, 2)).Draw(t, "kind") {
		case 0:
			return genText.Draw(t, "s")
		case 1:
			return rapid.Bool().Draw(t, "b")
		case 2:
			return float64(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "i"))
		case 3:
			return rapid.Float64().Draw(t, "f")
		case 4:
			return rapid.SliceOfN(genConf(depth-1), 0, 3).Draw(t, "list")
		}
		return rapid.MapOfN(rapid.StringMatching(`[ -~]{1,8}`), genConf(depth-1), 0, 3).Draw(t, "map")
	})
}

// genPool draws a valid pool.
func genPool(t *rapid.T) epu.PoolSpec {
	s := PoolDefaults()
	s.Name = epu.PoolID(genName.Draw(t, "name"))
	s.Owner = epu.Owner(rapid.SampledFrom([]string{"default", "anna", "5"}).Draw(t, "owner"))
	s.Description = genText.Draw(t, "description")
	s.DeployableType = genName.Draw(t, "type")
	s.Tick = time.Duration(rapid.Int64Range(int64(tickMin), int64(tickMax)).Draw(t, "tick"))
	s.Vars = rapid.MapOfN(genVar, rapid.Custom(func(t *rapid.T) epu.Var {
		if rapid.Bool().Draw(t, "secret") {
			return epu.Var{From: rapid.SampledFrom([]string{"env:X", "file:/a b"}).Draw(t, "from"), Secret: true}
		}
		return epu.Var{Value: genText.Draw(t, "value")}
	}), 0, 3).Draw(t, "vars")
	s.Policy.Name = rapid.SampledFrom([]string{"npreserving", "queuelen"}).Draw(t, "policy")
	s.Policy.Conf = rapid.MapOfN(rapid.StringMatching(`[ -~]{1,8}`), genConf(2), 0, 3).Draw(t, "conf")
	s.Placement = []epu.Placement{
		{Site: "local"},
		{Site: "local", Allocation: epu.Allocation(genName.Draw(t, "alloc")), Market: epu.Spot, Max: rapid.IntRange(0, 9).Draw(t, "max")},
	}
	s.Health.Source = rapid.SampledFrom([]epu.HealthSource{epu.HealthProcess, epu.HealthNone}).Draw(t, "source")
	s.Health.Heartbeat, s.Health.BootGrace = genPeriod.Draw(t, "heartbeat"), genPeriod.Draw(t, "grace")
	s.Health.LaunchDeadline = genPeriod.Draw(t, "deadline")
	s.Limits.Min = rapid.IntRange(0, 5).Draw(t, "min")
	s.Limits.Max = rapid.IntRange(5, 500).Draw(t, "max")
	if s.Policy.Name == policyDefault && rapid.Bool().Draw(t, "none") {
		s.Limits.Max = noMax
	}
	s.Limits.Launches = epu.Count{N: rapid.IntRange(1, 500).Draw(t, "n"), Window: time.Duration(rapid.Int64Range(int64(time.Second), int64(windowMax)).Draw(t, "w"))}
	s.Limits.Terminations.N = rapid.IntRange(0, 3).Draw(t, "terminations")
	s.Limits.Loss = epu.Share{Percent: rapid.IntRange(0, 100).Draw(t, "loss"), Window: time.Minute}
	switch {
	case s.Limits.Loss.Percent == 0:
		s.Limits.Loss = epu.Share{}
	case s.Limits.Terminations.N > 0:
	case s.Limits.Loss.Percent == shareDefault: // is said with limits.terminations
		s.Limits.Terminations.Window, s.Limits.Loss = time.Minute, epu.Share{}
	default:
		s.Limits.Terminations = epu.Count{}
	}
	s.Limits.FreezeAfter = rapid.IntRange(0, 9).Draw(t, "freeze after")
	s.Protected = rapid.Bool().Draw(t, "protected")
	genAround(t, &s)
	return s
}

// genSite draws a valid site.
func genSite(t *rapid.T) epu.SiteSpec {
	s := SiteDefaults(rapid.SampledFrom([]epu.Driver{epu.DriverLocal, epu.DriverSim}).Draw(t, "driver"))
	s.Name = epu.SiteID(genName.Draw(t, "name"))
	s.DryRun = rapid.Bool().Draw(t, "dry")
	if s.Driver == epu.DriverLocal {
		s.Folder = genText.Draw(t, "folder")
	}
	s.InstancesMax = rapid.IntRange(0, 100).Draw(t, "instances")
	s.APIPerSecond = rapid.Float64Range(0.01, 1000).Draw(t, "rate")
	s.BackoffCap = s.BackoffFirst + genPeriod.Draw(t, "cap")
	s.BackoffCap = min(s.BackoffCap, periodMax)
	s.ChargeEvery = rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "charge")
	s.Tags = rapid.MapOfN(rapid.StringMatching(`[A-Za-z][ -~]{0,8}`), genText, 0, 4).Draw(t, "tags")
	for k := range s.Tags {
		if low := strings.ToLower(k); strings.HasPrefix(low, "epu:") || strings.HasPrefix(low, "aws:") {
			delete(s.Tags, k)
		}
	}
	return s
}

// genType draws a valid deployable type.
func genType(t *rapid.T) epu.TypeSpec {
	dollar := func(s string) string { return strings.ReplaceAll(s, "$", "$$") }
	arg := rapid.Map(genText, dollar)
	s := epu.TypeSpec{Name: genName.Draw(t, "name"), Owner: epu.DefaultOwner, Description: genText.Draw(t, "description")}
	s.Variables = rapid.MapOfN(genVar, rapid.Custom(func(t *rapid.T) epu.VarSpec {
		v := epu.VarSpec{Doc: genText.Draw(t, "doc")}
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			v.Required = true
		case 1:
			d := genText.Draw(t, "default")
			v.Default, v.OneOf = &d, []string{"a, b", d}
		case 2:
			v.From = "env:X"
		case 3:
			v.Secret = true
		}
		return v
	}), 0, 3).Draw(t, "variables")
	s.Sites = map[epu.SiteID]epu.TypeSite{"local": {Image: "/" + arg.Draw(t, "image"), Args: rapid.SliceOfN(arg, 0, 3).Draw(t, "args")}}
	if rapid.Bool().Draw(t, "agent") {
		s.AgentRun = append([]string{"/bin/" + arg.Draw(t, "program")}, rapid.SliceOfN(arg, 0, 3).Draw(t, "run")...)
	}
	return s
}

// Goal: what is written reads back as the same spec, briefly and in full, so that an export is no
// different pool. Method: generated valid specs, with texts chosen to break YAML.
func TestFormatRoundTrip(t *testing.T) {
	site := SiteDefaults(epu.DriverSim) // which has every market
	site.Name = "local"
	rapid.Check(t, func(t *rapid.T) {
		pool := genPool(t)
		typ := epu.TypeSpec{Name: pool.DeployableType, Owner: pool.Owner, Sites: map[epu.SiteID]epu.TypeSite{"local": {Image: "/bin/true"}}, Variables: map[string]epu.VarSpec{}}
		for name := range pool.Vars {
			typ.Variables[name] = epu.VarSpec{}
		}
		known := Set{Sites: []epu.SiteSpec{site}, Types: []epu.TypeSpec{typ}}
		for _, content := range [][]byte{Format(pool), FormatFull(pool)} {
			set, problems := Parse([]File{{Path: "p", Content: content}}, Options{Known: known, Tick: time.Minute})
			if len(problems) > 0 {
				t.Fatalf("%s\n%s", content, report(problems))
			}
			if diff := cmp.Diff([]epu.PoolSpec{pool}, set.Pools, ignoreOrigins); diff != "" {
				t.Fatalf("%s\n(-want +got)\n%s", content, diff)
			}
			if d := Diff(&pool, &set.Pools[0]); len(d) > 0 {
				t.Fatalf("difference of equal pools: %v", d)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		site, typ := genSite(t), genType(t)
		for _, content := range []string{
			string(Format(site)) + "---\n" + string(Format(typ)),
			string(FormatFull(site)) + "---\n" + string(FormatFull(typ)),
		} {
			set, problems := Parse([]File{{Path: "p", Content: []byte(content)}}, Options{Simulated: true})
			if len(problems) > 0 {
				t.Fatalf("%s\n%s", content, report(problems))
			}
			if diff := cmp.Diff(Set{Sites: []epu.SiteSpec{site}, Types: []epu.TypeSpec{typ}}, set, ignoreOrigins); diff != "" {
				t.Fatalf("%s\n(-want +got)\n%s", content, diff)
			}
		}
	})
}

// Goal: two specs that differ have a difference, and its key is what the operator would edit. Method:
// generated pools with one key changed; a table for the texts.
func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genPool(t), genPool(t)
		b.Policy.Conf = a.Policy.Conf // flattened keys of free mappings may coincide
		differ := cmp.Diff(a, b, ignoreOrigins) != ""
		if got := len(Diff(&a, &b)) > 0; got != differ {
			t.Fatalf("got a difference: %v, want %v\n%s", got, differ, cmp.Diff(a, b, ignoreOrigins))
		}
	})
	before := PoolDefaults()
	before.Name, before.DeployableType = "epu-web", "web"
	before.Vars = map[string]epu.Var{"TOKEN": {Value: "hunter2", Secret: true}, "LEVEL": {Value: "info"}}
	before.Placement = []epu.Placement{{Site: "local"}}
	before.Policy.Conf = map[string]any{"preserve_n": 2.0, "sites": map[string]any{"a": 1.0}}
	after := before
	after.Vars = map[string]epu.Var{"TOKEN": {From: "env:TOKEN", Secret: true}}
	after.Placement = []epu.Placement{{Site: "local", Max: 3}}
	after.Policy.Conf = map[string]any{"preserve_n": 3.0, "sites": map[string]any{"a": 1.0}, "zones": []any{"x", "y, z"}}
	after.Limits.Max = 7
	after.Limits.Terminations = epu.Count{N: 2, Window: time.Minute}
	after.Origins = map[string]string{"limits.max": "p:1"}
	want := []Difference{
		{"limits.loss", "20% per 10m", ""},
		{"limits.max", "none", "7"},
		{"limits.terminations", "", "2 per 1m"},
		{"placement[0].max", "none", "3"},
		{"policy.conf.preserve_n", "2", "3"},
		{"policy.conf.zones", "", `[x, "y, z"]`},
		{"vars.LEVEL", "info", ""},
		{"vars.TOKEN", "***", ""},
		{"vars.TOKEN.from", "", "env:TOKEN"},
	}
	if diff := cmp.Diff(want, Diff(&before, &after)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := Diff(nil, &before); len(got) < 20 {
		t.Errorf("difference to nothing: got %d keys, want all of them", len(got))
	}
}

// Goal: what a file gives is no default, also when it is the same; what no file gives is, and what costs money or
// ends machines is marked. Method: a pool and a site with few keys.
func TestDefaults(t *testing.T) {
	set, problems := Parse([]File{{Path: "p", Content: []byte(`schema: epu/v1
kind: site
name: local
driver: local
---
schema: epu/v1
kind: deployable-type
name: t
sites: {local: {image: /bin/true}}
---
schema: epu/v1
kind: pool
name: p
deployable_type: t
health: {source: process, boot_grace: 5m}
placement: [{site: local}]
`)}}, Options{})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	got := Defaults(set.Pools[0])
	for key, want := range map[string]bool{
		"limits.max": true, "limits.loss": true, "limits.launches": true, "drain.timeout": true, "health.missing_after": true,
		"tick": false, "placement[0].max": false, "owner": false, "policy.name": false,
	} {
		if weighty, ok := got[key]; !ok || weighty != want {
			t.Errorf("%s: a default: %v, weighty: %v, want %v", key, ok, weighty, want)
		}
	}
	for _, key := range []string{"name", "placement[0].site", "health.boot_grace", "health.source"} {
		if _, ok := got[key]; ok {
			t.Errorf("%s is told as a default; the file gives it", key)
		}
	}
	if !Defaults(set.Sites[0])["limits.instances"] {
		t.Error("a site without a limit of its machines does not say so")
	}
	for _, d := range Diff(nil, &set.Sites[0]) {
		if d.Key == "limits.instances" && d.After != "none" {
			t.Errorf("no limit is shown as %q", d.After)
		}
	}
}

// Goal: a written file looks as an operator would write it. Method: golden file of the shipped example.
func TestFormatGolden(t *testing.T) {
	set, problems := Parse(readFiles(t,
		"../../examples/sleeper/site.yaml", "../../examples/sleeper/deployable-type.yaml", "../../examples/sleeper/pool.yaml"), Options{})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	out := "# Format\n" + string(Format(set.Sites[0])) + "---\n" + string(Format(set.Types[0])) + "---\n" + string(Format(set.Pools[0])) +
		"---\n# FormatFull\n" + string(FormatFull(set.Pools[0]))
	golden.Check(t, "testdata/format.yaml", out, *rewrite)
}
