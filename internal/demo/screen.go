//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nimbus-epu/epu/internal/cli"
)

// screen shows the story. Nobody reading, it is one line for each fact and each thing done.
type screen struct {
	out   io.Writer
	now   func() time.Time
	began time.Time
	last  time.Time
	facts int
	auto  bool // nobody presses keys
	color bool
}

func newScreen(env cli.Env, out io.Writer) screen {
	auto := env.Getenv("CI") == "true" || env.Getenv("DEMO") == "auto" || !env.StdinTTY || !env.StdoutTTY
	return screen{
		out: out, now: env.Now, began: env.Now(), last: env.Now(), auto: auto,
		color: !auto && env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb",
	}
}

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// The colours: bold, faint, green, red.
const (
	bold  = "1"
	faint = "2"
	green = "32"
	red   = "1;31"
)

// line is one thing with its time, and the time since the line before.
func (s *screen) line(color, mark, text string) {
	now := s.now()
	fmt.Fprintf(s.out, "%s  %s  %s  %s\n", s.paint(faint, now.Format("15:04:05.0")),
		s.paint(faint, fmt.Sprintf("%+5.1fs", now.Sub(s.last).Seconds())), s.paint(color, mark), text)
	s.last = now
}

func (s *screen) ok(format string, args ...any) {
	s.facts++
	s.line(green, "ok ", fmt.Sprintf(format, args...))
}

// check shows a fact that is so; one that is not is an error.
func (s *screen) check(fact string, so bool, want, saw string) error {
	if !so {
		return failure{fact, want, saw}
	}
	s.ok("%s", fact)
	return nil
}

func (s *screen) bad(err error) { s.line(red, "BAD", err.Error()) }

// say shows what is done, as one would type it.
func (s *screen) say(format string, args ...any) {
	s.line(bold, "$  ", s.paint(bold, fmt.Sprintf(format, args...)))
}

// plain takes the colours out of a text.
func plain(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(text, "\x1b[") {
		if i > 0 {
			_, part, _ = strings.Cut(part, "m")
		}
		b.WriteString(part)
	}
	return b.String()
}

const indent = "    "

// output shows what a command printed, to a reader.
func (s *screen) output(text string) {
	if s.auto {
		return
	}
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(s.out, indent, line)
	}
}

func (s *screen) title(n int, title, about string) {
	if s.auto {
		return
	}
	fmt.Fprintf(s.out, "\n%s\n%s\n\n", s.paint(bold, fmt.Sprintf("%d. %s", n, title)), about)
	s.last = s.now()
}

func (s *screen) prompt() {
	fmt.Fprintf(s.out, "\n%s", s.paint(faint, "Enter goes on, Ctrl-C ends and clears away: "))
}

func (s *screen) bye(hint string) {
	if s.auto {
		fmt.Fprintf(s.out, "demo: %d facts, all as they should be, in %s\n", s.facts, seconds(s.now().Sub(s.began)))
		return
	}
	fmt.Fprintf(s.out, "\n%d facts, all as they should be. %s\n", s.facts, hint)
}
