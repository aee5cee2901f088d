package policies_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

const allTypes = `return {
  doc = "Every type.",
  params = {
    i = { type = "integer", min = 1, max = 9, default = 3, unit = "workers", aliases = { "old_i" } },
    n = { type = "number", min = 0.5 },
    s = { type = "string" },
    b = { type = "boolean", aliases = { "!not_b" } },
    d = { type = "duration", min = 10, max = 600, default = "1m" },
    e = { type = "enum", values = { "a", "b" } },
    l = { type = "list", of = "duration", max = 2 },
    m = { type = "map", of = "integer" },
    q = { type = "sensor", required = true, doc = "queue to watch" },
    any = { type = "map" },
  },
  validate = function(conf)
    if conf.i == 7 then error("seven is unlucky") end
    assert(type(conf.d) == "number")
  end,
  decide = function(control, state, conf) control.scale_to(conf.i) end,
}`

// Goal: validate tells several problems, each where it is; what is none of that form is a fault of the policy and not a
// configuration that is good. Method: what it returns, as Lua.
func TestValidateReturnsAllThatIsWrong(t *testing.T) {
	for _, c := range []struct{ returned, want string }{
		{"nil", ""},
		{"{}", ""},
		{"{ { text = 'too odd' } }", "too odd"},
		{"{ { at = 'n', text = 'is odd' }, { at = { 'lines', 2, 'cron' }, text = 'never' } }", "n: is odd\nold[1].cron: never"},
		{"{ { at = { 'lines', 1, 2 }, text = 'x' } }", "old[0][1]: x"},
		{"true", "p.lua:3: validate returned a boolean"},
		{"'no'", "p.lua:3: validate returned"},
		{"{ text = 'x' }", "p.lua:3: validate returned a table with the key text"},
		{"{ 'x' }", "p.lua:3: entry 1 of what validate returned is"},
		{"{ { text = 5 } }", "p.lua:3: entry 1 of what validate returned has no good text or at"},
		{"{ { at = 5, text = 'x' } }", "p.lua:3: entry 1 of what"},
		{"{ { at = { 'l', 0 }, text = 'x' } }", "p.lua:3: entry 1 of what"},
		{"{ { at = { 'l', 0/0 }, text = 'x' } }", "p.lua:3: entry 1 of what"},
		{"(function() local t = {} for i = 1, 1e4 do t[i] = { text = 'x' } end return t end)()", strings.TrimSuffix(strings.Repeat("x\n", 100), "\n")},
	} {
		p := compile(t, "p", "return { params = { n = { type = 'integer' }, lines = { type = 'list', aliases = { 'old' } } },\n"+
			"decide = function() end,\nvalidate = function() return "+c.returned+" end }")
		_, problems := p.Check(map[string]any{"old": []any{1, 2}})
		if got := policies.Problems(problems).Error(); c.want == "" && problems != nil || !strings.HasPrefix(got, c.want) {
			t.Errorf("validate returned %s: got %q, want %q", c.returned, got, c.want)
		}
		if _, _, changing := p.Reconfigure(map[string]any{"lines": []any{1}}, map[string]any{"old": []any{2}}); !cmp.Equal(changing, problems) {
			t.Errorf("validate returned %s: reconfigure tells %v, want %v", c.returned, changing, problems)
		}
	}
}

