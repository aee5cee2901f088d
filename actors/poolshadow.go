package actors

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/shadow"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/policies"
)

// ShadowCall has a candidate decide on what the pool's policy has decided on, in an engine of its own that lasts as
// long as it is in the shadow. The result is epu.Decision. One without files ends that engine.
type ShadowCall struct {
	Began   time.Time // tells a candidate from the one before
	Files   []epu.PolicyFile
	Variant policies.Variant
	Decide  DecideCall // with the candidate's own memory
}

// Events of a candidate in the shadow of a pool's policy.
type (
	// shadowBegun puts a candidate there, in the place of the one before.
	shadowBegun struct {
		Shadow shadow.Candidate `json:"shadow"`
	}
	// shadowNoted says how it has done, and that it has ended.
	shadowNoted struct {
		Counts shadow.Counts `json:"counts"`
		Error  string        `json:"error,omitempty"`
		Ended  time.Time     `json:"ended,omitzero"`
	}
)

// candidateRun is what is not kept of the candidate in the shadow: after a restart its memory begins anew, and so do the
// counts since they were last noted.
type candidateRun struct {
	call   *ShadowCall // that is out
	ours   epu.Decision
	memory json.RawMessage
	counts shadow.Counts // all of them
	fault  string
	noted  time.Time
	told   string // the difference that was recorded last
	close  bool   // its engine is to be ended
}

// shadowNotes is the time between events that keep a candidate's counts.
const shadowNotes = 10 * time.Minute

// orderShadow carries out the order to put a candidate into the shadow, or to end it.
func (c *Controller) orderShadow(tx *Tx, m msg.Command, q *msg.Shadow) {
	s := c.st.Shadow
	switch {
	case q.GetStop() && !s.Running():
		tx.Answer(&msg.Done{Text: "no candidate is in the shadow of " + string(c.pool)})
		return
	case q.GetStop():
		c.endShadow(tx, m.User)
		c.audit(tx, m, "shadow_stop", map[string]any{"policy": s.Policy, "hash": s.Hash})
		tx.Answer(&msg.Done{Changed: true, Text: "ended: " + c.st.Shadow.Text(c.candidate.counts)})
		return
	case len(q.GetFiles()) == 0:
		tx.Answer(refuse(epu.Invalid, "shadow", string(c.pool), "there is no candidate: send a policy's files"))
		return
	case len(c.whatIfs) >= whatIfsMax:
		tx.Answer(refuse(epu.Unavailable, "shadow", string(c.pool), "too many questions are waiting; try again"))
		return
	}
	size := 0
	now := c.decideCall(epu.DecisionID(tx.NewID()), tx.Now())
	call := WhatIfCall{ID: string(now.Snapshot.Decision), Now: now, Then: now.Snapshot, From: tx.From(), Shadow: q, Command: m}
	for _, f := range q.GetFiles() {
		size += len(f.GetContent())
		call.Files = append(call.Files, epu.PolicyFile{Path: f.GetPath(), Text: string(f.GetContent())})
	}
	if size > shadow.FilesMax {
		tx.Answer(refuse(epu.Invalid, "shadow", string(c.pool), fmt.Sprintf("the candidate's files are longer than %d KiB", shadow.FilesMax>>10)))
		return
	}
	if d := q.GetFor().AsDuration(); q.GetFor() != nil && (d <= 0 || d > shadow.ForMax) {
		r := refuse(epu.Invalid, "shadow", string(c.pool), fmt.Sprintf("it can't last %v: a time above 0, up to %s", d, shadow.ForMaxText()))
		r.Err.Try = "--for " + epu.Span(shadow.For) + ", and at most --for " + epu.Span(shadow.ForMax)
		tx.Answer(r)
		return
	}
	c.vary(&call, q)
	c.whatIfs = append(c.whatIfs, call)
}

// beginShadow puts a candidate that did well on what the pool sees now into the shadow.
func (c *Controller) beginShadow(tx *Tx, call WhatIfCall, d WhatIfDecided) {
	last := shadow.For
	if call.Shadow.GetFor() != nil {
		last = call.Shadow.GetFor().AsDuration()
	}
	s := shadow.Candidate{
		Policy: d.Then.Policy, Hash: d.Then.PolicyHash, Files: call.Files, By: call.Command.User,
		Changes: call.Variant.Changes, Unset: call.Variant.Unset, Whole: call.Variant.Whole,
		Since: tx.Now(), Until: tx.Now().Add(last),
	}
	if err := tx.Fits(shadowBegun{Shadow: s}); err != nil {
		tx.Reply(call.From, refuse(epu.Invalid, "shadow", string(c.pool), err.Error()))
		return
	}
	tx.Because(call.Command.ID)
	tx.Emit(shadowBegun{Shadow: s})
	c.audit(tx, call.Command, "shadow", map[string]any{"policy": s.Policy, "hash": s.Hash, "until": s.Until})
	then := c.carriedOut(d.Then, tx.Now())
	tx.Reply(call.From, &msg.Done{Changed: true, Text: fmt.Sprintf("%s %s is in the shadow of %s for %s; now it would want %d where %d are wanted",
		s.Policy, s.Hash, c.pool, last, then.Wish.Target, c.st.Wish.Target)})
}

