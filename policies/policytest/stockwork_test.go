package policytest_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/simulate"
	"github.com/nimbus-epu/epu/scripts"
)

// Goal: finish_by, which is told nothing of the rate, finishes feasible work in time and does not pay for
// much more than the work. Method: workers that each do a fixed amount per second, noise in the
// readings, and amounts of work for which enough workers are allowed.
func TestFinishByMakesIt(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("finish_by")
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{0.02, 0.5, 3} {
		for _, ideal := range []int{1, 4, 11} {
			for _, span := range []time.Duration{time.Hour, 3 * time.Hour} {
				t.Run(fmt.Sprintf("%g per second, %d workers, %v", rate, ideal, span), func(t *testing.T) {
					finish(t, p, rate, ideal, span)
				})
			}
		}
	}
}

// finish lets workers work off what so many of them would in seven tenths of the time.
func finish(t *testing.T, p *policies.Policy, rate float64, ideal int, span time.Duration) {
	total := rate * float64(ideal) * span.Seconds() * 0.7
	conf, problems := p.Check(map[string]any{"max_instances": 3*ideal + 3, "boot_time": "2m"})
	if problems != nil {
		t.Fatal(problems)
	}
	w := newWorld(p, conf, 2*time.Minute)
	deadline, left, paid := w.now.Add(span), total, 0.0
	const tick = 15 * time.Second
	for i := 0; left > 0; i++ {
		if w.now.After(deadline) {
			t.Fatalf("got %.0f of %.0f left at the deadline, with %d workers of about %d needed", left, total, len(w.workers), ideal)
		}
		shown := left * (1 + float64(i*7%5-2)/1000) // off by up to two in a thousand
		w.work = epu.Work{Left: &epu.Reading{Value: shown, Time: w.now, Quality: epu.QualityOK}, Deadline: deadline}
		w.decide(t)
		for _, one := range w.workers {
			paid += tick.Seconds()
			if one.State == epu.Running {
				left -= rate * tick.Seconds()
			}
		}
		w.pass(tick)
	}
	booting := 120 * float64(w.seq)
	if least := total / rate; paid > 1.2*least+booting {
		t.Fatalf("got %.0f worker-seconds paid, want at most a fifth more than %.0f and %.0f of booting", paid, least, booting)
	}
}

// Goal: a site that is out of room is gone round, and comes back. Method: a site that takes only some
// workers for an hour, and a pool that loses a worker now and then.
func TestSitesGoRound(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("sites")
	if err != nil {
		t.Fatal(err)
	}
	conf, problems := p.Check(map[string]any{
		"preserve_n": 10, "retry_after": "5m",
		"sites": []any{map[string]any{"site": "east"}, map[string]any{"site": "west"}},
	})
	if problems != nil {
		t.Fatal(problems)
	}
	w := newWorld(p, conf, time.Minute)
	w.replays = true
	at := func(site epu.SiteID) (n int) {
		for _, one := range w.workers {
			if one.Site == site {
				n++
			}
		}
		return n
	}
	const room = 6
	for i := range 3 * 60 {
		full := i < 60
		w.room = map[epu.SiteID]int{}
		if full {
			w.room["east"] = room
		}
		d := w.decide(t)
		if d.Wanted.Target != 10 {
			t.Fatalf("minute %d: got target %d, want 10: %v", i, d.Wanted.Target, d.Reasons)
		}
		least := 9
		if i%10 == 8 {
			least = 10 // what was lost eight minutes ago is made up for
		}
		if full && i > 5 && (at("east") > room || len(w.workers) < least) {
			t.Fatalf("minute %d: got %d at east and %d in all, want at most %d and at least %d", i, at("east"), len(w.workers), room, least)
		}
		if i%10 == 9 { // the oldest one at west is lost
			lost := false
			w.end(func(one *epu.Worker) bool {
				gone := !lost && one.Site == "west"
				lost = lost || gone
				return gone
			})
		}
		w.pass(time.Minute)
	}
	if got := at("east"); got != 10 {
		t.Errorf("got %d workers at east two hours after it has room again, want all 10", got)
	}
}

