package policies

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/cron"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// Snapshot is what a controller knows at one moment. It is immutable: slices and the workers behind
// them are shared with the controller, which replaces rather than changes them. A tick when nothing
// changed hands over the same slices again and costs nothing per worker.
type Snapshot struct {
	Now      time.Time
	Pool     epu.PoolID
	Owner    epu.Owner
	Decision epu.DecisionID // of the evaluation to come; seeds its randomness
	Seed     uint64
	Wish     epu.Wish        // in force, after the guard rails; the first one is empty
	Memory   json.RawMessage // what the policy kept; nil at first
	Counts   Counts
	Workers  []*epu.Worker // every worker that is not gone, sorted by Created then ID
	Bad      []*epu.Worker // those of Workers that are Unhealthy, in the same order
	Readings map[string]epu.Reading
	Refused  []epu.Reason  // what the guard rails refused of the last decision
	Backoff  time.Duration // until launches may be tried again; 0 = now
	MinMax   [2]int        // the pool's limits.min and limits.max (-1 = none)

	// What follows is empty where a pool has no sensors, prices or deadline.
	Windows func(sensor string, span time.Duration) (epu.Window, bool) `json:"-"` // over the readings behind Readings; nil = no sensors
	Changes []epu.Change                                               // since the decision before, oldest first; at most ChangesMax
	Work    epu.Work
	Offers  []epu.Offer // of the sites of the pool's placement, cheapest first
	Budget  epu.Budget
	Places  []epu.Placement // the pool's placement, in its order
	// SiteBackoff is until when launches at a site of the placement wait after failures there.
	SiteBackoff map[epu.SiteID]time.Duration

	past *past // of a recorded decision; nil = everything can be read
}

// Imagined is a reading that was never taken, for asking what would be. A value that is no number is unknown.
func Imagined(sensor string, value float64, now time.Time) epu.Reading {
	return tame(epu.Reading{Sensor: sensor, Value: value, Time: now, Quality: epu.QualityOK})
}

// With is the snapshot with another reading of a sensor, as if its value had been that all along: windows over the
// sensor and the work that it tells of say the same.
func (s *Snapshot) With(r epu.Reading) *Snapshot {
	next := *s
	next.Readings = maps.Clone(s.Readings)
	if next.Readings == nil {
		next.Readings = map[string]epu.Reading{}
	}
	next.Readings[r.Sensor] = r
	before := s.Windows
	next.Windows = func(sensor string, span time.Duration) (epu.Window, bool) {
		switch {
		case sensor == r.Sensor:
			return epu.Window{
				Sensor: sensor, Span: span, Mean: r.Value, Min: r.Value, Max: r.Value, Last: r.Value, Count: 1, Covers: span, Quality: r.Quality,
			}, true
		case before == nil:
			return epu.Window{}, false
		}
		return before(sensor, span)
	}
	for _, w := range []**epu.Reading{&next.Work.Left, &next.Work.Rate} {
		if *w != nil && (*w).Sensor == r.Sensor {
			*w = &r
		}
	}
	if s.past != nil {
		past := *s.past
		past.given = maps.Clone(past.given)
		if past.given == nil {
			past.given = map[string]bool{}
		}
		past.given[r.Sensor] = true
		next.past = &past
	}
	return &next
}

// ChangesMax bounds Snapshot.Changes: of more, the newest are kept.
const ChangesMax = 1000

// Counts sums up the workers of a snapshot. An ended or gone worker is in Ending or nowhere.
type Counts struct {
	Starting  int // open, not yet Running: everything requested
	Running   int // open, Running
	Unhealthy int // open and unhealthy; also counted in Starting or Running
	Draining  int // open and draining; also counted in Running
	Ending    int // ended, machine not yet confirmed gone
}

// Open is the supply: Starting plus Running.
func (c Counts) Open() int { return c.Starting + c.Running }

// Add counts a worker n times, or takes it out again with n below 0.
func (c *Counts) Add(w *epu.Worker, n int) {
	switch {
	case !w.Open():
		c.Ending += n
		return
	case w.State >= epu.Running:
		c.Running += n
	default:
		c.Starting += n
	}
	if w.Draining {
		c.Draining += n
	}
	if w.Unhealthy() {
		c.Unhealthy += n
	}
}

