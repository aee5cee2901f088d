package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// generateForms is the language of generated workloads.
const generateForms = "steady(10/min), poisson(10/min), ramp(0/min, 60/min), daily(2/min, 30/min) or burst(200, 1h), each perhaps with from=1h and to=2h, with spaces between several"

// source is one part of a generated workload.
type source struct {
	kind     string
	low, top float64 // jobs per second
	jobs     int     // of a burst
	from, to time.Duration
}

// jobsMax bounds a generated workload.
const jobsMax = 2_000_000

// Generate makes a workload of the given length from a description such as "poisson(10/min) burst(200, 1h)":
// the sum of all that it names. The same seed gives the same jobs.
func Generate(text string, length time.Duration, seed uint64) (*Workload, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	sources, err := parseSources(text, length)
	if err != nil {
		return nil, err
	}
	w := &Workload{Name: strings.Join(strings.Fields(text), " ")}
	for _, s := range sources {
		if w.Jobs, err = s.jobsInto(w.Jobs, rng); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(w.Jobs, func(a, b Job) int { return cmp.Compare(a.At, b.At) })
	if len(w.Jobs) == 0 {
		return nil, fmt.Errorf("%q gives no job in %s", text, length)
	}
	return w, nil
}

func parseSources(text string, length time.Duration) (out []source, err error) {
	for _, part := range strings.SplitAfter(text, ")") {
		part = strings.Trim(part, " \t\n+")
		if part == "" {
			continue
		}
		s, err := parseSource(part, length)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the description of the workload is empty: write %s", generateForms)
	}
	return out, nil
}

func noTime(part, text string) error {
	return fmt.Errorf("%q: %q is no length of time: write 90s, 10m or 2h", part, text)
}

func parseSource(part string, length time.Duration) (s source, err error) {
	name, args, err := call(part)
	if err != nil {
		return s, err
	}
	bad := fmt.Errorf("%q describes no workload: write %s", part, generateForms)
	s = source{kind: name, to: length}
	var plain []string
	for _, a := range args {
		key, v, named := strings.Cut(a, "=")
		if !named {
			plain = append(plain, a)
			continue
		}
		d, err := time.ParseDuration(v)
		switch {
		case err != nil || d < 0:
			return s, noTime(part, v)
		case key == "from":
			s.from = d
		case key == "to":
			s.to = min(d, length)
		default:
			return s, bad
		}
	}
	want := map[string]int{"steady": 1, "poisson": 1, "ramp": 2, "daily": 2, "burst": 2}[name]
	if want == 0 || len(plain) != want {
		return s, bad
	}
	if name == "burst" {
		n, err1 := strconv.Atoi(plain[0])
		at, err2 := time.ParseDuration(plain[1])
		if err2 != nil || at < 0 {
			return s, noTime(part, plain[1])
		}
		if err1 != nil || n < 0 || n > jobsMax {
			return s, bad
		}
		s.jobs, s.from = n, at
		return s, nil
	}
	if s.low, err = rate(plain[0]); err != nil {
		return s, err
	}
	s.top = s.low
	if want == 2 {
		s.top, err = rate(plain[1])
	}
	return s, err
}

// rate reads jobs per time, such as 10/min, as jobs per second.
func rate(text string) (float64, error) {
	count, unit, _ := strings.Cut(text, "/")
	per := map[string]float64{"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}[strings.TrimSpace(unit)]
	v, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	if err != nil || per == 0 || !(v >= 0 && v <= 1e9) {
		return 0, fmt.Errorf("%q is no rate: write 10/min (or /s, /hour, /day)", text)
	}
	return v / per, nil
}

// at is the rate at a time, in jobs per second. A day begins at the start and is busiest in its middle.
func (s source) at(t time.Duration) float64 {
	switch s.kind {
	case "ramp":
		return s.low + (s.top-s.low)*float64(t-s.from)/float64(max(s.to-s.from, 1))
	case "daily":
		return s.low + (s.top-s.low)*(1-math.Cos(2*math.Pi*t.Hours()/24))/2
	}
	return s.low
}

// jobsInto adds the jobs of a source. Random arrivals are thinned from those at the highest rate.
func (s source) jobsInto(jobs []Job, rng *rand.Rand) ([]Job, error) {
	if s.kind == "burst" {
		for range s.jobs {
			jobs = append(jobs, Job{At: s.from})
		}
		return jobs, nil
	}
	top := max(s.low, s.top)
	if top*max(s.to-s.from, 0).Seconds() > jobsMax {
		return nil, fmt.Errorf("more than %d jobs: lower the rate or the length", jobsMax)
	}
	if top == 0 {
		return jobs, nil
	}
	for t := s.from.Seconds(); ; {
		if s.kind == "steady" {
			t += 1 / top
		} else {
			t += rng.ExpFloat64() / top
		}
		at := span(t)
		if at >= s.to {
			return jobs, nil
		}
		if s.kind == "steady" || rng.Float64()*top < s.at(at) {
			jobs = append(jobs, Job{At: at})
		}
	}
}
