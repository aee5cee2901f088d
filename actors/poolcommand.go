package actors

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// SizeKey is the configuration key that scale sets.
const SizeKey = "preserve_n"

// orderReasonMax bounds an operator's reason in bytes: it is kept with what was ordered.
const orderReasonMax = 4 << 10

// command carries out an operator's order.
func (c *Controller) command(tx *Tx, m msg.Command) {
	if c.st.Define.Gen == 0 || c.st.Define.Removing {
		tx.Answer(c.notNow())
		return
	}
	if push, ok := m.Body.(*msg.SensorPush); ok {
		c.push(tx, m, push)
		return
	}
	if r, ok := m.Body.(interface{ GetReason() string }); ok && len(r.GetReason()) > orderReasonMax {
		tx.Answer(refuse(epu.Invalid, msg.NameOf(m.Body), string(c.pool), fmt.Sprintf("the reason is longer than %d bytes", orderReasonMax)))
		return
	}
	tx.Because(m.ID)
	switch body := m.Body.(type) {
	case *msg.Scale:
		c.check(tx, m, map[string]any{SizeKey: int(body.N)})
	case *msg.Reconfigure:
		c.check(tx, m, body.Conf.AsMap())
	case *msg.Shadow:
		c.orderShadow(tx, m, body)
	case *msg.Kill:
		c.kill(tx, m, body)
	case *msg.Drain:
		c.drain(tx, m, body)
	case *msg.Resume:
		c.resume(tx, m, body)
	case *msg.Protect:
		c.protect(tx, m, body.GetInstance(), body.GetReason(), true)
	case *msg.Unprotect:
		c.protect(tx, m, body.GetInstance(), "", false)
	case *msg.Replace:
		c.replace(tx, m, body)
	case *msg.FreezeCommand:
		f := msg.FreezeState{By: m.User, Reason: body.Reason, Since: tx.Now(), Healing: body.Healing}
		if body.For != nil {
			f.Until = tx.Now().Add(body.For.AsDuration())
		}
		tx.Emit(poolFrozen{Freeze: f})
		c.dirty = true
		c.audit(tx, m, "freeze", map[string]any{"reason": body.Reason, "healing": body.Healing, "until": f.Until})
		tx.Answer(&msg.Done{Changed: true, Text: string(c.pool) + " is frozen: no launches, drains or terminations" + healingText(body.Healing)})
	case *msg.Thaw:
		c.thaw(tx, m)
	default:
		tx.Answer(refuse(epu.Invalid, "carry out", msg.NameOf(m.Body), "this node does not know it"))
	}
}

// notNow refuses a command to a pool that has no definition in force.
func (c *Controller) notNow() msg.Refused {
	if c.st.Define.Removing {
		return refuse(epu.Conflict, "command pool", string(c.pool), "it is being removed")
	}
	r := refuse(epu.Unavailable, "command pool", string(c.pool), "its controller has not heard of its definition yet")
	r.Err.Try = "try again in a moment"
	return r
}

// later says why a change of the wish, or a replacement, does not come at once; empty when it does.
func (c *Controller) later() string {
	switch {
	case c.id.Recovery:
		return "once recovery has ended (epumgmt end-recovery)"
	case c.st.Define.EndAll:
		return "once launching is switched on again (epumgmt enable)"
	case c.st.Freeze != nil:
		return "once the pool is thawed (epumgmt thaw " + string(c.pool) + ")"
	}
	return ""
}

func healingText(on bool) string {
	if on {
		return "; failed workers are still replaced"
	}
	return ", healing included"
}

// check has a changed configuration checked off the mailbox, with the commands in their order.
func (c *Controller) check(tx *Tx, m msg.Command, changes map[string]any) {
	if len(c.checks) >= checksMax {
		tx.Answer(refuse(epu.Unavailable, "reconfigure", string(c.pool), "too many changes are waiting; try again"))
		return
	}
	c.checks = append(c.checks, CheckConfCall{
		Changes: changes, Command: m, From: tx.From(),
	})
}

