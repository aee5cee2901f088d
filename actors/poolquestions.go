package actors

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/policies"
)

// Calls and answers of questions to a controller's policy. Nothing of them is kept.
type (
	// WhatIfCall evaluates a pool's policy twice in engines of their own: as things are, and as they would be.
	// The result is WhatIfDecided.
	WhatIfCall struct {
		ID      string
		Now     DecideCall
		Then    *policies.Snapshot // the same moment with other readings
		Variant policies.Variant   // of the configuration
		Files   []epu.PolicyFile   // a candidate in place of the pool's policy; none = the pool's own
		Wrong   []string           // what is wrong already, said with what else is
		From    msg.Address
		Shadow  *msg.Shadow // the candidate is to go into the policy's shadow if it does well; nil = a question
		Command msg.Command // that says so
	}
	// WhatIfDecided are the policy's decisions, or what is wrong with the changes.
	WhatIfDecided struct {
		Now, Then epu.Decision
		Problems  []string
		Mend      string // the flags that would mend what is wrong because of the pool's settings
	}
	// WhatIf answers *msg.WhatIfQuery: both decisions after the guard rails, with what would be done at once.
	WhatIf struct{ Now, Then epu.Decision }
	// TurnsCall looks for the nearest readings at which a pool's wish would be another one. The result is msg.Turns.
	TurnsCall struct {
		ID    string
		Now   DecideCall
		Rails reconcile.Rails // the guard rails of that moment
		From  msg.Address
	}
	// Glimpse answers *msg.SnapshotQuery: what the policy would see now. All of it is shared and immutable.
	Glimpse struct {
		Policy   DecideCall
		Sensors  map[string]epu.SensorSpec
		Readings map[string]sensing.Series
	}
)

// Bounds of what-ifs of one pool: those that wait, and those that are out at once.
const (
	whatIfsMax    = 16
	whatIfsAtOnce = 2
)

// decideCall is what the policy would be asked at a moment.
func (c *Controller) decideCall(id epu.DecisionID, now time.Time) DecideCall {
	d := &c.st.Define
	return DecideCall{Policy: d.Spec.Policy.Name, Version: d.Version, Conf: c.st.Conf, Snapshot: c.snapshot(id, now)}
}

// glimpse answers with what the policy would see now.
func (c *Controller) glimpse(tx *Tx) {
	if c.st.Define.Gen == 0 || c.st.Define.Removing {
		tx.Answer(c.notNow())
		return
	}
	g := Glimpse{Policy: c.decideCall(epu.DecisionID(tx.NewID()), tx.Now()), Sensors: map[string]epu.SensorSpec{}, Readings: map[string]sensing.Series{}}
	for name, s := range c.sensors {
		g.Sensors[name], g.Readings[name] = s.spec, s.series
	}
	tx.Answer(g)
}

// whatIf has the policy evaluated on the snapshot of now and on another one. Nothing is emitted, and the pool's
// own engine is not asked.
func (c *Controller) whatIf(tx *Tx, q *msg.WhatIfQuery) {
	switch {
	case c.st.Define.Gen == 0 || c.st.Define.Removing:
		tx.Answer(c.notNow())
		return
	case len(c.whatIfs) >= whatIfsMax:
		tx.Answer(refuse(epu.Unavailable, "ask what if", string(c.pool), "too many such questions are waiting; try again"))
		return
	}
	now := c.decideCall(epu.DecisionID(tx.NewID()), tx.Now())
	call := WhatIfCall{ID: string(now.Snapshot.Decision), Now: now, Then: c.imagined(now.Snapshot, q.GetSensors()), From: tx.From()}
	call.Wrong = c.unknownSensors(q.GetSensors())
	c.vary(&call, q)
	for _, f := range q.GetPolicy() {
		call.Files = append(call.Files, epu.PolicyFile{Path: f.GetPath(), Text: string(f.GetContent())})
	}
	c.whatIfs = append(c.whatIfs, call)
}

// vary takes over how the settings differ from the pool's.
func (c *Controller) vary(call *WhatIfCall, q interface {
	GetConf() *structpb.Struct
	GetUnset() []string
	GetWhole() bool
},
) {
	call.Variant = policies.Variant{Unset: q.GetUnset(), Whole: q.GetWhole()}
	if q.GetConf() != nil {
		call.Variant.Changes = q.GetConf().AsMap()
	}
	for _, p := range call.Variant.Idle(c.st.Conf) {
		call.Wrong = append(call.Wrong, p.String())
	}
}

// unknownSensors says which of the readings given are of no sensor of the pool.
func (c *Controller) unknownSensors(given map[string]float64) (problems []string) {
	known := slices.Sorted(maps.Keys(c.sensors))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if c.sensors[name] == nil {
			problems = append(problems, fmt.Sprintf("the pool has no sensor %q%s (it has %s)", name, policies.DidYouMean(name, known), c.sensorNames()))
		}
	}
	return problems
}

// imagined is a snapshot with other readings. One that is not a number is unknown, as is one that its sensor can't have.
func (c *Controller) imagined(s *policies.Snapshot, given map[string]float64) *policies.Snapshot {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		if of := c.sensors[name]; of != nil && of.spec.Outside(value) != "" {
			value = math.NaN()
		}
		s = s.With(policies.Imagined(name, value, s.Now))
	}
	if len(given) > 0 {
		s.Work = c.st.Define.Spec.Work.At(s.Readings)
	}
	return s
}

