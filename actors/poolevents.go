package actors

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/shadow"
	"github.com/nimbus-epu/epu/persistence"
)

// Events of a pool's stream.
type (
	// poolDefined takes over what the registry says.
	poolDefined struct {
		Define msg.Define `json:"define"`
	}
	// confChanged replaces whole top-level values of the policy's configuration.
	confChanged struct {
		Conf    map[string]any `json:"conf"` // all of it, merged
		Changed []string       `json:"changed"`
		By      string         `json:"by"`
		Time    time.Time      `json:"time"`
	}
	// wished puts a decision's wish in force.
	wished struct {
		Decision epu.DecisionID  `json:"decision"`
		Wish     epu.Wish        `json:"wish"`
		Memory   json.RawMessage `json:"memory,omitempty"`
	}
	// launchOpened makes intents: every slot of the launch is a wanted worker.
	launchOpened struct {
		Launch     epu.LaunchID      `json:"launch"`
		Site       epu.SiteID        `json:"site"`
		Allocation epu.Allocation    `json:"allocation,omitempty"`
		Market     epu.Market        `json:"market,omitempty"`
		N          int               `json:"n"`
		Name       string            `json:"name,omitempty"`
		Vars       map[string]string `json:"vars,omitempty"`
		Adopt      epu.InstanceID    `json:"adopt,omitempty"`
		Time       time.Time         `json:"time"`
		Reason     string            `json:"reason,omitempty"`
		Asked      string            `json:"asked,omitempty"`      // "<decision>/<index>" of the policy's action behind it
		AskedFrom  int               `json:"asked_from,omitempty"` // workers that earlier launches of that action have
	}
	// workerEnded makes a slot unwanted for good.
	workerEnded struct {
		Worker  epu.WorkerID `json:"worker"`
		Reason  string       `json:"reason"`
		Failed  bool         `json:"failed,omitempty"`  // it never worked: counts as a failed launch
		Limited bool         `json:"limited,omitempty"` // counts toward limits.terminations
		Time    time.Time    `json:"time"`
	}
	// launchReported is what a site's report changed.
	launchReported struct {
		Launch epu.LaunchID     `json:"launch"`
		Rev    epu.Revision     `json:"rev"`
		Closed bool             `json:"closed,omitempty"`
		Slots  map[int]msg.Slot `json:"slots,omitempty"` // that differ
		Failed bool             `json:"failed,omitempty"`
		Time   time.Time        `json:"time"`
	}
	// workerCheckedIn says that a worker's agent has been handed its token: the worker is RUNNING.
	workerCheckedIn struct {
		Worker epu.WorkerID `json:"worker"`
		Time   time.Time    `json:"time"`
	}
	// workerDraining begins or cancels a worker's drain.
	workerDraining struct {
		Worker  epu.WorkerID `json:"worker"`
		On      bool         `json:"on"`
		Reason  string       `json:"reason,omitempty"`
		Order   bool         `json:"order,omitempty"`   // somebody asked for it by name: it is not called back as supply
		Limited bool         `json:"limited,omitempty"` // counts toward limits.terminations
		Time    time.Time    `json:"time,omitzero"`
	}
	// workerProtected keeps a worker from being a victim, or no longer.
	workerProtected struct {
		Worker epu.WorkerID `json:"worker"`
		On     bool         `json:"on"`
	}
	// workerReplacing has another worker launched before this one goes.
	workerReplacing struct {
		Worker epu.WorkerID `json:"worker"`
		Reason string       `json:"reason,omitempty"`
	}
	// hookSettled says that a hook of a worker has been run, or was given up.
	hookSettled struct {
		Worker  epu.WorkerID `json:"worker"`
		Hook    string       `json:"hook"`
		GivenUp string       `json:"given_up,omitempty"` // why
		Time    time.Time    `json:"time"`
	}
	// launchDone drops a launch of which nothing is left.
	launchDone struct {
		Launch epu.LaunchID `json:"launch"`
	}
	// poolFrozen stops actions until poolThawed.
	poolFrozen struct {
		Freeze msg.FreezeState `json:"freeze"`
	}
	poolThawed struct {
		By string `json:"by"`
	}
	// streakCleared forgets the failed launches of a place: a newer worker has run there for a while. Without
	// a place it ends the row of failures anywhere.
	streakCleared struct {
		Place string `json:"place"`
	}
	// epochBegun says that the store has begun a new life. What was counted in an older one is void:
	// revisions and generations of other streams, which may be from another moment.
	epochBegun struct {
		Epoch epu.Epoch `json:"epoch"`
	}
)

