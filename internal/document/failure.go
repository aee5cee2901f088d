package document

import (
	"encoding/json"
	"errors"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Failure is an error for machines. Field names are a contract, the same as of the error that a command
// line prints; that one also has its exit code.
type Failure struct {
	Kind     string    `json:"kind"` // epu.Kind's word
	Text     string    `json:"text"` // one line for people
	Op       string    `json:"op,omitempty"`
	On       string    `json:"on,omitempty"`
	Why      string    `json:"why,omitempty"`
	Try      string    `json:"try,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one finding in a refused file or configuration.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int32  `json:"line,omitempty"`
	Text string `json:"text"`
	Try  string `json:"try,omitempty"`
}

// FailureOf describes an error.
func FailureOf(err error) Failure {
	f := Failure{Kind: epu.KindOf(err).String(), Text: err.Error(), Try: epu.TryOf(err)}
	var e *epu.Error
	if errors.As(err, &e) {
		f.Op, f.On = e.Op, e.On
		if e.Err != nil {
			f.Why = e.Err.Error()
		}
	}
	var refusal *msg.Refusal
	if errors.As(err, &refusal) {
		for _, p := range refusal.List {
			f.Problems = append(f.Problems, Problem{File: p.GetFile(), Line: p.GetLine(), Text: p.GetText(), Try: p.GetTry()})
		}
	}
	return f
}

// EncodeFailure writes an error as a document of the type "error".
func EncodeFailure(f Failure) []byte {
	doc, err := json.Marshal(struct {
		Schema string  `json:"schema"`
		Type   string  `json:"type"`
		Error  Failure `json:"error"`
	}{Schema, "error", f})
	if err != nil {
		panic("a failure is plain text and always has a JSON form: " + err.Error())
	}
	return doc
}
