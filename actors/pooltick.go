package actors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/policies"
)

// tick asks the policy when its time has come.
func (c *Controller) tick(tx *Tx, now time.Time) {
	if c.deciding != nil || now.Before(c.nextTick) || !c.decides() {
		return
	}
	c.watchSensors(now)
	id := epu.DecisionID(tx.NewID())
	call := c.decideCall(id, now)
	c.deciding = &call
	c.unseen.asked()
	c.changes = nil
	c.decideKey = "decide/" + string(id)
}

// snapshot is what the pool's policy sees at a moment. It changes nothing: the same state gives the same
// snapshot, whoever asks.
func (c *Controller) snapshot(id epu.DecisionID, now time.Time) *policies.Snapshot {
	all, bad := c.roster.share()
	spec := &c.st.Define.Spec
	read, windows := c.readings(now)
	return &policies.Snapshot{
		Now: now, Pool: c.pool, Owner: c.owner, Decision: id, Seed: seedOf(id), Wish: c.st.Wish,
		Memory: c.memoryNow(), Counts: c.roster.counts, Workers: all, Bad: bad, Refused: c.refusals(),
		Backoff: max(0, c.backoff().Sub(now)), MinMax: [2]int{spec.Limits.Min, spec.Limits.Max},
		Readings: read, Windows: windows, Changes: c.changes, Work: spec.Work.At(read), Budget: c.budget(), Offers: c.prices.Cheapest(),
		Places: spec.Placement, SiteBackoff: c.siteBackoff(now),
	}
}

// siteBackoff is how long launches at the sites of the placement wait after failures there.
func (c *Controller) siteBackoff(now time.Time) map[epu.SiteID]time.Duration {
	var out map[epu.SiteID]time.Duration
	if len(c.st.Streaks) == 0 {
		return nil
	}
	free := map[epu.SiteID]bool{}
	for _, p := range c.st.Define.Spec.Placement {
		wait := c.backoffOf(p).Sub(now)
		if wait <= 0 {
			free[p.Site] = true
			continue
		}
		if out == nil {
			out = map[epu.SiteID]time.Duration{}
		}
		if have, ok := out[p.Site]; !ok || wait < have {
			out[p.Site] = wait
		}
	}
	for site := range free {
		delete(out, site)
	}
	return out
}

// changed keeps a step in a worker's life for the next decision; of too many the newest.
func (c *Controller) changed(old, w *epu.Worker) {
	if c.clock.IsZero() {
		return // replayed
	}
	note := func(what, from, to string) {
		c.changes = append(c.changes, epu.Change{Worker: w.ID, What: what, From: from, To: to, Time: c.clock})
	}
	switch {
	case old == nil && w.State.Gone():
		return
	case old == nil:
		note("state", "", w.State.String())
	case w.State.Gone():
		note("gone", old.State.String(), w.State.String())
	default:
		if old.State != w.State {
			note("state", old.State.String(), w.State.String())
		}
		if old.Health != w.Health {
			note("health", old.Health.String(), w.Health.String())
		}
		if old.Draining != w.Draining {
			note("draining", strconv.FormatBool(old.Draining), strconv.FormatBool(w.Draining))
		}
	}
	if extra := len(c.changes) - policies.ChangesMax; extra > 0 {
		c.changes = c.changes[extra:]
	}
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
			ID: call.Snapshot.Decision, Time: call.Snapshot.Now, Policy: call.Policy, PolicyHash: call.Version, Conf: call.Conf,
			Wanted: c.st.Wish, Error: r.Err.Error(),
		}
	} else {
		d = r.Result.(epu.Decision)
	}
	d.Pool, d.Owner, d.Before = c.pool, c.owner, c.st.Wish.Target
	if !c.decides() {
		c.unseen.unanswered()
		return // frozen or being removed meanwhile: the wish stays as it was
	}
	news, remembers := false, false
	if d.Error == "" {
		c.guard(&d, c.st.Wish.Target)
	}
	if d.Error == "" {
		news = len(d.Actions) > 0 || !reflect.DeepEqual(d.Wish, c.st.Wish) || c.st.Decision == "" || policies.RanHooks(d.Inputs)
		remembers = !bytes.Equal(d.MemoryAfter, c.memoryNow())
	}
	wish := wished{Decision: d.ID, Wish: d.Wish, Memory: d.MemoryAfter}
	if news || remembers {
		if err := tx.Fits(wish); err != nil {
			d.Error = "what the policy wants can't be kept: " + err.Error()
			d.Wanted, d.Actions, d.MemoryAfter = c.st.Wish, nil, d.MemoryBefore // its record would be as large
		}
	}
	if d.Error != "" {
		c.unseen.unanswered()
		all := append(slices.Clone(call.Snapshot.Changes), c.changes...)
		c.changes = all[max(0, len(all)-policies.ChangesMax):]
		d.Wish = c.st.Wish
		if c.failure == "" {
			c.failingFor = tx.Now()
		}
		c.failure = d.Error
	} else {
		c.unseen.answered()
		c.failure = ""
		if d.TickEvery > 0 {
			c.nextTick = tx.Now().Add(max(d.TickEvery, 100*time.Millisecond))
		}
		if news || c.remember(d.MemoryAfter, tx.Now()) {
			tx.Because(string(d.ID))
			tx.Emit(wish)
			c.memory = remembered{kept: tx.Now()}
			c.dirty = c.dirty || news
		}
		c.asked = c.deeds(tx, &d)
	}
	switch {
	case len(d.Alerts) == 0:
		c.alerting = time.Time{}
	case c.alerting.IsZero():
		c.alerting = tx.Now()
	}
	c.askCandidate(call, d)
	c.current = &d
}

