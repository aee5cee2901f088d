package policytest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// times makes a list.
func times(n int, one func(i int) any) (list []any) {
	for i := range n {
		list = append(list, one(i))
	}
	return list
}

// largest are configurations of the stock policies at the bounds of their parameters: the longest lists, and the
// longest times.
func largest() map[string]map[string]any {
	queue := map[string]any{
		"queuelen_high_water": 1, "queuelen_low_water": 0.5, "sensor": "load", "stabilisation": "24h", "step_down_every": "24h",
	}
	rule, unique := map[string]any{"policy": "queuelen", "conf": queue}, map[string]any{}
	for i := range 300 {
		unique[fmt.Sprint("db-", i)] = map[string]any{"number": fmt.Sprint(i)}
	}
	return map[string]map[string]any{
		"npreserving": {"preserve_n": 5000, "unique": unique},
		"needy": {
			"preserve_n": 4000, "retirable": times(2000, func(i int) any { return fmt.Sprintf("epu-bench-1-%d/0", 2*i+1) }),
			"unique_key": "number", "unique_values": times(2000, func(i int) any { return fmt.Sprint(i) }),
		},
		"queuelen":  queue,
		"sensor":    {"sensor": "load", "scale_up_threshold": 5000, "scale_down_threshold": 4000, "cooldown": "24h", "stabilisation": "24h"},
		"target":    {"sensor": "load", "target": 1, "stabilisation": "24h", "mode": "total"},
		"batch":     {"sensor": "load", "idle_for": "24h", "fresh_for": "24h"},
		"finish_by": {"max_instances": 100000, "boot_time": "24h", "job_length": "168h", "margin": 10},
		"combine":   {"stabilisation": "24h", "rules": times(10, func(int) any { return rule })},
		"sites": {
			"spread": "even", "retry_after": "24h", "stabilisation": "24h", "demand": rule,
			"sites": times(50, func(i int) any { return map[string]any{"site": fmt.Sprint("site-", i), "size": 2000, "rank": 50 - i} }),
		},
		"schedule": {"ahead": "24h", "lines": times(100, func(i int) any {
			return map[string]any{"cron": fmt.Sprintf("%d * * * *", i%60), "count": i, "for": "20s", "zone": "Europe/Berlin"}
		})},
	}
}

// crowd is a pool of 5000 workers at 50 sites, with work, a deadline and a sensor that is often read.
func crowd(now time.Time) *policies.Snapshot {
	s := &policies.Snapshot{Now: now, Pool: "epu-bench", Owner: epu.DefaultOwner, Decision: "01", Seed: 7, MinMax: [2]int{0, -1}}
	for i := range 5000 {
		s.Workers = append(s.Workers, &epu.Worker{
			ID: epu.NewWorkerID(epu.NewLaunchID("epu-bench", 1, uint64(i+1)), 0), Site: epu.SiteID(fmt.Sprint("site-", i%50)), Zone: "a", Allocation: "small",
			State: epu.Running, Health: epu.HealthOK, Created: now.Add(-time.Hour), Vars: map[string]string{"number": fmt.Sprint(i)},
		})
	}
	s.Counts.Running, s.Wish.Target = len(s.Workers), len(s.Workers)
	for i := range 50 {
		s.Places = append(s.Places, epu.Placement{Site: epu.SiteID(fmt.Sprint("site-", i))})
	}
	left := epu.Reading{Sensor: "load", Value: 1e6, Time: now, Quality: epu.QualityOK}
	s.Work = epu.Work{Left: &left, Deadline: now.Add(time.Hour)}
	s.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		return epu.Window{Sensor: sensor, Span: span, Count: 8640, Mean: 7, Quality: epu.QualityOK}, true
	}
	return s.With(policies.Imagined("load", 10000, now))
}

// Goal: no stock policy runs out of the time that a pool's policy has, however large its settings are. Method: some
// decisions of each at the bounds of its parameters, on the machine's clock; what others on the machine take is no
// fault of a policy's, so one that is too late has another try in a new state.
func TestStockPoliciesKeepTheirTime(t *testing.T) {
	library := policies.NewLibrary(scripts.Policies())
	names, err := library.Names()
	if err != nil {
		t.Fatal(err)
	}
	given := largest()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			p, err := library.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			conf, problems := p.Check(given[name])
			if given[name] == nil || problems != nil {
				t.Fatalf("there is no such configuration: %v", policies.Problems(problems))
			}
			late := func() (fault string) {
				e := policies.NewEngine(p, policies.Options{Now: time.Now})
				defer e.Close()
				s := crowd(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
				for range 3 {
					d := e.Decide(s, conf)
					if d.Error != "" {
						return d.Error
					}
					t.Log(d.Took)
					s.Memory, s.Now = d.MemoryAfter, s.Now.Add(30*time.Second)
				}
				return ""
			}
			if first := late(); first != "" {
				if again := late(); again != "" {
					t.Errorf("%s; again: %s", first, again)
				}
			}
		})
	}
	for name := range given {
		if !slices.Contains(names, name) {
			t.Errorf("there is no policy %s", name)
		}
	}
}