// Goal: a configuration comes out in one form or is refused with words that help. Method: one key each.
func TestCheck(t *testing.T) {
	p := compile(t, "all", allTypes)
	if p.Doc != "Every type." || len(p.Params) != 10 || p.Params[4].Name != "d" || p.Params[8].Doc != "queue to watch" {
		t.Fatalf("got declarations %+v", p.Params)
	}
	for _, c := range []struct {
		key  string
		in   any
		want any // a string that begins with "!" is the problem
	}{
		{"i", 5, 5},
		{"i", "5", 5},
		{"i", " 5 ", 5},
		{"i", 5.0, 5},
		{"i", json.Number("5"), 5},
		{"old_i", uint8(5), 5},
		{"i", nil, 3},
		{"i", "x", `!i: must be a whole number, got "x" (workers)`},
		{"i", true, "!must be a whole number, got true"},
		{"i", 0, "!i: must be at least 1 (workers), got 0"},
		{"old_i", 10, "!old_i: must be at most 9 (workers), got 10"},
		{"i", 7, "!all.lua:16: seven is unlucky"},
		{"i", "1e999", "!must be a whole number"},
		{"i", "NaN", "!must be a whole number"},
		{"n", "0.75", 0.75},
		{"n", 2, 2.0},
		{"n", 0.25, "!must be at least 0.5, got 0.25"},
		{"n", "", nil},
		{"s", "x", "x"},
		{"s", 5, "5"},
		{"s", "", nil},
		{"s", []any{}, "!must be a text, got a list of 0"},
		{"b", true, true},
		{"b", "True", true},
		{"b", "FALSE", false},
		{"b", "yes", `!must be true or false, got "yes"`},
		{"b", 1, "!got 1"},
		{"not_b", "True", false},
		{"not_b", true, false},
		{"not_b", "asd", true},
		{"not_b", 0, true},
		{"d", "5m", "5m0s"},
		{"d", "600s", "10m0s"},
		{"d", 90, "!d: must be a duration with a unit, such as 90s, got 90"},
		{"d", "90", `!must be a duration such as 90s or 5m, got "90"`},
		{"d", "1h", `!d: must be at most 10m, got "1h"`},
		{"e", "b", "b"},
		{"e", "c", `!e: must be one of a, b, got "c"`},
		{"e", 1, "!must be one of a, b"},
		{"l", []any{"1m", "90s"}, []any{"1m0s", "1m30s"}},
		{"l", []any{"1m", 5}, "!l: entry 2 must be a duration with a unit"},
		{"l", []any{"1s", "1s", "1s"}, "!must be at most 2, got 3 entries"},
		{"l", "1m", `!must be a list, got "1m"`},
		{"m", map[string]any{"x": "4"}, map[string]any{"x": 4}},
		{"m", map[any]any{"x": 4}, map[string]any{"x": 4}},
		{"m", map[string]any{"x": "y"}, `!m: 'x' must be a whole number, got "y"`},
		{"m", []any{}, "!must be a map of names, got a list of 0"},
		{"any", map[string]any{"a": []any{1, "b", nil, map[any]any{"c": 1.5}}}, map[string]any{"a": []any{1, "b", nil, map[string]any{"c": 1.5}}}},
		{"any", map[string]any{"f": func() {}}, "!'f' is of a kind that can't be used (func())"},
		{"q", "depth", "depth"},
		{"q", "", "!must be the name of a sensor"},
		{"q", nil, "!q: is required: queue to watch"},
		{"queue", 1, "!queue: is no parameter of the policy, which has i, n, s, b, d, e, l, m, q, any"},
		{"ol_i", 1, "!did you mean 'i'?"},
	} {
		t.Run(fmt.Sprintf("%s=%v", c.key, c.in), func(t *testing.T) {
			conf := map[string]any{"q": "depth"}
			conf[c.key] = c.in
			full, problems := p.Check(conf)
			if text, ok := c.want.(string); ok && strings.HasPrefix(text, "!") {
				if got := policies.Problems(problems).Error(); !strings.Contains(got, text[1:]) || full != nil && problems != nil {
					t.Errorf("got %q (%v), want %q", got, full, text[1:])
				}
				return
			}
			d, _ := p.Params.Find(c.key)
			if problems != nil || !reflect.DeepEqual(full[d.Name], c.want) {
				t.Errorf("got %#v (%v), want %#v", full[d.Name], problems, c.want)
			}
		})
	}
	if _, problems := p.Check(map[string]any{"i": 1, "old_i": 2, "x": 3, "n": "y"}); len(problems) != 4 {
		t.Errorf("got %v, want all four problems at once", problems)
	}
}

// Goal: a change that is wrong in several ways is told of all of them. Method: an unknown key beside a
// wrong value.
func TestReconfigureNamesAllProblems(t *testing.T) {
	p := load(t, "npreserving")
	_, _, problems := p.Reconfigure(map[string]any{"preserve_n": 2}, map[string]any{"preserve_n": "abc", "foo": 2})
	if text := policies.Problems(problems).Error(); len(problems) != 2 || !strings.Contains(text, "preserve_n") || !strings.Contains(text, "foo") {
		t.Errorf("got %v, want one problem of each key", problems)
	}
}

