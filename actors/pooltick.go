package actors

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/policies"
)

// launchSlotsMax bounds the workers of one launch, so that one refusal does not cost them all.
const launchSlotsMax = 100

// reconcilePasses bounds how often one message may lead to actions that make further ones possible.
const reconcilePasses = 3

// tick asks the policy when its time has come.
func (c *Controller) tick(tx *Tx, now time.Time) {
	if c.deciding != nil || now.Before(c.nextTick) || !c.decides() {
		return
	}
	all, bad := c.roster.share()
	id := epu.DecisionID(tx.NewID())
	limits := c.st.Define.Spec.Limits
	c.deciding = &DecideCall{
		Policy: c.st.Define.Spec.Policy.Name, Conf: c.st.Conf,
		Snapshot: &policies.Snapshot{
			Now: now, Pool: c.pool, Owner: c.owner, Decision: id, Seed: seedOf(id), Wish: c.st.Wish,
			Memory: c.st.Memory, Counts: c.roster.counts, Workers: all, Bad: bad, Refused: c.refused,
			Backoff: max(0, c.backoff().Sub(now)), MinMax: [2]int{limits.Min, limits.Max},
		},
	}
	c.decideKey = "decide/" + string(id)
}

// decides reports that the pool's policy is to be asked at all.
func (c *Controller) decides() bool {
	d := c.st.Define
	return d.Gen > 0 && !d.EndAll && !d.Removing && c.st.Freeze == nil && !c.id.Recovery
}

// decided takes in an evaluation. The one that failed leaves the last wish in force.
func (c *Controller) decided(tx *Tx, call DecideCall, r CallResult) {
	if c.deciding == nil || c.deciding.Snapshot != call.Snapshot {
		return
	}
	c.deciding = nil
	c.nextTick = tx.Now().Add(c.tickEvery())
	var d epu.Decision
	if r.Err != nil {
		d = epu.Decision{
			ID: call.Snapshot.Decision, Time: call.Snapshot.Now, Policy: call.Policy, Conf: call.Conf,
			Wanted: c.st.Wish, Error: r.Err.Error(),
		}
	} else {
		d = r.Result.(epu.Decision)
	}
	d.Pool, d.Owner, d.Before = c.pool, c.owner, c.st.Wish.Target
	if !c.decides() {
		return // frozen or being removed meanwhile: the wish stays as it was
	}
	if d.Error != "" {
		d.Wish = c.st.Wish
		if c.failure == "" {
			c.failingFor = tx.Now()
		}
		c.failure = d.Error
	} else {
		c.failure = ""
		origins := c.st.Define.Spec.Origins
		d.Wish, d.Clamps = reconcile.Clamp(d.Wanted, c.st.Wish.Target, c.st.Define.Spec.Limits, true,
			func(key string) string { return origins[key] })
		if d.TickEvery > 0 {
			c.nextTick = tx.Now().Add(max(d.TickEvery, 100*time.Millisecond))
		}
		if !reflect.DeepEqual(d.Wish, c.st.Wish) || c.st.Decision == "" || !bytes.Equal(d.MemoryAfter, c.st.Memory) {
			tx.Because(string(d.ID))
			tx.Emit(wished{Decision: d.ID, Wish: d.Wish, Memory: d.MemoryAfter})
			c.dirty = true
		}
	}
	c.current = &d
}

// keepDecision records a decision when it differs from the last, and now and then.
func (c *Controller) keepDecision(tx *Tx) {
	d := c.current
	if d == nil {
		return
	}
	c.current = nil
	c.last = d
	if c.recorded != nil && sameDecision(c.recorded, d) && tx.Now().Sub(c.recordedAt) < sameRecordMax {
		c.equal++
		return
	}
	d.Equal = c.equal
	c.recorded, c.recordedAt, c.equal = d, tx.Now(), 0
	raw, err := json.Marshal(d)
	if err != nil {
		panic("a decision is plain data and always has a JSON form: " + err.Error())
	}
	tx.Record(persistence.Record{
		ID: string(d.ID), Kind: persistence.KindDecision, Owner: c.owner, Pool: c.pool, Time: d.Time, Data: raw,
	})
}

func sameDecision(a, b *epu.Decision) bool {
	return a.Error == b.Error && len(a.Actions) == 0 && len(b.Actions) == 0 &&
		reflect.DeepEqual(a.Wish, b.Wish) && reflect.DeepEqual(a.Reasons, b.Reasons) &&
		reflect.DeepEqual(a.Clamps, b.Clamps) && maps.EqualFunc(a.Conf, b.Conf, func(x, y any) bool { return reflect.DeepEqual(x, y) })
}

// reconcile turns the wish and reality into intents, when something changed since it last did.
func (c *Controller) reconcile(tx *Tx) {
	now := tx.Now()
	if !c.waitUntil.IsZero() && !now.Before(c.waitUntil) {
		c.dirty, c.waitUntil = true, time.Time{}
	}
	for pass := 0; pass < reconcilePasses && c.dirty && c.acts(); pass++ {
		var plan reconcile.Plan
		if c.dirty = false; !c.steady() {
			plan = reconcile.Actions(c.reality(now))
		}
		c.carryOut(tx, &plan) // makes it dirty again when it does anything
		c.refused = plan.Refused
		c.waitUntil = plan.Until
	}
	if c.dirty && c.acts() {
		c.waitUntil = now.Add(time.Second)
	}
	c.keepDecision(tx)
}