// whatIfRuns are the evaluations to be made.
func (c *Controller) whatIfRuns() (todo []Todo) {
	for _, call := range c.whatIfs {
		todo = append(todo, Todo{Key: "whatif/" + call.ID, Call: call, Every: time.Second, Group: "whatif", Max: whatIfsAtOnce})
	}
	for _, call := range c.turns {
		todo = append(todo, Todo{Key: "turns/" + call.ID, Call: call, Every: time.Second, Group: "whatif", Max: whatIfsAtOnce})
	}
	return todo
}

// findTurns has the policy asked which readings would change its wish.
func (c *Controller) findTurns(tx *Tx) {
	if c.st.Define.Gen == 0 || c.st.Define.Removing || len(c.turns) >= whatIfsMax {
		tx.Answer(msg.Turns{})
		return
	}
	id := tx.NewID()
	now, rails := c.decideCall(epu.DecisionID(id), tx.Now()), c.rails(c.st.Wish.Target)
	rails.Workers = now.Snapshot.Workers
	c.turns = append(c.turns, TurnsCall{
		ID: id, Now: now, Rails: rails, From: tx.From(),
	})
}

// turnsFound answers. What could not be found out is left out: an explanation does without.
func (c *Controller) turnsFound(tx *Tx, call TurnsCall, r CallResult) {
	at := slices.IndexFunc(c.turns, func(t TurnsCall) bool { return t.ID == call.ID })
	if at < 0 {
		return
	}
	c.turns = slices.Delete(slices.Clone(c.turns), at, at+1)
	turns, _ := r.Result.(msg.Turns)
	tx.Reply(call.From, turns)
}

// whatIfEnded answers a question once its evaluations are there.
func (c *Controller) whatIfEnded(tx *Tx, call WhatIfCall, r CallResult) {
	at := slices.IndexFunc(c.whatIfs, func(w WhatIfCall) bool { return w.ID == call.ID })
	if at < 0 {
		return
	}
	c.whatIfs = slices.Delete(slices.Clone(c.whatIfs), at, at+1)
	op := "ask what if"
	if call.Shadow != nil {
		op = "shadow"
	}
	if r.Err != nil {
		err := epu.E(epu.KindOf(r.Err), op, string(c.pool), r.Err)
		err.Try = epu.TryOf(r.Err)
		tx.Reply(call.From, msg.Refused{Err: err})
		return
	}
	d := r.Result.(WhatIfDecided)
	if d.Then.Error != "" && call.Shadow != nil {
		d.Problems = append(d.Problems, "on what the pool sees now "+d.Then.Error)
	}
	if wrong := slices.Concat(call.Wrong, d.Problems); len(wrong) > 0 {
		refused := refuse(epu.Invalid, op, string(c.pool), strings.Join(wrong, "; "))
		refused.Problems = wrong
		refused.Err.Try = c.advice(&call, d.Mend)
		tx.Reply(call.From, refused)
		return
	}
	if call.Shadow != nil {
		c.beginShadow(tx, call, d)
		return
	}
	tx.Reply(call.From, WhatIf{Now: c.carriedOut(d.Now, tx.Now()), Then: c.carriedOut(d.Then, tx.Now())})
}

// advice says what to do about what is wrong with a question.
func (c *Controller) advice(call *WhatIfCall, flags string) string {
	policy := call.Now.Policy
	if len(call.Files) > 0 { // the settings are the candidate's
		policy = strings.TrimSuffix(call.Files[0].Path, ".lua")
	}
	switch {
	case flags != "":
		return policies.Advice(policy, flags)
	case len(call.Wrong) > 0 && call.Shadow == nil && len(call.Variant.Idle(c.st.Conf)) < len(call.Wrong):
		return "epumgmt sensor list " + string(c.pool) + " lists the sensors; the pool's file defines them"
	case len(call.Wrong) > 0:
		return "leave these out of --unset; epumgmt explain " + string(c.pool) + " shows the pool's settings"
	default:
		return policies.Advice(policy, "")
	}
}

// carriedOut is a decision as it would be after the guard rails, with what would be done at once. It changes
// nothing.
func (c *Controller) carriedOut(d epu.Decision, now time.Time) epu.Decision {
	d.Pool, d.Owner, d.Before = c.pool, c.owner, c.st.Wish.Target
	d.Clamps, d.Rejected = nil, nil
	if d.Wish = c.st.Wish; d.Error == "" {
		c.guard(&d, c.st.Wish.Target)
	}
	asked := d.Actions
	d.Actions = nil
	if later := c.later(); later != "" {
		d.Rejected = append(d.Rejected, epu.Reason{Rule: "later", Text: "the wish takes effect " + later})
	}
	if c.id.Recovery || c.st.Define.Gen == 0 {
		return d
	}
	in := c.reality(now)
	if !c.st.Define.EndAll {
		in.Wish = d.Wish
	}
	if len(asked) > 0 && d.Error == "" && c.st.Freeze == nil && !c.st.Define.EndAll {
		deeds := reconcile.Asked(in, d.ID, asked, c.find)
		d.Actions, d.Rejected = append(d.Actions, deeds.Actions()...), append(d.Rejected, deeds.Refused...)
		in = deeds.After(in)
	}
	plan := reconcile.Actions(in)
	d.Actions, d.Rejected = append(d.Actions, plan.Actions()...), append(d.Rejected, plan.Refused...)
	return d
}
