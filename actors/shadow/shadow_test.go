package shadow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/shadow"
)

// The goal is that a difference is what would lead to something else, and that a candidate's results outlast it.
// Method: pairs of decisions, and a candidate's life.

func TestDiffers(t *testing.T) {
	ours := epu.Decision{Wish: epu.Wish{Target: 3}, Reasons: []epu.Reason{{Text: "ours"}}}
	for name, c := range map[string]struct {
		theirs epu.Decision
		want   bool
	}{
		"the same for another reason": {epu.Decision{Wish: epu.Wish{Target: 3}, Reasons: []epu.Reason{{Text: "theirs"}}}, false},
		"the defaults said":           {epu.Decision{Wish: epu.Wish{Target: 3, Victims: epu.Newest, Urgency: epu.UrgencyNormal}}, false},
		"another number":              {epu.Decision{Wish: epu.Wish{Target: 4}}, true},
		"other victims":               {epu.Decision{Wish: epu.Wish{Target: 3, Victims: epu.Oldest}}, true},
		"another place":               {epu.Decision{Wish: epu.Wish{Target: 3, Site: "east"}}, true},
		"something done once":         {epu.Decision{Wish: epu.Wish{Target: 3}, Actions: []epu.Action{{Kind: epu.ActDrain}}}, true},
	} {
		if got := shadow.Differs(ours, c.theirs); got != c.want {
			t.Errorf("%s: differs %v, want %v", name, got, c.want)
		}
	}
	a := epu.Decision{Actions: []epu.Action{{Kind: epu.ActDrain, Reason: "a"}}}
	b := epu.Decision{Actions: []epu.Action{{Kind: epu.ActDrain, Reason: "b"}}}
	if shadow.Differs(a, b) || a.Actions[0].Reason != "a" {
		t.Errorf("the same done for another reason differs, or lost its reason: %v", a.Actions)
	}
}

func TestCandidatesLife(t *testing.T) {
	at := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	var none *shadow.Candidate
	c := &shadow.Candidate{Policy: "mine", Hash: "3f2a00112233", Files: []epu.PolicyFile{{Path: "mine.lua"}}, Since: at, Until: at.Add(time.Hour)}
	n := shadow.Counts{Evaluated: 40, Differing: 2, Failed: 1}
	ended := c.Noted(n, "mine.lua:7: no", at.Add(time.Minute))
	if none.Running() || !c.Running() || ended.Running() || len(c.Files) != 1 || len(ended.Files) != 0 {
		t.Errorf("running %v %v %v, files %d %d", none.Running(), c.Running(), ended.Running(), len(c.Files), len(ended.Files))
	}
	if text := ended.Text(n); text != "mine 3f2a wanted something else in 2 of 40 decisions and failed in 1" {
		t.Errorf("it says %q", text)
	}
	r := ended.Report("epu-web", n, "mine.lua:7: no")
	if r.GetDiffering() != 2 || r.GetError() == "" || !r.GetEnded().AsTime().Equal(at.Add(time.Minute)) || c.Report("epu-web", n, "").GetEnded() != nil {
		t.Errorf("the report is %v", r)
	}
	d := shadow.Found{Ours: 2, Theirs: 2, TheirWhy: "half"}.Told(at)
	if !strings.Contains(d.GetTheirsBecause(), "the same number") || !strings.HasSuffix(d.GetTheirsBecause(), "half") {
		t.Errorf("a difference of the same number says %q", d.GetTheirsBecause())
	}
	for want, d := range map[string]epu.Decision{
		"": {}, "r": {Reasons: []epu.Reason{{Text: "r"}}}, "c": {Reasons: []epu.Reason{{Text: "r"}}, Clamps: []epu.Reason{{Text: "c"}}},
		"the policy failed, the last wish stands": {Error: "x"},
	} {
		if got := shadow.Why(d); got != want {
			t.Errorf("why is %q, want %q", got, want)
		}
	}
}
