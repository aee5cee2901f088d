package params

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a policy or its configuration.
type Problem struct {
	File string // of a policy; empty for a problem of the configuration
	Line int    // from 1; 0 when not known
	Key  string // of the configuration, such as "preserve_n"; empty for a problem of the source
	Text string // a sentence without a full stop
	When string // the situation in which it shows; empty where it always does
	Try  string // what to do about it; empty where the text says it
}

// String is the problem on one line, with file and line or the key in front.
func (p Problem) String() string {
	text := p.Words()
	switch {
	case p.Key != "":
		return p.Key + ": " + text
	case p.File == "":
		return text
	case p.Line > 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
	}
	return p.File + ": " + text
}

// Words are the text with the situation in which it shows.
func (p Problem) Words() string {
	if p.When == "" {
		return p.Text
	}
	return p.Text + " (when tried with: " + p.When + ")"
}

// Problems is every problem found, as an error.
type Problems []Problem

// Error is one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// DidYouMean ends a message about an unknown name with a suggestion, if there is one.
func DidYouMean(name string, known []string) string {
	if s := Nearest(name, known); s != "" {
		return "; did you mean '" + s + "'?"
	}
	return ""
}

// Nearest is the known name that a misspelt one most likely stands for, or "".
func Nearest(name string, known []string) string {
	limit := max(2, len(name)/3)
	if len(name) <= 3 { // two changes make any three letters of any others
		limit = 1
	}
	best, bestAt := "", limit+1
	for _, k := range known {
		d := editDistance(name, k, bestAt)
		if len(name) > 2 && strings.HasPrefix(k, name) {
			d = min(d, limit) // half a name is no typing mistake, but clear
		}
		if d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove or replace; it is not exact above limit.
func editDistance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			left, row[j+1] = row[j+1], min(left+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
