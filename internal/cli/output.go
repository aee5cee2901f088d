package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Form is how an answer is printed.
type Form string

// The forms.
const (
	FormTable Form = "table"
	FormWide  Form = "wide"
	FormJSON  Form = "json"
	FormJSONL Form = "jsonl"
	FormYAML  Form = "yaml"
	FormName  Form = "name"
)

// Forms lists every form.
func Forms() []string {
	return []string{string(FormTable), string(FormWide), string(FormJSON), string(FormJSONL), string(FormYAML), string(FormName)}
}

func (f Form) machine() bool { return f == FormJSON || f == FormJSONL || f == FormYAML }

// Line is text for people in pieces, each with its own tone.
type Line []Cell

// L makes a plain line.
func L(format string, args ...any) Line { return Line{Text(fmt.Sprintf(format, args...))} }

// View is an answer as data. A command makes one and never prints.
type View struct {
	Type   string  // what it is, in machine output: "status"
	Data   any     // the whole answer: a protobuf message, or a struct with json tags
	Tables []Table // for people; the first one has the things the answer is about
	Lines  []Line  // for people, below the tables
	Hints  []Line  // for people in a hurry; left out by -q and --no-headers
	Empty  string  // for people, on stderr, when there are no rows
}

// Settings are the flags of output.
type Settings struct {
	Form      Form
	Quiet     bool
	NoHeaders bool
	Columns   []string
	Color     string
}

// Check refuses what can't be printed.
func (s *Settings) Check() error {
	if !slices.Contains(Forms(), string(s.Form)) {
		return Usage("-o "+strings.Join(Forms(), "|"), "unknown output form %q", string(s.Form))
	}
	if !slices.Contains([]string{ColorAuto, ColorAlways, ColorNever}, s.Color) {
		return Usage("--color auto|always|never", "unknown colour choice %q", s.Color)
	}
	if s.Columns != nil && s.Form != FormTable && s.Form != FormWide {
		return Usage("leave --columns out, or use -o table", "--columns chooses columns of tables, not of %s", s.Form)
	}
	for i, c := range s.Columns {
		s.Columns[i] = columnKey(strings.TrimSpace(c))
	}
	return nil
}

// Printer writes answers in the form that was asked for.
type Printer struct {
	Settings Settings
	Out      io.Writer
	Err      io.Writer
	Paint    Paint  // of Out
	ErrPaint Paint  // of Err
	Width    int    // 0 = unlimited, as in a pipe
	Ellipsis string // "…" where the locale can show it
}

// NewPrinter decides on colour, width and characters.
func NewPrinter(s Settings, streams IO, e Env) *Printer {
	p := &Printer{
		Settings: s, Out: streams.Out, Err: streams.Err, Ellipsis: "...",
		Paint: ColorFor(s.Color, e.Getenv, e.StdoutTTY), ErrPaint: ColorFor(s.Color, e.Getenv, e.StderrTTY),
	}
	if e.StdoutTTY {
		p.Width = e.Width
	}
	if utf8Locale(e.Getenv) {
		p.Ellipsis = "…"
	}
	return p
}

func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// Note writes a line of progress, a hint or a warning to stderr. -q silences it.
func (p *Printer) Note(format string, args ...any) {
	if !p.Settings.Quiet {
		fmt.Fprintf(p.Err, "%s\n", Clean(fmt.Sprintf(format, args...)))
	}
}

// Print writes an answer.
func (p *Printer) Print(v View) error {
	switch p.Settings.Form {
	case FormJSON:
		return p.json(v)
	case FormJSONL:
		return p.jsonl(v)
	case FormYAML:
		return p.yaml(v)
	case FormName:
		return p.names(v)
	}
	return p.people(v)
}

func (p *Printer) names(v View) error {
	if len(v.Tables) == 0 {
		return Usage("-o json", "this answer has no names; choose another form than name")
	}
	for _, r := range v.Tables[0].Rows {
		if _, err := fmt.Fprintln(p.Out, Clean(r.Name)); err != nil {
			return err
		}
	}
	return nil
}

// checkColumns refuses columns the first table does not have.
func (p *Printer) checkColumns(t Table) error {
	var known []string
	for _, c := range t.Columns {
		known = append(known, columnKey(c.Name))
	}
	for _, c := range p.Settings.Columns {
		if !slices.Contains(known, c) {
			return Usage("--columns "+strings.Join(known, ","), "unknown column %q", c)
		}
	}
	return nil
}

func (p *Printer) layout() layout {
	return layout{
		paint: p.Paint, noHeaders: p.Settings.NoHeaders, wide: p.Settings.Form == FormWide,
		columns: p.Settings.Columns, width: p.Width, ellipsis: p.Ellipsis,
	}
}

// people prints tables and lines. When columns were chosen, the first table is the answer.
func (p *Printer) people(v View) error {
	tables, lines, hints := v.Tables, v.Lines, v.Hints
	if len(tables) > 0 {
		if err := p.checkColumns(tables[0]); err != nil {
			return err
		}
		if len(tables[0].Rows) == 0 && v.Empty != "" {
			p.Note("%s", v.Empty)
		}
	}
	if p.Settings.Columns != nil {
		tables, lines, hints = tables[:min(1, len(tables))], nil, nil
	}
	if p.Settings.Quiet || p.Settings.NoHeaders {
		hints = nil
	}
	printed := false
	for i, t := range tables {
		if len(t.Rows) == 0 {
			continue
		}
		if i > 0 && printed {
			fmt.Fprintln(p.Out)
		}
		printed = true
		if err := t.write(p.Out, p.layout()); err != nil {
			return err
		}
	}
	if printed && len(lines)+len(hints) > 0 {
		fmt.Fprintln(p.Out)
	}
	for _, line := range slices.Concat(lines, hints) {
		if err := p.line(line); err != nil {
			return err
		}
	}
	return nil
}

func (p *Printer) line(l Line) error {
	var b strings.Builder
	for _, c := range l {
		b.WriteString(p.Paint.Tone(Clean(c.Text), c.Tone))
	}
	_, err := fmt.Fprintln(p.Out, strings.TrimRight(b.String(), " "))
	return err
}
