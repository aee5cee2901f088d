package actors

import (
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// launchSlotsMax bounds the workers of one launch, so that one refusal does not cost them all.
const launchSlotsMax = 100

// reconcilePasses bounds how often one message may lead to actions that make further ones possible.
const reconcilePasses = 3

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
		len(c.overdue) == 0 && len(c.replacing) == 0 && c.suspicion.canaries == 0 && !d.EndAll && !d.Removing
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
		DryRun:  c.dryRun,
		DrainTo: spec.Health.Source == epu.HealthAgent, Busy: spec.Drain.ProtectBusy,
		Unheard: c.unheard, Overdue: c.overdue, Canaries: c.suspicion.canaries, Backoff: c.backoffOf,
		Launched: used(c.st.Launched, now, spec.Limits.Launches.Window),
		Ended:    used(c.st.Ended, now, spec.Limits.Terminations.Window),
		Lost:     used(c.st.Ended, now, spec.Limits.Loss.Window),
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
		in.Limits.Terminations.Window, in.Limits.Loss.Percent = 0, 0 // the operator said so
		in.Hold, in.Canaries = true, 0
		in.Freeze = reconcile.Thawed
		in.DrainTo = in.DrainTo && !d.EndAll
	}
	return in
}

// used sums up the stamps that are within a window. One that lies further ahead is of a clock that was wrong.
func used(stamps []stamp, now time.Time, window time.Duration) reconcile.Used {
	var u reconcile.Used
	for _, s := range stamps {
		if now.Sub(s.Time).Abs() <= window {
			u.N += s.N
			u.Next = earlier(u.Next, s.Time.Add(window+1))
		}
	}
	return u
}

// carryOut makes a plan's actions durable intents.
func (c *Controller) carryOut(tx *Tx, plan *reconcile.Plan) {
	for _, w := range plan.Resumes {
		tx.Emit(workerDraining{Worker: w.ID, On: false, Reason: reconcile.WantedAgain})
	}
	for _, e := range plan.Ends {
		failed := !e.Surplus && c.shortLived(&c.st.Launches[e.Worker.Launch].Slots[e.Worker.Slot], tx.Now())
		c.end(tx, e.Worker, e.Reason, failed, e.Limited)
	}
	for _, w := range plan.Drains {
		tx.Emit(workerDraining{Worker: w.ID, On: true, Reason: reconcile.DrainReason(w)})
	}
	for _, l := range plan.Launches {
		c.openAll(tx, l)
	}
	if c.current != nil {
		c.current.Actions = append(c.current.Actions, plan.Actions()...)
		c.current.Rejected = append(c.current.Rejected, plan.Refused...)
	}
}

// openAll makes the intents of as many launches as it takes.
func (c *Controller) openAll(tx *Tx, l reconcile.Launch) {
	for l.N > 0 {
		n := min(l.N, launchSlotsMax)
		c.open(tx, l, n)
		l.N -= n
		l.AskedFrom += n
	}
}

// open makes the intents of one launch.
func (c *Controller) open(tx *Tx, l reconcile.Launch, n int) {
	id := epu.NewLaunchID(c.pool, c.id.Epoch, c.st.Seq+1)
	tx.Because(string(c.st.Decision))
	tx.Emit(launchOpened{
		Launch: id, Site: l.Site, Allocation: l.Allocation, Market: l.Market, N: n, Name: l.Name, Vars: l.Vars,
		Time: tx.Now(), Reason: l.Reason, Asked: l.Asked, AskedFrom: l.AskedFrom,
	})
	c.record(tx, "launch_opened", map[string]any{
		"launch": id, "site": l.Site, "n": n, "name": l.Name, "reason": l.Reason,
		"healing": c.current == nil, // the last wish is repeated without asking the policy
	})
}

// deeds carries out the actions of a decision, once, in the batch that makes its wish durable. What the
// guard rails refuse is not queued: the policy hears of it at its next decision.
func (c *Controller) deeds(tx *Tx, d *epu.Decision) []epu.Reason {
	if len(d.Actions) == 0 {
		return nil
	}
	plan := reconcile.Asked(c.reality(tx.Now()), d.ID, d.Actions, c.find)
	for _, w := range plan.Resumes {
		tx.Because(string(d.ID))
		tx.Emit(workerDraining{Worker: w.ID, On: false, Reason: "the policy asked for it"})
	}
	for _, e := range plan.Ends {
		c.end(tx, e.Worker, e.Reason, false, e.Limited)
	}
	for _, x := range plan.Drains {
		tx.Because(string(d.ID))
		tx.Emit(workerDraining{Worker: x.Worker.ID, On: true, Reason: x.Reason, Order: true, Limited: x.Limited, Time: tx.Now()})
	}
	for _, l := range plan.Launches {
		c.openAll(tx, l)
	}
	d.Rejected = append(d.Rejected, plan.Refused...)
	c.dirty = true
	return plan.Refused
}

