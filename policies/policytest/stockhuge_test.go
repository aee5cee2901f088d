package policytest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/source"
	"github.com/nimbus-epu/epu/scripts"
)

// hugely has a configuration set no bounds of its own, and want as many workers as it can.
func hugely(policy string, conf map[string]any) {
	const many = 2_000_000
	delete(conf, "max_instances")
	for _, step := range []string{"step_down", "unique", "unique_key", "unique_values", "cooldown"} {
		delete(conf, step)
	}
	for key, n := range map[string]int{"step_up": many, "scale_up_n": many, "preserve_n": many, "default": many} {
		if _, given := conf[key]; given {
			conf[key] = n
		}
	}
	switch policy {
	case "target":
		delete(conf, "step_up")
	case "finish_by":
		conf["max_instances"], conf["rate_per_worker"], conf["late"] = many, 0.25, "max"
	case "schedule":
		conf["lines"] = []any{map[string]any{"cron": "* * * * *", "count": many}}
	}
}

// Goal: a queue of millions, a sensor gone mad or a number of somebody's that is far too large is a clamp at
// the pool's limits, and never an error of a stock policy. Method: any configuration, made to want as much as
// it can in half of the runs; huge readings; a pool that may have ten workers.
func TestStockHuge(t *testing.T) {
	each(t, func(t *rapid.T, p *policies.Policy, s stock) {
		given := s.conf(t)
		free := rapid.Bool().Draw(t, "no bounds of its own")
		if free {
			hugely(p.Name, given)
		}
		conf, problems := p.Check(given)
		if problems != nil {
			t.Fatalf("the configuration was refused: %v", problems)
		}
		w := newWorld(p, conf, 5*time.Second)
		limits := epu.Limits{Max: 10}
		most := 0
		for range 12 {
			for _, id := range s.sensors {
				w.read(id, rapid.SampledFrom([]float64{2_000_001, 1e9, 1e15}).Draw(t, id), epu.QualityOK)
			}
			if s.work {
				left := epu.Reading{Value: rapid.SampledFrom([]float64{1e9, 1e15}).Draw(t, "left"), Time: w.now, Quality: epu.QualityOK}
				w.work = epu.Work{Left: &left, Deadline: w.now.Add(15 * time.Minute)}
			}
			d := w.engine.Decide(w.snapshot(), conf)
			if d.Error != "" {
				t.Fatalf("the policy failed: %s\nconf %v", d.Error, conf)
			}
			n := d.Wanted.Target
			most = max(most, n)
			if n > epu.PoolMax {
				t.Fatalf("got target %d, want at most %d", n, epu.PoolMax)
			}
			if p.Name != "combine" && p.Name != "sites" && n == epu.PoolMax && !slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return strings.HasSuffix(r.Text, "no pool is larger") }) {
				t.Fatalf("got no reason why the target is cut to %d: %v", n, d.Reasons)
			}
			wish, clamps := reconcile.Clamp(d.Wanted, w.wish.Target, limits, true, func(string) string { return "" })
			if n > limits.Max && (wish.Target != limits.Max || len(clamps) == 0) {
				t.Fatalf("got %d of %d with clamps %v, want a clamp to %d", wish.Target, n, clamps, limits.Max)
			}
			w.wish, w.memory = wish, d.MemoryAfter
			for len(w.workers) < wish.Target {
				w.launch(epu.Worker{Site: "east"})
			}
			w.pass(10 * time.Second)
		}
		if free && most != epu.PoolMax {
			t.Fatalf("got at most %d, want a configuration that reaches %d, or this shows nothing: %v", most, epu.PoolMax, conf)
		}
	})
}

// Goal: the number at which stock policies cut is the one that the host refuses beyond, and one less than it
// would be too few. Method: a policy that wants pool.most, and one more.
func TestLargestPoolOfTheLibrary(t *testing.T) {
	for code, want := range map[string]string{"": "", " + 1": "control.scale_to wants a number from 0 to 100000, got 100001"} {
		text := "local pool = require \"lib.pool\"\nreturn { decide = function(control) control.scale_to(pool.most" + code + ") end }"
		lib := policies.NewLibrary(source.FS([]epu.PolicyFile{{Path: "p.lua", Text: text}}), scripts.Policies())
		p, err := lib.Load("p")
		if err != nil {
			t.Fatal(err)
		}
		d := policies.NewEngine(p, policies.Options{}).Decide(&policies.Snapshot{}, map[string]any{})
		if !strings.Contains(d.Error, want) || want == "" && (d.Error != "" || d.Wanted.Target != epu.PoolMax) {
			t.Errorf("pool.most%s: got %d and error %q, want %q", code, d.Wanted.Target, d.Error, want)
		}
	}
}
