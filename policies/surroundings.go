package policies

import (
	"fmt"
	"math"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// windowMax is the longest span of a window: no sensor keeps readings for longer.
const windowMax = 24 * time.Hour

// surroundingFuncs tell of what is around a pool: its sensors, its work, what machines cost, what may be
// spent, and where launches may go.
func surroundingFuncs() []Function {
	return []Function{
		sandbox.F("state", "sensor", "id: string", "epu.Reading?", "The newest reading of a sensor; nil if none ever came.", sensor),
		sandbox.F("state", "window", "id: string, seconds: number", "epu.Window?", "A sensor's readings over the last so many seconds, summed up; nil if there are none or if anything among them is unknown.", window),
		sandbox.F("state", "changes", "", "epu.Change[]", "What happened to workers since the last decision, oldest first; at most the newest 1000.", changes),
		sandbox.F("state", "work", "", "epu.Work?", "A finite amount of work and its deadline; nil for pools that have none.", work),
		sandbox.F("state", "offers", "filter?: string|epu.OfferFilter", "epu.Offer[]", "What machines cost now at the sites of the pool's placement, cheapest first. A text is an allocation.", offers),
		sandbox.F("state", "budget", "", "epu.Budget", "What the pool costs and may cost.", budgetOf),
		sandbox.F("state", "places", "", "epu.Place[]", "The pool's placement, in its order.", places),
		sandbox.F("state", "backoff", "site?: string", "number", "Seconds until launches may be tried again, in the pool or at one site; 0 when they may be tried now.", backoff),
		sandbox.F("state", "refused", "", "epu.Refusal[]", "What the guard rails refused of the last decision.", refused),
	}
}

const qualityType = `"ok"|"stale"|"unknown"|"warming"`

// The tables that these functions give.
var (
	readingClass = Class{Name: "epu.Reading", Doc: "The newest reading of a sensor. Only ok is to be relied on: stale is too old, warming comes from a source that has just started, unknown has no value at all.", Fields: []sandbox.Attr{
		{Name: "value", Type: "number?", Doc: "nil when unknown"},
		{Name: "time", Type: "number?", Doc: "unix seconds at which it was taken"},
		{Name: "age", Type: "number", Doc: "seconds since then"},
		{Name: "quality", Type: qualityType, Doc: "how far it can be trusted"},
	}}
	windowClass = Class{Name: "epu.Window", Doc: "A sensor's readings over a span that ends now.", Fields: []sandbox.Attr{
		{Name: "mean", Type: "number", Doc: "over time: a value holds until the next one"},
		{Name: "min", Type: "number", Doc: "the smallest"},
		{Name: "max", Type: "number", Doc: "the largest"},
		{Name: "last", Type: "number", Doc: "the newest"},
		{Name: "slope", Type: "number", Doc: "change per second, by least squares"},
		{Name: "count", Type: "integer", Doc: "how many readings"},
		{Name: "covers", Type: "number", Doc: "seconds of the span that readings speak for"},
		{Name: "quality", Type: `"ok"|"stale"|"warming"`, Doc: "the worst among them"},
	}}
	changeClass = Class{Name: "epu.Change", Doc: "One step in a worker's life.", Fields: []sandbox.Attr{
		{Name: "worker", Type: "string", Doc: "the worker's ID"},
		{Name: "what", Type: `"state"|"health"|"draining"|"gone"`, Doc: "what changed"},
		{Name: "from", Type: "string?", Doc: "the word before"},
		{Name: "to", Type: "string", Doc: "the word after"},
		{Name: "time", Type: "number", Doc: "unix seconds"},
	}}
	workClass = Class{Name: "epu.Work", Doc: "A finite amount of work, as far as sensors know it.", Fields: []sandbox.Attr{
		{Name: "left", Type: "number?", Doc: "work not yet done"},
		{Name: "rate", Type: "number?", Doc: "work done per second by all workers"},
		{Name: "quality", Type: qualityType, Doc: "the worse of the two readings; unknown when there are none"},
		{Name: "age", Type: "number?", Doc: "seconds since left was read"},
		{Name: "deadline", Type: "number?", Doc: "unix seconds by which it should be done"},
		{Name: "time_left", Type: "number?", Doc: "seconds until the deadline; negative when it has passed"},
	}}
	offerFilter = Class{Name: "epu.OfferFilter", Doc: "Which offers are meant.", Fields: []sandbox.Attr{
		{Name: "site", Type: "string?", Doc: "only of this site"},
		{Name: "allocation", Type: "string?", Doc: "only of this size"},
		{Name: "zone", Type: "string?", Doc: "only in this zone"},
		{Name: "market", Type: `"on-demand"|"reserved"|"spot"?`, Doc: "only of this market"},
	}}
	offerClass = Class{Name: "epu.Offer", Doc: "One thing that can be bought now.", Fields: []sandbox.Attr{
		{Name: "site", Type: "string", Doc: "where"},
		{Name: "allocation", Type: "string", Doc: "the size"},
		{Name: "zone", Type: "string?", Doc: "the zone, where prices differ by zone"},
		{Name: "market", Type: `"on-demand"|"reserved"|"spot"`, Doc: "how it is paid for"},
		{Name: "price", Type: "number", Doc: "US dollars per hour"},
		{Name: "free", Type: "integer", Doc: "how many of a reservation are free; 0 for other markets"},
	}}
	budgetClass = Class{Name: "epu.Budget", Doc: "What the pool costs and may cost, in US dollars per hour.", Fields: []sandbox.Attr{
		{Name: "limit", Type: "number?", Doc: "the pool's limits.spend; nil without one"},
		{Name: "now", Type: "number", Doc: "what the open workers with a known price cost"},
		{Name: "left", Type: "number?", Doc: "the limit less what they cost, at least 0; nil without a limit"},
		{Name: "unknown", Type: "integer", Doc: "open workers without a known price"},
	}}
	placeClass = Class{Name: "epu.Place", Doc: "One entry of the pool's placement.", Fields: []sandbox.Attr{
		{Name: "site", Type: "string", Doc: "where"},
		{Name: "allocation", Type: "string?", Doc: "the size, where the placement names one"},
		{Name: "market", Type: `"on-demand"|"reserved"|"spot"?`, Doc: "how it is paid for, where the placement says so"},
		{Name: "max", Type: "integer?", Doc: "how many workers of the pool may be there; nil without a limit of its own"},
		{Name: "backoff", Type: "number", Doc: "seconds until launches at this site may be tried again after failures there"},
	}}
	refusalClass = Class{Name: "epu.Refusal", Doc: "Something that the guard rails refused.", Fields: []sandbox.Attr{
		{Name: "rule", Type: "string", Doc: "the guard rail, such as limits.max"},
		{Name: "text", Type: "string", Doc: "what was refused, and why"},
	}}
)

// entry is one field of a table that is made for a policy.
type entry struct {
	name  string
	value lua.LValue
}

// record makes a table of fields; those that are nil are left out.
func record(entries ...entry) *lua.LTable {
	t := sandbox.Sized(len(entries))
	for _, e := range entries {
		if e.value != lua.LNil {
			t.RawSetString(e.name, e.value)
		}
	}
	return t
}

func list[T any](L *lua.LState, of []T, one func(T) *lua.LTable) int {
	hostOf(L).Work(L, 4*len(of))
	t := sandbox.NewTable()
	for i, v := range of {
		t.RawSetInt(i+1, one(v))
	}
	L.Push(t)
	return 1
}

func finite(numbers ...float64) bool {
	for _, f := range numbers {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}

// tame makes a reading that JSON can hold: one whose value is no number is unknown.
func tame(r epu.Reading) epu.Reading {
	if !finite(r.Value) {
		r.Value, r.Quality = 0, epu.QualityUnknown
	}
	return r
}

func valueOf(r *epu.Reading) lua.LValue {
	if r == nil || r.Quality == epu.QualityUnknown {
		return lua.LNil
	}
	return lua.LNumber(r.Value)
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
	r = tame(r)
	h.saw("sensor "+id, r)
	L.Push(record(
		entry{"value", valueOf(&r)}, entry{"time", timeOrNil(r.Time)},
		entry{"age", lua.LNumber(r.Age.Seconds())}, entry{"quality", lua.LString(r.Quality)},
	))
	return 1
}

func window(L *lua.LState) int {
	const what = "state.window"
	h := hostOf(L)
	id := word(L, what, "id", L.Get(1))
	n, ok := L.Get(2).(lua.LNumber)
	if !ok || !(n > 0 && float64(n) <= windowMax.Seconds()) {
		L.RaiseError("%s: the span is a number of seconds, more than 0 and at most %d; got %s", what, int(windowMax.Seconds()), sandbox.TextOf(L.Get(2)))
	}
	span := time.Duration(float64(n) * float64(time.Second))
	name := windowName(id, span)
	var w epu.Window
	ok = false
	if h.snap.Windows != nil {
		h.Work(L, 100)
		w, ok = h.snap.Windows(id, span)
		h.Work(L, w.Count/4) // which nobody knows before
	}
	if !ok || w.Quality == epu.QualityUnknown || !finite(w.Mean, w.Min, w.Max, w.Last, w.Slope) {
		h.saw(name, nil)
		L.Push(lua.LNil)
		return 1
	}
	h.saw(name, w)
	L.Push(record(
		entry{"mean", lua.LNumber(w.Mean)}, entry{"min", lua.LNumber(w.Min)}, entry{"max", lua.LNumber(w.Max)},
		entry{"last", lua.LNumber(w.Last)}, entry{"slope", lua.LNumber(w.Slope)}, entry{"count", lua.LNumber(w.Count)},
		entry{"covers", lua.LNumber(w.Covers.Seconds())}, entry{"quality", lua.LString(w.Quality)},
	))
	return 1
}

// windowName is the name of a window among the inputs.
func windowName(id string, span time.Duration) string { return fmt.Sprintf("window %s %v", id, span) }

func changes(L *lua.LState) int {
	h := hostOf(L)
	all := h.snap.Changes
	all = all[max(0, len(all)-ChangesMax):]
	h.saw("changes", all)
	return list(L, all, func(c epu.Change) *lua.LTable {
		return record(
			entry{"worker", lua.LString(c.Worker)}, entry{"what", lua.LString(c.What)}, entry{"from", orNil(c.From)},
			entry{"to", lua.LString(c.To)}, entry{"time", unix(c.Time)},
		)
	})
}

func work(L *lua.LState) int {
	h := hostOf(L)
	w := h.snap.Work
	for _, r := range []**epu.Reading{&w.Left, &w.Rate} {
		if *r != nil {
			good := tame(**r)
			*r = &good
		}
	}
	h.saw("work", w)
	if w.Left == nil && w.Rate == nil && w.Deadline.IsZero() {
		L.Push(lua.LNil)
		return 1
	}
	age, left := lua.LValue(lua.LNil), lua.LValue(lua.LNil)
	if w.Left != nil {
		age = lua.LNumber(w.Left.Age.Seconds())
	}
	if !w.Deadline.IsZero() {
		left = lua.LNumber(w.Deadline.Sub(h.snap.Now).Seconds())
	}
	L.Push(record(
		entry{"left", valueOf(w.Left)}, entry{"rate", valueOf(w.Rate)}, entry{"quality", lua.LString(worst(w.Left, w.Rate))},
		entry{"age", age}, entry{"deadline", timeOrNil(w.Deadline)}, entry{"time_left", left},
	))
	return 1
}

// worst is the worse of two qualities; unknown without any reading.
func worst(readings ...*epu.Reading) epu.Quality {
	order := []epu.Quality{epu.QualityUnknown, epu.QualityStale, epu.QualityWarming, epu.QualityOK}
	for _, q := range order {
		for _, r := range readings {
			if r != nil && r.Quality == q {
				return q
			}
		}
	}
	return epu.QualityUnknown
}

func offers(L *lua.LState) int {
	const what = "state.offers"
	h := hostOf(L)
	var f epu.Offer
	if s, ok := L.Get(1).(lua.LString); ok {
		f.Allocation = epu.Allocation(word(L, what, "allocation", s))
	} else {
		o := options(L, 1, what, offerFilter)
		f.Site, f.Zone = epu.SiteID(word(L, what, "site", o.get("site"))), word(L, what, "zone", o.get("zone"))
		f.Allocation = epu.Allocation(word(L, what, "allocation", o.get("allocation")))
		f.Market = epu.Market(oneOf(L, what, "market", o, "on-demand", "reserved", "spot"))
	}
	name := fmt.Sprintf("offers{site=%q,allocation=%q,zone=%q,market=%q}", f.Site, f.Allocation, f.Zone, f.Market)
	found, known := h.snap.past.offers(name)
	if !known {
		h.Work(L, len(h.snap.Offers)/8)
		found = []epu.Offer{}
		for _, o := range h.snap.Offers {
			if finite(o.USDPerHour) && (f.Site == "" || f.Site == o.Site) && (f.Allocation == "" || f.Allocation == o.Allocation) &&
				(f.Zone == "" || f.Zone == o.Zone) && (f.Market == "" || f.Market == o.Market) {
				found = append(found, o)
			}
		}
	}
	h.saw(name, found)
	return list(L, found, func(o epu.Offer) *lua.LTable {
		return record(
			entry{"site", lua.LString(o.Site)}, entry{"allocation", lua.LString(o.Allocation)}, entry{"zone", orNil(o.Zone)},
			entry{"market", lua.LString(o.Market)}, entry{"price", lua.LNumber(o.USDPerHour)}, entry{"free", lua.LNumber(o.Free)},
		)
	})
}

func budgetOf(L *lua.LState) int {
	h := hostOf(L)
	b := h.snap.Budget
	if !finite(b.PerHour, b.Now) {
		L.RaiseError("state.budget: what the pool costs is not known")
	}
	h.saw("budget", b)
	limit, left := lua.LValue(lua.LNil), lua.LValue(lua.LNil)
	if b.PerHour > 0 {
		limit, left = lua.LNumber(b.PerHour), lua.LNumber(max(0, b.PerHour-b.Now))
	}
	L.Push(record(entry{"limit", limit}, entry{"now", lua.LNumber(b.Now)}, entry{"left", left}, entry{"unknown", lua.LNumber(b.Unknown)}))
	return 1
}

// placing is the value of the input "places".
type placing struct {
	Places  []epu.Placement              `json:"places,omitempty"`
	Backoff map[epu.SiteID]time.Duration `json:"backoff,omitempty"`
}

func places(L *lua.LState) int {
	h := hostOf(L)
	h.saw("places", placing{h.snap.Places, h.snap.SiteBackoff})
	return list(L, h.snap.Places, func(p epu.Placement) *lua.LTable {
		most := lua.LValue(lua.LNil)
		if p.Max > 0 {
			most = lua.LNumber(p.Max)
		}
		return record(
			entry{"site", lua.LString(p.Site)}, entry{"allocation", orNil(string(p.Allocation))}, entry{"market", orNil(string(p.Market))},
			entry{"max", most}, entry{"backoff", lua.LNumber(h.snap.SiteBackoff[p.Site].Seconds())},
		)
	})
}

func backoff(L *lua.LState) int {
	h := hostOf(L)
	name, wait := "backoff", h.snap.Backoff
	if site := word(L, "state.backoff", "site", L.Get(1)); site != "" {
		name, wait = "backoff "+site, h.snap.SiteBackoff[epu.SiteID(site)]
	}
	h.saw(name, wait)
	L.Push(lua.LNumber(wait.Seconds()))
	return 1
}

func refused(L *lua.LState) int {
	h := hostOf(L)
	h.saw("refused", h.snap.Refused)
	return list(L, h.snap.Refused, func(r epu.Reason) *lua.LTable {
		return record(entry{"rule", lua.LString(r.Rule)}, entry{"text", lua.LString(r.Text)})
	})
}
