package policytest

import (
	"strings"
	"testing"
)

// Goal: the notation of series means what its table says, and mistakes are told.
func TestSeries(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"5", "5"},
		{"0 150x2", "0 150 150 150"},
		{"0+10x3", "0 10 20 30"},
		{"10-5x3", "10 5 0 -5"},
		{"-1+1x2", "-1 0 1"},
		{"1e+2 1e2x1", "100 100 100"},
		{"0.5+.25x2", "0.5 0.75 1"},
		{"_ 1 _x2", "_ 1 _ _ _"},
		{"unknown 1 unknownx1", "unknown 1 unknown unknown"},
		{"5x0", "5"},
		{" 1\n 2\t3 ", "1 2 3"},
	} {
		samples, err := parseSeries(c.text)
		var words []string
		for _, s := range samples {
			words = append(words, s.String())
		}
		if got := strings.Join(words, " "); err != nil || got != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"five", `"five" is no number`},
		{"5x", "how often is a whole number"},
		{"5x-1", "how often is a whole number"},
		{"5xx2", "how often is a whole number"},
		{"5+1", "say how many steps, such as 5+1x3"},
		{"5+x2", `"5+x2"`},
		{"0x10", ""},
		{"inf", "is no number"},
		{"nan", "is no number"},
		{"1e308+1e308x2", "beyond what a number can hold"},
		{"1x60000 1x60000", "more than 100000 samples"},
		{"1x1000000000", "how often"},
		{"1_000", "is no number"},
	} {
		samples, err := parseSeries(c.text)
		switch {
		case c.want == "" && (err != nil || len(samples) != 11):
			t.Errorf("%q: got %d samples, %v; want 0 and 10 repeats", c.text, len(samples), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}