// PoolCodec knows the events of pool streams.
func PoolCodec() *persistence.Codec {
	c := persistence.NewCodec()
	persistence.Register[Activated](c, "activated", 1)
	persistence.Register[poolDefined](c, "pool-defined", 1)
	persistence.Register[confChanged](c, "conf-changed", 1)
	persistence.Register[wished](c, "wished", 1)
	persistence.Register[launchOpened](c, "launch-opened", 1)
	persistence.Register[workerEnded](c, "worker-ended", 1)
	persistence.Register[launchReported](c, "launch-reported", 1)
	persistence.Register[workerCheckedIn](c, "worker-checked-in", 1)
	persistence.Register[workerDraining](c, "worker-draining", 1)
	persistence.Register[workerProtected](c, "worker-protected", 1)
	persistence.Register[workerReplacing](c, "worker-replacing", 1)
	persistence.Register[hookSettled](c, "hook-settled", 1)
	persistence.Register[launchDone](c, "launch-done", 1)
	persistence.Register[poolFrozen](c, "pool-frozen", 1)
	persistence.Register[poolThawed](c, "pool-thawed", 1)
	persistence.Register[streakCleared](c, "streak-cleared", 1)
	persistence.Register[epochBegun](c, "epoch-begun", 1)
	persistence.Register[shadowBegun](c, "shadow-begun", 1)
	persistence.Register[shadowNoted](c, "shadow-noted", 1)
	return c
}

// poolState is a pool's durable state.
type poolState struct {
	Epoch     epu.Epoch                    `json:"epoch"` // of the store, as far as the state goes
	Rev       epu.Revision                 `json:"rev"`
	Define    msg.Define                   `json:"define"`
	Conf      map[string]any               `json:"conf,omitempty"`
	Overrides map[string]msg.Override      `json:"overrides,omitempty"`
	Wish      epu.Wish                     `json:"wish"`
	Decision  epu.DecisionID               `json:"decision,omitempty"`
	Memory    json.RawMessage              `json:"memory,omitempty"`
	Seq       uint64                       `json:"seq"` // of the newest launch
	Launches  map[epu.LaunchID]*poolLaunch `json:"launches,omitempty"`
	Freeze    *msg.FreezeState             `json:"freeze,omitempty"`
	Streaks   map[string]lifecycle.Streak  `json:"streaks,omitempty"`  // by place, of launches that failed there
	Row       lifecycle.Streak             `json:"row,omitzero"`       // failed launches since one ran, wherever
	Launched  []stamp                      `json:"launched,omitempty"` // within limits.launches' window
	Ended     []stamp                      `json:"ended,omitempty"`    // within limits.terminations' window
	Faults    []msg.HookFault              `json:"faults,omitempty"`   // hooks that were given up, the newest
	Shadow    *shadow.Candidate            `json:"shadow,omitempty"`
}

// stamp is a number of workers at a moment.
type stamp struct {
	Time time.Time `json:"t"`
	N    int       `json:"n"`
}

