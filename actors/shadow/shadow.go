package shadow

import (
	"cmp"
	"fmt"
	"reflect"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Bounds of a shadow.
const (
	For      = 30 * time.Minute // unless the operator says otherwise
	ForMax   = 7 * 24 * time.Hour
	FilesMax = 192 << 10 // bytes of a candidate's sources, which stand in the pool's stream
)

// ForMaxText is ForMax for people.
func ForMaxText() string { return fmt.Sprintf("%s (%d days)", epu.Span(ForMax), ForMax/(24*time.Hour)) }

// Names of history events.
const (
	Difference = "shadow_difference" // the candidate wanted something else than the policy
	Failure    = "shadow_failed"
	End        = "shadow_ended"
)

// Candidate is a policy in the shadow of a pool's own, and its results. It is immutable.
type Candidate struct {
	Policy  string           `json:"policy"`
	Hash    string           `json:"hash"`
	Files   []epu.PolicyFile `json:"files,omitempty"` // while it goes on
	Changes map[string]any   `json:"changes,omitempty"`
	Unset   []string         `json:"unset,omitempty"` // of the pool's settings
	Whole   bool             `json:"whole,omitempty"` // Changes are in place of the pool's settings
	By      string           `json:"by"`
	Since   time.Time        `json:"since"`
	Until   time.Time        `json:"until"`
	Ended   time.Time        `json:"ended,omitzero"`
	Counts  Counts           `json:"counts"`
	Error   string           `json:"error,omitempty"` // the newest
}

// Counts sum up a candidate's decisions.
type Counts struct {
	Evaluated int `json:"evaluated"`
	Differing int `json:"differing,omitempty"`
	Failed    int `json:"failed,omitempty"`
}

// Running reports that there is a candidate and that it goes on.
func (c *Candidate) Running() bool { return c != nil && c.Ended.IsZero() }

// Noted is the candidate with its results so far. One that has ended keeps no sources.
func (c *Candidate) Noted(n Counts, fault string, ended time.Time) *Candidate {
	next := *c
	next.Counts, next.Error, next.Ended = n, fault, ended
	if !ended.IsZero() {
		next.Files = nil
	}
	return &next
}

// Text says in a line how a candidate does; n are its counts of now.
func (c *Candidate) Text(n Counts) string {
	text := fmt.Sprintf("%s %s wanted something else in %d of %d decisions", c.Policy, c.Hash[:min(4, len(c.Hash))], n.Differing, n.Evaluated)
	if n.Failed > 0 {
		text += fmt.Sprintf(" and failed in %d", n.Failed)
	}
	return text
}

// Report is what a candidate has done, without the differences.
func (c *Candidate) Report(pool epu.PoolID, n Counts, fault string) *msg.ShadowReport {
	out := &msg.ShadowReport{
		Pool: string(pool), Policy: c.Policy, Hash: c.Hash, By: c.By, Since: timestamppb.New(c.Since), Until: timestamppb.New(c.Until),
		Evaluated: int32(n.Evaluated), Differing: int32(n.Differing), Failed: int32(n.Failed), Error: fault,
	}
	if !c.Ended.IsZero() {
		out.Ended = timestamppb.New(c.Ended)
	}
	return out
}

// Differs reports that two decisions would lead to something else: their wishes after the guard rails, or what they
// ask for once. Reasons may differ.
func Differs(ours, theirs epu.Decision) bool {
	asked := func(d epu.Decision) []epu.Action {
		list := append([]epu.Action{}, d.Actions...)
		for i := range list {
			list[i].Reason, list[i].At = "", ""
		}
		return list
	}
	wish := func(w epu.Wish) epu.Wish { // with the defaults said
		w.Victims, w.Urgency = cmp.Or(w.Victims, epu.Newest), cmp.Or(w.Urgency, epu.UrgencyNormal)
		return w
	}
	return !reflect.DeepEqual(wish(ours.Wish), wish(theirs.Wish)) || !reflect.DeepEqual(asked(ours), asked(theirs))
}

// Why is the reason of a decision in a line.
func Why(d epu.Decision) string {
	list := d.Reasons
	if len(d.Clamps) > 0 {
		list = d.Clamps
	}
	switch {
	case d.Error != "":
		return "the policy failed, the last wish stands"
	case len(list) == 0:
		return ""
	}
	return list[0].Text
}

// Found is what the history keeps of a difference.
type Found struct {
	Policy   string         `json:"policy"`
	Hash     string         `json:"hash"`
	Decision epu.DecisionID `json:"decision"`
	Ours     int            `json:"ours"`
	Theirs   int            `json:"theirs"`
	OursWhy  string         `json:"ours_because"`
	TheirWhy string         `json:"theirs_because"`
}

// Told is a difference for people.
func (f Found) Told(at time.Time) *msg.ShadowDifference {
	if f.Ours == f.Theirs {
		f.TheirWhy = "the same number, but otherwise placed or chosen: " + f.TheirWhy
	}
	return &msg.ShadowDifference{
		Time: timestamppb.New(at), Decision: string(f.Decision), Ours: int32(f.Ours), Theirs: int32(f.Theirs),
		OursBecause: f.OursWhy, TheirsBecause: f.TheirWhy,
	}
}
