package policies

import (
	"math"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// filterDoc is the part of the reference that several functions share.
const filterDoc = " Filter: state (a word such as \"RUNNING\"), stage (starting running draining), health, site, zone, allocation, market, name, unhealthy, draining."

func stateFuncs() []Function {
	return []Function{
		field("state", "now", "The time of this decision in unix seconds."),
		field("state", "target", "The wish in force, after the guard rails: workers in all."),
		field("state", "memory", "A table that is kept between decisions and over restarts: texts, numbers, booleans and tables of them, at most 64 KiB."),
		field("state", "params", "The policy's configuration, the same as conf."),
		sandbox.F("state", "running", "", "How many workers run.", counter("running", func(c Counts) int { return c.Running })),
		sandbox.F("state", "starting", "", "How many workers are requested, booting or not ready yet.", counter("starting", func(c Counts) int { return c.Starting })),
		sandbox.F("state", "draining", "", "How many workers are draining; they also count as running.", counter("draining", func(c Counts) int { return c.Draining })),
		sandbox.F("state", "unhealthy_count", "", "How many workers are unhealthy; they also count as starting or running.", counter("unhealthy_count", func(c Counts) int { return c.Unhealthy })),
		sandbox.F("state", "count", "filter?", "How many workers pass a filter."+filterDoc, count),
		sandbox.F("state", "workers", "filter?", "Iterates over workers, oldest first: for w in state.workers{stage = \"running\"} do ... end."+filterDoc, workers),
		sandbox.F("state", "unhealthy", "", "Iterates over the unhealthy workers, oldest first.", unhealthy),
		sandbox.F("state", "worker", "id", "The worker with this ID, or nil.", worker),
		sandbox.F("state", "sensor", "id", "The newest reading of a sensor as {value, time, age, quality}, or nil. Quality is ok, stale, unknown or warming.", sensor),
		sandbox.F("state", "backoff", "", "Seconds until launches may be tried again; 0 when they may be tried now.", backoff),
		sandbox.F("state", "refused", "", "What the guard rails refused of the last decision: a list of {rule, text}.", refused),
		sandbox.F("state", "time", "opts?", "The time of this decision in a zone, as {zone = \"Europe/Berlin\"}: year month day hour min sec wday (1 is Sunday) yday offset. UTC without a zone.", zoned),
		later("window", "id, seconds", "Mean, max, min, last, slope, count, covers and quality of a sensor's recent readings."),
		later("changes", "", "What changed since the last decision."),
		later("work", "opts?", "Work left, its rate and its deadline, where sensors know them."),
		later("offers", "type", "What machines cost where."),
		later("budget", "", "What may still be spent."),
	}
}

func stateField(L *lua.LState) int {
	h := hostOf(L)
	if h.live == nil {
		L.RaiseError("state works only inside initialize, decide and reconfigure")
	}
	switch L.Get(2).String() {
	case "now":
		L.Push(unix(h.snap.Now))
	case "target":
		L.Push(lua.LNumber(h.target()))
	case "memory":
		L.Push(h.memoryTable(L))
	case "params":
		L.Push(h.conf)
	default:
		return unknownField(L, "state", stateFuncs())
	}
	return 1
}

func unix(t time.Time) lua.LNumber {
	return lua.LNumber(float64(t.UnixMilli()) / 1000)
}

// target reads the number of the wish in force. Every record has it.
func (h *host) target() int {
	h.note("target", h.snap.Wish.Target)
	return h.snap.Wish.Target
}

// lastWish reads the whole wish in force. It is recorded even beyond the limit of inputs, because a
// failed evaluation is nothing but this.
func (h *host) lastWish() epu.Wish {
	h.inputs = append(h.inputs, epu.Input{Name: "wish", Value: h.snap.Wish})
	return h.snap.Wish
}

// memoryTable is made from the stored form at the first access of each evaluation: a table that lived
// on from the last one would have its keys in another order after a restart.
func (h *host) memoryTable(L *lua.LState) *lua.LTable {
	if h.memory == nil {
		t, err := sandbox.DecodeMemory(h.snap.Memory)
		if err != nil {
			L.RaiseError("%s", err.Error())
		}
		h.memory = t
	}
	return h.memory
}

func counter(name string, of func(Counts) int) lua.LGFunction {
	return func(L *lua.LState) int {
		h := hostOf(L)
		n := of(h.snap.Counts)
		h.saw(name, n)
		L.Push(lua.LNumber(n))
		return 1
	}
}

// count is answered from the record in a replay, which knows only the workers that were visited.
func count(L *lua.LState) int {
	h := hostOf(L)
	f := filterOf(L, "state.count")
	name := "count{" + f.text + "}"
	n, known := h.counted[name]
	if !known {
		h.Work(L, len(h.snap.Workers)/8)
		for _, w := range h.snap.Workers {
			if f.passes(w) {
				n++
			}
		}
	}
	h.saw(name, n)
	L.Push(lua.LNumber(n))
	return 1
}

func sensor(L *lua.LState) int {
	h := hostOf(L)
	id := word(L, "state.sensor", "id", L.Get(1))
	r, ok := h.snap.Readings[id]
	if !ok {
		h.saw("sensor "+id, nil)
		L.Push(lua.LNil)
		return 1
	}
	if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		r.Value, r.Quality = 0, epu.QualityUnknown
	}
	h.saw("sensor "+id, r)
	t := sandbox.Sized(4)
	if r.Quality != epu.QualityUnknown {
		t.RawSetString("value", lua.LNumber(r.Value))
	}
	if !r.Time.IsZero() {
		t.RawSetString("time", unix(r.Time))
	}
	t.RawSetString("age", lua.LNumber(r.Age.Seconds()))
	t.RawSetString("quality", lua.LString(r.Quality))
	L.Push(t)
	return 1
}

func backoff(L *lua.LState) int {
	h := hostOf(L)
	h.saw("backoff", h.snap.Backoff)
	L.Push(lua.LNumber(h.snap.Backoff.Seconds()))
	return 1
}

func refused(L *lua.LState) int {
	h := hostOf(L)
	h.saw("refused", h.snap.Refused)
	t := sandbox.NewTable()
	for i, r := range h.snap.Refused {
		e := sandbox.Sized(2)
		e.RawSetString("rule", lua.LString(r.Rule))
		e.RawSetString("text", lua.LString(r.Text))
		t.RawSetInt(i+1, e)
	}
	L.Push(t)
	return 1
}

func zoned(L *lua.LState) int {
	h := hostOf(L)
	name := word(L, "state.time", "zone", options(L, 1, "state.time", "zone").get("zone"))
	loc, ok := h.zones[name]
	if !ok {
		var err error
		if loc, err = time.LoadLocation(name); err != nil {
			L.RaiseError("state.time: no time zone '%s': use a name such as Europe/Berlin", name)
		}
		if h.zones == nil || len(h.zones) > 16 {
			h.zones = map[string]*time.Location{}
		}
		h.zones[name] = loc
	}
	t := h.snap.Now.In(loc)
	_, offset := t.Zone()
	out := sandbox.Sized(9)
	for _, f := range []struct {
		name string
		n    int
	}{
		{"year", t.Year()},
		{"month", int(t.Month())},
		{"day", t.Day()},
		{"hour", t.Hour()},
		{"min", t.Minute()},
		{"sec", t.Second()},
		{"wday", int(t.Weekday()) + 1},
		{"yday", t.YearDay()},
		{"offset", offset},
	} {
		out.RawSetString(f.name, lua.LNumber(f.n))
	}
	L.Push(out)
	return 1
}
