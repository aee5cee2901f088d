package policies_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// The budgets of DESIGN.md 14: a stock tick against the same rule written over a Lua table that is kept
// in the state, with a context's deadline. Both run in turns within one process, and the metric `ratio`
// is the median of the rounds.

// keptRule is npreserving as the Python EPU had it: valid workers, the unhealthy, the uniques, then the
// shortfall or surplus of the others, with its reason. It works on a table that holds the workers.
const keptRule = `
return function(kept, conf)
  local wish = { target = conf.preserve_n, uniques = {}, launch = {}, kill = {}, reasons = {} }
  local valid, generic, named, bad = 0, 0, {}, 0
  for _, w in ipairs(kept) do
    if w.state ~= "TERMINATING" and w.state ~= "TERMINATED" and w.state ~= "FAILED" then
      if w.state == "RUNNING_FAILED" or (w.health ~= "OK" and w.health ~= "UNKNOWN" and w.health ~= "OUT_OF_CONTACT") then
        bad = bad + 1
        wish.kill[#wish.kill + 1] = w.id
      else
        valid = valid + 1
        if w.name then named[w.name] = w.id else generic = generic + 1 end
      end
    end
  end
  local uniques = 0
  for name, vars in pairs(conf.unique) do
    uniques = uniques + 1
    wish.uniques[name] = vars
    if not named[name] then
      wish.launch[#wish.launch + 1] = name
    end
  end
  wish.shortfall = conf.preserve_n - uniques - generic
  local text = "preserve_n = " .. conf.preserve_n
  if uniques > 0 then text = text .. ", of which " .. uniques .. " unique" end
  wish.reasons[1] = { rule = "preserve_n", text = text }
  if bad > 0 then
    wish.reasons[2] = { rule = "heal", text = bad .. " unhealthy to replace" }
  end
  return wish
end`

// visitRule is the same rule over views of the workers.
const visitRule = `return {
  params = { preserve_n = { type = "integer", default = 0 } },
  decide = function(control, state, conf)
    local valid, generic, named, bad = 0, 0, {}, 0
    for w in state.workers() do
      if w.state ~= "TERMINATING" and w.state ~= "TERMINATED" and w.state ~= "FAILED" then
        if w.unhealthy then
          bad = bad + 1
        else
          valid = valid + 1
          local name = w.name
          if name then named[name] = w.id else generic = generic + 1 end
        end
      end
    end
    control.scale_to(conf.preserve_n)
    control.because("preserve_n = " .. conf.preserve_n .. ", " .. valid .. " valid")
  end,
}`

func BenchmarkBudgetTick(b *testing.B) {
	stock := load(b, "npreserving")
	visiting := compile(b, "visiting", visitRule)
	for _, n := range []int{5, 100, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("npreserving/%d_workers", n), func(b *testing.B) { compare(b, stock, n, 1) })
		b.Run(fmt.Sprintf("visiting/%d_workers", n), func(b *testing.B) { compare(b, visiting, n, 2) })
	}
}

func compare(b *testing.B, p *policies.Policy, n int, most float64) {
	snap := fleet(n)
	conf := check(b, p, map[string]any{"preserve_n": n})
	e := policies.NewEngine(p, policies.Options{Now: time.Now, Deadline: time.Minute, Steps: 1 << 40})
	defer e.Close()
	base := newKept(b, snap)
	defer base.L.Close()
	per := max(1, 20_000/(n+200))
	var ratios, ticks []float64
	for b.Loop() {
		ours := timed(per, func() {
			if d := e.Decide(snap, conf); d.Error != "" {
				b.Fatal(d.Error)
			}
		})
		theirs := timed(per, func() { base.run(b) })
		ratios = append(ratios, float64(ours)/float64(theirs))
		ticks = append(ticks, float64(ours))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(most, "budget-most")
	slices.Sort(ticks)
	b.ReportMetric(ticks[len(ticks)/2]/float64(per), "ns/tick")
	b.ReportMetric(ticks[len(ticks)/2]/float64(per)/float64(n), "ns-each")
	b.ReportMetric(0, "ns/op") // of a round of both: says nothing
}

func timed(times int, f func()) time.Duration {
	start := time.Now()
	for range times {
		f()
	}
	return time.Since(start)
}

type kept struct {
	L     *lua.LState
	rule  *lua.LFunction
	table *lua.LTable
	conf  *lua.LTable
}

func newKept(b *testing.B, snap *policies.Snapshot) *kept {
	k := &kept{L: lua.NewState()}
	if err := k.L.DoString(keptRule); err != nil {
		b.Fatal(err)
	}
	k.rule = k.L.Get(-1).(*lua.LFunction)
	k.L.Pop(1)
	k.table, k.conf = k.L.NewTable(), k.L.NewTable()
	k.conf.RawSetString("preserve_n", lua.LNumber(len(snap.Workers)))
	k.conf.RawSetString("unique", k.L.NewTable())
	for _, w := range snap.Workers {
		t := k.L.NewTable()
		for name, v := range map[string]string{
			"id": string(w.ID), "state": w.State.Word(), "health": w.Health.String(), "site": string(w.Site),
			"allocation": string(w.Allocation), "zone": w.Zone,
		} {
			t.RawSetString(name, lua.LString(v))
		}
		k.table.Append(t)
	}
	return k
}

func (k *kept) run(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	k.L.SetContext(ctx)
	if err := k.L.CallByParam(lua.P{Fn: k.rule, NRet: 1, Protect: true}, k.table, k.conf); err != nil {
		b.Fatal(err)
	}
	k.L.Pop(1)
	cancel()
}

// fleet is a snapshot of n running workers.
func fleet(n int) *policies.Snapshot {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := &policies.Snapshot{Now: now, Pool: "epu-bench", Owner: epu.DefaultOwner, Decision: "01", Seed: 7, MinMax: [2]int{0, -1}}
	for i := range n {
		s.Workers = append(s.Workers, &epu.Worker{
			ID: epu.NewWorkerID(epu.NewLaunchID("epu-bench", 1, uint64(i+1)), 0), Site: "local", Zone: "a", Allocation: "small",
			State: epu.Running, Health: epu.HealthOK, Created: now.Add(-time.Hour),
		})
	}
	s.Counts.Running = n
	s.Wish.Target = n
	return s
}

// BenchmarkIdleEngine measures what an engine keeps after its first tick.
func BenchmarkIdleEngine(b *testing.B) {
	p := load(b, "npreserving")
	conf := check(b, p, map[string]any{"preserve_n": 3})
	snap := fleet(3)
	const engines = 500
	var sizes []float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var keep []*policies.Engine
		for range engines {
			e := policies.NewEngine(p, policies.Options{Now: time.Now})
			if d := e.Decide(snap, conf); d.Error != "" {
				b.Fatal(d.Error)
			}
			keep = append(keep, e)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		sizes = append(sizes, float64(after.HeapAlloc-before.HeapAlloc)/engines)
		runtime.KeepAlive(keep)
	}
	slices.Sort(sizes)
	b.ReportMetric(sizes[len(sizes)/2], "B/engine")
	b.ReportMetric(0, "ns/op")
}
