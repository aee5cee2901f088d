package chart

import (
	"fmt"
	"strings"

	"github.com/guptarohit/asciigraph"

	"github.com/nimbus-epu/epu/policies/simulate"
)

// TextOptions say how the drawing for terminals looks.
type TextOptions struct {
	Width int  // columns in all; at least 40
	Color bool // tell lines apart by colour; else by their characters
	ASCII bool // nothing but ASCII
}

// Text draws workers and waiting jobs for a terminal, one plot above the other.
func Text(o TextOptions, results ...*simulate.Result) string {
	unit, scale := timeUnit(results)
	columns := max(o.Width, 40) - 10
	var b strings.Builder
	var series [][]float64
	var names []string
	add := func(name string, r *simulate.Result, of func(simulate.Point) float64) {
		names, series = append(names, name), append(series, sampled(r.Series, columns, of))
	}
	running := func(p simulate.Point) float64 { return float64(p.Running) }
	draw := func(title string) {
		opts := []asciigraph.Option{
			asciigraph.Height(plotRows), asciigraph.Precision(0), asciigraph.LowerBound(0), asciigraph.Width(columns),
			asciigraph.SeriesChars(asciigraph.DefaultCharSet, asciigraph.CreateCharSet("∙")),
		}
		words := append([]string(nil), names...)
		marks := []string{"line", "dots"}
		if o.Color {
			marks = []string{"blue", "orange"}
			opts = append(opts, asciigraph.SeriesColors(asciigraph.DodgerBlue, asciigraph.DarkOrange), asciigraph.SeriesChars())
		}
		for i := range words {
			if len(words) > 1 {
				words[i] += " (" + marks[i%2] + ")"
			}
		}
		legend := title + ": " + strings.Join(words, ", ")
		fmt.Fprintf(&b, "%s\n%s\n", legend, asciigraph.PlotMany(series, opts...))
		names, series = nil, nil
	}
	if len(results) == 1 {
		add("running", results[0], running)
		add("wish", results[0], func(p simulate.Point) float64 { return float64(p.Wish) })
	} else {
		for _, r := range results {
			add(r.Label, r, running)
		}
	}
	draw("workers")
	b.WriteByte('\n')
	for _, r := range results {
		add(r.Label, r, func(p simulate.Point) float64 { return p.Waiting })
	}
	draw("jobs waiting")
	left, right := "0", fmt.Sprintf("%.1f %s", results[0].Totals.Length/scale, unit)
	fmt.Fprintf(&b, "%8s%s%*s\n", "", left, max(columns-len(left), len(right)), right)
	if o.ASCII {
		return plain.Replace(b.String())
	}
	return b.String()
}

// plain turns what is drawn into ASCII.
var plain = strings.NewReplacer("─", "-", "│", "|", "╭", ".", "╮", ".", "╰", "'", "╯", "'", "╴", "-", "╶", "-", "┤", "|", "┼", "+", "∙", "*")

// plotRows is the height of one plot.
const plotRows = 8

// sampled gives at most n values, evenly in time.
func sampled(all []simulate.Point, n int, of func(simulate.Point) float64) []float64 {
	out := make([]float64, 0, n)
	for _, p := range simulate.Thin(all, n) {
		out = append(out, of(p))
	}
	return out
}