// refusals are what the guard rails refused of the last decision and refuse now.
func (c *Controller) refusals() []epu.Reason {
	if len(c.asked) == 0 {
		return c.refused
	}
	return slices.Concat(c.asked, c.refused)
}

// named finds the worker that an order names by its own ID or its machine's, and says so when there is
// none.
func (c *Controller) named(tx *Tx, verb, instance string) *epu.Worker {
	for _, w := range c.roster.all {
		if string(w.ID) == instance || w.Instance != "" && string(w.Instance) == instance {
			return w
		}
	}
	tx.Answer(refuse(epu.NotFound, verb, instance, "pool "+string(c.pool)+" has no such worker"))
	return nil
}

// because is why an order was given, for people.
func because(what string, m msg.Command, reason string) string {
	what += " by " + m.User
	if reason != "" {
		what += ": " + reason
	}
	return what
}

// listed reports that a worker may be ended: its site has been listed since the start, and is not in dry
// run. It says so when not.
func (c *Controller) listed(tx *Tx, verb string, w *epu.Worker) bool {
	switch {
	case c.dryRun(w.Site):
		tx.Answer(refuse(epu.Conflict, verb, string(w.ID), "site "+string(w.Site)+" is in dry run: nothing is ended there"))
		return false
	case c.syncs[w.Site]:
		return true
	}
	r := refuse(epu.Unavailable, verb, string(w.ID), "site "+string(w.Site)+" has not been listed since the start")
	r.Err.Try = "try again in a moment"
	tx.Answer(r)
	return false
}

// kill ends one worker at once; the wish stays, so it is replaced.
func (c *Controller) kill(tx *Tx, m msg.Command, k *msg.Kill) {
	w := c.named(tx, "kill", k.GetInstance())
	switch {
	case w == nil:
	case w.Ended:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is ending already: " + w.EndReason})
	case c.listed(tx, "kill", w):
		c.end(tx, w, because("killed", m, k.GetReason()), false, false)
		c.auditWorker(tx, m, "kill", w, k.GetReason())
		tx.Answer(&msg.Done{Changed: true, Text: string(w.ID) + " is ending" + c.instead(w)})
	}
}

// drain takes one worker out of service: it takes no new work and ends when it has none. Where there is
// nobody to ask for that, it ends at once.
func (c *Controller) drain(tx *Tx, m msg.Command, d *msg.Drain) {
	w := c.named(tx, "drain", d.GetInstance())
	switch agent := c.st.Define.Spec.Health.Source == epu.HealthAgent; {
	case w == nil:
	case w.Ended:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is ending already: " + w.EndReason})
	case w.Draining && w.Leaving:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is draining already"})
	case agent && w.State == epu.Running && !w.Unhealthy():
		tx.Emit(workerDraining{Worker: w.ID, On: true, Order: true, Reason: because("drained", m, d.GetReason()), Time: tx.Now()})
		c.auditWorker(tx, m, "drain", w, d.GetReason())
		tx.Answer(&msg.Done{Changed: true, Text: string(w.ID) + " takes no new work, ends when it has none" + c.instead(w)})
	case c.listed(tx, "drain", w):
		c.end(tx, w, because("drained", m, d.GetReason()), false, false)
		c.auditWorker(tx, m, "drain", w, d.GetReason())
		tx.Answer(&msg.Done{Changed: true, Text: string(w.ID) + " has no work that could be waited for and is ending" + c.instead(w)})
	}
}

// instead says what comes in the place of a worker that was just taken out.
func (c *Controller) instead(w *epu.Worker) string {
	later := c.later()
	if f := c.st.Freeze; f != nil && f.Healing && !c.st.Define.EndAll && !c.id.Recovery {
		later = ""
	}
	switch {
	case later != "":
		return " and will be replaced " + later
	case w.Name != "":
		return " and its name will get another worker when it is gone, if it is still wanted"
	}
	return " and will be replaced if it is still wanted"
}

