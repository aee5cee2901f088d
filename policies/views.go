package policies

import (
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// viewFields are the fields of a worker view, for the reference and for "did you mean".
func viewFields() []Function {
	var out []Function
	for _, f := range [][2]string{
		{"id", "ID"},
		{"name", "name of a unique worker, or nil"},
		{"state", "life-cycle state as a word, such as RUNNING"},
		{"stage", "starting, running, draining or ending"},
		{"health", "health as a word, such as OK"},
		{"unhealthy", "whether it should be replaced"},
		{"draining", "whether it takes no new work and ends when idle"},
		{"age", "seconds since its launch was opened"},
		{"site", "site"},
		{"zone", "zone, or nil"},
		{"allocation", "size, or nil"},
		{"market", "how it is paid for, or nil"},
		{"price", "US dollars per hour, or nil when not known"},
		{"vars", "a copy of its own variables"},
		{"idle_since", "unix seconds, or nil when busy or not reported"},
		{"busy_until", "end of its busy lease in unix seconds, or nil"},
		{"charge_in", "seconds until the next charge, or nil when not known"},
	} {
		out = append(out, field("worker", f[0], f[1]))
	}
	return out
}

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
	case "price", "charge_in":
		L.Push(lua.LNil)
	default:
		var known []string
		for _, f := range viewFields() {
			known = append(known, f.Name)
		}
		L.RaiseError("%s", sandbox.UnknownName("worker."+string(name), string(name), known))
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

var filterNames = []string{
	"allocation", "draining", "health", "market", "name", "site", "stage", "state", "unhealthy", "zone",
}

func filterOf(L *lua.LState, what string) filter {
	var f filter
	want := options(L, 1, what, filterNames...)
	if want.t == nil {
		return f
	}
	var parts []string
	for _, name := range filterNames {
		v := want.get(name)
		if v == lua.LNil {
			continue
		}
		t := filterTest{name: name}
		if name == "draining" || name == "unhealthy" {
			if v.Type() != lua.LTBool {
				L.RaiseError("%s: %s is true or false, got %s", what, name, sandbox.KindOf(v))
			}
			t.flag = v == lua.LTrue
		} else {
			t.word = word(L, what, name, v)
			checkWord(L, what, name, t.word)
		}
		f.tests = append(f.tests, t)
		parts = append(parts, name+"="+v.String())
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
			if h.steps++; !f.passes(all[i]) {
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
	id := epu.WorkerID(word(L, "state.worker", "id", L.Get(1)))
	h.seen.begin(h.snap)
	i, ok := h.places(L)[id]
	if !ok {
		return 0
	}
	h.seen.all.set(i)
	L.Push(h.newView(h.snap.Workers[i]))
	return 1
}