// confChecked puts a checked configuration in force, or says all that is wrong with it.
func (c *Controller) confChecked(tx *Tx, call CheckConfCall, r CallResult) {
	if len(c.checks) == 0 || c.checks[0].Command.ID != call.Command.ID {
		return
	}
	if d := c.st.Define; call.ConfGen != d.ConfGen || call.Policy != d.Spec.Policy.Name || call.Version != d.Version {
		return // applied anew meanwhile: it is checked again with the policy and the configuration of now
	}
	c.checks = c.checks[1:]
	if r.Err != nil {
		refused := epu.E(epu.KindOf(r.Err), "reconfigure", string(c.pool), r.Err)
		if refused.Kind == epu.Invalid && epu.TryOf(r.Err) == "" { // nothing that was asked for is wrong
			refused.Try = "mend its policy " + call.Policy + " first (epumgmt policy check shows what is wrong), or put a sound version in force: epumgmt policy apply or rollback"
		}
		tx.Reply(call.From, msg.Refused{Err: refused})
		return
	}
	checked := r.Result.(CheckedConf)
	if len(checked.Problems) > 0 {
		refused := refuse(epu.Invalid, "reconfigure", string(c.pool), strings.Join(checked.Problems, "; "))
		refused.Problems = checked.Problems
		refused.Err.Try = "epumgmt explain " + string(c.pool) + " shows the configuration in force"
		if _, scale := call.Command.Body.(*msg.Scale); scale && strings.HasPrefix(checked.Problems[0], SizeKey+": is no parameter") {
			refused = refuse(epu.Invalid, "scale", string(c.pool), "its policy "+c.st.Define.Spec.Policy.Name+" decides by itself how many workers there are")
			refused.Err.Try = "epumgmt reconfigure " + string(c.pool) + " KEY=VALUE; epumgmt policy doc " + c.st.Define.Spec.Policy.Name + " lists what it takes"
		}
		tx.Reply(call.From, refused)
		return
	}
	if err := tx.Fits(confChanged{Conf: checked.Conf, Changed: checked.Changed}); err != nil {
		tx.Reply(call.From, refuse(epu.Invalid, "reconfigure", string(c.pool), err.Error()))
		return
	}
	tx.Because(call.Command.ID)
	verb := "reconfigure"
	if _, ok := call.Command.Body.(*msg.Scale); ok {
		verb = "scale"
	}
	if len(checked.Changed) > 0 {
		tx.Emit(confChanged{Conf: checked.Conf, Changed: checked.Changed, By: call.Command.User, Time: tx.Now()})
		c.nextTick = tx.Now()
		c.audit(tx, call.Command, verb, map[string]any{"changes": call.Changes})
	}
	tx.Reply(call.From, &msg.Done{Changed: len(checked.Changed) > 0, Text: c.changedText(checked)})
}

func (c *Controller) changedText(checked CheckedConf) string {
	if len(checked.Changed) == 0 {
		return string(c.pool) + ": nothing to change"
	}
	parts := make([]string, len(checked.Changed))
	for i, k := range checked.Changed {
		b, err := json.Marshal(checked.Conf[k])
		if err != nil {
			b = []byte("?")
		}
		parts[i] = k + " = " + string(b)
	}
	slices.Sort(parts)
	text := string(c.pool) + ": " + strings.Join(parts, ", ")
	if later := c.later(); later != "" {
		text += "; it takes effect " + later
	}
	return text
}

// checkIn makes a worker RUNNING, and hands its agent what differs between workers of a launch.
func (c *Controller) checkIn(tx *Tx, m msg.CheckInWorker) {
	launch := m.Launch
	if c.st.Launches[launch] == nil {
		launch = c.adopter(m.Instance)
	}
	l := c.st.Launches[launch]
	if l == nil {
		tx.Answer(c.stranger(m))
		return
	}
	i := slices.IndexFunc(l.Slots, func(s poolSlot) bool { return s.Instance == m.Instance })
	switch {
	case i < 0:
		tx.Answer(refuse(epu.Transient, "check in", string(m.Instance), "the machine is not yet known to its launch"))
		return
	case l.Slots[i].Unwanted || l.Slots[i].State >= epu.Terminating:
		tx.Answer(refuse(epu.NotFound, "check in", string(m.Instance), "its worker has ended"))
		return
	}
	id := epu.NewWorkerID(launch, i)
	if !l.Slots[i].CheckedIn {
		tx.Because(string(launch))
		tx.Emit(workerCheckedIn{Worker: id, Time: tx.Now()})
		c.recordSlot(tx, launch, i)
	}
	spec := c.st.Define.Spec
	tx.Answer(msg.WorkerCheckedIn{
		Worker: id, Name: l.Name, Vars: l.Vars, Heartbeat: spec.Health.Heartbeat, Drain: spec.Drain,
	})
}

