package document

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: the form of documents is a contract. Method: golden lines.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&msg.Done{}, `{"schema":"epu/v1","type":"done","changed":false,"text":"","left":[]}`},
		{&msg.Done{Changed: true, Text: "5 workers"}, `{"schema":"epu/v1","type":"done","changed":true,"text":"5 workers","left":[]}`},
		{&msg.Enable{}, `{"schema":"epu/v1","type":"enable"}`},
		{&msg.NodeStatus{Epoch: 1}, `{"schema":"epu/v1","type":"node-status","name":"","version":"","roles":[],"store":"","installation":"","epoch":"1"}`},
	} {
		got, err := Encode(TypeOf(c.m), c.m)
		if err != nil || string(got) != c.want {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
	}
}

// Goal: nothing of an error is lost. Method: golden lines of a plain error, one of ours and a refusal.
func TestEncodeFailure(t *testing.T) {
	ours := &epu.Error{Kind: epu.NotFound, Op: "scale", On: "epu-web", Err: errors.New("no such pool"), Try: "epumgmt status"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("x"), `{"schema":"epu/v1","type":"error","error":{"kind":"internal","text":"x"}}`},
		{fmt.Errorf("again: %w", ours), `{"schema":"epu/v1","type":"error","error":{"kind":"not found","text":"again: scale epu-web: no such pool","op":"scale","on":"epu-web","why":"no such pool","try":"epumgmt status"}}`},
		{
			&msg.Refusal{Err: epu.E(epu.Invalid, "apply", "", errors.New("1 problem")), List: []*msg.Problem{{File: "a.yaml", Line: 3, Text: "no such key"}}},
			`{"schema":"epu/v1","type":"error","error":{"kind":"invalid","text":"apply: 1 problem","op":"apply","why":"1 problem","problems":[{"file":"a.yaml","line":3,"text":"no such key"}]}}`,
		},
	} {
		if got := string(EncodeFailure(FailureOf(c.err))); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
