package cli

// Tone is how good a state is. A word always says it too; colour comes second.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Dim
)

// sgr has sequences of one length, because text/tabwriter counts them as if they were seen: with the
// same surplus in every cell of a column the columns still stand in line.
var sgr = [...]string{Plain: "\x1b[39m", Good: "\x1b[32m", Warn: "\x1b[33m", Bad: "\x1b[31m", Dim: "\x1b[90m"}

const sgrReset = "\x1b[0m"

// Paint colours text, or leaves it alone.
type Paint struct{ On bool }

// Tone gives text its colour.
func (p Paint) Tone(text string, t Tone) string {
	if !p.On || t == Plain {
		return text
	}
	return sgr[t] + text + sgrReset
}

// cell colours even plain text, so that all cells of a table have equal surplus.
func (p Paint) cell(text string, t Tone) string {
	if !p.On {
		return text
	}
	return sgr[t] + text + sgrReset
}

// The values of --color.
const (
	ColorAuto   = "auto"
	ColorAlways = "always"
	ColorNever  = "never"
)

// ColorFor decides for one stream: the flag, then NO_COLOR, then CLICOLOR_FORCE or FORCE_COLOR, then
// whether it is a terminal that can do it.
func ColorFor(flag string, getenv func(string) string, tty bool) Paint {
	forced := func(name string) bool { v := getenv(name); return v != "" && v != "0" }
	switch {
	case flag == ColorAlways:
		return Paint{On: true}
	case flag == ColorNever, getenv("NO_COLOR") != "":
		return Paint{}
	case forced("CLICOLOR_FORCE"), forced("FORCE_COLOR"):
		return Paint{On: true}
	}
	return Paint{On: tty && getenv("TERM") != "dumb"}
}
