package policies_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// The goal is that a line at a console never harms the next one, and that what lines see is what decide sees.
// Method: sessions of lines with what each must answer.

func console(t *testing.T) (*policies.Console, *policies.Policy) {
	t.Helper()
	src := `return {
  params = { per = { type = "integer", default = 20, min = 1 } },
  initialize = function(control, state, conf) state.memory.born = true end,
  decide = function(control, state, conf)
    local q = state.sensor("queue").value
    control.because("queue " .. q .. " memory " .. tostring(state.memory.x) .. tostring(state.memory.born))
    control.scale_to(math.ceil(q / conf.per))
  end,
  reconfigure = function(control, state, conf, old, changed) state.memory.x = "changed " .. changed[1] end,
}`
	p, err := policies.Compile("small", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	conf, problems := p.Check(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	w := &epu.Worker{ID: "epu-web-1-1/0", Launch: "epu-web-1-1", State: epu.Running, Health: epu.HealthOK, Created: now}
	snap := &policies.Snapshot{
		Now: now, Pool: "epu-web", Workers: []*epu.Worker{w}, Counts: policies.Counts{Running: 1}, Wish: epu.Wish{Target: 1},
		Readings: map[string]epu.Reading{"queue": {Sensor: "queue", Value: 100, Time: now, Quality: epu.QualityOK}},
	}
	c := policies.NewConsole(p, policies.Options{}, snap, conf)
	t.Cleanup(c.Close)
	return c, p
}

func TestConsoleSession(t *testing.T) {
	c, _ := console(t)
	for _, step := range []struct{ line, values, fault string }{
		{line: `state.running()`, values: "1"},
		{line: `state.sensor("queue").value / conf.per`, values: "5"},
		{line: `x = 7`, values: ""},
		{line: `x, "two"`, values: `7 "two"`},
		{line: `local y = 1 function double(n) return n * 2 end`, values: ""},
		{line: `double(x)`, values: "14"},
		{line: `{1, 2, a = {b = true}}`, values: "{1, 2, a = {b = true}}"},
		{line: `state.worker("epu-web-1-1/0")`, values: "worker epu-web-1-1/0 (RUNNING, OK)"},
		{line: `state.runing()`, fault: "line:9: 'state.runing' does not exist; did you mean 'state.running'?"},
		{line: `x`, values: "7"},
		{line: `conf`, values: "{per = 20}"},
		{line: `state, control`, values: "state control"},
		{line: `nothing`, fault: "line:13: 'nothing' does not exist"},
		{line: `for i = `, fault: "more"},
		{line: "for i = 1, 2 do\n  error('at ' .. i)\nend", fault: "line:15: at 1"},
		{line: `os.exit()`, fault: "'os' does not exist here"},
		{line: `conf.per = 3`, fault: "can't set 'per'"},
		{line: `x = = 3`, fault: "line:19: syntax error near '='"},
		{line: `state.memory.deep = {1}`, values: ""},
		{line: `state.memory`, values: "{deep = {1}}"},
		{line: `getmetatable(state)`, values: "nil"},
		{line: `while true do end`, fault: "a loop that never ends"},
		{line: `1 + 1`, values: "2"},
		{line: `x`, fault: "'x' does not exist"},
	} {
		a, err := c.Run(step.line)
		switch {
		case step.fault == "more":
			if !errors.Is(err, policies.ErrMore) {
				t.Errorf("%s: got %v, want that it goes on", step.line, err)
			}
		case step.fault != "":
			if err == nil || !strings.Contains(err.Error(), step.fault) {
				t.Errorf("%s: got error %v, want %q in it", step.line, err, step.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", step.line, err)
		case strings.Join(a.Values, " ") != step.values:
			t.Errorf("%s: got %q, want %q", step.line, a.Values, step.values)
		}
	}
}

func TestConsoleShowsWhatALineAskedFor(t *testing.T) {
	c, _ := console(t)
	if a, err := c.Run(`state.target`); err != nil || a.Wish != nil {
		t.Errorf("a question asked for %+v, %v", a.Wish, err)
	}
	a, err := c.Run(`control.scale_to(4) control.because("four", "rule")`)
	if err != nil || a.Wish == nil || a.Wish.Wish.Target != 4 || a.Wish.Reasons[0].Rule != "rule" {
		t.Errorf("got %+v, %v; want a wish for 4", a.Wish, err)
	}
}

func TestConsoleDecides(t *testing.T) {
	c, p := console(t)
	decide := func(target int, because string) {
		t.Helper()
		for range 2 { // it changes nothing
			d, err := c.Decide()
			if err != nil || d.Error != "" || d.Wanted.Target != target || d.Reasons[0].Text != because {
				t.Errorf("got %d %v %s %v; want %d %s", d.Wanted.Target, d.Reasons, d.Error, err, target, because)
			}
		}
	}
	decide(5, "queue 100 memory nilnil")
	if _, err := c.Run(`state.memory.x = 1`); err != nil {
		t.Fatal(err)
	}
	decide(5, "queue 100 memory 1nil")
	c.See(c.Snapshot().With(epu.Reading{Sensor: "queue", Value: 41, Quality: epu.QualityOK}), c.Conf())
	if a, err := c.Run(`state.sensor("queue").value, state.window("queue", 60).mean`); err != nil || strings.Join(a.Values, " ") != "41 41" {
		t.Errorf("the other reading shows as %q, %v", a.Values, err)
	}
	decide(3, "queue 41 memory 1nil")
	merged, _, problems := p.Reconfigure(c.Conf(), map[string]any{"per": 41})
	if problems != nil {
		t.Fatal(problems)
	}
	c.See(c.Snapshot(), merged)
	if a, err := c.Run(`conf.per`); err != nil || a.Values[0] != "41" {
		t.Errorf("conf.per is %q, %v; want 41", a.Values, err)
	}
	decide(1, "queue 41 memory changed pernil") // as in a pool, reconfigure runs first
}

func TestConsoleOnARecordSeesWhatWasRead(t *testing.T) {
	c, p := console(t)
	record := policies.Evaluate(p, policies.Options{}, c.Snapshot(), c.Conf(), nil)
	snap, err := policies.Recall(record)
	if err != nil {
		t.Fatal(err)
	}
	past := policies.NewConsole(p, policies.Options{}, snap, record.Conf)
	t.Cleanup(past.Close)
	if a, err := past.Run(`state.sensor("queue").value`); err != nil || a.Values[0] != "100" {
		t.Errorf("got %q, %v; want 100", a.Values, err)
	}
	if _, err := past.Run(`state.running()`); err == nil || !strings.Contains(err.Error(), "the record does not hold 'running'") {
		t.Errorf("got %v, want that it was not recorded", err)
	}
	d, err := past.Decide()
	if err != nil || d.Error != "" || d.Reasons[0] != record.Reasons[0] {
		t.Errorf("decided again: %v %s, %v; want %v", d.Reasons, d.Error, err, record.Reasons)
	}
	past.See(snap.With(epu.Reading{Sensor: "other", Value: 9, Quality: epu.QualityOK}), record.Conf)
	if a, err := past.Run(`state.sensor("other").value + state.window("other", 5).max`); err != nil || a.Values[0] != "18" {
		t.Errorf("a reading that was added: %q, %v; want 18", a.Values, err)
	}
}