// Sum counts workers that are not gone, and picks the open and unhealthy ones in their order.
func Sum(workers []*epu.Worker) (c Counts, bad []*epu.Worker) {
	for _, w := range workers {
		c.Add(w, 1)
		if w.Open() && w.Unhealthy() {
			bad = append(bad, w)
		}
	}
	return c, bad
}

// stateFuncs are what a policy sees of a snapshot.
func stateFuncs() []Function {
	return append([]Function{
		field("state", "now", "number", "The time of this decision in unix seconds."),
		field("state", "target", "integer", "The wish in force, after the guard rails: workers in all."),
		field("state", "memory", "table", "A table that is kept between decisions and over restarts (a change that comes without another wish or an action is on disk within a minute): texts, numbers, booleans and tables of them, at most 64 KiB."),
		field("state", "params", "table<string, any>", "The policy's configuration, the same as conf."),
		sandbox.F("state", "time", "opts?: epu.TimeOptions", "epu.Time", "The time of this decision on the clocks of a zone.", zoned),
		sandbox.F("state", "running", "", "integer", "How many workers run.", counter("running", func(c Counts) int { return c.Running })),
		sandbox.F("state", "starting", "", "integer", "How many workers are requested, booting or not ready yet.", counter("starting", func(c Counts) int { return c.Starting })),
		sandbox.F("state", "draining", "", "integer", "How many workers are draining; they also count as running.", counter("draining", func(c Counts) int { return c.Draining })),
		sandbox.F("state", "unhealthy_count", "", "integer", "How many workers are unhealthy; they also count as starting or running.", counter("unhealthy_count", func(c Counts) int { return c.Unhealthy })),
		sandbox.F("state", "count", "filter?: epu.Filter", "integer", "How many workers pass a filter.", count),
		sandbox.F("state", "workers", "filter?: epu.Filter", "fun(): epu.Worker?", "Iterates over workers, oldest first: for w in state.workers{stage = \"running\"} do ... end.", workers),
		sandbox.F("state", "unhealthy", "", "fun(): epu.Worker?", "Iterates over the unhealthy workers, oldest first.", unhealthy),
		sandbox.F("state", "worker", "id: string", "epu.Worker?", "The worker with this ID, or nil. An ID that control.launch gave finds the worker that came of it.", worker),
	}, surroundingFuncs()...)
}

// cronFuncs tell when lines of a crontab are due. They work in validate too, which has no state.
func cronFuncs() []Function {
	return []Function{
		sandbox.F("cron", "next", "line: string, zone?: string, after?: number", "number?", "When a line such as \"30 8 * * MON-FRI\" is due next after a time, in unix seconds; after state.now unless another time is given. UTC without a zone. nil if never in nine years.", cronTime("cron.next", cron.Line.Next)),
		sandbox.F("cron", "prev", "line: string, zone?: string, at?: number", "number?", "When a line was due last, at this time or before it.", cronTime("cron.prev", cron.Line.Prev)),
		sandbox.F("cron", "check", "line: string, zone?: string", "", "Fails with what is wrong with a line or a zone, such as a day that no year has: for validate.", cronCheck),
	}
}

// The tables of state.time.
var (
	timeOptions = Class{Name: "epu.TimeOptions", Doc: "Options of state.time.", Fields: []sandbox.Attr{
		{Name: "zone", Type: "string?", Doc: "name of a time zone such as Europe/Berlin; UTC without it"},
	}}
	timeClass = Class{Name: "epu.Time", Doc: "A time on the clocks of a zone.", Fields: []sandbox.Attr{
		{Name: "year", Type: "integer", Doc: "such as 2026"},
		{Name: "month", Type: "integer", Doc: "1 to 12"},
		{Name: "day", Type: "integer", Doc: "1 to 31"},
		{Name: "hour", Type: "integer", Doc: "0 to 23"},
		{Name: "min", Type: "integer", Doc: "0 to 59"},
		{Name: "sec", Type: "integer", Doc: "0 to 59"},
		{Name: "wday", Type: "integer", Doc: "day of the week; 1 is Sunday"},
		{Name: "yday", Type: "integer", Doc: "day of the year"},
		{Name: "offset", Type: "integer", Doc: "seconds that the zone is ahead of UTC"},
	}}
)

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

