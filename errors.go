package epu

import (
	"errors"
	"strings"
)

// Kind classifies an error for whoever must act on it. Retry is decided by kind alone.
type Kind int

// The kinds of errors.
const (
	Internal       Kind = iota // a fault in EPU, or nothing better is known
	NotFound                   // the subject does not exist
	Conflict                   // the world moved: a revision, fence, token or plan no longer fits
	Capacity                   // the cloud has no room now
	Quota                      // an account limit was reached
	Throttled                  // too many calls; nothing was done
	Denied                     // credentials or permissions
	Invalid                    // the request can never succeed as it is
	Transient                  // failed for a passing reason; nothing was done
	UnknownOutcome             // may or may not have been done: repeat with the same token, or look
	Unavailable                // a store or node can't be reached now
)

var kindWords = [...]string{
	"internal", "not found", "conflict", "capacity", "quota", "throttled", "denied", "invalid",
	"transient", "unknown outcome", "unavailable",
}

// String is the kind's word.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindWords) {
		return "internal"
	}
	return kindWords[k]
}

// Retryable reports that repeating the same request later may succeed.
func (k Kind) Retryable() bool {
	switch k {
	case Capacity, Quota, Throttled, Transient, UnknownOutcome, Unavailable:
		return true
	}
	return false
}

// Error is an error that callers act on and operators read. Its text has up to four parts: what
// failed, on what, why, and what to do next.
type Error struct {
	Kind Kind
	Op   string // what was tried, such as "launch"
	On   string // the subject, such as "epu-web-1-7 at local"
	Err  error  // why; may be nil
	Try  string // what to do next; may be empty
}

// Error is one line without the advice.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.On != "" {
		b.WriteString(" " + e.On)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString(e.Kind.String())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an error of a kind.
func E(kind Kind, op, on string, err error) *Error {
	return &Error{Kind: kind, Op: op, On: on, Err: err}
}

// KindOf finds the kind of an error; one that has none is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// TryOf finds the advice in an error, or "".
func TryOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Try != "" {
			return e.Try
		}
		err = e.Err
	}
	return ""
}
