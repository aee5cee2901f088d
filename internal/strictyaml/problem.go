package strictyaml

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
)

// problemsMax bounds what one run reports; the rest is counted.
const problemsMax = 500

// Problem is one thing that is wrong in a file, a flag or an environment variable.
type Problem struct {
	File string `json:"file,omitempty"` // or the flag or environment variable
	Line int    `json:"line,omitempty"` // from 1; 0 when there are no lines
	Key  string `json:"key,omitempty"`  // dotted, such as limits.max or placement[0].site
	Text string `json:"text"`           // what is wrong, without a full stop
	Try  string `json:"try,omitempty"`  // what to do about it
}

// Where is "file:line", or as much of it as is known.
func (p Problem) Where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// String is the problem in one line, without the suggestion.
func (p Problem) String() string {
	var b strings.Builder
	for _, part := range []string{p.Where(), p.Key} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	return b.String() + p.Text
}

// Error carries every problem of a run. Its kind is epu.Invalid.
type Error struct {
	Problems []Problem
}

// NewError makes an error of problems, or nil when there are none.
func NewError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Problems: slices.Clone(problems)}
}

// Error is one line per problem, each followed by its suggestion.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if p.Try != "" {
			b.WriteString("\n  try: " + p.Try)
		}
	}
	return b.String()
}

// Unwrap gives the error its kind.
func (e *Error) Unwrap() error {
	return epu.E(epu.Invalid, "read configuration", "", errors.New(epu.Plural(len(e.Problems), "problem")))
}

// Log collects problems. Its zero value is ready to use.
type Log struct {
	problems []Problem
	seen     map[Problem]bool
	dropped  int
}

// Add records a problem; a repeated one counts once.
func (l *Log) Add(p Problem) {
	if l.seen[p] {
		return
	}
	if len(l.problems) >= problemsMax {
		l.dropped++
		return
	}
	if l.seen == nil {
		l.seen = map[Problem]bool{}
	}
	l.seen[p] = true
	l.problems = append(l.problems, p)
}

// Len is the number of problems so far.
func (l *Log) Len() int { return len(l.problems) + l.dropped }

// Sorted lists the problems by file, in the order given, and by line. Files that the order does not
// name come last.
func (l *Log) Sorted(files ...string) []Problem {
	out := Sort(l.problems, files...)
	if l.dropped > 0 {
		out = append(out, Problem{Text: fmt.Sprintf("%d more problems", l.dropped), Try: "mend these first"})
	}
	return out
}

// Sort gives problems in the order of Log.Sorted.
func Sort(problems []Problem, files ...string) []Problem {
	rank := func(file string) int {
		if i := slices.Index(files, file); i >= 0 {
			return i
		}
		return len(files)
	}
	out := slices.Clone(problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		if c := rank(a.File) - rank(b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return out
}
