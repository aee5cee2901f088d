package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// The contracts that scripts rely on: exit codes, colour rules, field names, confirmation, times.

func TestExitCodes(t *testing.T) {
	kinds := map[epu.Kind]int{
		epu.Internal: 1, epu.NotFound: 11, epu.Conflict: 12, epu.Capacity: 1, epu.Quota: 1, epu.Throttled: 1, epu.Denied: 13,
		epu.Invalid: 4, epu.Transient: 1, epu.UnknownOutcome: 14, epu.Unavailable: 10,
	}
	for k := epu.Internal; k <= epu.Unavailable; k++ {
		want, listed := kinds[k]
		if got := CodeOf(fmt.Errorf("wrapped: %w", epu.E(k, "do", "it", nil))); got != want || !listed {
			t.Errorf("kind %v: got code %d, want %d", k, got, want)
		}
	}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{Exit{Code: CodeAct}, 3},
		{Usage("try", "bad %d", 1), 4},
		{TimedOut("wait for", "epu-web", errors.New("no"), ""), 14},
		{Exit{Code: CodeUnhealthy}, 20},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%v: got code %d, want %d", c.err, got, c.want)
		}
	}
	for line := range strings.Lines(CodeTable()) {
		if strings.HasPrefix(line, "| 2 |") {
			t.Error("code 2 is what a crashed Go program exits with")
		}
	}
}

