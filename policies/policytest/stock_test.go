package policytest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
	"github.com/nimbus-epu/epu/scripts"
)

// stock says how one policy is tried out.
type stock struct {
	conf    func(t *rapid.T) map[string]any             // any good configuration
	sensors []string                                    // what it may read
	idle    bool                                        // settles only when workers say that they are idle: else jobs go on being taken
	every   bool                                        // one sensor that can't be trusted is enough to keep it from shrinking; else only all of them
	work    bool                                        // it looks at the work that is left
	timely  bool                                        // its wish follows the clock, so constant readings need not settle it
	bounds  func(conf map[string]any) (least, most int) // what it may ask for; nil = from min_instances to max_instances
}

// fixed is the bounds of a policy that is told its number.
func fixed(conf map[string]any) (least, most int) {
	n := conf["preserve_n"].(int)
	return n, n
}

// limits are the bounds of a policy that has limits of its own.
func limits(conf map[string]any) (least, most int) {
	most = conf["max_instances"].(int)
	return min(conf["min_instances"].(int), most), most
}

// limited adds limits that do not contradict each other.
func limited(t *rapid.T, conf map[string]any) map[string]any {
	low := rapid.IntRange(0, 4).Draw(t, "min")
	conf["min_instances"], conf["max_instances"] = low, low+rapid.IntRange(0, 12).Draw(t, "more")
	conf["stabilisation"] = rapid.SampledFrom([]string{"0s", "30s", "3m"}).Draw(t, "stabilisation")
	return conf
}

// stepped adds steps.
func stepped(t *rapid.T, conf map[string]any) map[string]any {
	conf["step_up"] = rapid.IntRange(1, 5).Draw(t, "step up")
	conf["step_down"] = rapid.IntRange(1, 5).Draw(t, "step down")
	conf["starting_allowed"] = rapid.IntRange(0, 2).Draw(t, "starting allowed")
	return limited(t, conf)
}

var stocks = map[string]stock{
	"npreserving": {
		bounds: fixed,
		conf: func(t *rapid.T) map[string]any {
			conf := map[string]any{"preserve_n": rapid.IntRange(1, 9).Draw(t, "n")}
			if rapid.Bool().Draw(t, "unique") {
				conf["unique"] = map[string]any{"head": map[string]any{"ROLE": "head"}}
			}
			return conf
		},
	},
	"queuelen": {
		sensors: []string{"queue-length"},
		conf: func(t *rapid.T) map[string]any {
			low := rapid.IntRange(0, 20).Draw(t, "low")
			return stepped(t, map[string]any{
				"queuelen_low_water": low, "queuelen_high_water": low + rapid.IntRange(0, 50).Draw(t, "high - low"),
				"outgrow": rapid.IntRange(0, 30).Draw(t, "outgrow"),
			})
		},
	},
	"sensor": {
		sensors: []string{"load"},
		conf: func(t *rapid.T) map[string]any {
			low := rapid.IntRange(0, 60).Draw(t, "down")
			return limited(t, map[string]any{
				"sensor": "load", "scale_down_threshold": low, "scale_up_threshold": low + rapid.IntRange(0, 60).Draw(t, "up - down"),
				"scale_up_n": rapid.IntRange(1, 5).Draw(t, "up n"), "scale_down_n": rapid.IntRange(1, 5).Draw(t, "down n"),
				"cooldown": rapid.SampledFrom([]string{"0s", "20s", "1m"}).Draw(t, "cooldown"),
			})
		},
	},
	"target": {
		sensors: []string{"load"},
		conf: func(t *rapid.T) map[string]any {
			mode := rapid.SampledFrom([]string{"per-worker", "total"}).Draw(t, "mode")
			conf := limited(t, map[string]any{
				"sensor": "load", "target": rapid.IntRange(1, 70).Draw(t, "target"), "mode": mode,
				"tolerance": float64(rapid.IntRange(0, 10).Draw(t, "tolerance")) / 10,
			})
			if mode == "per-worker" {
				conf["min_instances"] = max(1, conf["min_instances"].(int))
				conf["max_instances"] = max(1, conf["max_instances"].(int))
			}
			if rapid.Bool().Draw(t, "stepped") {
				conf["step_up"], conf["step_down"] = rapid.IntRange(1, 4).Draw(t, "up"), rapid.IntRange(1, 4).Draw(t, "down")
			}
			return conf
		},
	},
	"batch": {
		idle:    true,
		sensors: []string{"queue-length"},
		conf: func(t *rapid.T) map[string]any {
			conf := limited(t, map[string]any{
				"jobs_per_worker": rapid.IntRange(1, 4).Draw(t, "jobs"),
				"idle_for":        rapid.SampledFrom([]string{"0s", "1m"}).Draw(t, "idle"),
			})
			delete(conf, "stabilisation")
			return conf
		},
	},
	"needy": {
		bounds: func(conf map[string]any) (least, most int) {
			n, _ := fixed(conf)
			if values := conf["unique_values"].([]any); len(values) > 0 {
				n = min(n, len(values))
			}
			return n, n
		},
		conf: func(t *rapid.T) map[string]any {
			conf := map[string]any{"preserve_n": rapid.IntRange(0, 9).Draw(t, "n"), "retirable": []any{"epu-test-1-1/0"}}
			if rapid.Bool().Draw(t, "unique") {
				conf["unique_key"], conf["unique_values"] = "SEAT", []any{"a", "b", "c"}
			}
			return conf
		},
	},
	"combine": {
		sensors: []string{"queue-length", "load"},
		every:   true,
		bounds: func(conf map[string]any) (least, most int) {
			least, most = limits(conf)
			rules := conf["rules"].([]any)
			kept := rules[len(rules)-1].(map[string]any)["conf"].(map[string]any)["preserve_n"].(int)
			return min(max(least, kept), most), most
		},
		conf: func(t *rapid.T) map[string]any {
			return limited(t, map[string]any{"rules": []any{
				map[string]any{"policy": "queuelen", "conf": map[string]any{"queuelen_high_water": 60, "queuelen_low_water": 20, "stabilisation": "30s"}},
				map[string]any{"policy": "target", "conf": map[string]any{"sensor": "load", "target": rapid.IntRange(5, 50).Draw(t, "target"), "mode": "total"}},
				map[string]any{"policy": "npreserving", "conf": map[string]any{"preserve_n": rapid.IntRange(0, 4).Draw(t, "n")}},
			}})
		},
	},
	"schedule": {
		timely: true,
		bounds: func(conf map[string]any) (least, most int) {
			least = conf["default"].(int)
			most = least
			for _, line := range conf["lines"].([]any) {
				n := line.(map[string]any)["count"].(int)
				least, most = min(least, n), max(most, n)
			}
			return least, most
		},
		conf: func(t *rapid.T) map[string]any {
			lines := []any{map[string]any{"cron": "*/20 * * * *", "count": rapid.IntRange(0, 9).Draw(t, "count"), "for": "7m"}}
			if rapid.Bool().Draw(t, "another") {
				lines = append(lines, map[string]any{"cron": "30 7,8 * * MON-FRI", "count": 3, "zone": "Europe/Berlin", "name": "day"})
			}
			return map[string]any{"lines": lines, "default": rapid.IntRange(0, 4).Draw(t, "default"), "ahead": "90s"}
		},
	},
	"finish_by": {
		timely: true,
		work:   true,
		conf: func(t *rapid.T) map[string]any {
			conf := limited(t, map[string]any{"boot_time": "1m", "late": rapid.SampledFrom([]string{"max", "keep"}).Draw(t, "late")})
			conf["max_instances"] = max(1, conf["max_instances"].(int))
			if rapid.Bool().Draw(t, "guess") {
				conf["rate_per_worker"] = 0.25
			}
			return conf
		},
	},
	"sites": {
		sensors: []string{"load"},
		conf: func(t *rapid.T) map[string]any {
			return limited(t, map[string]any{
				"sites": []any{
					map[string]any{"site": "west", "size": rapid.IntRange(0, 6).Draw(t, "west")},
					map[string]any{"site": "east"},
				},
				"spread": rapid.SampledFrom([]string{"fill", "even"}).Draw(t, "spread"),
				"demand": map[string]any{"policy": "target", "conf": map[string]any{
					"sensor": "load", "target": rapid.IntRange(5, 50).Draw(t, "target"), "mode": "total", "min_instances": 0,
				}},
			})
		},
	},
}

