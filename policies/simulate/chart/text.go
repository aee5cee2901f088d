package chart

import (
	"fmt"
	"math"
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

// look tells a line apart from the others, by its colour or else by its characters.
type look struct {
	mark  string
	chars asciigraph.CharSet
	hue   string
	color asciigraph.AnsiColor
}

var (
	firstLook  = look{"line", asciigraph.DefaultCharSet, "blue", asciigraph.DodgerBlue}
	secondLook = look{"dots", asciigraph.CreateCharSet("∙"), "orange", asciigraph.DarkOrange}
	demandLook = look{"crosses", asciigraph.CreateCharSet("×"), "grey", asciigraph.DarkGray}
)

// trace is one line of a plot for terminals.
type trace struct {
	name   string
	values []float64
	look   look
}

// Text draws workers and waiting jobs for a terminal, one plot above the other.
func Text(o TextOptions, results ...*simulate.Result) string {
	unit, scale := timeUnit(results)
	columns := max(o.Width, 40) - 10
	looks := []look{firstLook, secondLook}
	running := func(p simulate.Point) float64 { return float64(p.Running) }
	var workers, jobs []trace
	for i, r := range results {
		workers = append(workers, trace{r.Label, sampled(r.Series, columns, running), looks[i%2]})
		jobs = append(jobs, trace{r.Label, sampled(r.Series, columns, func(p simulate.Point) float64 { return p.Waiting }), looks[i%2]})
	}
	if r := results[0]; len(results) == 1 {
		wish := trace{"wish", sampled(r.Series, columns, func(p simulate.Point) float64 { return float64(p.Wish) }), secondLook}
		workers[0].name = "running"
		bound := math.Ceil(headroom * math.Max(highest(workers[0]), highest(wish))) // as in the SVG
		demand := trace{"demand", sampled(r.Series, columns, func(p simulate.Point) float64 { return math.Min(p.Demand, bound) }), demandLook}
		workers = []trace{demand, workers[0], wish} // what comes later covers what came before
	}
	var b strings.Builder
	drawText(&b, o, "workers", columns, workers)
	b.WriteByte('\n')
	drawText(&b, o, "jobs waiting", columns, jobs)
	left, right := "0", fmt.Sprintf("%.1f %s", results[0].Totals.Length/scale, unit)
	fmt.Fprintf(&b, "%8s%s%*s\n", "", left, max(columns-len(left), len(right)), right)
	if o.ASCII {
		return plain.Replace(b.String())
	}
	return b.String()
}

// drawText draws lines over each other, below a line that says which is which.
func drawText(b *strings.Builder, o TextOptions, title string, columns int, traces []trace) {
	var words []string
	var values [][]float64
	var chars []asciigraph.CharSet
	var colors []asciigraph.AnsiColor
	top := 0.0
	for _, t := range traces {
		word := t.name
		if len(traces) > 1 && o.Color {
			word += " (" + t.look.hue + ")"
		} else if len(traces) > 1 {
			word += " (" + t.look.mark + ")"
		}
		words, values, top = append(words, word), append(values, t.values), math.Max(top, highest(t))
		chars, colors = append(chars, t.look.chars), append(colors, t.look.color)
	}
	height := plotRows
	if top >= 1 && top < plotRows {
		height = int(math.Ceil(top)) // a row for each whole number, so that no label stands twice
	}
	opts := []asciigraph.Option{asciigraph.Height(height), asciigraph.Precision(0), asciigraph.LowerBound(0), asciigraph.Width(columns)}
	if o.Color {
		opts = append(opts, asciigraph.SeriesColors(colors...))
	} else {
		opts = append(opts, asciigraph.SeriesChars(chars...))
	}
	fmt.Fprintf(b, "%s: %s\n%s\n", title, strings.Join(words, ", "), asciigraph.PlotMany(values, opts...))
}

func highest(t trace) float64 {
	top := 0.0
	for _, v := range t.values {
		top = math.Max(top, v)
	}
	return top
}

// plain turns what is drawn into ASCII.
var plain = strings.NewReplacer("─", "-", "│", "|", "╭", ".", "╮", ".", "╰", "'", "╯", "'", "╴", "-", "╶", "-", "┤", "|", "┼", "+", "∙", "*", "×", "x")

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
