package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/simulate"
	"github.com/nimbus-epu/epu/policies/simulate/chart"
	"github.com/nimbus-epu/epu/scripts"
)

var (
	rewrite = flag.Bool("rewrite", false, "write the files anew")
	out     = flag.String("out", filepath.Join("..", "..", ".."), "folder below which generated files are written")
)

// drawing is one stock policy's simulation: what is drawn on its page.
type drawing struct {
	title     string
	generate  string
	hours     float64
	job, life string
	conf      map[string]any
	change    func(*simulate.Config)
}

const day = "daily(2/min, 40/min) burst(200, 9h)"

// drawings has one entry for each stock policy.
var drawings = map[string]drawing{
	"npreserving": {
		title: "npreserving: six workers that live for six hours or so", generate: "poisson(5/min)", hours: 24, life: "exp(6h)",
		conf: map[string]any{"preserve_n": 6},
	},
	"queuelen": {
		title: "queuelen: between 2 and 20 waiting jobs", generate: day, hours: 24,
		conf: map[string]any{"queuelen_high_water": 20, "queuelen_low_water": 2, "step_up": 2, "step_down": 2, "max_instances": 60},
	},
	"sensor": {
		title: "sensor: utilization between 50 and 85 percent", generate: day, hours: 24,
		conf: map[string]any{
			"sensor": "utilization", "scale_up_threshold": 85, "scale_up_n": 3, "scale_down_threshold": 50, "scale_down_n": 2,
			"min_instances": 1, "max_instances": 60,
		},
	},
	"target": {
		title: "target: utilization of 75 percent", generate: day, hours: 24,
		conf: map[string]any{"sensor": "utilization", "target": 75, "max_instances": 60},
	},
	"batch": {
		title: "batch: a worker for each job of half an hour or so", generate: "poisson(20/hour) burst(30, 6h)", hours: 16, job: "exp(30m)",
		conf: map[string]any{"max_instances": 40},
	},
	"needy": {
		title: "needy: a program asks for 4, 12 and 6 workers", generate: "poisson(4/min)", hours: 8,
		conf: map[string]any{"preserve_n": 4},
		change: func(c *simulate.Config) {
			c.Changes = []simulate.Change{{At: 2 * time.Hour, Conf: map[string]any{"preserve_n": 12}}, {At: 5 * time.Hour, Conf: map[string]any{"preserve_n": 6}}}
		},
	},
	"combine": {
		title: "combine: never fewer than 8, and more for the queue", generate: day, hours: 24,
		conf: map[string]any{"max_instances": 60, "rules": []any{
			map[string]any{"policy": "npreserving", "conf": map[string]any{"preserve_n": 8}},
			map[string]any{"policy": "queuelen", "conf": map[string]any{"queuelen_high_water": 20, "queuelen_low_water": 2, "step_up": 2, "step_down": 2}},
		}},
	},
	"finish_by": {
		title: "finish_by: 600 jobs of ten minutes or so by the eighth hour", generate: "burst(600, 0s)", hours: 1, job: "uniform(5m, 15m)",
		conf: map[string]any{"max_instances": 40, "job_length": "10m"},
		change: func(c *simulate.Config) {
			c.Deadline, c.Drain = 8*time.Hour, &epu.DrainSpec{Timeout: time.Hour} // with work left nobody is ever idle
		},
	},
	"schedule": {
		title: "schedule: 30 workers from 7 to 19 o'clock, else 8", generate: "daily(2/min, 35/min)", hours: 48,
		conf: map[string]any{"default": 8, "lines": []any{map[string]any{"cron": "0 7 * * *", "count": 30, "for": "12h"}}},
	},
	"sites": {
		title: "sites: twelve workers, at most eight of them near", generate: "poisson(8/min)", hours: 12, life: "exp(8h)",
		conf: map[string]any{"preserve_n": 12, "sites": []any{map[string]any{"site": "near", "size": 8}, map[string]any{"site": "far"}}},
		change: func(c *simulate.Config) {
			c.Placement = []epu.Placement{{Site: "near"}, {Site: "far"}}
		},
	},
}

