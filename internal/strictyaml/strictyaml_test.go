package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
)

// Goal: the scalar forms mean one thing each, and a bare number is never a duration or a size. Method:
// tables of texts; the wanted value is its own text, or the start of the fault's.
func TestUnits(t *testing.T) {
	duration := func(s string) (string, *Fault) {
		d, f := ParseDuration(s, 0, 48*time.Hour)
		return FormatDuration(d), f
	}
	size := func(s string) (string, *Fault) {
		n, f := ParseBytes(s, 0, 1<<40)
		return FormatBytes(n), f
	}
	whole := func(s string) (string, *Fault) {
		n, f := ParseInt(s, 0, 10)
		return fmt.Sprint(n), f
	}
	boolean := func(s string) (string, *Fault) {
		b, f := ParseBool(s)
		return fmt.Sprint(b), f
	}
	for _, c := range []struct {
		parse           func(string) (string, *Fault)
		in, want, fault string
	}{
		{duration, "5s", "5s", ""},
		{duration, "90m", "1h30m", ""},
		{duration, "1h0m0s", "1h", ""},
		{duration, "0s", "0s", ""},
		{duration, "1500ms", "1.5s", ""},
		{duration, "5", "", `"5" has no unit`},
		{duration, "0", "", `"0" has no unit`},
		{duration, "1e3", "", `"1e3" has no unit`},
		{duration, "2d", "", `"2d": days`},
		{duration, "soon", "", `"soon" is not a duration`},
		{duration, "-1s", "", "-1s is out of range"},
		{duration, "49h", "", "49h is out of range"},
		{size, "64MiB", "64MiB", ""},
		{size, "2048 KiB", "2MiB", ""},
		{size, "1", "", `"1" has no unit`},
		{size, "1GB", "", `"1GB" is not a size`},
		{size, "-1GiB", "", `"-1GiB" is not a size`},
		{size, "9223372036854775807TiB", "", "9223372036854775807TiB is out of range"},
		{whole, "10", "10", ""},
		{whole, "11", "", "11 is out of range"},
		{whole, "1.0", "", `"1.0" is not a whole number`},
		{boolean, "true", "true", ""},
		{boolean, "yes", "", `"yes" is neither`},
	} {
		got, fault := c.parse(c.in)
		switch {
		case c.fault == "" && (fault != nil || got != c.want):
			t.Errorf("%q: got %s, %v, want %s", c.in, got, fault, c.want)
		case c.fault != "" && (fault == nil || !strings.HasPrefix(fault.Text, c.fault) || fault.Try == ""):
			t.Errorf("%q: got %s, %v, want a fault that begins with %s, and a suggestion", c.in, got, fault, c.fault)
		}
	}
}

// Goal: a slip of the finger finds its key, another word does not. Method: table.
func TestClosest(t *testing.T) {
	keys := []string{"missing_after", "second_chance", "boot_grace", "min", "max", "name"}
	for word, want := range map[string]string{
		"missing_afer": "missing_after", "misisng_after": "missing_after", "mni": "min", "mux": "max",
		"Name": "name", "colour": "", "": "", "mi": "", "bootgrace": "boot_grace",
	} {
		if got := Closest(word, keys); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// Goal: a tree without a kind of its own keeps keys' case, places and JSON types, and counts every key
// that was asked for in its origins. Method: one document read through Any.
func TestAnyKeepsCase(t *testing.T) {
	var log Log
	docs := Documents("f", []byte("Tags: {CostCenter: 5, Zone: [a, true, 1.5, \"5\"]}\nlist: []\n"), &log)
	if len(docs) != 1 || log.Len() > 0 {
		t.Fatalf("got %d documents, %v", len(docs), log.Sorted())
	}
	got := docs[0].Get("Tags").Any()
	want := map[string]any{"CostCenter": 5.0, "Zone": []any{"a", true, 1.5, "5"}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantOrigins := map[string]string{"Tags": "f:1", "Tags.CostCenter": "f:1", "Tags.Zone": "f:1"}
	if diff := cmp.Diff(wantOrigins, docs[0].Origins()); diff != "" {
		t.Errorf("origins (-want +got)\n%s", diff)
	}
	docs[0].Done()
	if got := log.Sorted(); len(got) != 1 || got[0].Key != "list" || got[0].Line != 2 {
		t.Errorf("got %v, want list refused at line 2", got)
	}
}

// Goal: hostile files are refused in bounded work. Method: one of each kind.
func TestHostileFiles(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"too large":  {strings.Repeat("a", fileBytesMax+1), "more than 1048576"},
		"binary":     {"a: \x00", "not text"},
		"deep":       {strings.Repeat("[", 200) + strings.Repeat("]", 200), "too deeply"},
		"documents":  {strings.Repeat("a: b\n---\n", documentsMax+1), "more than 1000 documents"},
		"bomb":       {"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases"},
		"merge":      {"a: &a {x: 1}\nb: {<<: *a}\n", "aliases"},
		"not utf-8":  {"a: \xff\xfe", "not valid YAML"},
		"key is map": {"{a: b}: c", "a key must be"},
	} {
		var log Log
		for _, m := range Documents("f", []byte(c.content), &log) {
			m.At().Any()
		}
		got := log.Sorted()
		if len(got) == 0 || !strings.Contains(got[0].Text, c.want) {
			t.Errorf("%s: got %v, want a problem with %q", name, got, c.want)
		}
	}
}

// Goal: the error that programs print names every problem, has a kind, and stays readable when there
// are thousands. Method: a log over its bound.
func TestErrorIsBounded(t *testing.T) {
	var log Log
	for i := range problemsMax + 7 {
		log.Add(Problem{File: "b", Line: problemsMax - i, Text: fmt.Sprint("wrong ", i)})
	}
	log.Add(Problem{File: "b", Line: 1, Text: fmt.Sprint("wrong ", problemsMax-1)}) // once more
	problems := log.Sorted("a", "b")
	if got, want := len(problems), problemsMax+1; got != want {
		t.Fatalf("got %d problems, want %d", got, want)
	}
	if got, want := problems[problemsMax].Text, "7 more problems"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	err := fmt.Errorf("load: %w", NewError(problems))
	if got := epu.KindOf(err); got != epu.Invalid {
		t.Errorf("got kind %s, want %s", got, epu.Invalid)
	}
	var all *Error
	if !errors.As(err, &all) || len(all.Problems) != len(problems) {
		t.Errorf("got %v, want an *Error with every problem", all)
	}
	if NewError(nil) != nil {
		t.Error("no problems: got an error")
	}
}
