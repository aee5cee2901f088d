package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Spread is a length of time that differs from case to case. The zero value is always 0.
type Spread struct {
	kind string // "" = always a
	a, b time.Duration
}

// Always is a spread that never differs.
func Always(d time.Duration) Spread { return Spread{a: d} }

const spreadForms = "90s, uniform(60s, 2m), exp(5m) or normal(90s, 10s)"

// ParseSpread reads a spread: a plain duration, uniform(least, most), exp(mean) or normal(mean, deviation).
func ParseSpread(text string) (Spread, error) {
	name, args, err := call(text)
	if err != nil {
		return Spread{}, err
	}
	bad := fmt.Errorf("%q is no length of time: write %s", text, spreadForms)
	var ds []time.Duration
	for _, a := range args {
		d, err := time.ParseDuration(a)
		if err != nil || d < 0 {
			return Spread{}, bad
		}
		ds = append(ds, d)
	}
	switch {
	case name == "" && len(ds) == 1:
		return Spread{a: ds[0]}, nil
	case name == "exp" && len(ds) == 1:
		return Spread{kind: name, a: ds[0]}, nil
	case (name == "uniform" || name == "normal") && len(ds) == 2 && (name == "normal" || ds[0] <= ds[1]):
		return Spread{kind: name, a: ds[0], b: ds[1]}, nil
	}
	return Spread{}, bad
}

// call splits name(arg, arg); a text without parentheses is one argument of no name.
func call(text string) (name string, args []string, err error) {
	text = strings.TrimSpace(text)
	name, rest, found := strings.Cut(text, "(")
	if !found {
		return "", []string{text}, nil
	}
	rest, closed := strings.CutSuffix(rest, ")")
	if !closed || strings.ContainsAny(rest, "()") {
		return "", nil, fmt.Errorf("%q: a closing parenthesis is missing or one is too many", text)
	}
	for a := range strings.SplitSeq(rest, ",") {
		args = append(args, strings.TrimSpace(a))
	}
	return strings.TrimSpace(name), args, nil
}

// Draw gives one case.
func (s Spread) Draw(rng *rand.Rand) time.Duration {
	var v float64
	switch s.kind {
	case "uniform":
		return s.a + time.Duration(rng.Float64()*float64(s.b-s.a))
	case "exp":
		v = rng.ExpFloat64() * float64(s.a)
	case "normal":
		v = max(0, rng.NormFloat64()*float64(s.b)+float64(s.a))
	default:
		return s.a
	}
	return time.Duration(min(v, math.MaxInt64/4))
}

// Mean is the average of many cases.
func (s Spread) Mean() time.Duration {
	if s.kind == "uniform" {
		return (s.a + s.b) / 2
	}
	return s.a
}

// String is the spread as ParseSpread reads it.
func (s Spread) String() string {
	switch s.kind {
	case "":
		return s.a.String()
	case "exp":
		return fmt.Sprintf("exp(%s)", s.a)
	}
	return fmt.Sprintf("%s(%s, %s)", s.kind, s.a, s.b)
}
