package msg

import (
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
)

// Refusal is an error that names every problem of a refused file or configuration. The relay carries
// the list to the client as Fault.problems, and its client makes a Refusal again.
type Refusal struct {
	Err  *epu.Error // kind, subject and advice; never nil
	List []*Problem // all of them, in the order of files and lines
}

// Error is the error's line without the list.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap gives the error without the list, so that its kind and advice are found.
func (r *Refusal) Unwrap() error { return r.Err }

// NameOf is the name of a command or question in the protocol.
func NameOf(body any) string {
	if m, ok := body.(proto.Message); ok {
		return string(m.ProtoReflect().Descriptor().Name())
	}
	return "an unknown message"
}
