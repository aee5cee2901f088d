package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nimbus-epu/epu"
)

// The exit codes of all our programs. A code that stands not here means failure. 2 is never used on
// purpose, because a crashed Go program exits with it.
const (
	CodeDone        = 0
	CodeFailed      = 1
	CodeAct         = 3   // succeeded, with something to act on: a plan has changes, the doctor warns
	CodeUsage       = 4   // the command line, or a file or value it names, is wrong; nothing was changed
	CodeUnreachable = 10  // no node answers, or something the program needs can't be reached or written
	CodeNotFound    = 11  // the subject does not exist
	CodeConflict    = 12  // the world moved, or something holds a lock
	CodeDenied      = 13  // credentials or permissions
	CodeTimedOut    = 14  // what was waited for did not come in time
	CodeUnhealthy   = 20  // a pool is not converged or not healthy (status --check)
	CodeInterrupted = 130 // Ctrl-C
)

// Failure is an error with an exit code of its own and a word for it in machine output.
type Failure struct {
	Code int
	Kind string
	Err  error
}

// Error is the cause's text.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Usage says that the command line is wrong, on what, why, and what to write instead.
func Usage(try, format string, args ...any) error {
	err := &epu.Error{Kind: epu.Invalid, Err: fmt.Errorf(format, args...), Try: try}
	return &Failure{Code: CodeUsage, Kind: "usage", Err: err}
}

// TimedOut says what was waited for in vain.
func TimedOut(op, on string, why error, try string) error {
	err := &epu.Error{Kind: epu.Unavailable, Op: op, On: on, Err: why, Try: try}
	return &Failure{Code: CodeTimedOut, Kind: "timed out", Err: err}
}

// Exit ends a program with a code and no message, because the answer on stdout says it all.
type Exit struct{ Code int }

// Error is for logs; programs print nothing for an Exit.
func (e Exit) Error() string { return fmt.Sprintf("exit %d", e.Code) }

// CodeOf is the exit code for what a command returned.
func CodeOf(err error) int {
	var exit Exit
	var failure *Failure
	switch {
	case err == nil:
		return CodeDone
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &failure):
		return failure.Code
	}
	switch epu.KindOf(err) {
	case epu.Invalid:
		return CodeUsage
	case epu.Unavailable:
		return CodeUnreachable
	case epu.NotFound:
		return CodeNotFound
	case epu.Conflict:
		return CodeConflict
	case epu.Denied:
		return CodeDenied
	case epu.UnknownOutcome:
		return CodeTimedOut
	}
	return CodeFailed
}

// CodeTable is every exit code with its meaning, as rows of a Markdown table.
func CodeTable() string {
	var b strings.Builder
	for _, c := range []struct {
		code    int
		meaning string
	}{
		{CodeDone, "done"},
		{CodeFailed, "failed"},
		{CodeAct, "succeeded, with something to act on: a plan has changes, the doctor warns, something is left"},
		{CodeUsage, "usage: the command line, or a file or value it names, is wrong; nothing was changed"},
		{CodeUnreachable, "no node answers, or something the program needs can't be reached or written"},
		{CodeNotFound, "not found"},
		{CodeConflict, "conflict: the world moved, or something holds a lock"},
		{CodeDenied, "denied"},
		{CodeTimedOut, "timed out waiting"},
		{CodeUnhealthy, "a pool is not converged or not healthy (`status --check`)"},
		{CodeInterrupted, "interrupted"},
	} {
		fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.meaning)
	}
	return b.String()
}
