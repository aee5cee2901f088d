package chart

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/nimbus-epu/epu/policies/simulate"
)

// How many points a line has at most. What the work could use is shown as averages, which hide the chance in it.
const (
	pointsMax  = 400
	averageMax = 120
)

// headroom is the part of a plot's height that its legend needs.
const headroom = 1.3

// The colours: dark enough for a white page, and far enough from each other.
var (
	ink       = color.NRGBA{0x33, 0x33, 0x33, 0xff}
	faint     = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	grey      = color.NRGBA{0x99, 0x99, 0x99, 0xff}
	blue      = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	vermilion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	green     = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
)

// line is one line of a plot.
type line struct {
	name  string
	of    func(simulate.Point) float64
	color color.Color
	dash  []vg.Length
	width vg.Length
	fill  bool
	mean  bool    // averages instead of moments
	top   float64 // what is above is drawn here; 0 = no bound
}

var dashed, dotted = []vg.Length{vg.Points(5), vg.Points(3)}, []vg.Length{vg.Points(1.5), vg.Points(2)}

// Size of the drawing in points.
const width, height = 22 * font.Centimeter, 13 * font.Centimeter

// SVG draws one simulation, or several of the same workload over each other: workers above, waiting jobs
// below, on one axis of time.
func SVG(w io.Writer, title string, results ...*simulate.Result) error {
	unit, scale := timeUnit(results)
	above, below := newPlot(title, "workers"), newPlot("", "jobs waiting")
	below.X.Label.Text = "time (" + unit + ")"
	if err := workers(above, scale, results); err != nil {
		return err
	}
	for i, r := range results {
		l := line{name: r.Label, of: func(p simulate.Point) float64 { return p.Waiting }, color: hue(i), width: vg.Points(1.2), fill: len(results) == 1, dash: stroke(i)}
		if len(results) == 1 {
			l.name, l.color = "waiting", green
		}
		if err := l.add(below, r, scale); err != nil {
			return err
		}
	}
	last := 0.0
	for _, r := range results {
		last = math.Max(last, r.Series[len(r.Series)-1].At/scale)
	}
	above.X.Max, below.X.Max = last, last
	below.Y.Max *= headroom
	canvas := vgsvg.New(width, height)
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	inner := draw.Crop(dc, vg.Points(6), -vg.Points(14), vg.Points(4), -vg.Points(6))
	low := inner.Size().Y * 0.42
	tops := plot.Align([][]*plot.Plot{{above}, {below}}, draw.Tiles{Rows: 2, Cols: 1}, inner)
	for i, p := range []*plot.Plot{above, below} {
		c := tops[i][0]
		if i == 0 {
			c.Min.Y = inner.Min.Y + low + vg.Points(4)
		} else {
			c.Max.Y = inner.Min.Y + low
		}
		p.Draw(c)
	}
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("write the drawing: %w", err)
	}
	return nil
}

// workers draws the workers: what was there, what was wished and what the work could use.
func workers(p *plot.Plot, scale float64, results []*simulate.Result) error {
	running := func(p simulate.Point) float64 { return float64(p.Running) }
	demand := line{name: "demand", of: func(p simulate.Point) float64 { return p.Demand }, color: grey, width: vg.Points(0.9), dash: dotted, mean: true}
	lines := []line{
		{name: "running", of: running, color: blue, width: vg.Points(1.4), fill: true},
		{name: "wish", of: func(p simulate.Point) float64 { return float64(p.Wish) }, color: vermilion, width: vg.Points(1), dash: dashed},
	}
	top := 1.0
	for i, r := range results {
		if len(results) > 1 {
			lines = []line{{name: r.Label + " running", of: running, color: hue(i), width: vg.Points(1.4), dash: stroke(i)}}
		}
		for _, l := range lines {
			if err := l.add(p, r, scale); err != nil {
				return err
			}
		}
		for _, at := range r.Series {
			top = math.Max(top, math.Max(float64(at.Running), float64(at.Wish)))
		}
	}
	// A demand beyond what was ever there would press the rest flat. It is cut here and not by the plot, which
	// cuts lines before it makes steps of them, and so in the wrong places.
	demand.top = top * headroom
	if err := demand.add(p, results[0], scale); err != nil {
		return err
	}
	p.Y.Max = demand.top
	return nil
}