// Goal: policies that follow the clock do not flap either: a schedule changes the target only where a line
// begins or ends, and finish_by never shrinks while as much work as ever is left and the deadline comes near.
// Method: any configuration, hours of time, nothing else that changes. TestStockSettles is about the others.
func TestTimelyPoliciesDoNotFlap(t *testing.T) {
	those(t, func(s stock) bool { return s.timely }, func(t *rapid.T, p *policies.Policy, s stock) {
		w := start(t, p, s)
		left := float64(rapid.IntRange(0, 5000).Draw(t, "left"))
		deadline := w.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "minutes")) * time.Minute)
		const ticks, tick, settled = 360, time.Minute, 20
		changes, last := 0, 0
		for i := range ticks {
			if s.work {
				w.work = epu.Work{Left: &epu.Reading{Value: left, Time: w.now, Quality: epu.QualityOK}, Deadline: deadline}
			}
			d := w.decide(t)
			got := w.wish.Target // in force: what the pool's limits take off is no change
			if i > 0 && got != last {
				changes++
			}
			if s.work && left > 0 && i > settled && got < last {
				t.Fatalf("minute %d: got target %d after %d, with as much work left as before\nreasons %v", i, got, last, d.Reasons)
			}
			last = got
			w.pass(tick)
		}
		// In six hours the lines of a schedule begin 18 + 2 times, and end as often.
		if most := 40; changes > most {
			t.Fatalf("got %d changes of the target in six hours, want at most %d", changes, most)
		}
	})
}

// Goal: work in pieces that can't be divided is done in time without a crowd, neither because those that have
// just come up have ended nothing yet nor while the last pieces run out of time. Method: whole jobs in the
// simulator, of one length and of several, with and without job_length.
func TestFinishByOfWholeJobs(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("finish_by")
	if err != nil {
		t.Fatal(err)
	}
	const boot, due, most = 90 * time.Second, 6 * time.Hour, 60
	for _, job := range []string{"10m", "uniform(5m, 15m)", "40m", "2m"} {
		length, err := simulate.ParseSpread(job)
		if err != nil {
			t.Fatal(err)
		}
		mean := map[string]time.Duration{"10m": 10 * time.Minute, "uniform(5m, 15m)": 10 * time.Minute, "40m": 40 * time.Minute, "2m": 2 * time.Minute}[job]
		ideal := 12
		jobs := int(float64(ideal) * (due - mean).Seconds() / mean.Seconds() * 0.8)
		for _, conf := range []map[string]any{{}, {"job_length": mean.String()}} {
			conf["max_instances"], conf["boot_time"] = most, boot.String()
			t.Run(fmt.Sprintf("%d jobs of %s, conf %v", jobs, job, conf), func(t *testing.T) {
				w, err := simulate.Generate(fmt.Sprintf("burst(%d, 0s)", jobs), time.Hour, 1)
				if err != nil {
					t.Fatal(err)
				}
				r, err := simulate.Run(t.Context(), simulate.Config{
					Policy: p, Conf: conf, Workload: w, Boot: simulate.Always(boot), JobLength: length, Seed: 1, Tick: 15 * time.Second,
					Deadline: due, Drain: &epu.DrainSpec{Timeout: 2 * time.Hour},
				})
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Totals.Length; got > due.Seconds() || r.Totals.Done != float64(jobs) {
					t.Errorf("got %.0f of %d jobs done after %.0f s, want all within %.0f s", r.Totals.Done, jobs, got, due.Seconds())
				}
				last, peak := 0, 0
				for _, point := range r.Series {
					if point.At > (due-boot-mean).Seconds() && point.Wish > last {
						t.Errorf("got a wish of %d after %d at %.0f s, too late to finish a job", point.Wish, last, point.At)
					}
					last, peak = point.Wish, max(peak, point.Wish)
				}
				if peak > 3*ideal {
					t.Errorf("got a wish of %d at most, want at most %d: %d would do", peak, 3*ideal, ideal)
				}
			})
		}
	}
}