// Goal: reconfiguring replaces the whole value of each given key, keeps the rest, and gives nothing when
// anything is wrong. Method: any configuration and change, compared with a model of a few lines.
func TestReconfigureIsWholeValueReplacement(t *testing.T) {
	p := load(t, "npreserving")
	rapid.Check(t, func(t *rapid.T) {
		old, problems := p.Check(anyConf(t, "old"))
		if problems != nil {
			return
		}
		changes := anyConf(t, "changes")
		merged, changed, problems := p.Reconfigure(old, changes)

		model := maps.Clone(old)
		for k, v := range changes {
			d, ok := p.Params.Find(k)
			if !ok {
				t.Fatalf("model: %s", k)
			}
			if v == nil {
				delete(model, d.Name)
			} else if k == "devmode_no_failure_compensation" {
				model["heal"] = !strings.EqualFold(fmt.Sprint(v), "true")
			} else {
				model[d.Name] = v
			}
		}
		want, refused := p.Check(model)
		if (problems != nil) != (refused != nil) {
			t.Fatalf("got problems %v, want %v", problems, refused)
		}
		if problems != nil {
			if merged != nil || changed != nil {
				t.Fatalf("got %v, %v with problems %v", merged, changed, problems)
			}
			return
		}
		if diff := cmp.Diff(want, merged); diff != "" {
			t.Fatalf("merged (-want +got):\n%s", diff)
		}
		for k := range merged {
			if same := reflect.DeepEqual(old[k], merged[k]); same == slices.Contains(changed, k) {
				t.Fatalf("got changed %v, but %s went from %v to %v", changed, k, old[k], merged[k])
			}
		}
		if again, more, _ := p.Reconfigure(merged, changes); len(more) != 0 || !reflect.DeepEqual(again, merged) {
			t.Fatalf("got another change %v from the same change", more)
		}
	})
}

// anyConf draws a configuration of npreserving under new or old names, good or not.
func anyConf(t *rapid.T, label string) map[string]any {
	conf := map[string]any{}
	value := func(names []string, values ...any) {
		if rapid.Bool().Draw(t, label+" has "+names[0]) {
			conf[rapid.SampledFrom(names).Draw(t, label+" name")] = rapid.SampledFrom(values).Draw(t, label+" value")
		}
	}
	value([]string{"preserve_n"}, 0, 1, 2, "3", 4.0, -1, "x", nil)
	value([]string{"unique", "unique_instances"}, map[string]any{}, map[string]any{"a": map[string]any{"X": "1"}},
		map[string]any{"a": map[string]any{}, "b": map[string]any{"X": 2}}, nil)
	value([]string{"vars", "provisioner_vars"}, map[string]any{}, map[string]any{"V": "1"}, map[string]any{"W": "2"})
	value([]string{"site", "force_site"}, "east", "west")
	value([]string{"heal"}, true, "false")
	if _, ok := conf["heal"]; !ok {
		value([]string{"devmode_no_failure_compensation"}, "true", "True", "no", false)
	}
	return conf
}

// Goal: whatever the pool looks like, npreserving wishes for exactly its configuration, and the record
// replays. Method: any good configuration over any workers.
func TestNpreservingProperties(t *testing.T) {
	p := load(t, "npreserving")
	rapid.Check(t, func(t *rapid.T) {
		e := policies.NewEngine(p, policies.Options{})
		defer e.Close()
		for range rapid.IntRange(1, 4).Draw(t, "ticks") {
			conf, problems := p.Check(anyConf(t, "conf"))
			if problems != nil {
				continue
			}
			d := e.Decide(anySnapshot(t), conf)
			n, uniques := conf["preserve_n"].(int), conf["unique"].(map[string]any)
			if d.Error != "" || d.Wanted.Target != n || d.Wanted.Target < len(uniques) || d.Wanted.Target < 0 {
				t.Fatalf("got %+v, %q; want target %d", d.Wanted, d.Error, n)
			}
			if got := slices.Sorted(maps.Keys(d.Wanted.Uniques)); !slices.Equal(got, slices.Sorted(maps.Keys(uniques))) {
				t.Fatalf("got uniques %v, want %v", got, uniques)
			}
			if d.Wanted.NoHeal == conf["heal"].(bool) || len(d.Reasons) == 0 || d.Actions != nil {
				t.Fatalf("got %+v, %v, %v for %v", d.Wanted, d.Reasons, d.Actions, conf)
			}
			again, err := policies.Replay(p, d)
			if err != nil || !reflect.DeepEqual(again.Wanted, d.Wanted) || !reflect.DeepEqual(again.Reasons, d.Reasons) {
				t.Fatalf("got %+v, %v (%v) from the record of %+v, %v", again.Wanted, again.Reasons, err, d.Wanted, d.Reasons)
			}
		}
	})
}

