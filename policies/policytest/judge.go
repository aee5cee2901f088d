package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/simulate"
)

// wrong lists how a decision differs from what is expected.
func (e *Moment) wrong(d epu.Decision, pool *simulate.Pool) (out []string) {
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	counts, tally := pool.Counts(), pool.Tally()
	for _, c := range []struct {
		what string
		want *int
		got  int
	}{
		{"target", e.Target, d.Wish.Target},
		{"wanted", e.Wanted, d.Wanted.Target},
		{"running", e.Running, counts.Running},
		{"starting", e.Starting, counts.Starting},
		{"draining", e.Draining, counts.Draining},
		{"launches", e.Launches, tally.Launches},
		{"terminations", e.Terminations, tally.Terminations},
	} {
		if c.want != nil && *c.want != c.got {
			bad("got %s %d, want %d", c.what, c.got, *c.want)
		}
	}
	if e.Uniques != nil {
		if got := slices.Sorted(maps.Keys(d.Wish.Uniques)); !slices.Equal(got, e.Uniques) {
			bad("got unique workers %v, want %v", got, e.Uniques)
		}
	}
	within := func(what string, got, want []string) {
		for _, part := range want {
			if part != "" && !strings.Contains(strings.Join(got, "\n"), part) {
				bad("got %s %q, want %q among them", what, got, part)
			}
		}
	}
	within("reasons", texts(d.Reasons, d.Clamps), e.Because)
	within("alerts", d.Alerts, []string{e.Alert})
	within("refusals", texts(d.Rejected), e.Refused)
	switch {
	case e.Error != "" && d.Error == "":
		bad("got no error, want %q", e.Error)
	case e.Error != "" && !strings.Contains(d.Error, e.Error):
		bad("got error %q, want %q", d.Error, e.Error)
	}
	return out
}

// texts are the words of reasons, each after its rule.
func texts(lists ...[]epu.Reason) (out []string) {
	for _, r := range slices.Concat(lists...) {
		if r.Rule != "" {
			out = append(out, r.Rule+": "+r.Text)
		} else {
			out = append(out, r.Text)
		}
	}
	return out
}

// scene describes the moment of a failure: why the policy decided so, the workers, and the series around
// the sample that was the newest.
func (g *stage) scene(d epu.Decision) string {
	var b strings.Builder
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "\n    %-9s %s", name, text)
		}
	}
	row("wanted", fmt.Sprintf("%d, in force %d (before %d)", d.Wanted.Target, d.Wish.Target, d.Before))
	row("reasons", strings.Join(texts(d.Reasons), "; "))
	row("clamps", strings.Join(texts(d.Clamps), "; "))
	row("refused", strings.Join(texts(d.Rejected), "; "))
	c := g.pool.Counts()
	row("workers", fmt.Sprintf("%d running, %d starting, %d draining, %d unhealthy", c.Running, c.Starting, c.Draining, c.Unhealthy))
	for _, name := range slices.Sorted(maps.Keys(g.Series)) {
		row(name, around(g.Series[name].samples, int(g.now/g.Interval)))
	}
	return b.String()
}

// shown is how many samples before and behind the newest one a failure shows.
const shown = 6

// around writes the samples around the i-th, which stands in brackets.
func around(samples []sample, i int) string {
	from, to := max(0, i-shown), min(len(samples), i+shown+1)
	var parts []string
	if from > 0 {
		parts = append(parts, "...")
	}
	for k := from; k < to; k++ {
		word := samples[k].String()
		if k == i {
			word = "[" + word + "]"
		}
		parts = append(parts, word)
	}
	switch {
	case i >= len(samples):
		parts = append(parts, "[ended]")
	case to < len(samples):
		parts = append(parts, "...")
	}
	return strings.Join(parts, " ")
}
