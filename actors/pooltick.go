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
			Memory: c.st.Memory, Counts: c.roster.counts, Workers: all, Bad: bad, Refused: c.refusals(),
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
		if len(d.Actions) > 0 || !reflect.DeepEqual(d.Wish, c.st.Wish) || c.st.Decision == "" || !bytes.Equal(d.MemoryAfter, c.st.Memory) {
			tx.Because(string(d.ID))
			tx.Emit(wished{Decision: d.ID, Wish: d.Wish, Memory: d.MemoryAfter})
			c.dirty = true
		}
		c.asked = c.deeds(tx, &d)
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