// resume takes back a drain, or a replacement that has not come to one, as long as the worker's end is
// not durable.
func (c *Controller) resume(tx *Tx, m msg.Command, r *msg.Resume) {
	w := c.named(tx, "resume", r.GetInstance())
	switch {
	case w == nil:
	case w.Ended:
		no := refuse(epu.Conflict, "resume", r.GetInstance(), "its end is decided and durable: "+w.EndReason)
		no.Err.Try = "the pool launches another by itself if it needs one"
		tx.Answer(no)
	case !w.Draining && !w.Replacing:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is in service"})
	default:
		surplus := w.Draining && !w.Leaving
		tx.Emit(workerDraining{Worker: w.ID, On: false, Reason: because("resumed", m, ""), Time: tx.Now()})
		c.auditWorker(tx, m, "resume", w, "")
		text := string(w.ID) + " is back in service"
		if surplus {
			text += "; it was surplus, for the pool wants " + epu.Plural(c.st.Wish.Target, "worker") + ": epumgmt protect keeps this one"
		}
		tx.Answer(&msg.Done{Changed: true, Text: text})
	}
}

// protect keeps a worker from being chosen as surplus, or no longer.
func (c *Controller) protect(tx *Tx, m msg.Command, instance, reason string, on bool) {
	verb, text := "unprotect", " may be chosen as surplus"
	if on {
		verb, text = "protect", " is never chosen as surplus"
	}
	w := c.named(tx, verb, instance)
	switch {
	case w == nil:
	case w.Ended:
		no := refuse(epu.Conflict, verb, instance, "it is ending: "+w.EndReason)
		no.Err.Try = "epumgmt instances lists the workers that stay"
		tx.Answer(no)
	default:
		if changed := w.Protected != on; changed {
			tx.Emit(workerProtected{Worker: w.ID, On: on})
			c.auditWorker(tx, m, verb, w, reason)
		}
		if on && w.Draining {
			text += "; it is draining all the same: epumgmt resume takes that back"
		}
		tx.Answer(&msg.Done{Changed: w.Protected != on, Text: string(w.ID) + text})
	}
}

// replace has another worker launched; this one goes once that runs.
func (c *Controller) replace(tx *Tx, m msg.Command, r *msg.Replace) {
	w := c.named(tx, "replace", r.GetInstance())
	switch {
	case w == nil:
	case w.Ended:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is ending already: " + w.EndReason})
	case w.Name != "":
		no := refuse(epu.Invalid, "replace", r.GetInstance(), "the name "+w.Name+" belongs to one worker at a time, so no other can be launched first")
		no.Err.Try = "epumgmt drain " + r.GetInstance() + " takes it out; the name gets another worker when it is gone"
		tx.Answer(no)
	case c.st.Define.EndAll:
		no := refuse(epu.Conflict, "replace", r.GetInstance(), "terminate-all has switched launching off")
		no.Err.Try = "epumgmt enable"
		tx.Answer(no)
	case w.Replacing:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is being replaced already"})
	case w.Draining && w.Leaving:
		tx.Answer(&msg.Done{Text: string(w.ID) + " is leaving already, and another takes its place"})
	default:
		tx.Emit(workerReplacing{Worker: w.ID, Reason: because("replaced", m, r.GetReason())})
		c.auditWorker(tx, m, "replace", w, r.GetReason())
		text := string(w.ID) + " goes once another runs in its place; until then it works on"
		if later := c.later(); later != "" {
			text = string(w.ID) + " will be replaced " + later + "; until then it works on"
		}
		tx.Answer(&msg.Done{Changed: true, Text: text})
	}
}

func (c *Controller) auditWorker(tx *Tx, m msg.Command, verb string, w *epu.Worker, reason string) {
	c.audit(tx, m, verb, map[string]any{"worker": w.ID, "instance": w.Instance, "reason": reason})
}

// adopt opens a launch that takes in a machine which a site lists as stray.
func (c *Controller) adopt(tx *Tx, m msg.AdoptMachine) {
	for _, l := range c.st.Launches {
		if l.Adopt == m.Instance {
			tx.Answer(&msg.Done{Text: "already being adopted"})
			return
		}
	}
	id := epu.NewLaunchID(c.pool, c.id.Epoch, c.st.Seq+1)
	tx.Emit(launchOpened{Launch: id, Site: m.Site, N: 1, Adopt: m.Instance, Time: tx.Now(), Reason: "adopted"})
	tx.Answer(&msg.Done{Changed: true, Text: "adopting " + string(m.Instance) + " as " + string(epu.NewWorkerID(id, 0))})
}
