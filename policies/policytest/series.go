package policytest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nimbus-epu/epu/actors/sensing"
)

// samplesMax bounds one series, so that 0x1000000000 is a mistake and not a full memory.
const samplesMax = 100_000

// sample is one place of a series: a value, a reading of unknown value, or nothing.
type sample struct {
	sensing.Point
	none bool
}

// String is the sample as the notation writes it.
func (s sample) String() string {
	switch {
	case s.none:
		return "_"
	case s.Unknown:
		return "unknown"
	}
	return strconv.FormatFloat(s.Value, 'f', -1, 64)
}

// parseSeries reads the notation of a series: words between spaces, each of them a number, _ (no sample)
// or unknown (a reading without a value), alone or repeated. AxN is A and then N repeats; A+BxN is A and
// N steps of B, A-BxN the same downwards.
func parseSeries(text string) ([]sample, error) {
	var out []sample
	for _, word := range strings.Fields(text) {
		first, step, n, err := parseWord(word)
		if err != nil {
			return nil, err
		}
		if len(out)+n+1 > samplesMax {
			return nil, fmt.Errorf("more than %d samples in one series", samplesMax)
		}
		for i := range n + 1 {
			s := first
			s.Value += float64(i) * step
			if math.IsInf(s.Value, 0) {
				return nil, fmt.Errorf("%q goes beyond what a number can hold", word)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// parseWord reads one word of a series.
func parseWord(word string) (first sample, step float64, n int, err error) {
	value := word
	if before, count, repeated := strings.Cut(word, "x"); repeated {
		if n, err = strconv.Atoi(count); err != nil || n < 0 || n > samplesMax {
			return first, 0, 0, fmt.Errorf("%q: how often is a whole number from 0 to %d, such as 5x3", word, samplesMax)
		}
		value = before
	}
	switch value {
	case "_":
		return sample{none: true}, 0, n, nil
	case "unknown":
		first.Unknown = true
		return first, 0, n, nil
	}
	if at := stepAt(value); at > 0 {
		if !strings.Contains(word, "x") {
			return first, 0, 0, fmt.Errorf("%q: say how many steps, such as %sx3", word, word)
		}
		if step, err = number(value[at:]); err != nil {
			return first, 0, 0, fmt.Errorf("%q: %w", word, err)
		}
		value = value[:at]
	}
	if first.Value, err = number(value); err != nil {
		return first, 0, 0, fmt.Errorf("%q: %w", word, err)
	}
	return first, step, n, nil
}

// stepAt is where the sign of a step stands in a value, or 0: behind its first character, and not in an
// exponent such as that of 1e+3.
func stepAt(value string) int {
	for i := 1; i < len(value); i++ {
		if (value[i] == '+' || value[i] == '-') && value[i-1] != 'e' && value[i-1] != 'E' {
			return i
		}
	}
	return 0
}

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(text, "xX_nN") {
		return 0, fmt.Errorf("%q is no number; a series has words such as 5, 5x3, 0+10x6, _ and unknown", text)
	}
	return v, nil
}