func (d drawing) run(t *testing.T, p *policies.Policy) *simulate.Result {
	t.Helper()
	w, err := simulate.Generate(d.generate, time.Duration(d.hours*float64(time.Hour)), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := simulate.Config{Policy: p, Conf: d.conf, Workload: w, Boot: simulate.Always(90 * time.Second), Seed: 1, Tick: 15 * time.Second}
	for _, s := range []struct {
		text string
		into *simulate.Spread
	}{{d.job, &c.JobLength}, {d.life, &c.Life}} {
		if s.text == "" {
			continue
		}
		if *s.into, err = simulate.ParseSpread(s.text); err != nil {
			t.Fatal(err)
		}
	}
	if d.job == "" {
		c.JobLength, _ = simulate.ParseSpread("exp(45s)")
	}
	if d.change != nil {
		d.change(&c)
	}
	r, err := simulate.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Totals.Errors > 0 {
		t.Fatalf("the policy failed: %v", r.Errors)
	}
	return r
}

// Goal: every stock policy's page shows what the policy does now. Method: its simulation is drawn again and
// compared with docs/reference/policies/NAME.svg; make generate writes them.
func TestStockDrawings(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			d, ok := drawings[name]
			if !ok {
				t.Fatalf("%s has no drawing: add its simulation to drawings", name)
			}
			p, err := lib.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := chart.SVG(&b, d.title, d.run(t, p)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(*out, "docs", "reference", "policies", name+".svg")
			if *rewrite {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(want, b.Bytes()) {
				t.Errorf("%s is not what the policy does now (%v): run make generate, and look at it", path, err)
			}
		})
	}
}

// fixed are two small runs that no policy's change touches.
func fixed() []*simulate.Result {
	a := &simulate.Result{Label: "first", Policy: "first", Totals: simulate.Totals{Length: 7200}}
	b := &simulate.Result{Label: "second", Policy: "second", Totals: simulate.Totals{Length: 7200}}
	for i := range 25 {
		at := float64(i) * 300
		a.Series = append(a.Series, simulate.Point{At: at, Demand: 12, Wish: i + 1, Running: i, Waiting: float64(i % 7)})
		b.Series = append(b.Series, simulate.Point{At: at, Demand: float64(i), Wish: 26 - i, Running: 25 - i, Waiting: float64(i % 5)})
	}
	return []*simulate.Result{a, b}
}

// Goal: a drawing is sound XML that says what its lines are and in which units, on a white page.
func TestSVG(t *testing.T) {
	for n, words := range map[int][]string{
		1: {"A title", "workers", "jobs waiting", "time (minutes)", "running", "wish", "demand", "#FFFFFF", "#0072B2"},
		2: {"A title", "first running", "second running", "demand", "#D55E00", "stroke-dasharray"},
	} {
		var b, again bytes.Buffer
		if err := errors.Join(chart.SVG(&b, "A title", fixed()[:n]...), chart.SVG(&again, "A title", fixed()[:n]...)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Error("two drawings of the same differ")
		}
		for _, w := range words {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%d runs: the drawing lacks %q", n, w)
			}
		}
		d := xml.NewDecoder(&b)
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%d runs: %v", n, err)
			}
		}
	}
}

// Goal: the drawing for terminals tells its lines apart in every kind of terminal and fits it.
func TestText(t *testing.T) {
	var b strings.Builder
	for _, o := range []chart.TextOptions{{Width: 60}, {Width: 60, Color: true}, {Width: 60, ASCII: true}} {
		for n := range 2 {
			text := chart.Text(o, fixed()[:n+1]...)
			for line := range strings.Lines(text) {
				if w := len([]rune(strings.TrimRight(line, "\n"))); !o.Color && w > 60 {
					t.Errorf("a line of %d columns, want at most 60: %s", w, line)
				}
			}
			b.WriteString(strings.ReplaceAll(text, "\x1b", "^") + "\n")
		}
	}
	path := "testdata/text.golden"
	if *rewrite {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(b.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-rewrite accepts it:\n%s", diff)
	}
}