// add draws one line of a result as steps, which is what counts are.
func (l line) add(p *plot.Plot, r *simulate.Result, scale float64) error {
	xys := l.steps(r.Series, scale)
	pl, err := plotter.NewLine(xys)
	if err != nil {
		return fmt.Errorf("draw %s: %w", l.name, err)
	}
	pl.StepStyle = plotter.PostStep
	pl.Color, pl.Dashes, pl.Width = l.color, l.dash, l.width
	if l.fill {
		c := color.NRGBAModel.Convert(l.color).(color.NRGBA)
		c.A = 0x30
		pl.FillColor = c
	}
	p.Add(pl)
	p.Legend.Add(l.name, pl)
	return nil
}

// steps are the corners of a line: a moment whose value is that of the one before adds none.
func (l line) steps(series []simulate.Point, scale float64) (xys plotter.XYs) {
	points := simulate.Thin(series, pointsMax)
	if l.mean {
		points = simulate.Thin(series, averageMax)
	}
	next := 0
	for i, at := range points {
		y := l.of(at)
		if l.mean {
			sum, n := 0.0, 0
			for ; next < (i+1)*len(series)/len(points); next++ {
				sum += l.of(series[next])
				n++
			}
			y = sum / float64(max(n, 1))
		}
		if l.top > 0 {
			y = math.Min(y, l.top)
		}
		x := at.At
		if l.mean { // of the moments from here on
			x = series[i*len(series)/len(points)].At
		}
		p := plotter.XY{X: round(x / scale), Y: round(y)}
		if n := len(xys); n > 0 && xys[n-1].Y == p.Y && i < len(points)-1 {
			continue
		}
		xys = append(xys, p)
	}
	return xys
}

func round(v float64) float64 { return math.Round(v*1e3) / 1e3 }

func hue(i int) color.Color { return []color.Color{blue, vermilion, green}[i%3] }

func stroke(i int) []vg.Length { return [][]vg.Length{nil, dashed, dotted}[i%3] }

// newPlot is an empty plot in our looks.
func newPlot(title, y string) *plot.Plot {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	for _, s := range []struct {
		f    *font.Font
		size vg.Length
	}{
		{&p.Title.TextStyle.Font, 12},
		{&p.X.Label.TextStyle.Font, 10},
		{&p.Y.Label.TextStyle.Font, 10},
		{&p.X.Tick.Label.Font, 9},
		{&p.Y.Tick.Label.Font, 9},
		{&p.Legend.TextStyle.Font, 9},
	} {
		*s.f = sans
		s.f.Size = s.size
	}
	p.Title.Text, p.Title.Padding = title, vg.Points(8)
	p.Y.Label.Text = y
	p.Y.Min, p.X.Min = 0, 0
	p.BackgroundColor = color.White
	for _, c := range []*color.Color{
		&p.Title.TextStyle.Color, &p.X.Label.TextStyle.Color, &p.Y.Label.TextStyle.Color,
		&p.X.Tick.Label.Color, &p.Y.Tick.Label.Color, &p.X.Color, &p.Y.Color, &p.X.Tick.Color, &p.Y.Tick.Color,
	} {
		*c = ink
	}
	p.Legend.Top, p.Legend.Padding, p.Legend.XOffs, p.Legend.YOffs = true, vg.Points(2), -vg.Points(4), -vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	grid.Vertical.Width, grid.Horizontal.Width = vg.Points(0.5), vg.Points(0.5)
	p.Add(grid)
	p.Y.Tick.Marker, p.X.Tick.Marker = wholeTicks{}, wholeTicks{}
	return p
}

// wholeTicks marks whole numbers only: there is no half worker, and of time whole units suffice.
type wholeTicks struct{}

// Ticks are at most six or so.
func (wholeTicks) Ticks(low, high float64) (out []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10(math.Max(high-low, 1)/5)))
	for _, f := range []float64{1, 2, 5, 10} {
		if step*f*6 >= high-low {
			step *= f
			break
		}
	}
	step = math.Max(1, math.Round(step))
	for v := math.Ceil(low/step) * step; v <= high+1e-9; v += step {
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.0f", v)})
	}
	return out
}

// timeUnit is the largest unit in which the longest run is more than three, and its length in seconds.
func timeUnit(results []*simulate.Result) (string, float64) {
	longest := 0.0
	for _, r := range results {
		longest = math.Max(longest, r.Totals.Length)
	}
	switch d := time.Duration(longest) * time.Second; {
	case d > 72*time.Hour:
		return "days", 86400
	case d > 3*time.Hour:
		return "hours", 3600
	case d > 3*time.Minute:
		return "minutes", 60
	}
	return "seconds", 1
}