// adopter finds the launch that took in a machine of a launch that is not ours any more.
func (c *Controller) adopter(id epu.InstanceID) epu.LaunchID {
	for launch, l := range c.st.Launches {
		if l.Adopt != "" && l.Adopt == id {
			return launch
		}
	}
	return ""
}

// stranger answers a machine of a launch that is not known. Only one that this store has surely seen end
// is told so, for its programs stop then; one that the store may merely have lost waits for the operator.
func (c *Controller) stranger(m msg.CheckInWorker) msg.Refused {
	_, epoch, seq, ok := m.Launch.Parse()
	if c.id.Recovery || ok && (epoch != c.id.Epoch || seq > c.st.Seq) {
		return refuse(epu.Unavailable, "check in", string(m.Instance), "its launch is from before the store was restored, or after its last backup")
	}
	return refuse(epu.NotFound, "check in", string(m.Instance), "its launch has ended")
}

// thaw ends a freeze, and pauses after failed launches: who gives the command has mended what failed.
func (c *Controller) thaw(tx *Tx, m msg.Command) {
	frozen, places, text := c.st.Freeze != nil, slices.Sorted(maps.Keys(c.st.Streaks)), string(c.pool)+" is not frozen"
	if frozen {
		tx.Emit(poolThawed{By: m.User})
	}
	for _, place := range places {
		tx.Emit(streakCleared{Place: place})
	}
	if len(places) > 0 {
		text += ", and does not wait any longer after failed launches"
	}
	if frozen || len(places) > 0 {
		c.dirty, c.nextTick = true, tx.Now()
		c.audit(tx, m, "thaw", nil)
	}
	tx.Answer(&msg.Done{Changed: frozen || len(places) > 0, Text: text})
}

// thawInTime ends a freeze whose time is over.
func (c *Controller) thawInTime(tx *Tx, now time.Time) {
	if f := c.st.Freeze; f != nil && !f.Until.IsZero() && !now.Before(f.Until) {
		tx.Emit(poolThawed{By: "the freeze's own end"})
		c.dirty, c.nextTick = true, now
		c.record(tx, "pool_thawed", map[string]any{"until": f.Until})
	}
}

// freezeAfterFailures freezes a pool whose launches keep failing, if its definition says so: from here on
// only an operator knows what to do.
func (c *Controller) freezeAfterFailures(tx *Tx, now time.Time) {
	n, d := c.st.Row.Failures, &c.st.Define
	if most := d.Spec.Limits.FreezeAfter; most == 0 || n < most || c.st.Freeze != nil || d.EndAll || d.Removing {
		return
	}
	reason := fmt.Sprintf("%d launches in a row failed", n)
	if n == 1 {
		reason = "a launch failed"
	}
	tx.Emit(poolFrozen{Freeze: msg.FreezeState{By: msg.FreezeOnFailures, Reason: reason, Since: now}})
	c.dirty = true
	c.record(tx, "pool_frozen", map[string]any{"by": msg.FreezeOnFailures, "reason": reason})
}

// record adds a life-cycle event to the history.
func (c *Controller) record(tx *Tx, name string, data map[string]any) {
	c.keep(tx, persistence.KindEvent, name, data)
}

func (c *Controller) audit(tx *Tx, m msg.Command, name string, data map[string]any) {
	c.keep(tx, persistence.KindAudit, name, m.Audit(data))
}

func (c *Controller) keep(tx *Tx, kind persistence.RecordKind, name string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("event data is plain and always has a JSON form: " + err.Error())
	}
	tx.Record(persistence.Record{
		ID: tx.NewID(), Kind: kind, Name: name, Owner: c.owner, Pool: c.pool, Time: tx.Now(), Data: raw,
	})
}

// recordSlot adds the history event of a slot's new state.
func (c *Controller) recordSlot(tx *Tx, launch epu.LaunchID, i int) {
	s := c.st.Launches[launch].Slots[i]
	names := map[epu.State]string{
		epu.Pending: "worker_pending", epu.Started: "worker_started", epu.Running: "worker_running",
		epu.RunningFailed: "worker_running_failed", epu.Terminated: "worker_terminated", epu.Failed: "worker_failed",
		epu.Rejected: "worker_rejected",
	}
	if name, ok := names[s.State]; ok {
		c.record(tx, name, map[string]any{
			"worker": epu.NewWorkerID(launch, i), "instance": s.Instance, "site": c.st.Launches[launch].Site,
			"address": s.Address, "reason": cmp.Or(s.EndReason, s.Reason), "kind": s.Kind,
		})
	}
}
