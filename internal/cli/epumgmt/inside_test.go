package epumgmt

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/decision"
)

// Goal: a time is read as people write it. Method: a table, seen from a zone west of Greenwich.
func TestMoment(t *testing.T) {
	zone := time.FixedZone("west", -5*60*60)
	now := time.Date(2026, 11, 21, 14, 32, 17, 0, zone)
	for text, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "1h30m ago": now.Add(-90 * time.Minute),
		"14:30": time.Date(2026, 11, 21, 14, 30, 0, 0, zone), "14:30:05": time.Date(2026, 11, 21, 14, 30, 5, 0, zone),
		"23:10":                     time.Date(2026, 11, 20, 23, 10, 0, 0, zone),
		"2026-11-20 08:00":          time.Date(2026, 11, 20, 8, 0, 0, 0, zone),
		"2026-11-20 08:00:01":       time.Date(2026, 11, 20, 8, 0, 1, 0, zone),
		"2026-11-20T08:00:00+01:00": time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now, zone); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "ago", "-5m", "tomorrow", "25:00", "2027-01-01 10:00", "14.30"} {
		if got, err := moment(text, now, zone); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// Goal: unique workers are told apart by their names; where there are none the column takes no room.
func TestNameColumn(t *testing.T) {
	list := []*msg.Instance{{Worker: "web-1-1/0"}, {Worker: "web-1-2/0"}}
	wide := func() bool { return instanceTable(list, time.Time{}).Columns[2].Wide }
	if !wide() {
		t.Error("NAME is shown although no worker has one")
	}
	if list[1].Name = "alpha"; wide() {
		t.Error("NAME is hidden although a worker has one")
	}
}

// Goal: what an operator ordered and a worker said of itself does not hide one another. Method: notes of one worker.
func TestNotes(t *testing.T) {
	busy := timestamppb.New(time.Unix(1, 0))
	for want, i := range map[string]*msg.Instance{
		"":                                 {},
		"busy":                             {BusyUntil: busy},
		"protected, busy":                  {BusyUntil: busy, Protected: true},
		"to be replaced once another runs": {Replacing: true},
		"exit 3":                           {Error: "exit 3", Replacing: true, Protected: true},
		"to be replaced once another runs, protected, busy": {Replacing: true, Protected: true, BusyUntil: busy},
		"protected": {Replacing: true, Draining: true, Protected: true}, // its state says that it drains
	} {
		if got := note(i); got != want {
			t.Errorf("%v: got %q, want %q", i, got, want)
		}
	}
}

// Goal: status and explain mention a candidate in the shadow, and only then. Method: both views of one pool.
func TestShadowIsMentioned(t *testing.T) {
	s := &session{env: cli.Env{Now: time.Now, Zone: time.UTC}, print: &cli.Printer{}}
	for _, text := range []string{"", "mine 3f2a wanted something else in 2 of 40 decisions"} {
		p := &msg.PoolStatus{Name: "epu-web", Shadow: text}
		var said []string
		for _, l := range append(s.statusView(&msg.Status{Pools: []*msg.PoolStatus{p}}).Lines, s.explanation(&msg.Explanation{Pool: p}, decision.Decided{})...) {
			for _, c := range l {
				if text != "" && strings.Contains(c.Text, text) || text == "" && strings.Contains(strings.ToLower(c.Text), "shadow") {
					said = append(said, c.Text)
				}
			}
		}
		if want := 2 * min(len(text), 1); len(said) != want {
			t.Errorf("with %q: said %q, want %d lines", text, said, want)
		}
	}
}

// Goal: a table has one line of what a policy failed with, not its source and inputs, which explain shows.
func TestStatusShowsTheFirstLineOfAFailure(t *testing.T) {
	got := lastDecision(&msg.PoolStatus{Error: "p.lua:1: stopped after 50ms\n    1 | while true do end\nread: nothing"}, time.Time{})
	if want := "policy failing: p.lua:1: stopped after 50ms"; got.Text != want {
		t.Errorf("got %q, want %q", got.Text, want)
	}
}

// Goal: who is sent to explain for a pool's settings finds them, also where all are the defaults. Method: both.
func TestExplainShowsTheSettings(t *testing.T) {
	s := &session{print: &cli.Printer{}}
	for want, conf := range map[string]map[string]any{
		"keep=3   site=east": {"site": "east", "keep": 3}, "none but the defaults of its policy (epumgmt policy doc keeper)": nil,
	} {
		if lines := s.settings("keeper", conf); len(lines) != 1 || lines[0][1].Text != want {
			t.Errorf("got %v, want %q", lines, want)
		}
	}
}
