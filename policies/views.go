package policies

import (
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// The view of a worker, and the filters that choose workers.
var (
	workerClass = Class{Name: "epu.Worker", Doc: "A worker, read-only and valid during the call that it was made in.", Fields: []sandbox.Attr{
		{Name: "id", Type: "string", Doc: "its ID, which may be kept in state.memory"},
		{Name: "name", Type: "string?", Doc: "of a unique worker"},
		{Name: "state", Type: "string", Doc: "life-cycle state as a word, such as RUNNING"},
		{Name: "stage", Type: `"starting"|"running"|"draining"|"ending"`, Doc: "the state in short"},
		{Name: "health", Type: "string", Doc: "health as a word, such as OK"},
		{Name: "unhealthy", Type: "boolean", Doc: "whether it should be replaced"},
		{Name: "draining", Type: "boolean", Doc: "whether it takes no new work and ends when idle"},
		{Name: "protected", Type: "boolean", Doc: "whether an operator keeps it from being ended"},
		{Name: "age", Type: "number", Doc: "seconds since its launch was opened"},
		{Name: "site", Type: "string?", Doc: "where it is"},
		{Name: "zone", Type: "string?", Doc: "the zone, once it is known"},
		{Name: "allocation", Type: "string?", Doc: "its size"},
		{Name: "market", Type: `"on-demand"|"reserved"|"spot"?`, Doc: "how it is paid for"},
		{Name: "price", Type: "number?", Doc: "US dollars per hour, where known"},
		{Name: "charge_in", Type: "number?", Doc: "seconds until its next charge; nil when not known or charged by the second"},
		{Name: "vars", Type: "table<string, string>", Doc: "a copy of its own variables"},
		{Name: "idle_since", Type: "number?", Doc: "unix seconds; nil when busy or not reported"},
		{Name: "busy_until", Type: "number?", Doc: "end of its busy lease in unix seconds"},
		{Name: "asked", Type: "string?", Doc: "the ID that control.launch gave for it, if a policy launched it"},
	}}
	filterClass = Class{Name: "epu.Filter", Doc: "Which workers are meant: those for which all that is given holds.", Fields: []sandbox.Attr{
		{Name: "allocation", Type: "string?", Doc: "size"},
		{Name: "draining", Type: "boolean?", Doc: "whether they drain"},
		{Name: "health", Type: "string?", Doc: "a word such as OK"},
		{Name: "market", Type: "string?", Doc: "on-demand, reserved or spot"},
		{Name: "name", Type: "string?", Doc: "name of a unique worker"},
		{Name: "protected", Type: "boolean?", Doc: "whether an operator keeps them from being ended"},
		{Name: "site", Type: "string?", Doc: "site"},
		{Name: "stage", Type: `"starting"|"running"|"draining"|"ending"?`, Doc: "the state in short"},
		{Name: "state", Type: "string?", Doc: "a word such as RUNNING"},
		{Name: "unhealthy", Type: "boolean?", Doc: "whether they should be replaced"},
		{Name: "zone", Type: "string?", Doc: "zone"},
	}}
)

// newView makes a read-only view of a worker. Views come from slabs, since a policy that visits ten
// thousand workers makes as many.
func (h *host) newView(w *epu.Worker) *lua.LUserData {
	if len(h.slab) == 0 {
		h.slab = make([]lua.LUserData, slabSize)
	}
	ud := &h.slab[0]
	h.slab = h.slab[1:]
	ud.Value, ud.Env, ud.Metatable = w, &h.live.state, h.p.world.viewMeta
	return ud
}

// slabSize is small enough that a policy which keeps one view of a slab wastes little.
const slabSize = 32

func workerOf(ud *lua.LUserData) (*epu.Worker, bool) {
	w, ok := ud.Value.(*epu.Worker)
	return w, ok
}

// liveWorker is the worker behind a view of the running call.
func liveWorker(L *lua.LState, ud *lua.LUserData) *epu.Worker {
	w, ok := workerOf(ud)
	h := hostOf(L)
	if !ok || h.live == nil || ud.Env != &h.live.state {
		L.RaiseError("this worker is from an earlier call and no longer valid: keep its id and use state.worker(id)")
	}
	return w
}

func viewIndex(L *lua.LState) int {
	ud, ok := L.Get(1).(*lua.LUserData)
	if !ok {
		L.RaiseError("not a worker")
	}
	w := liveWorker(L, ud)
	name, _ := L.Get(2).(lua.LString)
	if v := common(w, name); v != nil {
		L.Push(v)
		return 1
	}
	switch name {
	case "id":
		L.Push(lua.LString(w.ID))
	case "age":
		L.Push(lua.LNumber(hostOf(L).snap.Now.Sub(w.Created).Seconds()))
	case "vars":
		hostOf(L).Work(L, 4*len(w.Vars))
		L.Push(sandbox.ToLua(w.Vars))
	case "site":
		L.Push(orNil(string(w.Site)))
	case "zone":
		L.Push(orNil(w.Zone))
	case "allocation":
		L.Push(orNil(string(w.Allocation)))
	case "market":
		L.Push(orNil(string(w.Market)))
	case "idle_since":
		L.Push(timeOrNil(w.IdleSince))
	case "busy_until":
		L.Push(timeOrNil(w.BusyUntil))
	case "price":
		L.Push(numberOrNil(w.Price, w.Price > 0))
	case "charge_in":
		L.Push(numberOrNil(max(0, w.ChargeAt.Sub(hostOf(L).snap.Now).Seconds()), !w.ChargeAt.IsZero()))
	case "asked":
		L.Push(orNil(string(provisional(w))))
	default:
		L.RaiseError("%s", sandbox.UnknownName("worker."+string(name), string(name), workerClass.Names()))
	}
	return 1
}

// common are the fields that policies look at most; their values are made once for all workers, since
// making a Lua value of a text allocates.
func common(w *epu.Worker, name lua.LString) lua.LValue {
	switch name {
	case "state":
		return words.state(w.State)
	case "health":
		return words.health(w.Health)
	case "stage":
		return words.stages[stage(w)]
	case "unhealthy":
		return lua.LBool(w.Unhealthy())
	case "draining":
		return lua.LBool(w.Draining)
	case "protected":
		return lua.LBool(w.Protected)
	case "name":
		return orNil(w.Name)
	}
	return nil
}

// wordValues are the words of states, healths and stages as Lua values.
type wordValues struct {
	states  [20]lua.LValue // by state / 50
	healths []lua.LValue
	stages  map[string]lua.LValue
}

var words = func() wordValues {
	v := wordValues{stages: map[string]lua.LValue{}}
	for _, s := range epu.States() {
		v.states[s/50] = lua.LString(s.Word())
	}
	for h := epu.HealthUnknown; h <= epu.Zombie; h++ {
		v.healths = append(v.healths, lua.LString(h.String()))
	}
	for _, s := range stageWords {
		v.stages[s] = lua.LString(s)
	}
	return v
}()

var stageWords = []string{"starting", "running", "draining", "ending"}

func (v *wordValues) state(s epu.State) lua.LValue {
	if i := int(s) / 50; i >= 0 && i < len(v.states) && v.states[i] != nil {
		return v.states[i]
	}
	return lua.LString(s.Word())
}

func (v *wordValues) health(h epu.Health) lua.LValue {
	if h >= 0 && int(h) < len(v.healths) {
		return v.healths[h]
	}
	return lua.LString(h.String())
}

func orNil(s string) lua.LValue {
	if s == "" {
		return lua.LNil
	}
	return lua.LString(s)
}

func numberOrNil(n float64, known bool) lua.LValue {
	if !known || !finite(n) {
		return lua.LNil
	}
	return lua.LNumber(n)
}

// provisional is the ID that control.launch gave for a worker, or "".
func provisional(w *epu.Worker) epu.WorkerID {
	if w.Asked == "" {
		return ""
	}
	return epu.Provisional(w.Asked, int(w.AskedFrom)+w.Slot)
}

func timeOrNil(t time.Time) lua.LValue {
	if t.IsZero() {
		return lua.LNil
	}
	return unix(t)
}

func viewEqual(L *lua.LState) int {
	a, _ := L.Get(1).(*lua.LUserData)
	b, _ := L.Get(2).(*lua.LUserData)
	same := a != nil && b != nil && a.Value == b.Value
	L.Push(lua.LBool(same))
	return 1
}

func stage(w *epu.Worker) string {
	switch {
	case !w.Open():
		return "ending"
	case w.Draining:
		return "draining"
	case w.State >= epu.Running:
		return "running"
	}
	return "starting"
}

// filter says which workers are meant. An empty one lets all pass.
type filter struct {
	text  string // canonical, names the count in the record
	tests []filterTest
}

type filterTest struct {
	name, word string
	flag       bool
}

func filterOf(L *lua.LState, what string) filter {
	var f filter
	want := options(L, 1, what, filterClass)
	if want.t == nil {
		return f
	}
	var parts []string
	for _, attr := range filterClass.Fields {
		name := attr.Name
		v := want.get(name)
		if v == lua.LNil {
			continue
		}
		t := filterTest{name: name}
		if attr.Type == "boolean?" {
			if v.Type() != lua.LTBool {
				L.RaiseError("%s: %s is true or false, got %s", what, name, sandbox.KindOf(v))
			}
			t.flag = v == lua.LTrue
		} else {
			t.word = word(L, what, name, v)
			checkWord(L, what, name, t.word)
		}
		f.tests = append(f.tests, t)
		parts = append(parts, name+"="+told(v))
	}
	f.text = strings.Join(parts, ",")
	return f
}

// checkWord refuses words that no worker can have: a misspelt state would count nothing for ever.
func checkWord(L *lua.LState, what, name, v string) {
	var known []string
	switch name {
	case "state":
		for _, s := range epu.States() {
			known = append(known, s.Word())
		}
	case "stage":
		known = stageWords
	case "health":
		for h := epu.HealthUnknown; h <= epu.Zombie; h++ {
			known = append(known, h.String())
		}
	default:
		return
	}
	for _, k := range known {
		if k == v {
			return
		}
	}
	L.RaiseError("%s: %s is one of %s; got '%s'", what, name, strings.Join(known, " "), v)
}

func (f *filter) passes(w *epu.Worker) bool {
	for i := range f.tests {
		if !f.tests[i].passes(w) {
			return false
		}
	}
	return true
}

func (t *filterTest) passes(w *epu.Worker) bool {
	switch t.name {
	case "draining":
		return w.Draining == t.flag
	case "unhealthy":
		return w.Unhealthy() == t.flag
	case "protected":
		return w.Protected == t.flag
	case "state":
		return w.State.Word() == t.word
	case "stage":
		return stage(w) == t.word
	case "health":
		return w.Health.String() == t.word
	case "site":
		return string(w.Site) == t.word
	case "zone":
		return w.Zone == t.word
	case "allocation":
		return string(w.Allocation) == t.word
	case "market":
		return string(w.Market) == t.word
	}
	return w.Name == t.word
}

// same checks that an iterator is used in the call that made it.
func (h *host) same(L *lua.LState, call *session) {
	if h.live != call {
		L.RaiseError("this iterator is from an earlier call and no longer valid")
	}
}

func workers(L *lua.LState) int {
	h := hostOf(L)
	f := filterOf(L, "state.workers")
	h.seen.begin(h.snap)
	i, call := 0, h.live
	L.Push(sandbox.GoFunc(func(L *lua.LState) int {
		h.same(L, call)
		all := h.snap.Workers
		for ; i < len(all); i++ {
			if h.Work(L, 1); !f.passes(all[i]) {
				continue
			}
			h.seen.all.set(i)
			L.Push(h.newView(all[i]))
			i++
			return 1
		}
		return 0
	}))
	return 1
}

func unhealthy(L *lua.LState) int {
	h := hostOf(L)
	h.seen.begin(h.snap)
	i, call := 0, h.live
	L.Push(sandbox.GoFunc(func(L *lua.LState) int {
		h.same(L, call)
		if i >= len(h.snap.Bad) {
			return 0
		}
		h.seen.bad.set(i)
		L.Push(h.newView(h.snap.Bad[i]))
		i++
		return 1
	}))
	return 1
}

func worker(L *lua.LState) int {
	h := hostOf(L)
	w := h.find(L, epu.WorkerID(word(L, "state.worker", "id", L.Get(1))))
	if w == nil {
		return 0
	}
	L.Push(h.newView(w))
	return 1
}

// find looks for a worker by its ID or by the one that control.launch gave for it.
func (h *host) find(L *lua.LState, id epu.WorkerID) *epu.Worker {
	h.seen.begin(h.snap)
	i, ok := h.placeOf(L)[id]
	if !ok {
		return nil
	}
	h.seen.all.set(i)
	return h.snap.Workers[i]
}
