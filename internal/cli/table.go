package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Column describes one column of a table.
type Column struct {
	Name     string // as the header shows it; --columns takes it in any case, with - for a space
	Right    bool   // numbers stand to the right
	Wide     bool   // shown by -o wide only, or when asked for
	Optional bool   // left out when a terminal is too narrow
}

// Cell is one value: how old it is, and what it is. A cell whose age alone moved did not change.
type Cell struct {
	Age   string // such as "12s ago"; ages stand below one another
	Text  string
	Stamp string // what counts as a change, where it is not Text
	Tone  Tone
}

// Text makes a plain cell.
func Text(s string) Cell { return Cell{Text: s} }

// Row is one thing of an answer.
type Row struct {
	Name    string        // for -o name, and to recognise the row when it changes
	Message proto.Message // for -o jsonl
	Data    any           // for -o jsonl where there is no message: a struct with json tags
	Type    string        // of Data
	Cells   []Cell
}

// stamp is what of a row counts as a change.
func (r Row) stamp() string {
	var b strings.Builder
	for _, c := range r.Cells {
		stamp := c.Text
		if c.Stamp != "" {
			stamp = c.Stamp
		}
		b.WriteString(stamp + "\x00")
	}
	return b.String()
}

// Table is a header and rows; every row has a cell for each column.
type Table struct {
	Columns []Column
	Rows    []Row
}

// layout is how a table is to look.
type layout struct {
	paint     Paint
	noHeaders bool
	wide      bool
	columns   []string // chosen by the user; nil = the usual ones
	width     int      // of the terminal; 0 = no limit
	ellipsis  string
	only      map[string]bool // names of the rows to print; nil = all, and a header
}

// flexMin is how much of the last column a narrow terminal keeps by leaving out optional columns.
const flexMin = 28

// shown gives the indices of the columns to show.
func (t Table) shown(l layout) []int {
	var idx []int
	if l.columns != nil {
		for _, want := range l.columns {
			idx = append(idx, slices.IndexFunc(t.Columns, func(c Column) bool { return columnKey(c.Name) == want }))
		}
		return idx
	}
	for i, c := range t.Columns {
		if !c.Wide || l.wide {
			idx = append(idx, i)
		}
	}
	return idx
}

func columnKey(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }

// text lays out the cells as text: cells[row][column], the header first.
func (t Table) text(idx []int) [][]string {
	grid := [][]string{{}}
	for _, i := range idx {
		grid[0] = append(grid[0], t.Columns[i].Name)
	}
	for _, r := range t.Rows {
		line := make([]string, len(idx))
		for k, i := range idx {
			line[k] = Clean(r.Cells[i].Text)
		}
		grid = append(grid, line)
	}
	for k, i := range idx {
		ages := 0
		for _, r := range t.Rows {
			if r.Cells[i].Text != "" {
				ages = max(ages, utf8.RuneCountInString(r.Cells[i].Age))
			}
		}
		for n, r := range t.Rows {
			switch c := r.Cells[i]; {
			case c.Age != "" && c.Text != "":
				grid[n+1][k] = padRight(c.Age, ages) + " " + grid[n+1][k]
			case c.Age != "":
				grid[n+1][k] = c.Age
			}
		}
	}
	return grid
}

// write prints the table.
func (t Table) write(w io.Writer, l layout) error {
	idx := t.shown(l)
	grid := t.text(idx)
	idx, grid = t.fit(idx, grid, l)
	for k, i := range idx {
		if t.Columns[i].Right {
			width := columnWidth(grid, k)
			for n := range grid {
				grid[n][k] = strings.Repeat(" ", width-utf8.RuneCountInString(grid[n][k])) + grid[n][k]
			}
		}
	}
	var out bytes.Buffer
	tw := tabwriter.NewWriter(&out, 0, 0, gap, ' ', 0)
	for n, line := range grid {
		if n == 0 && l.noHeaders {
			continue
		}
		for k := range line {
			tone := Plain
			if n > 0 {
				tone = t.Rows[n-1].Cells[idx[k]].Tone
			}
			line[k] = l.paint.cell(line[k], tone)
			if k == 0 && len(line) > 1 {
				line[k] += " " // the name stands a little apart
			}
		}
		if _, err := io.WriteString(tw, strings.Join(line, "\t")+"\n"); err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	n := -1
	if l.noHeaders {
		n++
	}
	for line := range strings.Lines(out.String()) {
		if n++; l.only != nil && (n == 0 || !l.only[t.Rows[n-1].Name]) {
			continue
		}
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

const gap = 2 // between columns

// fit leaves out optional columns and clips the last one until the lines fit the terminal.
func (t Table) fit(idx []int, grid [][]string, l layout) ([]int, [][]string) {
	for {
		used := 1
		for k := range len(idx) - 1 {
			used += columnWidth(grid, k) + gap
		}
		last := columnWidth(grid, len(idx)-1)
		room := l.width - used
		if l.width == 0 || last <= room {
			return idx, grid
		}
		drop := -1
		for k := range idx[:len(idx)-1] {
			if l.columns == nil && t.Columns[idx[k]].Optional {
				drop = k
			}
		}
		if room >= flexMin || drop < 0 {
			for n := range grid {
				grid[n][len(idx)-1] = clip(grid[n][len(idx)-1], max(room, len(t.Columns[idx[len(idx)-1]].Name)), l.ellipsis)
			}
			return idx, grid
		}
		idx = slices.Delete(idx, drop, drop+1)
		for n := range grid {
			grid[n] = slices.Delete(grid[n], drop, drop+1)
		}
	}
}

func columnWidth(grid [][]string, k int) int {
	width := 0
	for _, line := range grid {
		width = max(width, utf8.RuneCountInString(line[k]))
	}
	return width
}

func clip(s string, width int, ellipsis string) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return strings.TrimRight(string(r[:max(width-utf8.RuneCountInString(ellipsis), 0)]), " ") + ellipsis
}

func padRight(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

// Span writes a duration in its one or two largest units: 12s, 3m, 1h20m, 5d. It is for tables; machine
// output has exact times.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 10*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

// Ago is how long ago a time was, or "never" when there was none. Clocks differ: what lies a little in
// the future was just now.
func Ago(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return "never"
	}
	return Span(now.Sub(t.AsTime())) + " ago"
}

// Clock is a time of day in the user's zone, with its date unless that is today's.
func Clock(t, now time.Time, zone *time.Location) string {
	t, now = t.In(zone), now.In(zone)
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
