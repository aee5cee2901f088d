package resource

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
)

const encodeFiles = `
schema: epu/v1
kind: deployable-type
name: encode
variables:
  QUEUE: {required: true}
  LEVEL: {default: info, one_of: [debug, info]}
  TOKEN: {from: env:ENCODE_TOKEN, secret: true}
  KEY: {secret: true}
  EXTRA: {}
sites:
  local: {image: "/opt/${LEVEL}/agent", args: [worker, "--price=$$5", "$${QUEUE}"], allocation: small}
  other: {image: img}
agent: {run: [/opt/encode, "--queue=${QUEUE}", "${QUEUE}${LEVEL}"]}
---
schema: epu/v1
kind: pool
name: epu-encode
deployable_type: encode
vars: {QUEUE: 5, LEVEL: debug, KEY: {from: "file:/etc/key"}}
placement: [{site: local, market: on-demand}, {site: other, allocations: [big]}]
drain: {timeout: 3m}
---
{schema: epu/v1, kind: site, name: local, driver: local}
---
{schema: epu/v1, kind: site, name: other, driver: sim}
`

// Goal: a launch holds what the type, the pool and the policy say, in that order, with secrets as
// references and every dollar settled. Method: one set of files, several placements and overlays.
func TestResolve(t *testing.T) {
	set, problems := Parse([]File{{Path: "f", Content: []byte(encodeFiles)}}, Options{Simulated: true})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	pool, typ := set.Pools[0], set.Types[0]
	got, problems := Resolve(pool, typ, pool.Placement[0], map[string]string{"QUEUE": "$$${LEVEL}", "EXTRA": "e"})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	want := epu.LaunchSpec{
		Site: "local", Type: "encode", Image: "/opt/debug/agent", Args: []string{"worker", "--price=$5", "${QUEUE}"},
		Allocation: "small", Market: epu.OnDemand,
		Vars: map[string]epu.Var{
			"QUEUE": {Value: "$$${LEVEL}"}, "LEVEL": {Value: "debug"}, "EXTRA": {Value: "e"},
			"TOKEN": {From: "env:ENCODE_TOKEN", Secret: true}, "KEY": {From: "file:/etc/key", Secret: true},
		},
		Run:    []string{"/opt/encode", "--queue=$$${LEVEL}", "$$${LEVEL}debug"}, // values are not substituted again
		Health: pool.Health, Drain: pool.Drain,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got, problems = Resolve(pool, typ, pool.Placement[1], nil)
	if len(problems) > 0 || got.Allocation != "big" || got.Image != "img" || got.Vars["QUEUE"].Value != "5" {
		t.Errorf("second placement: got %+v, problems:\n%s", got, report(problems))
	}

	for _, c := range []struct {
		name    string
		place   epu.Placement
		overlay map[string]string
		want    string
	}{
		{"unknown variable", pool.Placement[0], map[string]string{"QUEU": "x"}, "declares no variable QUEU"},
		{"not one of", pool.Placement[0], map[string]string{"LEVEL": "loud"}, `"loud" is not one of debug, info`},
		{"secret as a literal", pool.Placement[0], map[string]string{"TOKEN": "x"}, "a secret can't stand in a file"},
		{"no such site", epu.Placement{Site: "lokal"}, nil, "deployable type encode has no site lokal"},
	} {
		_, problems := Resolve(pool, typ, c.place, c.overlay)
		if len(problems) != 1 || !strings.Contains(problems[0].Text, c.want) {
			t.Errorf("%s: got\n%s, want one problem with %q", c.name, report(problems), c.want)
		}
	}
}

// Goal: a launch never shows a secret, whichever file it came from. Method: a secret variable of the
// pool is named in an argument of the type.
func TestSecretStaysOutOfArguments(t *testing.T) {
	files := strings.Replace(encodeFiles, "QUEUE: 5", "QUEUE: {from: env:Q}", 1)
	_, problems := Parse([]File{{Path: "f", Content: []byte(files)}}, Options{Simulated: true})
	if len(problems) != 2 {
		t.Fatalf("got\n%swant a problem for each argument", report(problems))
	}
	for _, p := range problems {
		if !strings.Contains(p.Text, "${QUEUE} is a secret of this pool") || p.Line != 14 {
			t.Errorf("got %s, want the secret named at line 14", p)
		}
	}
}

// Goal: files are checked together with what the installation has. Method: the parts of one set are
// applied one after another, with the earlier ones known.
func TestKnown(t *testing.T) {
	have, problems := Parse([]File{{Path: "f", Content: []byte(encodeFiles)}}, Options{Simulated: true})
	if len(problems) > 0 {
		t.Fatal(report(problems))
	}
	parts := strings.Split(encodeFiles, "---\n")
	typ, pool := []File{{Path: "type.yaml", Content: []byte(parts[0])}}, []File{{Path: "pool.yaml", Content: []byte(parts[1])}}

	if _, problems := Parse(pool, Options{Known: Set{Sites: have.Sites, Types: have.Types}}); len(problems) > 0 {
		t.Errorf("pool alone: got\n%s", report(problems))
	}
	if _, problems := Parse(pool, Options{}); len(problems) != 3 {
		t.Errorf("pool without type and sites: got\n%swant three problems", report(problems))
	}
	if _, problems := Parse(typ, Options{Known: have}); len(problems) > 0 {
		t.Errorf("type again: got\n%s", report(problems))
	}
	typ[0].Content = []byte(strings.Replace(parts[0], "  LEVEL: {default: info, one_of: [debug, info]}", "  LEVEL: {default: info, one_of: [info]}", 1))
	_, problems = Parse(typ, Options{Known: have})
	if len(problems) != 1 || problems[0].Where() != "f:20" || !strings.Contains(problems[0].Text, `"debug" is not one of info`) {
		t.Errorf("type that breaks a known pool: got\n%swant one problem at f:20", report(problems))
	}
	owned := []File{{Path: "pool.yaml", Content: []byte(strings.Replace(parts[1], "name: epu", "owner: anna\nname: epu", 1))}}
	if _, problems := Parse(owned, Options{Known: have}); len(problems) != 1 || problems[0].Key != "deployable_type" {
		t.Errorf("another owner's pool: got\n%swant that it has no such type", report(problems))
	}
}

// Goal: no input makes the parser panic, hang or accept what it can't write back. Method: fuzzing; what
// parses cleanly must be formatted, parsed again and found equal.
func FuzzParse(f *testing.F) {
	f.Add([]byte(encodeFiles))
	f.Add([]byte(sensorFile + encodeFiles[strings.Index(encodeFiles, "---\n{"):]))
	for _, file := range []string{"five-mistakes", "values", "variables", "sensors", "whole-pool", "whole-site", "whole-type", "alias", "syntax"} {
		f.Add(readFiles(f, "testdata/problems/"+file+".yaml")[0].Content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		set, problems := Parse([]File{{Path: "f", Content: content}}, Options{Simulated: true})
		for _, p := range problems {
			if p.File != "f" && p.File != "" || p.Text == "" {
				t.Errorf("got problem %+v, want a file and a text", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		var again []byte
		for _, s := range set.Sites {
			again = append(append(again, "---\n"...), Format(s)...)
		}
		for _, s := range set.Types {
			again = append(append(again, "---\n"...), Format(s)...)
		}
		for _, s := range set.Pools {
			again = append(append(again, "---\n"...), FormatFull(s)...)
		}
		if len(again) == 0 {
			t.Fatal("got no specs and no problems")
		}
		set2, problems := Parse([]File{{Path: "f", Content: again}}, Options{Simulated: true})
		if len(problems) > 0 {
			t.Fatalf("from\n%s\nformatted\n%s\n%s", content, again, report(problems))
		}
		if diff := cmp.Diff(set, set2, ignoreOrigins); diff != "" {
			t.Fatalf("from\n%s\nformatted\n%s\n(-want +got)\n%s", content, again, diff)
		}
	})
}