func TestColourRules(t *testing.T) {
	for _, c := range []struct {
		flag string
		vars map[string]string
		tty  bool
		want bool
	}{
		{"auto", nil, true, true},
		{"auto", nil, false, false},
		{"auto", map[string]string{"TERM": "dumb"}, true, false},
		{"auto", map[string]string{"NO_COLOR": "1"}, true, false},
		{"auto", map[string]string{"NO_COLOR": ""}, true, true},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{"auto", map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{"auto", map[string]string{"FORCE_COLOR": "1", "TERM": "dumb"}, false, true},
		{"auto", map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false},
		{"always", map[string]string{"NO_COLOR": "1"}, false, true},
		{"never", map[string]string{"CLICOLOR_FORCE": "1"}, true, false},
	} {
		if got := ColorFor(c.flag, func(name string) string { return c.vars[name] }, c.tty); got.On != c.want {
			t.Errorf("--color %s, %v, terminal %v: got %v, want %v", c.flag, c.vars, c.tty, got.On, c.want)
		}
	}
	for tone, code := range sgr {
		if len(code) != len(sgr[Plain]) {
			t.Errorf("the sequence of tone %d is not as long as the others: columns would not stand in line", tone)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Minute: "0s", 0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 119 * time.Second: "1m",
		59 * time.Minute: "59m", time.Hour: "1h", 80 * time.Minute: "1h20m", 11*time.Hour + 30*time.Minute: "11h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 240 * time.Hour: "10d",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	at := time.Date(2026, 11, 21, 23, 30, 0, 0, time.UTC)
	east := time.FixedZone("east", 3600)
	if got := Clock(at, at.Add(time.Hour), east); got != "00:30:00" {
		t.Errorf("got %q, want the time in the user's zone, on the same day there", got)
	}
	if got := Clock(at, at.Add(time.Hour), time.UTC); got != "2026-11-21 23:30:00" {
		t.Errorf("got %q, want the date of yesterday", got)
	}
}

// The envelope's own fields must never meet a message's.
func TestNoMessageHasTheEnvelopesFields(t *testing.T) {
	messages := (&msg.Request{}).ProtoReflect().Descriptor().ParentFile().Messages()
	for i := range messages.Len() {
		for _, name := range []protoreflect.Name{"schema", "type"} {
			if messages.Get(i).Fields().ByName(name) != nil {
				t.Errorf("%s has a field %s", messages.Get(i).Name(), name)
			}
		}
	}
	doc, err := Document("done", &msg.Done{})
	if want := `{"schema":"epu/v1","type":"done","changed":false,"text":"","left":[]}`; err != nil || string(doc) != want {
		t.Errorf("got %s, %v, want %s", doc, err, want)
	}
	doc, err = Document("doctor-query", &msg.DoctorQuery{})
	if want := `{"schema":"epu/v1","type":"doctor-query"}`; err != nil || string(doc) != want {
		t.Errorf("got %s, %v, want %s", doc, err, want)
	}
}

func TestConfirmation(t *testing.T) {
	for _, c := range []struct {
		given, typed string
		tty          bool
		code         int
		shown        bool
	}{
		{"epu-web", "", false, 0, false},
		{"epu-web", "", true, 0, false},
		{"epu-gpu", "epu-web\n", true, 4, false},
		{"", "epu-web\n", false, 4, false},
		{"", "epu-web\n", true, 0, true},
		{"", " epu-web", true, 0, true},
		{"", "yes\n", true, 4, true},
		{"", "", true, 4, true},
		{"", strings.Repeat("x", 1<<16), true, 4, true},
	} {
		shown := false
		var errs bytes.Buffer
		err := Confirmation{Given: c.given, Want: "epu-web", Command: "epumgmt remove epu-web", Stake: "this ends 2 workers"}.
			Ask(t.Context(), IO{In: strings.NewReader(c.typed), Err: &errs}, c.tty, func() error { shown = true; return nil })
		if CodeOf(err) != c.code || shown != c.shown {
			t.Errorf("%+v: got %v (code %d), shown %v", c, err, CodeOf(err), shown)
		}
	}
}

// Ctrl-C at the question ends it, although nobody types.
func TestConfirmationEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	err := Confirmation{Want: "ALL"}.Ask(ctx, IO{In: in, Err: io.Discard}, true, func() error { cancel(); return nil })
	if CodeOf(err) != CodeUsage {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestErrorsForPeopleAndMachines(t *testing.T) {
	err := &epu.Error{Kind: epu.Conflict, Op: "apply", On: "p.plan", Err: errors.New("moved\x1b[2J\nby bob"), Try: "plan again"}
	var people, machines, nothing bytes.Buffer
	PrintError(&people, err, FormTable, Paint{})
	if want := "error: apply p.plan: moved[2J by bob\n  try: plan again\n"; people.String() != want {
		t.Errorf("got %q, want %q", people.String(), want)
	}
	PrintError(&machines, err, FormYAML, Paint{})
	want := `{"schema":"epu/v1","type":"error","error":{"kind":"conflict","exit_code":12,"text":"apply p.plan: moved\u001b[2J\nby bob","op":"apply","on":"p.plan","why":"moved\u001b[2J\nby bob","try":"plan again"}}` + "\n"
	if machines.String() != want {
		t.Errorf("got %s, want %s", machines.String(), want)
	}
	PrintError(&nothing, Exit{Code: 3}, FormTable, Paint{})
	PrintError(&nothing, nil, FormJSON, Paint{})
	if nothing.Len() > 0 {
		t.Errorf("an Exit printed %q", nothing.String())
	}
	for _, code := range []error{context.Canceled, epu.E(epu.NotFound, "a", "b", nil), epu.E(epu.Denied, "a", "b", nil), epu.E(epu.Invalid, "a", "b", nil)} {
		if describe(code).Try == "" {
			t.Errorf("%v gives no advice", code)
		}
	}
}

// Goal: nothing is said twice to people, and machines have each problem. Method: a reason that says all of them.
func TestProblemsAreSaidOnce(t *testing.T) {
	list := []*msg.Problem{{Text: "a: is too large"}, {Text: "b: is required"}}
	err := &msg.Refusal{Err: epu.E(epu.Invalid, "reconfigure", "epu-web", errors.New("a: is too large; b: is required")), List: list}
	var people, machines, counted bytes.Buffer
	PrintError(&people, err, FormTable, Paint{})
	if !strings.HasPrefix(people.String(), "error: reconfigure epu-web: a: is too large; b: is required\n  try: ") {
		t.Errorf("got %q", people.String())
	}
	PrintError(&machines, err, FormJSON, Paint{})
	if !strings.Contains(machines.String(), `"problems":[{"text":"a: is too large"},{"text":"b: is required"}]`) {
		t.Errorf("got %s", machines.String())
	}
	err.Err.Err = errors.New("2 problems")
	PrintError(&counted, err, FormTable, Paint{})
	if !strings.Contains(counted.String(), "2 problems\n  a: is too large\n  b: is required\n") {
		t.Errorf("got %q", counted.String())
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä 漢": "plain ä 漢", "a\nb\tc": "a b c", "\x1b]0;x\x07": "]0;x", "\x9b2J": "?2J", "a\u202eb": "ab", "\xff": "?",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
