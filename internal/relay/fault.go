package relay

import (
	"context"
	"errors"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// FaultOf puts an error on the wire. The kind, the four parts of an epu.Error and the problems of a
// msg.Refusal survive; of any other error its text does.
func FaultOf(err error) *msg.Fault {
	if err == nil {
		return nil
	}
	f := &msg.Fault{Kind: kindOf(err).String(), Try: epu.TryOf(err)}
	var refusal *msg.Refusal
	if errors.As(err, &refusal) {
		f.Problems = refusal.List
	}
	outer := outermost(err)
	if outer == nil {
		f.Why = err.Error()
		return f
	}
	f.Op, f.On = outer.Op, outer.On
	if outer.Err != nil {
		f.Why = outer.Err.Error()
	}
	return f
}

// outermost gives err as an epu.Error if nothing but a Refusal stands around it. An error wrapped with
// fmt.Errorf keeps its whole text as the reason instead, or the wrapping would be lost.
func outermost(err error) *epu.Error {
	switch e := err.(type) {
	case *epu.Error:
		return e
	case *msg.Refusal:
		return e.Err
	}
	return nil
}

// kindOf is epu.KindOf with the context's own errors understood: a command that was cut short may or
// may not have been done.
func kindOf(err error) epu.Kind {
	var e *epu.Error
	if !errors.As(err, &e) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return epu.UnknownOutcome
	}
	return epu.KindOf(err)
}

// ErrorOf makes the error that FaultOf put on the wire. A kind this program does not know is Internal.
func ErrorOf(f *msg.Fault) error {
	if f == nil {
		return nil
	}
	e := &epu.Error{Kind: parseKind(f.GetKind()), Op: f.GetOp(), On: f.GetOn(), Try: f.GetTry()}
	if f.GetWhy() != "" {
		e.Err = errors.New(f.GetWhy())
	}
	if len(f.GetProblems()) > 0 {
		return &msg.Refusal{Err: e, List: f.GetProblems()}
	}
	return e
}

// kinds lists every kind of error: String gives "internal" for the first one and for what lies beyond.
func kinds() []epu.Kind {
	all := []epu.Kind{epu.Internal}
	for k := epu.Internal + 1; k.String() != epu.Internal.String(); k++ {
		all = append(all, k)
	}
	return all
}

func parseKind(word string) epu.Kind {
	for _, k := range kinds() {
		if k.String() == word {
			return k
		}
	}
	return epu.Internal
}
