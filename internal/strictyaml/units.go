package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nimbus-epu/epu"
)

// Fault says why a text is not the value that was wanted, and what to write instead.
type Fault struct {
	Text string
	Try  string
}

// ParseBool reads true or false, and nothing else: yes and on mean different things to different people.
func ParseBool(s string) (bool, *Fault) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, &Fault{Text: fmt.Sprintf("%q is neither true nor false", s), Try: "true or false"}
}

// ParseInt reads a whole number in decimal form between low and high.
func ParseInt(s string, low, high int64) (int64, *Fault) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, &Fault{Text: fmt.Sprintf("%q is not a whole number", s), Try: fmt.Sprintf("a number from %d to %d", low, high)}
	}
	if n < low || n > high {
		return 0, &Fault{Text: fmt.Sprintf("%d is out of range", n), Try: fmt.Sprintf("a number from %d to %d", low, high)}
	}
	return n, nil
}

// ParseFloat reads a number between low and high.
func ParseFloat(s string, low, high float64) (float64, *Fault) {
	try := fmt.Sprintf("a number from %g to %g", low, high)
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) {
		return 0, &Fault{Text: fmt.Sprintf("%q is not a number", s), Try: try}
	}
	if n < low || n > high {
		return 0, &Fault{Text: fmt.Sprintf("%g is out of range", n), Try: try}
	}
	return n, nil
}

// ParseDuration reads a duration with its unit, such as 90s, 5m or 1h30m, between low and high. A bare
// number is refused: some readers take it for seconds, others for nanoseconds.
func ParseDuration(s string, low, high time.Duration) (time.Duration, *Fault) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, &Fault{Text: fmt.Sprintf("%q has no unit", s), Try: fmt.Sprintf("%ss (or ms, m, h)", s)}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if days, found := strings.CutSuffix(s, "d"); found {
			if n, err := strconv.ParseInt(days, 10, 32); err == nil {
				return 0, &Fault{Text: fmt.Sprintf("%q: days are not a unit here", s), Try: fmt.Sprintf("%dh", n*24)}
			}
		}
		return 0, &Fault{Text: fmt.Sprintf("%q is not a duration", s), Try: "a number with its unit: 500ms, 10s, 5m, 1h30m"}
	}
	if d < low || d > high {
		return 0, &Fault{Text: fmt.Sprintf("%s is out of range", s), Try: fmt.Sprintf("from %s to %s", FormatDuration(low), FormatDuration(high))}
	}
	return d, nil
}

// FormatDuration writes a duration as people do, and as ParseDuration reads it.
func FormatDuration(d time.Duration) string { return epu.Span(d) }

// byteUnits are the units of sizes, biggest first; the last one is the plain byte.
var byteUnits = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseBytes reads a size with its binary unit, such as 512MiB or 1GiB, between low and high bytes.
func ParseBytes(s string, low, high int64) (int64, *Fault) {
	for _, u := range byteUnits {
		digits, found := strings.CutSuffix(s, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 {
			break
		}
		if n > high/u.size || n*u.size < low {
			return 0, &Fault{Text: s + " is out of range", Try: fmt.Sprintf("from %s to %s", FormatBytes(low), FormatBytes(high))}
		}
		return n * u.size, nil
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return 0, &Fault{Text: fmt.Sprintf("%q has no unit", s), Try: s + "MiB (or B, KiB, GiB, TiB)"}
	}
	return 0, &Fault{Text: fmt.Sprintf("%q is not a size", s), Try: "a whole number with its unit: 64MiB, 1GiB"}
}

// FormatBytes writes a size in the biggest unit that holds it exactly.
func FormatBytes(n int64) string {
	for _, u := range byteUnits {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return "0B"
}

// ParseWord reads one of a few words.
func ParseWord(s string, words []string) (string, *Fault) {
	for _, w := range words {
		if s == w {
			return s, nil
		}
	}
	return "", &Fault{Text: fmt.Sprintf("%q is not one of %s", s, strings.Join(words, ", ")), Try: didYouMeanOnly(s, words)}
}

// didYouMeanOnly suggests the nearest word; the list of all is in the fault's text already.
func didYouMeanOnly(s string, words []string) string {
	if c := Closest(s, words); c != "" {
		return "did you mean " + c + "?"
	}
	return "write " + words[0]
}

// ParseText accepts any text that can stand in a name, a path or an environment variable: valid UTF-8
// without control characters other than tab and line feed.
func ParseText(s string) (string, *Fault) {
	if !utf8.ValidString(s) {
		return "", &Fault{Text: "not valid UTF-8"}
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return "", &Fault{Text: fmt.Sprintf("the control character %U can't stand here", r)}
		}
	}
	return s, nil
}
