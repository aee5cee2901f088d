package policy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/policies/simulate"
	"github.com/nimbus-epu/epu/policies/simulate/chart"
)

// toTerminal is the value of --plot that draws with characters.
const toTerminal = "-"

// show prints and draws what became of the runs.
func (t *trial) show(answer simulated) error {
	var names []string
	for _, r := range answer.Runs {
		names = append(names, r.Label)
	}
	title := strings.Join(names, " and ") + ": " + answer.Workload
	p := t.Print()
	people := p.Settings.Form == cli.FormTable || p.Settings.Form == cli.FormWide
	text := t.Env.StdoutTTY && len(t.plots) == 0
	for _, file := range t.plots {
		if file == toTerminal {
			text = true
			continue
		}
		if err := t.draw(file, title, answer.Runs); err != nil {
			return err
		}
		p.Note("drew %s", file)
	}
	if text && people {
		width := p.Width
		if width == 0 {
			width = 100
		}
		o := chart.TextOptions{Width: width, Color: p.Paint.On, ASCII: p.Ellipsis == "..."}
		if _, err := fmt.Fprintln(p.Out, chart.Text(o, answer.Runs...)); err != nil {
			return err
		}
	}
	v := cli.View{Type: "policy-simulation", Tables: []cli.Table{totals(answer.Runs)}}
	for _, r := range answer.Runs {
		for _, e := range r.Errors {
			for line := range strings.SplitSeq(e, "\n") {
				v.Lines = append(v.Lines, cli.Line{{Text: r.Label + " failed: ", Tone: cli.Bad}, cli.Text(line)})
			}
		}
		for _, name := range r.Unmeasured {
			v.Lines = append(v.Lines, cli.Line{{Text: "warning: ", Tone: cli.Warn}, cli.Text(fmt.Sprintf(
				"%s read the sensor %s, which nothing here measures: --sensor %s=%s would", r.Label, name, name, simulate.Measures()[0][0]))})
		}
		r.Series = simulate.Thin(r.Series, t.points)
		if t.points == 0 {
			r.Series = nil
		}
	}
	v.Data = answer
	return p.Print(v)
}

// draw writes an SVG.
func (t *trial) draw(file, title string, runs []*simulate.Result) error {
	if !strings.HasSuffix(file, ".svg") {
		return cli.Usage("--plot out.svg", "--plot %s: drawings are files that end in .svg, or - for the terminal", file)
	}
	var b bytes.Buffer
	if err := chart.SVG(&b, title, runs...); err != nil {
		return err
	}
	if err := os.WriteFile(t.path(file), b.Bytes(), 0o644); err != nil {
		return &epu.Error{Kind: epu.Unavailable, Op: "write", On: file, Err: cli.Reason(err), Try: "--plot out.svg"}
	}
	return nil
}

// totals is one row for each thing that is counted, and one column for each run.
func totals(runs []*simulate.Result) cli.Table {
	table := cli.Table{Columns: []cli.Column{{Name: "TOTALS"}}}
	for _, r := range runs {
		table.Columns = append(table.Columns, cli.Column{Name: strings.ToUpper(r.Label), Right: true})
	}
	row := func(name string, of func(*simulate.Totals) string) {
		line := cli.Row{Name: name, Type: "policy-simulation-total", Cells: []cli.Cell{cli.Text(name)}}
		values := map[string]string{}
		for _, r := range runs {
			text := of(&r.Totals)
			values[r.Label] = text
			line.Cells = append(line.Cells, cli.Text(text))
		}
		line.Data = struct {
			Name   string            `json:"name"`
			Values map[string]string `json:"values"`
		}{name, values}
		table.Rows = append(table.Rows, line)
	}
	whole := func(of func(*simulate.Totals) int) func(*simulate.Totals) string {
		return func(t *simulate.Totals) string { return strconv.Itoa(of(t)) }
	}
	span := func(of func(*simulate.Totals) float64) func(*simulate.Totals) string {
		return func(t *simulate.Totals) string { return spanText(of(t)) }
	}
	row("simulated time", span(func(t *simulate.Totals) float64 { return t.Length }))
	row("jobs done", func(t *simulate.Totals) string { return fmt.Sprintf("%.0f of %.0f", t.Done, t.Jobs) })
	row("wait, mean", span(func(t *simulate.Totals) float64 { return t.WaitMean }))
	row("wait, half below", span(func(t *simulate.Totals) float64 { return t.WaitP50 }))
	row("wait, 90 % below", span(func(t *simulate.Totals) float64 { return t.WaitP90 }))
	row("wait, 99 % below", span(func(t *simulate.Totals) float64 { return t.WaitP99 }))
	row("wait, longest", span(func(t *simulate.Totals) float64 { return t.WaitMax }))
	row("longest queue", func(t *simulate.Totals) string { return fmt.Sprintf("%.0f", t.WaitingMax) })
	row("most workers", whole(func(t *simulate.Totals) int { return t.WorkersMax }))
	row("worker hours", func(t *simulate.Totals) string { return fmt.Sprintf("%.1f", t.WorkerHours) })
	row("of these at work", func(t *simulate.Totals) string { return fmt.Sprintf("%.0f %%", 100*t.BusyShare) })
	row("cost, $", func(t *simulate.Totals) string { return usd(t.USD) })
	row("launches", whole(func(t *simulate.Totals) int { return t.Launches }))
	row("workers failed", whole(func(t *simulate.Totals) int { return t.Failures }))
	row("changes of the wish", whole(func(t *simulate.Totals) int { return t.Changes }))
	row("cut by guard rails", whole(func(t *simulate.Totals) int { return t.Clamped }))
	row("failed decisions", func(t *simulate.Totals) string { return fmt.Sprintf("%d of %d", t.Errors, t.Decisions) })
	return table
}

// spanText is a number of seconds in a form that people compare: exact to a tenth while it is short.
func spanText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", seconds)
	case d < 48*time.Hour:
		return strictyaml.FormatDuration(d.Round(time.Second))
	}
	return fmt.Sprintf("%.1fd", d.Hours()/24)
}