// askCandidate has the candidate decide on what the policy has just decided on, unless it still does on an earlier one.
func (c *Controller) askCandidate(call DecideCall, ours epu.Decision) {
	s := c.st.Shadow
	if !s.Running() || c.candidate.call != nil {
		return
	}
	snap := *call.Snapshot
	snap.Memory = c.candidate.memory
	call.Snapshot = &snap
	c.candidate.ours = ours
	c.candidate.call = &ShadowCall{
		Began: s.Since, Files: s.Files, Variant: policies.Variant{Changes: s.Changes, Unset: s.Unset, Whole: s.Whole}, Decide: call,
	}
}

// candidateRuns are the candidate's evaluation, and the end of its engine.
func (c *Controller) candidateRuns() (todo []Todo) {
	if call := c.candidate.call; call != nil {
		todo = append(todo, Todo{Key: "shadow/" + string(call.Decide.Snapshot.Decision), Call: *call, Every: defaultTick, Cap: decideRetryCap})
	}
	if c.candidate.close {
		todo = append(todo, Todo{Key: "shadow-end", Call: ShadowCall{}, Every: time.Minute})
	}
	return todo
}

// candidateDecided holds the candidate's decision against the one in force. Whatever comes of it, the pool goes on.
func (c *Controller) candidateDecided(tx *Tx, call ShadowCall, r CallResult) {
	if len(call.Files) == 0 {
		c.candidate.close = false
		return
	}
	run, s := &c.candidate, c.st.Shadow
	if run.call == nil || run.call.Decide.Snapshot != call.Decide.Snapshot {
		return
	}
	run.call = nil
	if !s.Running() {
		return
	}
	theirs, _ := r.Result.(epu.Decision)
	if r.Err != nil {
		theirs.Error = r.Err.Error()
	}
	run.counts.Evaluated++
	told, name := "", ""
	var found any
	if theirs.Error == "" {
		c.guard(&theirs, run.ours.Before)
		run.memory = theirs.MemoryAfter
	}
	if theirs.Error != "" {
		run.counts.Failed++
		run.fault, told, name = theirs.Error, theirs.Error, shadow.Failure
		found = map[string]any{"policy": s.Policy, "hash": s.Hash, "decision": run.ours.ID, "error": theirs.Error}
	} else if shadow.Differs(run.ours, theirs) {
		run.counts.Differing++
		told, name = fmt.Sprint(run.ours.Wish.Target, " ", theirs.Wish.Target), shadow.Difference
		found = shadow.Found{
			Policy: s.Policy, Hash: s.Hash, Decision: run.ours.ID, Ours: run.ours.Wish.Target, Theirs: theirs.Wish.Target,
			OursWhy: shadow.Why(run.ours), TheirWhy: shadow.Why(theirs),
		}
	}
	if told != "" && told != run.told { // the same again is only counted
		c.keep(tx, persistence.KindEvent, name, found)
	}
	run.told = told
	if tx.Now().Sub(run.noted) >= shadowNotes {
		run.noted = tx.Now()
		tx.Emit(shadowNoted{Counts: run.counts, Error: run.fault})
	}
}

// endShadowInTime ends a shadow whose time is over.
func (c *Controller) endShadowInTime(tx *Tx, now time.Time) {
	if s := c.st.Shadow; s.Running() && !now.Before(s.Until) {
		c.endShadow(tx, "")
	}
}

// endShadow keeps the counts and forgets the rest.
func (c *Controller) endShadow(tx *Tx, by string) {
	s, n := c.st.Shadow, c.candidate.counts
	tx.Emit(shadowNoted{Counts: n, Error: c.candidate.fault, Ended: tx.Now()})
	c.record(tx, shadow.End, map[string]any{
		"policy": s.Policy, "hash": s.Hash, "by": by, "evaluated": n.Evaluated, "differing": n.Differing, "failed": n.Failed,
	})
}

func (c *Controller) applyShadowNoted(e shadowNoted) {
	c.st.Shadow = c.st.Shadow.Noted(e.Counts, e.Error, e.Ended)
	c.candidate.counts, c.candidate.fault = e.Counts, e.Error
	if !c.st.Shadow.Running() {
		c.candidate.call, c.candidate.close = nil, true
	}
}

// shadowReport answers *msg.ShadowQuery; what differed stands in the history.
func (c *Controller) shadowReport(tx *Tx) {
	s := c.st.Shadow
	if s == nil {
		r := refuse(epu.NotFound, "report on the shadow of", string(c.pool), "no candidate has been there")
		r.Err.Try = "epumgmt policy shadow " + string(c.pool) + " FILE"
		tx.Answer(r)
		return
	}
	tx.Answer(s.Report(c.pool, c.candidate.counts, c.candidate.fault))
}