// poolLaunch is a controller's record of one launch.
type poolLaunch struct {
	Site       epu.SiteID        `json:"site"`
	Spec       *epu.LaunchSpec   `json:"spec,omitempty"` // kept until the site has a record
	Allocation epu.Allocation    `json:"alloc,omitempty"`
	Market     epu.Market        `json:"market,omitempty"`
	Name       string            `json:"name,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Adopt      epu.InstanceID    `json:"adopt,omitempty"`
	Asked      string            `json:"asked,omitempty"`
	AskedFrom  int               `json:"asked_from,omitempty"`
	Opened     time.Time         `json:"opened"`
	Rev        epu.Revision      `json:"rev,omitempty"` // of the site's newest report taken in
	Closed     bool              `json:"closed,omitempty"`
	Failed     bool              `json:"failed,omitempty"` // it counts in its place's streak
	Slots      []poolSlot        `json:"slots"`
}

// poolSlot is one intent: a wanted worker, and what its site last said of it.
type poolSlot struct {
	msg.Slot
	Since     int64     `json:"since,omitempty"` // of the state, unix milliseconds
	EndReason string    `json:"end,omitempty"`
	Why       string    `json:"why,omitempty"` // of the order to leave, and of its end
	Unwanted  bool      `json:"unwanted,omitempty"`
	CheckedIn bool      `json:"in,omitempty"`
	Ran       bool      `json:"ran,omitempty"` // it has been RUNNING without a check-in
	Draining  bool      `json:"drain,omitempty"`
	Leaving   bool      `json:"leave,omitempty"`   // drains by an order
	Replacing bool      `json:"replace,omitempty"` // goes once another runs
	Protected bool      `json:"protect,omitempty"`
	RunHook   hookState `json:"run_hook,omitempty"`
	EndHook   hookState `json:"end_hook,omitempty"`
}

// Apply changes the pool's durable state by one event.
func (c *Controller) Apply(ev any) {
	c.st.Rev++
	switch e := ev.(type) {
	case Activated:
		c.begun = false
	case epochBegun:
		c.st.Epoch, c.st.Define.Gen = e.Epoch, 0
		for id, l := range c.st.Launches {
			l.Rev = 0
			c.hot.add(id)
		}
	case poolDefined:
		c.applyDefined(e)
	case confChanged:
		c.st.Conf = e.Conf
		for _, k := range e.Changed {
			if c.st.Overrides == nil {
				c.st.Overrides = map[string]msg.Override{}
			}
			c.st.Overrides[k] = msg.Override{Value: e.Conf[k], By: e.By, Time: e.Time}
		}
	case wished:
		c.st.Wish, c.st.Decision, c.st.Memory = e.Wish, e.Decision, e.Memory
	case launchOpened:
		c.applyOpened(e)
	case workerEnded:
		c.applyEnded(e)
	case launchReported:
		c.applyReported(e)
	case workerCheckedIn:
		c.slot(e.Worker, func(s *poolSlot) {
			s.CheckedIn = true
			if s.State < epu.Running {
				s.State, s.Since = epu.Running, e.Time.UnixMilli()
			}
		})
	case workerDraining:
		c.applyDraining(e)
	case workerProtected:
		c.slot(e.Worker, func(s *poolSlot) { s.Protected = e.On })
	case workerReplacing:
		c.slot(e.Worker, func(s *poolSlot) { s.Replacing, s.Why = true, e.Reason })
	case hookSettled:
		c.applyHook(e)
	case launchDone:
		c.bySite[c.st.Launches[e.Launch].Site]--
		delete(c.st.Launches, e.Launch)
		c.hot.del(e.Launch)
	case poolFrozen:
		f := e.Freeze
		c.st.Freeze = &f
	case poolThawed:
		c.st.Freeze, c.st.Row = nil, lifecycle.Streak{}
	case streakCleared:
		delete(c.st.Streaks, e.Place)
		if e.Place == "" {
			c.st.Row = lifecycle.Streak{}
		}
	case shadowBegun:
		candidate := e.Shadow
		c.st.Shadow, c.candidate = &candidate, candidateRun{}
	case shadowNoted:
		c.applyShadowNoted(e)
	}
}

func (c *Controller) applyDefined(e poolDefined) {
	if e.Define.ConfGen != c.st.Define.ConfGen {
		c.st.Conf = maps.Clone(e.Define.Spec.Policy.Conf)
		c.st.Overrides = nil
	}
	retuned := e.Define.Spec.Health != c.st.Define.Spec.Health
	rehooked := !reflect.DeepEqual(e.Define.Spec.Hooks, c.st.Define.Spec.Hooks)
	c.st.Define = e.Define
	if retuned {
		c.health = &e.Define.Spec.Health
	}
	c.st.Streaks, c.st.Faults, c.st.Row = nil, nil, lifecycle.Streak{} // what failed may be mended now
	c.retune = true
	c.dirty = true
	for id := range c.st.Launches {
		if rehooked {
			c.hot.add(id)
		}
		if retuned || rehooked {
			c.refreshAll(id)
		}
	}
}

func (c *Controller) applyOpened(e launchOpened) {
	_, _, seq, _ := e.Launch.Parse()
	c.st.Seq = max(c.st.Seq, seq)
	spec := c.st.Define.Launches[e.Site]
	l := &poolLaunch{
		Site: e.Site, Spec: &spec, Allocation: e.Allocation, Market: e.Market, Name: e.Name, Vars: e.Vars,
		Adopt: e.Adopt, Asked: e.Asked, AskedFrom: e.AskedFrom, Opened: e.Time, Slots: make([]poolSlot, e.N),
	}
	for i := range l.Slots {
		l.Slots[i].State, l.Slots[i].Since = epu.Requesting, e.Time.UnixMilli()
	}
	c.st.Launches[e.Launch] = l
	c.bySite[e.Site]++
	c.hot.add(e.Launch)
	c.st.Launched = push(c.st.Launched, stamp{e.Time, e.N}, c.st.Define.Spec.Limits.Launches.Window)
	c.refreshAll(e.Launch)
}

func (c *Controller) applyEnded(e workerEnded) {
	c.slot(e.Worker, func(s *poolSlot) { s.Unwanted, s.EndReason = true, e.Reason })
	if e.Failed {
		launch, _, _ := e.Worker.Parse()
		c.failed(launch, e.Time, e.Reason)
	}
	if e.Limited {
		c.st.Ended = push(c.st.Ended, stamp{e.Time, 1}, c.st.Define.Spec.Limits.EndsKept())
	}
}

func (c *Controller) applyDraining(e workerDraining) {
	c.slot(e.Worker, func(s *poolSlot) {
		s.Draining = e.On
		switch {
		case !e.On: // back in service, whatever it was taken out for
			s.Leaving, s.Replacing, s.Why = false, false, ""
		case e.Order:
			s.Leaving, s.Why = true, e.Reason
		}
	})
	if e.Limited {
		c.st.Ended = push(c.st.Ended, stamp{e.Time, 1}, c.st.Define.Spec.Limits.EndsKept())
	}
}

func (c *Controller) applyReported(e launchReported) {
	l := c.st.Launches[e.Launch]
	l.Rev, l.Closed, l.Spec = e.Rev, e.Closed, nil
	for i, s := range e.Slots {
		slot := &l.Slots[i]
		state := c.merged(slot, s)
		if state != slot.State {
			slot.Since = e.Time.UnixMilli()
		}
		slot.Ran = slot.Ran || slot.State == epu.Running || state == epu.Running
		slot.Slot = s
		slot.State = state
	}
	if e.Failed {
		why := ""
		for _, s := range e.Slots {
			why = cmp.Or(s.Reason, why)
		}
		c.failed(e.Launch, e.Time, why)
	}
	c.hot.add(e.Launch)
	for i := range e.Slots {
		c.refresh(e.Launch, i)
	}
}

// merged is a slot's state once a report of it is taken in. States only move forward.
func (c *Controller) merged(slot *poolSlot, s msg.Slot) epu.State {
	state := max(slot.State, s.State)
	if state == epu.Started && c.st.Define.Spec.Health.Source != epu.HealthAgent {
		return epu.Running // nobody will check in: a machine that runs is ready
	}
	return state
}

// push adds a stamp and drops those that are out of the window, behind it or ahead.
func push(stamps []stamp, s stamp, window time.Duration) []stamp {
	if n := len(stamps); n > 0 && stamps[n-1].Time.Equal(s.Time) {
		stamps[n-1].N += s.N
		return stamps
	}
	keep := stamps[:0:0]
	for _, old := range stamps {
		if s.Time.Sub(old.Time).Abs() <= window {
			keep = append(keep, old)
		}
	}
	return append(keep, s)
}

// slot changes one slot and whatever is derived from it.
func (c *Controller) slot(id epu.WorkerID, change func(*poolSlot)) {
	launch, i, _ := id.Parse()
	change(&c.st.Launches[launch].Slots[i])
	c.hot.add(launch)
	c.refresh(launch, i)
}
