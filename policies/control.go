package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// What one decision can hold at most.
const (
	targetMax  = epu.PoolMax
	uniquesMax = 10_000
	sitesMax   = 1_000
	launchMax  = 1_000 // workers of one launch
	actionsMax = 1_000
	idsMax     = 10_000
	reasonsMax = 50
	alertsMax  = 20
	varsMax    = 200
	varBytes   = 4 << 10   // of one variable with its name
	wishBytes  = 256 << 10 // of a wish with its actions, without the reasons
	wordMax    = 256
	reasonMax  = 500 // bytes of a reason or alert; more is cut
	tickMin    = 100 * time.Millisecond
	tickMax    = 24 * time.Hour
)

func controlFuncs() []Function {
	return []Function{
		sandbox.F("control", "scale_to", "n: integer, opts?: epu.ScaleOptions", "", "Wishes for n workers in all, named ones included, up to 100000. The wish is carried out until another takes its place.", scaleTo),
		sandbox.F("control", "want", "name: string, spec?: epu.WantSpec", "", "Wishes for one worker with a name and, in spec, what only it has. A name that is not wished for in a decision is unwanted.", want),
		sandbox.F("control", "place", "site: string, n: integer", "", "Wishes for n of the workers at this site, 0 for none there; of a surplus, those beyond end first. What scale_to wants beyond all places goes where the pool's placement says. What a site refuses goes to sites without a number, never to another one beyond its own, and waits if there is none.", place),
		sandbox.F("control", "because", "reason: string|epu.Reason, rule?: string", "", "Gives a reason: a text and perhaps a short name of the rule. Explanations show it.", because),
		sandbox.F("control", "alert", "text: string", "", "Tells the operators something.", alert),
		sandbox.F("control", "configure", "opts: epu.ConfigureOptions", "", "Changes how the policy runs.", configure),
		sandbox.F("control", "launch", "opts?: epu.LaunchOptions", "string[]", "Asks once for new workers, and returns an ID for each by which state.worker finds it at later decisions. They count toward scale_to of the same decision. What the guard rails refuse is in state.refused() at the next decision, and not tried again.", launch),
		sandbox.F("control", "terminate", "ids: string|epu.Worker|(string|epu.Worker)[], opts?: epu.ActOptions", "integer", "Asks once to end these workers, and returns how many. A worker whose busy lease is in force drains first. What the pool's limits on endings refuse is in state.refused() at the next decision. A decision that ends more than half of the workers in service, and more than these limits allow in a whole window, is refused as a whole: use drain, or wish for fewer.", act(epu.ActTerminate)),
		sandbox.F("control", "drain", "ids: string|epu.Worker|(string|epu.Worker)[], opts?: epu.ActOptions", "integer", "Asks once to take these workers out of service and to end them when they are idle, and returns how many.", act(epu.ActDrain)),
		sandbox.F("control", "resume", "ids: string|epu.Worker|(string|epu.Worker)[], opts?: epu.ActOptions", "integer", "Asks once to put draining workers back into service, and returns how many.", act(epu.ActResume)),
	}
}

const victimsType = `"newest"|"oldest"|"idle-longest"|"most-expensive"|"nearest-charge"`

