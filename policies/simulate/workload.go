package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Job is one piece of work that one worker does alone.
type Job struct {
	At     time.Duration // when it comes, since the start
	Length time.Duration // how long one worker works on it; 0 = as the simulation draws it
}

// Flow is work that comes too fast to look at each piece: so many pieces in one interval.
type Flow struct {
	At    time.Duration // begin of the interval, since the start
	Count float64
}

// Workload is what comes in, in the order of time: jobs or a flow.
type Workload struct {
	Name  string
	Jobs  []Job
	Flows []Flow
	Every time.Duration // length of the intervals of a flow
}

// Last is when the last work comes in.
func (w *Workload) Last() time.Duration {
	switch {
	case len(w.Jobs) > 0:
		return w.Jobs[len(w.Jobs)-1].At
	case len(w.Flows) > 0:
		return w.Flows[len(w.Flows)-1].At + w.Every
	}
	return 0
}

// rowsMax bounds a workload file.
const rowsMax = 5_000_000

// The names that columns of a workload file may have.
var (
	timeColumns   = []string{"at", "at_s", "time", "time_s", "ts", "ts_local", "arrival", "arrival_s", "submit", "submit_s", "minute"}
	lengthColumns = []string{"length", "length_s", "run", "run_s", "duration", "duration_s"}
	countColumns  = []string{"count", "jobs", "requests", "messages"}
)

// ReadCSV reads a workload: a header line, a column of times, and one of lengths (then each row is a job)
// or of counts (then each row is an interval of a flow). Times are seconds since the start, unix
// seconds or dates; rows may be in any
// order. The error says the line.
func ReadCSV(name string, r io.Reader) (*Workload, error) {
	reader := csv.NewReader(r)
	reader.ReuseRecord = true
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("%s:1: a header line with the names of the columns is missing", name)
	}
	column := func(names []string) int {
		return slices.IndexFunc(header, func(h string) bool { return slices.Contains(names, strings.ToLower(strings.TrimSpace(h))) })
	}
	at, length, count := column(timeColumns), column(lengthColumns), column(countColumns)
	if at < 0 || length < 0 && count < 0 {
		return nil, fmt.Errorf("%s:1: columns %s: want a time (%s) and a length (%s) or a count (%s)", name, strings.Join(header, ","),
			strings.Join(timeColumns, " "), strings.Join(lengthColumns, " "), strings.Join(countColumns, " "))
	}
	amount := length
	if length < 0 {
		amount = count
	}
	var rows [][2]float64
	for {
		rec, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := reader.FieldPos(0)
		t, err1 := seconds(rec[at])
		v, err2 := value(rec[amount], length >= 0)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if rows = append(rows, [2]float64{t, v}); len(rows) > rowsMax {
			return nil, fmt.Errorf("%s: more than %d rows", name, rowsMax)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: has no row below its header", name)
	}
	return fromRows(name, rows, length >= 0), nil
}

// unixMin is from where seconds are those of a clock and not since the start.
const unixMin = 1e8

// fromRows makes a workload of times and values. Where times are dates the first one is the start.
func fromRows(name string, rows [][2]float64, jobs bool) *Workload {
	slices.SortStableFunc(rows, func(a, b [2]float64) int {
		switch {
		case a[0] < b[0]:
			return -1
		case a[0] > b[0]:
			return 1
		}
		return 0
	})
	w := &Workload{Name: name}
	first, gap := rows[0][0], math.Inf(1)
	if first >= 0 && first < unixMin {
		first = 0
	}
	for _, r := range rows {
		at := span(r[0] - first)
		if jobs {
			w.Jobs = append(w.Jobs, Job{At: at, Length: span(r[1])})
			continue
		}
		if n := len(w.Flows); n > 0 && at-w.Flows[n-1].At < time.Millisecond { // the same interval
			w.Flows[n-1].Count += r[1]
			continue
		} else if n > 0 {
			gap = min(gap, (at - w.Flows[n-1].At).Seconds())
		}
		w.Flows = append(w.Flows, Flow{At: at, Count: r[1]})
	}
	if w.Every = time.Minute; !math.IsInf(gap, 1) {
		w.Every = span(gap)
	}
	return w
}

func span(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// secondsMax bounds times, so that they fit a duration: a hundred years and a little.
const secondsMax = 4e9

// value reads a count or a number of seconds.
func value(text string, length bool) (float64, error) {
	text = strings.TrimSpace(text)
	if length {
		if d, err := time.ParseDuration(text); err == nil && d >= 0 {
			return d.Seconds(), nil
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 1e12) || length && v > secondsMax {
		return 0, fmt.Errorf("%q is no number from 0 up", text)
	}
	return v, nil
}

// seconds reads a time: seconds, or a date with a time of day.
func seconds(text string) (float64, error) {
	text = strings.TrimSpace(text)
	if v, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(v) <= secondsMax {
		return v, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.Parse(form, text); err == nil {
			return float64(t.Unix()), nil
		}
	}
	return 0, fmt.Errorf("%q is no time: write seconds or a date such as 2026-01-31T08:00:00Z", text)
}

// WriteCSV writes a workload as ReadCSV reads it, in seconds since the start.
func (w *Workload) WriteCSV(out io.Writer) error {
	c := csv.NewWriter(out)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	rows := [][]string{{"at", "length"}}
	if w.Flows != nil {
		rows[0][1] = "count"
	}
	for _, j := range w.Jobs {
		rows = append(rows, []string{number(j.At.Seconds()), number(j.Length.Seconds())})
	}
	for _, f := range w.Flows {
		rows = append(rows, []string{number(f.At.Seconds()), number(f.Count)})
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write workload: %w", err)
	}
	return nil
}

// Lengthen gives every job that has no length one, to a tenth of a second, as the same seed always gives it;
// times are cut to a tenth of a second too, so that a file of them is short.
func (w *Workload) Lengthen(of Spread, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	for i := range w.Jobs {
		j := &w.Jobs[i]
		if j.Length == 0 {
			j.Length = max(of.Draw(rng).Round(100*time.Millisecond), 100*time.Millisecond)
		}
		j.At = j.At.Truncate(100 * time.Millisecond)
	}
}
