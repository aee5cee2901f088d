package policies_test

import (
	"encoding/json"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// Goal: no source, however broken, does more than fail to load, or fail when it decides. Method: the
// stock files and short attacks as a corpus; what loads is evaluated twice, with few steps, and each
// decision must be whole.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"npreserving.lua", "lib/pool.lua"} {
		src, err := fs.ReadFile(scripts.Policies(), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	for _, src := range []string{
		body("control.scale_to(1)"), allTypes, visitRule, "return {", "return {decide=function(c,s) s.memory.x = s.memory end}",
		body("local s = 'x' for i = 1, 30 do s = s .. s .. i end"), body("goto a ::a:: goto a"), "return {decide=next}", "return require('lib.pool')",
		body("local t = setmetatable({}, {__index = function(t, k) return t[k .. 1] end}) return t.x"), "local a <const> = 1", "return {params={x={type='list',default={{}}}},decide=function() end}",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := policies.Compile("fuzz", []byte(src), scripts.Policies())
		if err != nil {
			return
		}
		conf, problems := p.Check(map[string]any{})
		if problems != nil {
			return
		}
		e := policies.NewEngine(p, policies.Options{Steps: 20_000})
		defer e.Close()
		snap := fleet(3)
		for range 2 {
			d := e.Decide(snap, conf)
			if d.Wanted.Target < 0 || d.Wanted.Target < len(d.Wanted.Uniques) || len(d.Reasons) == 0 {
				t.Fatalf("got %+v with reasons %v", d.Wanted, d.Reasons)
			}
			if d.Error != "" && d.Wanted.Target != snap.Wish.Target {
				t.Fatalf("got target %d after error %q, want the last wish %d", d.Wanted.Target, d.Error, snap.Wish.Target)
			}
			if _, err := json.Marshal(d); err != nil {
				t.Fatalf("the decision can't be recorded: %v", err)
			}
			snap.Memory = d.MemoryAfter
		}
	})
}

// Goal: any configuration is refused or comes out in a form that the gate takes again unchanged, also
// after a round through JSON; a change behaves the same way.
func FuzzCheck(f *testing.F) {
	for _, conf := range []string{
		`{}`, `{"q":"x"}`, `{"q":"x","i":"5","d":"5m","l":["1m"],"m":{"a":1},"any":{"a":[1,{"b":null}]}}`, `{"q":1,"not_b":"True"}`,
		`{"preserve_n":"3","unique_instances":{"a":{"X":1}},"provisioner_vars":{"V":"1"},"devmode_no_failure_compensation":"x"}`,
		`{"i":1e400}`, `{"i":-0.0,"q":"x"}`, `{"n":"0x1p-2","q":"x"}`, `{"any":{"":{}},"q":"x"}`, `{"s":5e-324,"q":"x"}`,
	} {
		f.Add(conf, `{"i":2,"old_i":null}`)
	}
	all := compile(f, "all", allTypes)
	stock := load(f, "npreserving")
	f.Fuzz(func(t *testing.T, conf, change string) {
		var in, changes map[string]any
		if json.Unmarshal([]byte(conf), &in) != nil || json.Unmarshal([]byte(change), &changes) != nil {
			return
		}
		for _, p := range []*policies.Policy{all, stock} {
			full, problems := p.Check(in)
			if problems != nil {
				continue
			}
			again, problems := p.Check(through(t, full))
			if problems != nil || !reflect.DeepEqual(full, again) {
				t.Fatalf("%s: got %v (%v) for %v, which came from %v", p.Name, again, problems, full, in)
			}
			merged, _, problems := p.Reconfigure(full, changes)
			if problems != nil {
				continue
			}
			if again, changed, problems := p.Reconfigure(merged, changes); problems != nil || len(changed) > 0 || !reflect.DeepEqual(again, merged) {
				t.Fatalf("%s: got %v (%v, %v), want the same change to change nothing", p.Name, again, changed, problems)
			}
		}
	})
}

func through(t *testing.T, conf map[string]any) map[string]any {
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Goal: stored memory of any content is either used, and then stored in one lasting form, or refused.
func FuzzMemory(f *testing.F) {
	for _, m := range []string{``, `null`, `{}`, `{"a":1}`, `[1,2,[3]]`, `[null,1]`, `{"a":{"b":[{}]}}`, `"x"`, `{"a":1e308}`, `[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]`, `{"\u0000":"\ud800"}`} {
		f.Add(m)
	}
	p := compile(f, "p", body("local m = state.memory control.scale_to(1)"))
	f.Fuzz(func(t *testing.T, memory string) {
		snap := fleet(0)
		snap.Memory = json.RawMessage(memory)
		e := policies.NewEngine(p, policies.Options{})
		defer e.Close()
		d := e.Decide(snap, map[string]any{})
		if d.Error != "" {
			if !strings.Contains(d.Error, "memory") {
				t.Fatalf("got %q for %q", d.Error, memory)
			}
			return
		}
		snap.Memory = d.MemoryAfter
		if again := e.Decide(snap, map[string]any{}); again.Error != "" || string(again.MemoryAfter) != string(d.MemoryAfter) {
			t.Fatalf("got %s after %s (%q)", again.MemoryAfter, d.MemoryAfter, again.Error)
		}
	})
}