// Goal: of the answers that combine gets, the one that decides is said first, and a rule that can't see is not
// blamed for what limits decide. Method: a blind rule and one that wants less, with and without limits.
func TestCombineLeadsWithWhatDecides(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("combine")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		limits    map[string]any
		load      float64
		want      int
		rule      string
		blindness bool
	}{
		{"the largest wins", nil, 70, 7, "largest", false},
		{"nothing shrinks", nil, 10, 5, "no data", true},
		{"the least is more than both", map[string]any{"min_instances": 6}, 10, 6, "largest", false},
		{"the most is less than both", map[string]any{"max_instances": 0}, 10, 0, "largest", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := map[string]any{"rules": []any{
				map[string]any{"policy": "npreserving", "conf": map[string]any{"preserve_n": 1}},
				map[string]any{"policy": "queuelen", "conf": map[string]any{"queuelen_high_water": 9, "queuelen_low_water": 1}},
				map[string]any{"policy": "target", "conf": map[string]any{
					"sensor": "load", "target": 10, "mode": "total", "min_instances": 0, "stabilisation": "0s",
				}},
			}}
			conf, problems := p.Check(given)
			if problems != nil {
				t.Fatal(problems)
			}
			w := newWorld(p, conf, time.Second)
			w.read("load", 50, epu.QualityOK)
			w.read("queue-length", 5, epu.QualityOK)
			if d := w.decide(t); d.Wanted.Target != 5 {
				t.Fatalf("got target %d, want 5 to begin with: %v", d.Wanted.Target, d.Reasons)
			}
			w.conf = maps.Clone(conf) // a configuration that is in use does not change
			maps.Copy(w.conf, tt.limits)
			w.read("load", tt.load, epu.QualityOK)
			w.read("queue-length", 5, epu.QualityStale)
			d := w.decide(t)
			if d.Wanted.Target != tt.want || d.Reasons[0].Rule != tt.rule {
				t.Errorf("got target %d, want %d; first reason of %q, want %q: %v", d.Wanted.Target, tt.want, d.Reasons[0].Rule, tt.rule, d.Reasons)
			}
			said := false
			for _, r := range d.Reasons {
				said = said || strings.Contains(r.Text, "can't see")
			}
			if said != tt.blindness {
				t.Errorf("got a rule that is blamed for not seeing: %v, want %v: %v", said, tt.blindness, d.Reasons)
			}
		})
	}
}

// Goal: queuelen keeps its promise: "if there is still work on the queue, the node count will not drop to
// zero". Method: any marks and steps, any readings, good ones and others, and a look at the target after each; that
// it does not flap is a property of all policies above.
func TestQueuelenKeepsAWorkerWhileThereIsWork(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("queuelen")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("queuelen", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			s := stocks["queuelen"]
			w := start(t, p, s)
			w.limits = epu.Limits{Max: -1}
			most := w.conf["max_instances"].(int)
			last := 0.0 // that could be trusted
			for range rapid.IntRange(1, 40).Draw(t, "ticks") {
				q := rapid.SampledFrom([]epu.Quality{epu.QualityOK, epu.QualityOK, epu.QualityStale, epu.QualityUnknown}).Draw(t, "quality")
				queue := float64(rapid.SampledFrom([]int{0, 1, 1, 5, 40, 90}).Draw(t, "queue"))
				w.read("queue-length", queue, q)
				if q == epu.QualityOK {
					last = queue
				}
				d := w.decide(t)
				if d.Wanted.Target < min(1, most) && last > 0 {
					t.Fatalf("got target %d with %.0f on the queue\nreasons %v", d.Wanted.Target, last, d.Reasons)
				}
				w.pass(5 * time.Second)
			}
		})
	})
}

// Goal: batch never leaves queued jobs alone: one worker at least while there are any, and never fewer than they
// need beyond all that is there. Method: a pool whose guard rails move the wish as they like, and a sensor of idle
// workers that says anything, as one of a whole cluster does.
func TestBatchKeepsWhatTheQueueNeeds(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("batch")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		w := start(t, p, stocks["batch"])
		each, most := w.conf["jobs_per_worker"].(int), w.conf["max_instances"].(int)
		if rapid.Bool().Draw(t, "sensor of idle ones") {
			w.conf["idle_sensor"] = "idle"
		}
		for range rapid.IntRange(1, 30).Draw(t, "ticks") {
			queue := rapid.SampledFrom([]int{0, 0, 1, 5, 12, 40}).Draw(t, "queue")
			if rapid.Bool().Draw(t, "new") || w.readings["queue-length"].Time.IsZero() {
				w.read("queue-length", float64(queue), epu.QualityOK)
			}
			w.read("idle", float64(rapid.SampledFrom([]int{0, 1, 3, 9, 100}).Draw(t, "idle")), epu.QualityOK)
			w.limits = epu.Limits{Max: rapid.SampledFrom([]int{-1, -1, 0, 2}).Draw(t, "max")}
			need := (int(w.readings["queue-length"].Value) + each - 1) / each
			there := len(w.workers)
			d := w.decide(t)
			least := min(1, need)
			if need > there {
				least = need
			}
			if d.Wanted.Target < min(least, most) {
				t.Fatalf("got target %d with %d there, want %d for a queue that needs %d\nreasons %v", d.Wanted.Target, there, min(least, most), need, d.Reasons)
			}
			w.pass(10 * time.Second)
		}
	})
}