// The tables that the functions of control take.
var (
	whereFields = []sandbox.Attr{
		{Name: "site", Type: "string?", Doc: "site of the new workers; without it the pool's placement decides"},
		{Name: "allocation", Type: "string?", Doc: "size of the machines in the site's words"},
		{Name: "market", Type: `"on-demand"|"reserved"|"spot"?`, Doc: "how they are paid for"},
		{Name: "vars", Type: "table<string, string|number|boolean>?", Doc: "variables of new workers, on top of the pool's own"},
	}
	reasonField = sandbox.Attr{Name: "reason", Type: "string?", Doc: "why, in a sentence"}

	scaleOptions = Class{Name: "epu.ScaleOptions", Doc: "Options of control.scale_to.", Fields: slices.Concat(whereFields, []sandbox.Attr{
		{Name: "victims", Type: victimsType + "?", Doc: "which of equally dispensable workers end first; newest without it"},
		{Name: "heal", Type: "boolean?", Doc: "false leaves failed and unhealthy workers as they are"},
		{Name: "urgency", Type: `"low"|"normal"|"high"?`, Doc: "low: a surplus worker whose next charge is known ends only in the last ten minutes before it; high: launches do not wait out the backoff after failed ones. All other guard rails hold in any case"},
		{Name: "sites", Type: "table<string, integer>?", Doc: "workers wanted per site, as with control.place"},
	})}
	wantSpec      = Class{Name: "epu.WantSpec", Doc: "What only a named worker has.", Fields: whereFields}
	launchOptions = Class{Name: "epu.LaunchOptions", Doc: "Options of control.launch.", Fields: slices.Concat([]sandbox.Attr{
		{Name: "count", Type: "integer?", Doc: "how many, 1 to 1000; 1 without it"},
		{Name: "name", Type: "string?", Doc: "of a unique worker, which control.want must go on wanting"},
	}, whereFields, []sandbox.Attr{reasonField})}
	actOptions  = Class{Name: "epu.ActOptions", Doc: "Options of control.terminate, drain and resume.", Fields: []sandbox.Attr{reasonField}}
	reasonTable = Class{Name: "epu.Reason", Doc: "A reason.", Fields: []sandbox.Attr{
		{Name: "text", Type: "string", Doc: "a sentence without a full stop"},
		{Name: "rule", Type: "string?", Doc: "short name of the rule that fired"},
	}}
	tickOptions = Class{Name: "epu.ConfigureOptions", Doc: "Options of control.configure.", Fields: []sandbox.Attr{
		{Name: "tick", Type: "number", Doc: "seconds between decisions, 0.1 to 86400"},
	}}
)

func controlField(L *lua.LState) int { return unknownField(L, "control", controlFuncs()) }

// wishing collects what one evaluation asks for.
type wishing struct {
	scaled  bool
	wish    epu.Wish
	reasons []epu.Reason
	alerts  []string
	actions []epu.Action
	tick    time.Duration
	sites   map[epu.SiteID]int // of place
	placed  int                // the sum of sites
	bytes   int                // that all this takes
	scale   int                // those of them that are scale_to's
}

// result is the wish in full. A policy that asked for nothing holds the last wish, and one that only
// named workers holds the last target; one that only placed workers wants those.
func (w *wishing) result(h *host) epu.Wish {
	if !w.scaled && len(w.wish.Uniques)+len(w.sites) == 0 {
		last := h.lastWish()
		w.because("", fmt.Sprintf("nothing was asked for, so the wish for %d stands", last.Target))
		return last
	}
	out := w.wish
	if w.sites != nil {
		out.Sites = maps.Clone(w.sites)
		for site, n := range w.wish.Sites {
			if _, twice := w.sites[site]; !twice {
				out.Sites[site] = n
			}
		}
	}
	placed := 0
	for _, n := range out.Sites {
		placed += n
	}
	switch {
	case w.scaled:
	case w.sites != nil:
		out.Target = placed
	default:
		out.Target = h.target()
	}
	if out.Target < placed {
		w.because("sites", fmt.Sprintf("%s wanted at sites, so the target is %d and not %d", wanted(placed, "worker"), placed, out.Target))
		out.Target = placed
	}
	if n := len(out.Uniques); out.Target < n {
		w.because("uniques", fmt.Sprintf("%s wanted, so the target is %d and not %d", wanted(n, "named worker"), n, out.Target))
		out.Target = n
	}
	if len(w.reasons) == 0 {
		w.because("", fmt.Sprintf("the policy wants %d and gives no reason", out.Target))
	}
	return out
}

func (w *wishing) because(rule, text string) {
	w.reasons = append(w.reasons, epu.Reason{Rule: rule, Text: text})
}

