package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies/params"
)

// advice is what to do next when an error does not say it itself.
func advice(code int) string {
	switch code {
	case CodeNotFound:
		return "epumgmt status"
	case CodeConflict:
		return "look at epumgmt status, then repeat the command"
	case CodeDenied:
		return "use the certificate of an operator, or ask one"
	case CodeTimedOut:
		return "repeat the command: doing it twice is harmless"
	}
	return "epumgmt doctor"
}

// report is an error for machines. Field names are a contract.
type report struct {
	Schema string      `json:"schema"`
	Type   string      `json:"type"`
	Error  reportError `json:"error"`
}

type reportError struct {
	Kind     string    `json:"kind"`
	ExitCode int       `json:"exit_code"`
	Text     string    `json:"text"` // one line for people
	Op       string    `json:"op,omitempty"`
	On       string    `json:"on,omitempty"`
	Why      string    `json:"why,omitempty"`
	Try      string    `json:"try,omitempty"`
	Problems []problem `json:"problems,omitempty"`
}

type problem struct {
	File string `json:"file,omitempty"`
	Line int32  `json:"line,omitempty"`
	Text string `json:"text"`
	Try  string `json:"try,omitempty"`
}

// PrintError writes an error for people: what failed on what and why, every problem of a refused file,
// and what to do next. For machines it writes the same as one line of JSON. An Exit says nothing.
func PrintError(w io.Writer, err error, form Form, paint Paint) {
	var exit Exit
	if err == nil || errors.As(err, &exit) {
		return
	}
	r := describe(err)
	if form.machine() {
		line, jerr := json.Marshal(report{Schema: Schema, Type: "error", Error: r})
		if jerr == nil {
			fmt.Fprintf(w, "%s\n", line)
			return
		}
	}
	fmt.Fprintf(w, "%s %s\n", paint.Tone("error:", Bad), Clean(r.Text))
	list := r.Problems
	if r.told() {
		list = nil
	}
	for _, p := range list {
		where := Clean(p.File)
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, p.Line)
		}
		if where != "" {
			where += ": "
		}
		fmt.Fprintf(w, "  %s%s\n", where, Clean(p.Text))
		if p.Try != "" {
			fmt.Fprintf(w, "    try: %s\n", Clean(p.Try))
		}
	}
	if r.Try != "" {
		fmt.Fprintf(w, "  try: %s\n", Clean(r.Try))
	}
}

// told reports that the reason already says every problem.
func (r reportError) told() bool {
	var texts []string
	for _, p := range r.Problems {
		if p.File != "" || p.Try != "" {
			return false
		}
		texts = append(texts, p.Text)
	}
	return r.Why == strings.Join(texts, "; ")
}

func describe(err error) reportError {
	r := reportError{Kind: epu.KindOf(err).String(), ExitCode: CodeOf(err), Text: err.Error(), Try: epu.TryOf(err)}
	var failure *Failure
	if errors.As(err, &failure) {
		r.Kind = failure.Kind
	}
	var e *epu.Error
	if errors.As(err, &e) {
		r.Op, r.On = e.Op, e.On
		if e.Err != nil {
			r.Why = withoutCall(e.Err.Error(), err)
		}
	}
	r.Text = withoutCall(r.Text, err)
	var refusal *msg.Refusal
	if errors.As(err, &refusal) {
		for _, p := range refusal.List {
			r.Problems = append(r.Problems, problem{File: p.GetFile(), Line: p.GetLine(), Text: p.GetText(), Try: p.GetTry()})
		}
	}
	var faults params.Problems
	if errors.As(err, &faults) {
		r.Text = strings.TrimSpace(r.Op + " " + r.On)
		r.Why = fmt.Sprintf("%d problems", len(faults))
		if len(faults) == 1 {
			r.Why = "it has a problem"
		}
		r.Text += ": " + r.Why
		for _, p := range faults {
			text := p.Words()
			if p.Key != "" {
				text = p.Key + ": " + text
			}
			r.Problems = append(r.Problems, problem{File: p.File, Line: int32(p.Line), Text: text, Try: p.Try})
		}
	}
	var bad *strictyaml.Error
	if errors.As(err, &bad) {
		what := "configuration"
		if len(r.Problems) > 0 {
			what = "configuration and files"
		}
		n := len(r.Problems) + len(bad.Problems)
		r.Op, r.Why = "read the "+what, fmt.Sprintf("%d problems", n)
		if n == 1 {
			r.Why = "it has a problem"
		}
		r.Text = r.Op + ": " + r.Why
		for _, p := range bad.Problems {
			text := p.Text
			if p.Key != "" {
				text = p.Key + ": " + text
			}
			r.Problems = append(r.Problems, problem{File: p.File, Line: int32(p.Line), Text: text, Try: p.Try})
		}
	}
	switch {
	case r.Try != "":
	case len(r.Problems) > 0:
		r.Try = "correct this, then repeat the command"
	case epu.KindOf(err) == epu.Invalid:
		r.Try = "epumgmt help"
	default:
		r.Try = advice(r.ExitCode)
	}
	return r
}

// withoutCall takes the name of the system call out of a text about a file, and the path where it stands
// in the text already.
func withoutCall(text string, err error) string {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return text
	}
	rest := strings.Replace(text, path.Error(), path.Err.Error(), 1)
	if strings.Contains(rest, path.Path) {
		return rest
	}
	return strings.Replace(text, path.Error(), path.Path+": "+path.Err.Error(), 1)
}

// Clean takes control characters out of text from outside, so that nobody can write to a terminal
// through a pool's description. Line ends become spaces.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