// anySnapshot draws a pool in any state.
func anySnapshot(t *rapid.T) *policies.Snapshot {
	s := fleet(rapid.IntRange(0, 8).Draw(t, "workers"))
	s.Counts = policies.Counts{}
	for _, w := range s.Workers {
		w.State = rapid.SampledFrom(epu.States()).Draw(t, "state")
		w.Health = epu.Health(rapid.IntRange(0, 6).Draw(t, "health"))
		w.Draining = rapid.Bool().Draw(t, "draining")
		w.Name = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "name")
		if w.Unhealthy() {
			s.Bad = append(s.Bad, w)
			s.Counts.Unhealthy++
		}
		if w.State < epu.Running {
			s.Counts.Starting++
		} else {
			s.Counts.Running++
		}
	}
	s.Wish.Target = rapid.IntRange(0, 20).Draw(t, "wish")
	s.Seed = rapid.Uint64().Draw(t, "seed")
	return s
}

// Goal: a policy that reads everything it can is replayed from what it read alone. Method: a policy whose
// wish and memory mix all inputs, some read only on some paths, over any pool and through JSON.
func TestReplayEqualsOriginal(t *testing.T) {
	p := compile(t, "reader", `return {
  params = { depth = { type = "integer", default = 2 } },
  initialize = function(control, state) state.memory.born = state.now end,
  decide = function(control, state, conf)
    local n, seen = math.random(5), ""
    for w in state.workers{ stage = math.random(2) == 1 and "running" or nil } do
      seen = seen .. w.id .. w.state .. w.health .. tostring(w.name) .. w.age .. tostring(w.draining)
      n = n + 1
      if n > conf.depth + 3 then break end
    end
    for w in state.unhealthy() do
      seen = seen .. "!" .. w.id
      if math.random(3) == 1 then control.terminate(w) break end
    end
    local w = state.worker("epu-bench-1-3/0")
    if w then seen = seen .. w.site end
    local q = state.sensor("queue")
    if q and q.quality == "ok" and q.value > 10 then n = n + state.running() + state.count{ unhealthy = true } end
    if state.backoff() == 0 then n = n + state.starting() end
    for _, r in ipairs(state.refused()) do seen = seen .. r.rule end
    state.memory.seen, state.memory.n = seen, (state.memory.n or 0) + n
    control.scale_to(n % 7, { victims = state.target > 5 and "oldest" or nil })
    control.because(#seen .. " bytes seen at " .. state.time{}.hour)
  end,
}`)
	rapid.Check(t, func(t *rapid.T) {
		e := policies.NewEngine(p, policies.Options{})
		defer e.Close()
		conf, _ := p.Check(map[string]any{"depth": rapid.IntRange(0, 4).Draw(t, "depth")})
		var memory json.RawMessage
		for range rapid.IntRange(1, 4).Draw(t, "ticks") {
			s := anySnapshot(t)
			s.Memory = memory
			if rapid.Bool().Draw(t, "has reading") {
				s.Readings = map[string]epu.Reading{"queue": {
					Sensor: "queue", Value: float64(rapid.IntRange(0, 20).Draw(t, "value")), Time: s.Now,
					Quality: rapid.SampledFrom([]epu.Quality{epu.QualityOK, epu.QualityStale, epu.QualityUnknown}).Draw(t, "quality"),
				}}
			}
			if rapid.Bool().Draw(t, "refused") {
				s.Refused = []epu.Reason{{Rule: "limits.max", Text: "at most 3"}}
			}
			d := e.Decide(s, conf)
			memory = d.MemoryAfter
			b, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var record epu.Decision
			if err := json.Unmarshal(b, &record); err != nil {
				t.Fatal(err)
			}
			again, err := policies.Replay(p, record)
			if err != nil || d.Error != "" || again.Error != "" {
				t.Fatalf("got %v, %q, %q", err, d.Error, again.Error)
			}
			if diff := cmp.Diff([]any{d.Wanted, d.Reasons, d.Actions, string(d.MemoryAfter)}, []any{again.Wanted, again.Reasons, again.Actions, string(again.MemoryAfter)}); diff != "" {
				t.Fatalf("replay (-original +replayed):\n%s\n%s", diff, b)
			}
		}
	})
}

