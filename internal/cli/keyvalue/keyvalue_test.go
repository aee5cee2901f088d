package keyvalue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Each value becomes what YAML says it is, or is refused with a reason.

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[string]any
		err  string
	}{
		{"n=4", map[string]any{"n": 4.0}, ""},
		{"a=true|b=no|c=0x10|d=1_000", map[string]any{"a": true, "b": "no", "c": 16.0, "d": 1000.0}, ""},
		{"every=5m|empty=|quoted='4'", map[string]any{"every": "5m", "empty": "", "quoted": "4"}, ""},
		{"l=[1, x, {k: 2.5}]", map[string]any{"l": []any{1.0, "x", map[string]any{"k": 2.5}}}, ""},
		{"eq=a=b|none=null|day=2026-01-02", map[string]any{"eq": "a=b", "none": nil, "day": "2026-01-02"}, ""},
		{"n", nil, "has no ="},
		{"n|limits.max=3|x=.nan", nil, `"n" has no =: write key=value; "limits.max"`},
		{"limits.max=3|ok=1|x=.nan", nil, `; value of "x"`},
		{"n=1|n=2", nil, "given twice"},
		{"limits.max=3", nil, "give all of \"limits\""},
		{"=3", nil, "no name"},
		{"x={a: 1, a: 2}", nil, "given twice"},
		{"x=[1", nil, "did not find expected"},
		{"x=.nan", nil, "finite"},
		{"x=9007199254740993", nil, "2^53"},
		{"x={a: &b 1, c: *b}", nil, "aliases"},
		{"x=!!binary aGk=", nil, "not supported"},
		{"x=" + strings.Repeat("[", 40) + strings.Repeat("]", 40), nil, "nested"},
		{"x=1\n---\n2", nil, "more than one document"},
	} {
		got, err := Parse(strings.Split(c.args, "|"))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got error %v, want one with %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if diff := cmp.Diff(c.want, got.AsMap()); diff != "" {
			t.Errorf("%s: %s", c.args, diff)
		}
	}
}

func TestParseFileAndMerge(t *testing.T) {
	file, err := ParseFile([]byte("preserve_n: 4\ntags:\n  CostCenter: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	over, err := Parse([]string{"preserve_n=5"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"preserve_n": 5.0, "tags": map[string]any{"CostCenter": "x"}}
	if diff := cmp.Diff(want, Merge(file, over).AsMap()); diff != "" {
		t.Error(diff)
	}
	for text, reason := range map[string]string{
		"": "must hold a map", "[1]": "must hold a map", "a: 1\nb.c: 2": "give all of", "a: 1\nb: .inf": "line 2: ", "a: .inf": "line 1: ", "a: 1\nb c: 2": "line 2: ",
	} {
		if _, err := ParseFile([]byte(text)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got error %v, want one with %q", text, err, reason)
		}
	}
}

// Whatever is accepted crosses the wire unchanged, as protobuf and as JSON.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"n=4", "a={b: [1, 2.5, null, true, '']}", "x=*a", "d=2026-01-02T00:00:00Z", "k=!!str 4", "m={<<: {a: 1}}", "x=\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		got, err := Parse([]string{arg})
		if err != nil {
			return
		}
		raw, err := proto.Marshal(got)
		if err != nil {
			t.Fatalf("%q: can't be sent: %v", arg, err)
		}
		back, again := &structpb.Struct{}, &structpb.Struct{}
		if err := proto.Unmarshal(raw, back); err != nil || !proto.Equal(got, back) {
			t.Fatalf("%q: came back as %v, %v", arg, back, err)
		}
		text, err := protojson.Marshal(got)
		if err != nil {
			t.Fatalf("%q: is no JSON: %v", arg, err)
		}
		if err := protojson.Unmarshal(text, again); err != nil || !proto.Equal(got, again) {
			t.Fatalf("%q: JSON %s came back as %v, %v", arg, text, again, err)
		}
	})
}

func TestKeysAndLines(t *testing.T) {
	keys, err := Keys([]string{"a, b", "c"})
	if err != nil || strings.Join(keys, " ") != "a b c" {
		t.Errorf("got %q, %v", keys, err)
	}
	for args, reason := range map[string]string{"a,a": "twice", "a,": "no name", "a=1": "no name", "a.b": "whole top-level"} {
		if _, err := Keys([]string{args}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %v, want %q", args, err, reason)
		}
	}
	_, lines, err := ParseLines([]byte("# of the day\na: 1\nb:\n  c: 2\nd: [1,\n  2]\n"))
	if err != nil || lines["a"] != 2 || lines["b"] != 3 || lines["d"] != 5 || len(lines) != 3 {
		t.Errorf("got %v, %v", lines, err)
	}
}