// remembered is what a policy remembers beyond what is durable. Many keep the time of each look: were each
// written, a pool in which nothing happens would write at every tick. A crash may so cost the memory of the
// last minute, but nothing of what was remembered with a wish or an action.
type remembered struct {
	newer bool // than the durable one
	raw   json.RawMessage
	kept  time.Time // when the durable one was written
}

// memoryNow is what the policy remembers.
func (c *Controller) memoryNow() json.RawMessage {
	if c.memory.newer {
		return c.memory.raw
	}
	return c.st.Memory
}

// remember takes in what the policy remembers and reports that it is to be written now.
func (c *Controller) remember(raw json.RawMessage, now time.Time) bool {
	kept := c.memory.kept
	c.memory = remembered{newer: !bytes.Equal(raw, c.st.Memory), raw: raw, kept: kept}
	return c.memory.newer && now.Sub(kept) >= memoryEvery
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
		d.Same = c.recorded.ID
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

// sameDecision reports that a record of the second would tell nothing new. What a rule says of numbers and
// ages does not count: it changes at every tick. Seeing where the other was blind does.
func sameDecision(a, b *epu.Decision) bool {
	byRule := func(x, y epu.Reason) bool { return x.Rule == y.Rule && x.Origin == y.Origin }
	return a.Policy == b.Policy && a.PolicyHash == b.PolicyHash && policies.SameFailure(a.Error, b.Error) && len(a.Actions) == 0 && len(b.Actions) == 0 &&
		reflect.DeepEqual(a.Wish, b.Wish) && slices.EqualFunc(a.Reasons, b.Reasons, byRule) &&
		slices.EqualFunc(a.Clamps, b.Clamps, byRule) && slices.Equal(sight(a), sight(b)) && maps.EqualFunc(a.Conf, b.Conf, func(x, y any) bool { return reflect.DeepEqual(x, y) })
}

// sight is which of a decision's inputs had which quality.
func sight(d *epu.Decision) (seen []string) {
	for name, quality := range reconcile.Sight(d.Inputs) {
		seen = append(seen, name+" "+string(quality))
	}
	return seen
}

// sized is a place with the size that machines have there when nothing says otherwise.
func (c *Controller) sized(p epu.Placement) epu.Placement {
	p.Allocation = cmp.Or(p.Allocation, c.st.Define.Launches[p.Site].Allocation)
	return p
}

// budget is what the pool may cost and costs.
func (c *Controller) budget() epu.Budget {
	return c.prices.Budget(c.st.Define.Spec.Limits.Spend, c.roster.all, c.roster.counts.Open())
}

// rails are what a decision is held against; before is the target that it changes.
func (c *Controller) rails(before int) reconcile.Rails {
	spec := &c.st.Define.Spec
	r := reconcile.Rails{
		Limits: spec.Limits, Before: before, Open: c.roster.counts.Open(), Budget: c.budget(), Offers: c.prices.Cheapest(), Origins: spec.Origins,
	}
	if spec.Limits.Spend > 0 { // without it nobody asks what a place costs
		for _, p := range spec.Placement {
			r.Places = append(r.Places, c.sized(p))
		}
	}
	return r
}

// guard holds a decision against the pool's limits. One that goes too far as a whole has failed.
func (c *Controller) guard(d *epu.Decision, before int) {
	r := c.rails(before)
	r.Workers = c.roster.all
	r.Guard(d)
}