func scaleTo(L *lua.LState) int {
	const what = "control.scale_to"
	w := &hostOf(L).asked
	n := whole(L, what, L.Get(1), 0, targetMax)
	o := options(L, 2, what, scaleOptions)
	uniques := w.wish.Uniques
	w.scaled, w.bytes, w.scale = true, w.bytes-w.scale, 0
	w.wish = epu.Wish{Target: n, Uniques: uniques}
	if o.t == nil {
		return 0
	}
	at := whereOf(L, what, o)
	w.scale = w.take(L, what, bytesOf(at))
	w.wish.Site, w.wish.Allocation, w.wish.Market, w.wish.Vars = at.Site, at.Allocation, at.Market, at.Vars
	w.wish.Victims = epu.VictimOrder(oneOf(L, what, "victims", o, "oldest", "newest", "idle-longest", "most-expensive", "nearest-charge"))
	w.wish.Urgency = epu.Urgency(oneOf(L, what, "urgency", o, "low", "normal", "high"))
	switch v := o.get("heal"); v {
	case lua.LNil, lua.LTrue:
	case lua.LFalse:
		w.wish.NoHeal = true
	default:
		L.RaiseError("%s: heal is true or false, got %s", what, sandbox.KindOf(v))
	}
	if v := o.get("sites"); v != lua.LNil {
		t, ok := v.(*lua.LTable)
		if !ok {
			L.RaiseError("%s: sites wants a table such as {east = 3}, got %s", what, sandbox.KindOf(v))
		}
		sum := 0
		for k, v := range sandbox.Entries(L, t, sitesMax) {
			w.wish.Sites, sum = placeAt(L, what+": sites", w.wish.Sites, sum, k, v)
		}
		w.together(L, what+": sites")
		w.scale += w.take(L, what, bytesOfSites(w.wish.Sites))
	}
	return 0
}

func place(L *lua.LState) int {
	w := &hostOf(L).asked
	if site, ok := L.Get(1).(lua.LString); ok && len(w.sites) < sitesMax {
		if _, twice := w.sites[epu.SiteID(site)]; !twice {
			w.take(L, "control.place", 2*fieldBytes+len(site))
		}
	}
	w.sites, w.placed = placeAt(L, "control.place", w.sites, w.placed, L.Get(1), L.Get(2))
	if len(w.wish.Sites) > 0 {
		w.together(L, "control.place")
	}
	return 0
}

// together holds the numbers of control.place and of control.scale_to's sites against the bound. Where both
// name a site, that of control.place counts.
func (w *wishing) together(L *lua.LState, what string) {
	sum := w.placed
	for site, n := range w.wish.Sites {
		if _, twice := w.sites[site]; !twice {
			sum += n
		}
	}
	tooMany(L, what, sum)
}

// tooMany refuses more workers at all sites together than a pool can have.
func tooMany(L *lua.LState, what string, sum int) {
	if sum > targetMax {
		L.RaiseError("%s: %d workers at all sites together: at most %d", what, sum, targetMax)
	}
}

// wanted begins a reason with what somebody asked for.
func wanted(n int, one string) string {
	if n == 1 {
		return "1 " + one + " is"
	}
	return epu.Plural(n, one) + " are"
}

// placeAt notes how many workers are wanted at a site. Sum is how many are wanted at all of them.
func placeAt(L *lua.LState, what string, sites map[epu.SiteID]int, sum int, site, n lua.LValue) (map[epu.SiteID]int, int) {
	name := epu.SiteID(word(L, what, "site", site))
	if name == "" {
		L.RaiseError("%s: the site needs a name", what)
	}
	if sites == nil {
		sites = map[epu.SiteID]int{}
	}
	sum -= sites[name]
	sites[name] = whole(L, what+": "+string(name), n, 0, targetMax)
	sum += sites[name]
	tooMany(L, what, sum)
	if len(sites) > sitesMax {
		L.RaiseError("%s: more than %d sites", what, sitesMax)
	}
	return sites, sum
}

// whereOf reads the options that say where and what to launch.
func whereOf(L *lua.LState, what string, o opts) epu.Unique {
	return epu.Unique{
		Vars: vars(L, what, o.get("vars")), Site: epu.SiteID(word(L, what, "site", o.get("site"))),
		Allocation: epu.Allocation(word(L, what, "allocation", o.get("allocation"))),
		Market:     epu.Market(oneOf(L, what, "market", o, "on-demand", "reserved", "spot")),
	}
}

func want(L *lua.LState) int {
	const what = "control.want"
	name := word(L, what, "name", L.Get(1))
	if name == "" {
		L.RaiseError("%s: the worker needs a name", what)
	}
	o := options(L, 2, what, wantSpec)
	w := &hostOf(L).asked
	if w.wish.Uniques == nil {
		w.wish.Uniques = map[string]epu.Unique{}
	}
	spec, before := whereOf(L, what, o), 0
	if old, twice := w.wish.Uniques[name]; twice {
		before = len(name) + bytesOf(old)
	}
	w.take(L, what, len(name)+bytesOf(spec)-before)
	w.wish.Uniques[name] = spec
	if len(w.wish.Uniques) > uniquesMax {
		L.RaiseError("%s: more than %d named workers", what, uniquesMax)
	}
	return 0
}

