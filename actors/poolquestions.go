package actors

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
		Changes map[string]any     // of the configuration, as reconfigure takes them
		Files   []epu.PolicyFile   // a candidate in place of the pool's policy; none = the pool's own
		From    msg.Address
	}
	// WhatIfDecided are the policy's decisions, or what is wrong with the changes.
	WhatIfDecided struct {
		Now, Then epu.Decision
		Problems  []string
	}
	// WhatIf answers *msg.WhatIfQuery: both decisions after the guard rails, with what would be done at once.
	WhatIf struct{ Now, Then epu.Decision }
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
	if problems := c.unknownSensors(q.GetSensors()); len(problems) > 0 {
		r := refuse(epu.Invalid, "ask what if", string(c.pool), strings.Join(problems, "; "))
		r.Problems = problems
		r.Err.Try = "epumgmt sensor list " + string(c.pool) + " lists the sensors; the pool's file defines them"
		tx.Answer(r)
		return
	}
	now := c.decideCall(epu.DecisionID(tx.NewID()), tx.Now())
	call := WhatIfCall{ID: string(now.Snapshot.Decision), Now: now, Then: c.imagined(now.Snapshot, q.GetSensors()), From: tx.From()}
	if q.GetConf() != nil {
		call.Changes = q.GetConf().AsMap()
	}
	for _, f := range q.GetPolicy() {
		call.Files = append(call.Files, epu.PolicyFile{Path: f.GetPath(), Text: string(f.GetContent())})
	}
	c.whatIfs = append(c.whatIfs, call)
}

// unknownSensors says which of the readings given are of no sensor of the pool.
func (c *Controller) unknownSensors(given map[string]float64) (problems []string) {
	known := slices.Sorted(maps.Keys(c.sensors))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if c.sensors[name] == nil {
			problems = append(problems, fmt.Sprintf("the pool has no sensor %q%s; it has %s", name, policies.DidYouMean(name, known), c.sensorNames()))
		}
	}
	return problems
}

// imagined is a snapshot with other readings. One that is not a number is unknown.
func (c *Controller) imagined(s *policies.Snapshot, given map[string]float64) *policies.Snapshot {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		s = s.With(policies.Imagined(name, given[name], s.Now))
	}
	if len(given) > 0 {
		s.Work = c.work(s.Readings)
	}
	return s
}

// whatIfRuns are the evaluations to be made.
func (c *Controller) whatIfRuns() (todo []Todo) {
	for _, call := range c.whatIfs {
		todo = append(todo, Todo{Key: "whatif/" + call.ID, Call: call, Every: time.Second, Group: "whatif", Max: whatIfsAtOnce})
	}
	return todo
}

// whatIfEnded answers a question once its evaluations are there.
func (c *Controller) whatIfEnded(tx *Tx, call WhatIfCall, r CallResult) {
	at := slices.IndexFunc(c.whatIfs, func(w WhatIfCall) bool { return w.ID == call.ID })
	if at < 0 {
		return
	}
	c.whatIfs = slices.Delete(slices.Clone(c.whatIfs), at, at+1)
	if r.Err != nil {
		err := epu.E(epu.KindOf(r.Err), "ask what if", string(c.pool), r.Err)
		err.Try = epu.TryOf(r.Err)
		tx.Reply(call.From, msg.Refused{Err: err})
		return
	}
	d := r.Result.(WhatIfDecided)
	if len(d.Problems) > 0 {
		refused := refuse(epu.Invalid, "ask what if", string(c.pool), strings.Join(d.Problems, "; "))
		refused.Problems = d.Problems
		refused.Err.Try = "epumgmt policy doc " + call.Now.Policy + " lists the settings"
		tx.Reply(call.From, refused)
		return
	}
	tx.Reply(call.From, WhatIf{Now: c.carriedOut(d.Now, tx.Now()), Then: c.carriedOut(d.Then, tx.Now())})
}

// carriedOut is a decision as it would be after the guard rails, with what would be done at once. It changes
// nothing.
func (c *Controller) carriedOut(d epu.Decision, now time.Time) epu.Decision {
	d.Pool, d.Owner, d.Before = c.pool, c.owner, c.st.Wish.Target
	asked := d.Actions
	d.Actions, d.Clamps, d.Rejected = nil, nil, nil
	if d.Wish = c.st.Wish; d.Error == "" {
		c.guard(&d)
	}
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

// guard holds a decision against the pool's limits.
func (c *Controller) guard(d *epu.Decision) {
	origins := c.st.Define.Spec.Origins
	origin := func(key string) string { return origins[key] }
	d.Wish, d.Clamps = reconcile.Clamp(d.Wanted, c.st.Wish.Target, c.st.Define.Spec.Limits, reconcile.Sure(d.Inputs), origin)
	wish, held := reconcile.HoldGrowth(d.Wish, c.roster.counts.Open(), c.budget(), c.nextPrice(d.Wish), origin)
	d.Wish, d.Clamps = wish, append(d.Clamps, held...)
}