// each runs a property for every policy that is shipped.
func each(t *testing.T, property func(t *rapid.T, p *policies.Policy, s stock)) {
	t.Helper()
	those(t, func(stock) bool { return true }, property)
}

// those runs a property for the policies that are shipped and that it is about.
func those(t *testing.T, about func(s stock) bool, property func(t *rapid.T, p *policies.Policy, s stock)) {
	t.Helper()
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, ok := stocks[name]
		if !ok {
			t.Errorf("got no configurations of %s to try: add it to stocks", name)
		}
		if !ok || !about(s) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p, err := lib.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) { property(t, p, s) })
		})
	}
}

// Goal: every stock policy does over time what its scenarios say. Method: each has a file of them, and all
// pass.
func TestStockScenarios(t *testing.T) {
	lib := policies.NewLibrary(scripts.Policies())
	names, err := lib.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		results, err := policytest.Run(lib, policytest.ScenarioFolder+"/"+name+".yaml")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range results {
			t.Run(name+"/"+r.Case, func(t *testing.T) {
				for _, f := range r.Failures {
					t.Error(f)
				}
			})
		}
	}
}

// Goal: a configuration that was checked is a configuration. Method: any one is checked, kept as JSON
// and checked again.
func TestStockConfigurationRoundTrip(t *testing.T) {
	each(t, func(t *rapid.T, p *policies.Policy, s stock) {
		full, problems := p.Check(s.conf(t))
		if problems != nil {
			t.Fatalf("the configuration was refused: %v", problems)
		}
		b, err := json.Marshal(full)
		if err != nil {
			t.Fatal(err)
		}
		var kept map[string]any
		if err := json.Unmarshal(b, &kept); err != nil {
			t.Fatal(err)
		}
		again, problems := p.Check(kept)
		if problems != nil {
			t.Fatalf("the checked configuration was refused: %v", problems)
		}
		if diff := cmp.Diff(full, again); diff != "" {
			t.Fatalf("checked again (-first +second):\n%s", diff)
		}
	})
}