func because(L *lua.LState) int {
	const what = "control.because"
	w := &hostOf(L).asked
	r := epu.Reason{}
	if s, ok := L.Get(1).(lua.LString); ok {
		r.Text, r.Rule = string(s), word(L, what, "rule", L.Get(2))
	} else {
		o := options(L, 1, what, reasonTable)
		r.Rule = word(L, what, "rule", o.get("rule"))
		if s, ok := o.get("text").(lua.LString); ok {
			r.Text = string(s)
		}
	}
	if r.Text == "" {
		L.RaiseError("%s wants a text, or {rule = \"name\", text = \"why\"}", what)
	}
	if len(w.reasons) >= reasonsMax {
		L.RaiseError("%s: more than %d reasons", what, reasonsMax)
	}
	w.because(r.Rule, params.Clip(r.Text, reasonMax))
	return 0
}

func alert(L *lua.LState) int {
	w := &hostOf(L).asked
	s := L.CheckString(1)
	if len(w.alerts) >= alertsMax {
		L.RaiseError("control.alert: more than %d alerts", alertsMax)
	}
	w.alerts = append(w.alerts, params.Clip(s, reasonMax))
	return 0
}

func configure(L *lua.LState) int {
	const what = "control.configure"
	o := options(L, 1, what, tickOptions)
	v, ok := o.get("tick").(lua.LNumber)
	if !ok {
		L.RaiseError("%s wants {tick = seconds}", what)
	}
	if s := float64(v); !(s >= tickMin.Seconds() && s <= tickMax.Seconds()) {
		L.RaiseError("%s: tick is %s s, but lies from %s to %s s", what, params.NumberText(s),
			params.NumberText(tickMin.Seconds()), params.NumberText(tickMax.Seconds()))
	}
	hostOf(L).asked.tick = time.Duration(float64(v) * float64(time.Second))
	return 0
}

// act adds an action and returns its place.
func (w *wishing) act(L *lua.LState, a epu.Action) int {
	if len(w.actions) >= actionsMax {
		L.RaiseError("more than %d actions in one decision", actionsMax)
	}
	w.take(L, "control."+string(a.Kind), bytesOfAction(a))
	w.actions = append(w.actions, a)
	return len(w.actions) - 1
}

// calledAt is the file and line of the policy that called the host function which is running.
func calledAt(L *lua.LState) string {
	for level := 1; ; level++ {
		at := L.Where(level)
		if !strings.HasPrefix(at, "[G]") { // a function of Go in between, such as pcall
			return strings.TrimSuffix(at, ":")
		}
	}
}

func launch(L *lua.LState) int {
	const what = "control.launch"
	h := hostOf(L)
	o := options(L, 1, what, launchOptions)
	at := whereOf(L, what, o)
	a := epu.Action{
		Kind: epu.ActLaunch, Count: 1, Name: word(L, what, "name", o.get("name")),
		Site: at.Site, Allocation: at.Allocation, Market: at.Market, Vars: at.Vars, Reason: word(L, what, "reason", o.get("reason")),
		At: calledAt(L),
	}
	if v := o.get("count"); v != lua.LNil {
		a.Count = whole(L, what+": count", v, 1, launchMax)
	}
	if a.Name != "" && a.Count != 1 {
		L.RaiseError("%s: a name belongs to one worker, but count is %d", what, a.Count)
	}
	h.Work(L, a.Count)
	asked := epu.Asked(h.snap.Decision, h.asked.act(L, a))
	t := sandbox.NewTable()
	for slot := range a.Count {
		t.RawSetInt(slot+1, lua.LString(epu.Provisional(asked, slot)))
	}
	L.Push(t)
	return 1
}

func act(kind epu.ActionKind) lua.LGFunction {
	what := "control." + string(kind)
	return func(L *lua.LState) int {
		o := options(L, 2, what, actOptions)
		a := epu.Action{Kind: kind, Workers: ids(L, what), Reason: word(L, what, "reason", o.get("reason")), At: calledAt(L)}
		if len(a.Workers) > 0 {
			hostOf(L).asked.act(L, a)
		}
		L.Push(lua.LNumber(len(a.Workers)))
		return 1
	}
}
