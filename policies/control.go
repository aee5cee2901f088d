package policies

import (
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// What one decision can hold at most.
const (
	targetMax  = 1_000_000
	uniquesMax = 10_000
	actionsMax = 1_000
	idsMax     = 10_000
	reasonsMax = 50
	alertsMax  = 20
	varsMax    = 200
	wordMax    = 256
	reasonMax  = 500 // bytes of a reason or alert; more is cut
	tickMin    = 100 * time.Millisecond
	tickMax    = 24 * time.Hour
)

func controlFuncs() []Function {
	return []Function{
		sandbox.F("control", "scale_to", "n, opts?", "Wishes for n workers in all, named ones included. Options: site, allocation, market, vars, victims (oldest newest idle-longest most-expensive nearest-charge), heal (false leaves failed workers as they are).", scaleTo),
		sandbox.F("control", "want", "name, spec?", "Wishes for one worker with a name and, in spec, its own vars, site, allocation, market. A name that is not wished for is unwanted.", want),
		sandbox.F("control", "because", "reason, rule?", "Gives a reason: a text and perhaps a short name of the rule, or {rule = \"name\", text = \"why\"}.", because),
		sandbox.F("control", "alert", "text", "Tells the operators something.", alert),
		sandbox.F("control", "configure", "opts", "Changes how the policy runs: {tick = seconds between decisions}.", configure),
		sandbox.F("control", "launch", "opts", "Asks once for workers beyond the wish's own launches: {count =, name =, site =, reason =}.", launch),
		sandbox.F("control", "terminate", "ids, opts?", "Asks once to end the workers with these IDs: one ID, one view, or a list. Options: reason.", act(epu.ActTerminate)),
		sandbox.F("control", "drain", "ids, opts?", "Asks once to take workers out of service and end them when idle. Options: reason.", act(epu.ActDrain)),
		sandbox.F("control", "resume", "ids, opts?", "Asks once to put draining workers back into service. Options: reason.", act(epu.ActResume)),
	}
}

func controlField(L *lua.LState) int { return unknownField(L, "control", controlFuncs()) }

// wishing collects what one evaluation asks for.
type wishing struct {
	scaled  bool
	wish    epu.Wish
	reasons []epu.Reason
	alerts  []string
	actions []epu.Action
	tick    time.Duration
}

// result is the wish in full. A policy that asked for nothing holds the last wish, and one that only
// named workers holds the last target.
func (w *wishing) result(h *host) epu.Wish {
	if !w.scaled && len(w.wish.Uniques) == 0 {
		last := h.lastWish()
		w.because("", fmt.Sprintf("nothing was asked for, so the wish for %d stands", last.Target))
		return last
	}
	out := w.wish
	if !w.scaled {
		out.Target = h.target()
	}
	if n := len(out.Uniques); out.Target < n {
		w.because("uniques", fmt.Sprintf("%d named workers are wanted, so the target is %d and not %d", n, n, out.Target))
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
	o := options(L, 2, what, "site", "allocation", "market", "vars", "victims", "heal")
	uniques := w.wish.Uniques
	w.scaled = true
	w.wish = epu.Wish{Target: n, Uniques: uniques}
	if o.t == nil {
		return 0
	}
	w.wish.Site = epu.SiteID(word(L, what, "site", o.get("site")))
	w.wish.Allocation = epu.Allocation(word(L, what, "allocation", o.get("allocation")))
	w.wish.Market = market(L, what, o.get("market"))
	w.wish.Vars = vars(L, what, o.get("vars"))
	switch v := epu.VictimOrder(word(L, what, "victims", o.get("victims"))); v {
	case "", epu.Oldest, epu.Newest, epu.IdleLongest, epu.MostExpensive, epu.NearestCharge:
		w.wish.Victims = v
	default:
		L.RaiseError("%s: victims is one of oldest, newest, idle-longest, most-expensive, nearest-charge; got '%s'", what, string(v))
	}
	switch v := o.get("heal"); v {
	case lua.LNil, lua.LTrue:
	case lua.LFalse:
		w.wish.NoHeal = true
	default:
		L.RaiseError("%s: heal is true or false, got %s", what, sandbox.KindOf(v))
	}
	return 0
}

func want(L *lua.LState) int {
	const what = "control.want"
	name := word(L, what, "name", L.Get(1))
	if name == "" {
		L.RaiseError("%s: the worker needs a name", what)
	}
	o := options(L, 2, what, "vars", "site", "allocation", "market")
	w := &hostOf(L).asked
	if w.wish.Uniques == nil {
		w.wish.Uniques = map[string]epu.Unique{}
	}
	w.wish.Uniques[name] = epu.Unique{
		Vars: vars(L, what, o.get("vars")), Site: epu.SiteID(word(L, what, "site", o.get("site"))),
		Allocation: epu.Allocation(word(L, what, "allocation", o.get("allocation"))), Market: market(L, what, o.get("market")),
	}
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
		o := options(L, 1, what, "text", "rule")
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
	o := options(L, 1, what, "tick")
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

func (w *wishing) act(L *lua.LState, a epu.Action) {
	if len(w.actions) >= actionsMax {
		L.RaiseError("more than %d actions in one decision", actionsMax)
	}
	w.actions = append(w.actions, a)
}

func launch(L *lua.LState) int {
	const what = "control.launch"
	o := options(L, 1, what, "count", "name", "site", "reason")
	a := epu.Action{
		Kind: epu.ActLaunch, Count: 1, Name: word(L, what, "name", o.get("name")),
		Site: epu.SiteID(word(L, what, "site", o.get("site"))), Reason: word(L, what, "reason", o.get("reason")),
	}
	if v := o.get("count"); v != lua.LNil {
		a.Count = whole(L, what+": count", v, 1, targetMax)
	}
	if a.Name != "" && a.Count != 1 {
		L.RaiseError("%s: a name belongs to one worker, but count is %d", what, a.Count)
	}
	hostOf(L).asked.act(L, a)
	return 0
}

func act(kind epu.ActionKind) lua.LGFunction {
	what := "control." + string(kind)
	return func(L *lua.LState) int {
		o := options(L, 2, what, "reason")
		a := epu.Action{Kind: kind, Workers: ids(L, what), Reason: word(L, what, "reason", o.get("reason"))}
		if len(a.Workers) > 0 {
			hostOf(L).asked.act(L, a)
		}
		return 0
	}
}

// ids takes one worker or a list of workers, each an ID or a view.
func ids(L *lua.LState, what string) []epu.WorkerID {
	one := func(v lua.LValue) epu.WorkerID {
		switch v := v.(type) {
		case lua.LString:
			if _, _, ok := epu.WorkerID(v).Parse(); ok {
				return epu.WorkerID(v)
			}
			L.RaiseError("%s: '%s' is not the ID of a worker", what, params.Clip(string(v), wordMax))
		case *lua.LUserData:
			if _, ok := workerOf(v); ok {
				return liveWorker(L, v).ID
			}
		}
		L.RaiseError("%s wants workers or their IDs, got %s", what, sandbox.KindOf(v))
		return ""
	}
	t, ok := L.Get(1).(*lua.LTable)
	if !ok {
		return []epu.WorkerID{one(L.Get(1))}
	}
	n := t.Len()
	if n > idsMax {
		L.RaiseError("%s: %d workers at once: at most %d", what, n, idsMax)
	}
	seen := map[epu.WorkerID]bool{}
	var out []epu.WorkerID
	for i := 1; i <= n; i++ {
		if id := one(t.RawGetInt(i)); !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
