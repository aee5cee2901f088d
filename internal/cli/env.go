package cli

import (
	"io"
	"os"
	"os/user"
	"runtime/debug"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/term"
)

// Env is everything a program asks of its surroundings, so that tests can give it other ones.
type Env struct {
	Getenv    func(string) string
	Dir       string // the current folder
	User      string // for the audit record
	Now       func() time.Time
	After     func(time.Duration) <-chan time.Time
	NewID     func() string  // makes command IDs
	Guess     time.Duration  // for questions nobody asked for, as completion does
	Zone      *time.Location // in which clock times are shown
	StdinTTY  bool
	StdoutTTY bool
	StderrTTY bool
	Width     int    // columns of the terminal; 0 = unknown or none
	Version   string // of the program
	Commit    string
}

// guessTimeout is short: a shell that hangs on a key is worse than one that completes nothing.
const guessTimeout = 300 * time.Millisecond

// SystemEnv is the process's real surroundings. It is the only place that asks the operating system
// for them.
func SystemEnv(stdin, stdout, stderr *os.File) Env {
	e := Env{
		Getenv: os.Getenv, Now: time.Now, After: time.After, Zone: time.Local,
		NewID:    func() string { return ulid.Make().String() },
		Guess:    guessTimeout,
		StdinTTY: isTerminal(stdin), StdoutTTY: isTerminal(stdout), StderrTTY: isTerminal(stderr),
	}
	e.Dir, _ = os.Getwd()
	if u, err := user.Current(); err == nil {
		e.User = u.Username
	}
	if w, _, err := term.GetSize(int(stdout.Fd())); err == nil {
		e.Width = w
	}
	e.Version, e.Commit = buildInfo()
	return e
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// buildInfo is what the Go tool recorded; a build without version control has neither.
func buildInfo() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return info.Main.Version, commit
}

// IO is a program's three streams.
type IO struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}