// kept is the memory as it is stored. What can't be kept is told with the function that left it: what put it there is
// not known by then.
func (h *host) kept() (json.RawMessage, error) {
	b, err := sandbox.EncodeMemory(h.memory)
	if err != nil {
		from := h.fns.decide.Proto
		return nil, fmt.Errorf("%s:%d: after decide, %w", from.SourceName, from.LineDefined, err)
	}
	return b, nil
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
	n, known := h.snap.past.count(name)
	if !known {
		h.Work(L, len(h.snap.Workers)*max(1, len(f.tests))/8)
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

// told is a filter's value in the name of a count: as it is, or in quotes where it could be taken for the
// beginning of another filter.
func told(v lua.LValue) string {
	if s := v.String(); s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !plainLetter(c) }) {
		return s
	}
	return strconv.Quote(v.String())
}

func plainLetter(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '/'
}

// zone finds a time zone and keeps it.
func (h *host) zone(L *lua.LState, what, name string) *time.Location {
	loc, ok := h.zones[name]
	if !ok {
		h.Work(L, 1000)
		var err error
		if loc, err = cron.Zone(name); err != nil {
			L.RaiseError("%s: no time zone '%s': use a name such as Europe/Berlin", what, name)
		}
		if h.zones == nil || len(h.zones) > 16 {
			h.zones = map[string]*time.Location{}
		}
		h.zones[name] = loc
	}
	return loc
}

func zoned(L *lua.LState) int {
	const what = "state.time"
	h := hostOf(L)
	t := h.snap.Now.In(h.zone(L, what, word(L, what, "zone", options(L, 1, what, timeOptions).get("zone"))))
	h.clock(t.Location())
	_, offset := t.Zone()
	number := func(n int) lua.LValue { return lua.LNumber(n) }
	L.Push(record(
		entry{"year", number(t.Year())}, entry{"month", number(int(t.Month()))}, entry{"day", number(t.Day())},
		entry{"hour", number(t.Hour())}, entry{"min", number(t.Minute())}, entry{"sec", number(t.Second())},
		entry{"wday", number(int(t.Weekday()) + 1)}, entry{"yday", number(t.YearDay())}, entry{"offset", number(offset)},
	))
	return 1
}

// clock notes that the policy looked at the clock, so that explanations can say so. It is no input of a replay: the
// record has the decision's time.
func (h *host) clock(zone *time.Location) {
	if h.snap != nil {
		h.note(clockInput+zone.String(), h.snap.Now.In(zone).Format("Mon 2006-01-02 15:04:05"))
	}
}

// clockInput begins the name of an input that is a zone's time.
const clockInput = "time "

// cronSteps is what looking for a due time costs at most, in VM instructions.
const cronSteps = 3000

func cronLine(L *lua.LState, what string) (cron.Line, *time.Location) {
	h := hostOf(L)
	h.Work(L, cronSteps)
	text := word(L, what, "line", L.Get(1))
	line, err := cron.Parse(text)
	if err != nil {
		L.RaiseError("%s: '%s': %s", what, params.Clip(text, wordMax), err.Error())
	}
	return line, h.zone(L, what, word(L, what, "zone", L.Get(2)))
}

func cronTime(what string, of func(cron.Line, time.Time, *time.Location) (time.Time, bool)) lua.LGFunction {
	return func(L *lua.LState) int {
		line, zone := cronLine(L, what)
		h := hostOf(L)
		h.clock(zone)
		var from time.Time
		switch v := L.Get(3).(type) {
		case *lua.LNilType:
			if h.snap == nil {
				L.RaiseError("%s: there is no time outside initialize, decide and reconfigure: give one", what)
			}
			from = h.snap.Now
		case lua.LNumber:
			if !(v >= 0 && v < unixMax) {
				L.RaiseError("%s: %s is no time in unix seconds", what, v.String())
			}
			from = time.UnixMilli(int64(math.Floor(float64(v) * 1000)))
		default:
			L.RaiseError("%s: the time is a number of unix seconds, got %s", what, sandbox.KindOf(v))
		}
		t, ok := of(line, from, zone)
		if !ok {
			L.Push(lua.LNil)
			return 1
		}
		L.Push(unix(t))
		return 1
	}
}

// unixMax bounds times, in unix seconds: the year 4000.
const unixMax = 64_000_000_000

func cronCheck(L *lua.LState) int {
	if line, _ := cronLine(L, "cron.check"); !line.Ever() {
		L.RaiseError("cron.check: '%s': no year has such a day, so it is never due", params.Clip(L.CheckString(1), wordMax))
	}
	return 0
}
