package params

import (
	"fmt"
	"strings"

	"github.com/nimbus-epu/epu/policies/spelling"
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

// Root is the parameter that a key is or lies within: lines of lines[1].cron.
func Root(key string) string {
	if i := strings.IndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return key
}

// respell gives problems the names under which an operator gave the parameters.
func respell(problems []Problem, given map[string]string) {
	for i, p := range problems {
		root := Root(p.Key)
		if from, ok := given[root]; ok {
			problems[i].Key = from + p.Key[len(root):]
		}
	}
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
func Nearest(name string, known []string) string { return spelling.Nearest(name, known) }
