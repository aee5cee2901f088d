package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/policies/params"
)

// Where a version of a policy comes from that is not in force because something is wrong with it.
const (
	FromVersions = "the registry" // one that is kept, and can't be loaded by an engine
	FromFolder   = "the folder"   // a changed file
)

// forgetFaults is when a fault of a kept version is over that no engine has met again: whoever met it has
// another version by now, or is gone. Engines try at each tick.
const forgetFaults = 10 * time.Minute

// subject is what a fault is about.
type subject struct{ name, from string }

// fault is why a policy's newest version is not in force.
type fault struct {
	text        string
	since, last time.Time
}

// Broken notes why a policy's newest version is not in force; an empty text, that nothing is wrong with what
// comes from there. It reports whether that is news.
func (s *Shelf) Broken(from, name, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, now := subject{name, from}, s.opts.Now()
	old, was := s.faults[at]
	if text == "" {
		delete(s.faults, at)
		return was
	}
	f := fault{text: text, since: now, last: now}
	if was {
		f.since = old.since
	}
	s.faults[at] = f
	return old.text != text
}

// faultText is what is wrong in one line, with file and line where they are known.
func faultText(err error) string {
	var refused *msg.Refusal
	var own params.Problems
	text, more := err.Error(), 0
	switch {
	case errors.As(err, &refused) && len(refused.List) > 0:
		p := refused.List[0]
		text, more = p.GetText(), len(refused.List)-1
		switch {
		case p.GetLine() > 0:
			text = fmt.Sprintf("%s:%d: %s", p.GetFile(), p.GetLine(), text)
		case p.GetFile() != "": // such as a state that it hides, which stands in no single line
			text = p.GetFile() + ": " + text
		}
	case errors.As(err, &own) && len(own) > 0:
		text, more = own[0].String(), len(own)-1
	}
	if more > 0 {
		text += ", and more: epumgmt policy check lists all"
	}
	return text
}

// Alerts tells of the policies whose newest version is not in force.
func (s *Shelf) Alerts() (out []*msg.Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	order := func(a, b subject) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.from, b.from)) }
	for _, at := range slices.SortedFunc(maps.Keys(s.faults), order) {
		f := s.faults[at]
		if at.from == FromVersions && s.opts.Now().Sub(f.last) > forgetFaults {
			delete(s.faults, at)
			continue
		}
		a := &msg.Alert{
			Code: string(msg.AlertPolicyBroken), Severity: "error", Subject: at.name, Since: timestamppb.New(f.since),
			Text: "its version can't be used, the last good one goes on: " + f.text,
			Try:  "epumgmt policy rollback " + at.name + ", or apply a version that is mended",
		}
		if at.from == FromFolder {
			a.Text = "its file is not in force, the last good version goes on: " + f.text
			if !s.good[at.name] {
				a.Text = "its file can't be used and no version of it is in force, its pools keep their last wish: " + f.text
			}
			a.Try = "mend the file: it is read again when it changes"
		}
		out = append(out, a)
	}
	return out
}
