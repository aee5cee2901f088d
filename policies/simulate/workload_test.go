package simulate_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/policies/simulate"
)

var rewrite = flag.Bool("rewrite", false, "write the workloads under examples anew")

// Goal: workload files of the forms that people have are read, and mistakes are told with their line.
func TestReadCSV(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"jobs", "at,length\n10,5\n0,1m\n", "jobs 0s/1m0s 10s/5s"},
		{"other names and columns", "user,submit_s,run_s,kind\na,0,32,x\nb,4704,43,y\n", "jobs 0s/32s 1h18m24s/43s"},
		{"dates", "Time , LENGTH\n2026-01-31T08:00:00Z,1\n2026-01-31 08:01:00,2\n", "jobs 0s/1s 1m0s/2s"},
		{"flow", "ts,requests\n1998-04-30T21:30:00Z,2\n1998-04-30T21:31:00Z,11\n1998-04-30T21:33:00Z,3\n", "every 1m0s 0s/2 1m0s/11 3m0s/3"},
		{"since the start", "at,length\n30,5\n90.5,5\n", "jobs 30s/5s 1m30.5s/5s"},
		{"unix seconds", "ts,length\n1700000000,5\n1700000060,5\n", "jobs 0s/5s 1m0s/5s"},
		{"one interval", "minute,count\n0,7\n", "every 1m0s 0s/7"},
		{"empty", "", "w.csv:1: a header line with the names of the columns is missing"},
		{"no rows", "at,length\n", "w.csv: has no row below its header"},
		{"no columns", "a,b\n1,2\n", "w.csv:1: columns a,b: want a time"},
		{"no time", "at,length\n0,1\nsoon,1\n", `w.csv:3: "soon" is no time`},
		{"no length", "at,length\n0,-1\n", `w.csv:2: "-1" is no number from 0 up`},
		{"ragged", "at,length\n0\n", "w.csv: record on line 2: wrong number of fields"},
		{"huge", "at,count\n1e300,1\n", `w.csv:2: "1e300" is no time`},
	} {
		w, err := simulate.ReadCSV("w.csv", strings.NewReader(c.text))
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case w.Flows != nil:
			got = fmt.Sprintf("every %v", w.Every)
			for _, f := range w.Flows {
				got += fmt.Sprintf(" %v/%v", f.At, f.Count)
			}
		default:
			got = "jobs"
			for _, j := range w.Jobs {
				got += fmt.Sprintf(" %v/%v", j.At, j.Length)
			}
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Goal: generated workloads are what they are called, in number and place.
func TestGenerate(t *testing.T) {
	for _, c := range []struct {
		text        string
		least, most int
	}{
		{"steady(10/min)", 599, 600},
		{"poisson(10/min)", 500, 700},
		{"poisson(600/h, from=30m)", 230, 370},
		{"poisson(10/min, to=6m)", 30, 90},
		{"ramp(0/min, 20/min)", 500, 700},
		{"daily(0/day, 2400/day)", 0, 20},
		{"burst(200, 10m)", 200, 200},
		{"steady(1/min) + burst(5, 1m) burst(5, 2m)", 69, 70},
	} {
		w, err := simulate.Generate(c.text, time.Hour, 7)
		if err != nil {
			if c.least > 0 {
				t.Errorf("%s: %v", c.text, err)
			}
			continue
		}
		if n := len(w.Jobs); n < c.least || n > c.most {
			t.Errorf("%s: got %d jobs, want %d to %d", c.text, n, c.least, c.most)
		}
		for i := range w.Jobs[1:] {
			if w.Jobs[i].At > w.Jobs[i+1].At || w.Jobs[i+1].At >= time.Hour {
				t.Fatalf("%s: job %d at %v", c.text, i, w.Jobs[i+1].At)
			}
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "is empty: write steady(10/min)"},
		{"poison(10/min)", "describes no workload"},
		{"poisson(10)", `"10" is no rate`},
		{"poisson(10/min", "a closing parenthesis is missing"},
		{"poisson(10/min, until=1h)", "describes no workload"},
		{"burst(-1, 1h)", "describes no workload"},
		{"poisson(1000000/s)", "more than 2000000 jobs"},
		{"steady(0/min)", "gives no job"},
	} {
		if _, err := simulate.Generate(c.text, time.Hour, 7); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// Goal: the workloads under examples are what our own generator makes, and read as they were written.
func TestExamples(t *testing.T) {
	for name, c := range map[string]struct {
		text, job string
		length    time.Duration
	}{
		"day":   {"daily(0.2/min, 2/min) burst(60, 9h)", "exp(4m)", 24 * time.Hour},
		"burst": {"poisson(1/min) burst(150, 1h)", "uniform(1m, 5m)", 3 * time.Hour},
	} {
		w, err := simulate.Generate(c.text, c.length, 1)
		if err != nil {
			t.Fatal(err)
		}
		w.Lengthen(spread(t, c.job), 1)
		var b bytes.Buffer
		if err := w.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "examples", "workloads", name+".csv")
		if *rewrite {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(raw, b.Bytes()) {
			t.Errorf("%s is not what the generator makes (%v): -rewrite makes it", path, err)
		}
		again, err := simulate.ReadCSV(w.Name, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w.Jobs, again.Jobs); diff != "" {
			t.Errorf("%s reads as another workload:\n%s", path, diff)
		}
	}
}

// Goal: spreads have the mean they say, and what is written is read again.
func TestSpread(t *testing.T) {
	for _, text := range []string{"1m30s", "exp(1m0s)", "uniform(30s, 1m30s)", "normal(1m0s, 5s)"} {
		s := spread(t, text)
		if s.String() != text {
			t.Errorf("got %s, want %s", s, text)
		}
		rng, sum := rand.New(rand.NewPCG(1, 2)), 0.0
		for range 20_000 {
			sum += s.Draw(rng).Seconds()
		}
		if got, want := sum/20_000, s.Mean().Seconds(); got < want*0.97 || got > want*1.03 {
			t.Errorf("%s: got a mean of %.1f s, want %.1f s", text, got, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "exp(5)", "uniform(5s)", "uniform(9s, 5s)", "gauss(5s)", "exp(5s"} {
		if _, err := simulate.ParseSpread(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// Goal: whatever is in a file or a description, it ends with a sorted workload or an error.
func FuzzWorkload(f *testing.F) {
	f.Add("at,length\n0,1m\n2026-01-31T08:00:00Z,5\n", "poisson(10/min, from=1m) burst(3, 5s)", "uniform(1s, 2s)")
	f.Add("ts,count\n0,1\n60,2\n", "ramp(0/s, 3/s)+daily(1/min, 2/min)", "exp(1m)")
	f.Fuzz(func(t *testing.T, file, text, length string) {
		if s, err := simulate.ParseSpread(length); err == nil && s.Draw(rand.New(rand.NewPCG(1, 1))) < 0 {
			t.Fatalf("%s draws a negative time", length)
		}
		if len(text) < 40 {
			_, _ = simulate.Generate(text, time.Minute, 1)
		}
		w, err := simulate.ReadCSV("w.csv", strings.NewReader(file))
		if err != nil {
			return
		}
		last := time.Duration(0)
		for _, j := range w.Jobs {
			if j.At < last || j.Length < 0 {
				t.Fatalf("job %+v after %v", j, last)
			}
			last = j.At
		}
		for _, fl := range w.Flows {
			if fl.At < last || fl.Count < 0 {
				t.Fatalf("interval %+v after %v", fl, last)
			}
			last = fl.At
		}
		if len(w.Flows) > 0 && w.Every <= 0 {
			t.Fatalf("intervals of %v", w.Every)
		}
	})
}