// Goal: a record is replayed by the policy that made it and by no other, and a policy that reads what
// was not recorded is found out.
func TestReplayRefuses(t *testing.T) {
	p, q := compile(t, "p", body("control.scale_to(1)")), compile(t, "q", body("control.scale_to(2)"))
	d := decide(t, p, fleet(1), nil)
	if _, err := policies.Replay(q, d); epu.KindOf(err) != epu.Conflict {
		t.Errorf("got %v, want a conflict", err)
	}
	forged := d
	forged.PolicyHash = q.Hash
	if again, err := policies.Replay(q, forged); err != nil || again.Wanted.Target == d.Wanted.Target {
		t.Errorf("got %+v, %v; want the other policy's wish", again.Wanted, err)
	}
	reads := compile(t, "r", body("control.scale_to(state.running())"))
	forged.PolicyHash = reads.Hash
	if again, err := policies.Replay(reads, forged); err != nil || !strings.Contains(again.Error, "the record does not hold 'running'") {
		t.Errorf("got %q, %v; want to hear what the record does not hold", again.Error, err)
	}
	d.Inputs = []epu.Input{{Name: "running", Value: "many"}}
	if _, err := policies.Replay(p, d); epu.KindOf(err) != epu.Invalid {
		t.Errorf("got %v, want a damaged record to be refused", err)
	}
}

// Goal: policies are found by name, the operator's own before the stock ones, and a wrong name says what
// there is.
func TestLibrary(t *testing.T) {
	own := fstest.MapFS{
		"mine.lua":      {Data: []byte(`return { decide = function(control) control.scale_to(require_n) end }`)},
		"good.lua":      {Data: []byte("local pool = require \"lib.pool\"\nreturn { doc = pool.word, decide = function() end }")},
		"lib/pool.lua":  {Data: []byte(`return { word = "ours" }`)},
		"good_test.lua": {Data: []byte(`test.policy "good"`)},
		"notes.txt":     {Data: []byte("x")},
	}
	lib := policies.NewLibrary(own, scripts.Policies(), nil)
	stock, err := policies.NewLibrary(scripts.Policies()).Names()
	if err != nil {
		t.Fatal(err)
	}
	names, err := lib.Names()
	want := slices.Sorted(slices.Values(append(stock, "good", "mine")))
	if err != nil || !slices.Equal(names, want) || !slices.Contains(names, "npreserving") {
		t.Errorf("got names %v, %v; want %v", names, err, want)
	}
	if tests, err := lib.Tests(); err != nil || !slices.Contains(tests, "good_test.lua") || !slices.Contains(tests, "npreserving_test.lua") {
		t.Errorf("got tests %v, %v", tests, err)
	}
	if p, err := lib.Load("good"); err != nil || p.Doc != "ours" {
		t.Errorf("got %v; want the operator's own lib/pool.lua to win", err)
	}
	var problems policies.Problems
	if _, err = lib.Load("mine"); epu.KindOf(err) != epu.Invalid || !errors.As(err, &problems) || len(problems) != 1 || problems[0].Line != 1 {
		t.Errorf("got %v, want the problem with its line", err)
	}
	for name, want := range map[string]string{
		"npreservin": "did you mean 'npreserving'? There are: ", "": "use one of: ", "../x": "use one of", "good_test": "good",
		"lib/pool": "use one of", "lib.pool": "use one of",
	} {
		if _, err := lib.Load(name); epu.KindOf(err) != epu.NotFound || !strings.Contains(epu.TryOf(err), want) {
			t.Errorf("load %q: got %v (try: %s), want not found and %q", name, err, epu.TryOf(err), want)
		}
	}
}

// Goal: what the reference lists is what policies can reach. Method: every function and field is looked
// up from Lua, and every one has its words; the fields of a worker are read, and no other can be.
func TestFunctionsAreThere(t *testing.T) {
	var code strings.Builder
	seen := map[string]bool{}
	for _, f := range policies.Functions() {
		full := f.Full()
		if seen[full] || f.Doc == "" || f.Field && f.Returns == "" {
			t.Errorf("%s is listed twice, or has no words or no type: %q", full, f.Doc)
		}
		seen[full] = true
		if f.Field {
			fmt.Fprintf(&code, "assert(%s ~= nil)\n", full)
		} else {
			fmt.Fprintf(&code, "assert(type(%s) == 'function')\n", full)
		}
	}
	for _, c := range policies.Classes() {
		if seen[c.Name] || c.Doc == "" {
			t.Errorf("%s is listed twice or has no words", c.Name)
		}
		seen[c.Name] = true
		for _, f := range c.Fields {
			if f.Doc == "" || f.Type == "" {
				t.Errorf("%s.%s has no words or no type", c.Name, f.Name)
			}
			if c.Name == "epu.Worker" {
				fmt.Fprintf(&code, "for w in state.workers() do local x = w.%s end\n", f.Name)
			}
		}
	}
	if d := decide(t, compile(t, "p", body(code.String())), fleet(1), nil); d.Error != "" {
		t.Error(d.Error)
	}
}