// steady reports that the sums alone show that nothing is to be done: a check-in among ten thousand
// workers costs no look at each of them.
func (c *Controller) steady() bool {
	n, d, w := &c.roster.counts, &c.st.Define, &c.st.Wish
	return n.Open() == w.Target && n.Draining == 0 && n.Unhealthy == 0 && len(w.Uniques) == 0 && c.roster.named == 0 &&
		len(c.overdue) == 0 && c.suspicion.canaries == 0 && !d.EndAll && !d.Removing
}

// acts reports that reality may be changed at all.
func (c *Controller) acts() bool {
	d := c.st.Define
	return !c.id.Recovery && d.Gen > 0 && (c.st.Decision != "" || d.EndAll || d.Removing)
}

// reality gathers what reconcile needs to know.
func (c *Controller) reality(now time.Time) reconcile.Input {
	spec := c.st.Define.Spec
	in := reconcile.Input{
		Now: now, Wish: c.st.Wish, Workers: c.roster.all, Limits: spec.Limits, Placement: spec.Placement,
		Synced:  func(s epu.SiteID) bool { return c.syncs[s] },
		DrainTo: spec.Health.Source == epu.HealthAgent,
		Overdue: c.overdue, Canaries: c.suspicion.canaries, Backoff: c.backoffOf,
		Launched: used(c.st.Launched, now, spec.Limits.Launches.Window),
		Ended:    used(c.st.Ended, now, spec.Limits.Terminations.Window),
		Origin:   func(key string) string { return spec.Origins[key] },
	}
	if f := c.st.Freeze; f != nil {
		in.Freeze = reconcile.Frozen
		if f.Healing {
			in.Freeze = reconcile.FrozenHeal
		}
	}
	if d := c.st.Define; d.EndAll || d.Removing {
		in.Wish = epu.Wish{}
		in.Limits.Terminations.Window = 0 // the operator said so
		in.Hold, in.Canaries = true, 0
		in.Freeze = reconcile.Thawed
		in.DrainTo = in.DrainTo && !d.EndAll
	}
	return in
}

// used sums up the stamps that are within a window.
func used(stamps []stamp, now time.Time, window time.Duration) reconcile.Used {
	var u reconcile.Used
	for _, s := range stamps {
		if now.Sub(s.Time) <= window {
			u.N += s.N
			u.Next = earlier(u.Next, s.Time.Add(window+1))
		}
	}
	return u
}

// carryOut makes a plan's actions durable intents.
func (c *Controller) carryOut(tx *Tx, plan *reconcile.Plan) {
	var actions []epu.Action
	for _, w := range plan.Resumes {
		tx.Emit(workerDraining{Worker: w.ID, On: false, Reason: "wanted again"})
		actions = append(actions, epu.Action{Kind: epu.ActResume, Workers: []epu.WorkerID{w.ID}, Reason: "wanted again"})
	}
	for _, e := range plan.Ends {
		failed := !e.Surplus && c.shortLived(&c.st.Launches[e.Worker.Launch].Slots[e.Worker.Slot], tx.Now())
		c.end(tx, e.Worker, e.Reason, failed, e.Limited)
		actions = append(actions, epu.Action{Kind: epu.ActTerminate, Workers: []epu.WorkerID{e.Worker.ID}, Reason: e.Reason})
	}
	for _, w := range plan.Drains {
		tx.Emit(workerDraining{Worker: w.ID, On: true, Reason: "surplus"})
		actions = append(actions, epu.Action{Kind: epu.ActDrain, Workers: []epu.WorkerID{w.ID}, Reason: "surplus"})
	}
	for _, l := range plan.Launches {
		for left := l.N; left > 0; left -= launchSlotsMax {
			c.open(tx, l, min(left, launchSlotsMax))
		}
		actions = append(actions, epu.Action{Kind: epu.ActLaunch, Count: l.N, Name: l.Name, Site: l.Site, Reason: l.Reason})
	}
	if c.current != nil {
		c.current.Actions = append(c.current.Actions, actions...)
		c.current.Rejected = append(c.current.Rejected, plan.Refused...)
	}
}

// open makes the intents of one launch.
func (c *Controller) open(tx *Tx, l reconcile.Launch, n int) {
	id := epu.NewLaunchID(c.pool, c.id.Epoch, c.st.Seq+1)
	tx.Because(string(c.st.Decision))
	tx.Emit(launchOpened{
		Launch: id, Site: l.Site, Allocation: l.Allocation, Market: l.Market, N: n, Name: l.Name, Vars: l.Vars,
		Time: tx.Now(), Reason: l.Reason,
	})
	c.record(tx, "launch_opened", map[string]any{
		"launch": id, "site": l.Site, "n": n, "name": l.Name, "reason": l.Reason,
		"healing": c.current == nil, // the last wish is repeated without asking the policy
	})
}
