package actors

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Due derives what is still to be done: wants not yet shown done, sites not yet synced, the evaluation
// and the checks that are out, readings to be fetched and hooks to be run.
func (c *Controller) Due(_ time.Time, rev epu.Revision) (todo []Todo, next time.Time) {
	todo = make([]Todo, 0, len(c.hot.ids)+4)
	for _, id := range c.hot.ids {
		if l := c.st.Launches[id]; l != nil && c.wantDue(l) {
			todo = append(todo, c.wantTodo(id, l, rev))
		}
	}
	for _, site := range c.unsynced() {
		todo = append(todo, Todo{
			Key: "sync/" + string(site), To: msg.SiteAddress(site), Every: syncEvery, Cap: syncEveryMax,
			Send: msg.SyncQuery{Epoch: c.id.Epoch, Owner: c.owner, Pool: c.pool},
		})
	}
	for _, p := range c.st.Define.Spec.Placement {
		todo = append(todo, Todo{
			Key: "offers/" + string(p.Site), To: msg.SiteAddress(p.Site), Send: msg.OffersQuery{}, Every: offersFirst, Cap: offersAgain,
		})
	}
	if c.deciding != nil {
		todo = append(todo, Todo{Key: c.decideKey, Call: *c.deciding, Every: defaultTick, Cap: decideRetryCap})
	}
	if len(c.checks) > 0 {
		call := c.checks[0]
		d := &c.st.Define
		call.Policy, call.Version, call.Conf, call.ConfGen = d.Spec.Policy.Name, d.Version, c.st.Conf, d.ConfGen
		key := "check/" + call.Command.ID + "/" + strconv.FormatUint(call.ConfGen, 10) + "/" + call.Policy + "/" + call.Version
		todo = append(todo, Todo{Key: key, Call: call, Every: time.Second})
	}
	if !c.st.Define.Removing {
		todo = append(todo, c.polls()...)
	}
	todo = append(todo, c.hookRuns()...)
	todo = append(todo, c.whatIfRuns()...)
	todo = append(todo, c.candidateRuns()...)
	if d := c.st.Define; d.Removing && len(c.st.Launches) == 0 {
		todo = append(todo, Todo{
			Key: "removed", To: RegistryAddress, Send: msg.Removed{Owner: c.owner, Pool: c.pool, Gen: d.Gen},
			Every: time.Second, Cap: time.Minute,
		})
	}
	return todo, c.next()
}

func (c *Controller) wantTodo(id epu.LaunchID, l *poolLaunch, rev epu.Revision) Todo {
	ended := 0
	for i := range l.Slots {
		if l.Slots[i].Unwanted && !c.endHookDue(&l.Slots[i]) {
			ended++
		}
	}
	return Todo{
		Key: "want/" + string(id) + "/" + strconv.Itoa(ended), To: msg.SiteAddress(l.Site),
		Make: func() any { return c.want(id, l, rev) }, Every: wantEvery, Cap: wantEveryMax,
	}
}

func (c *Controller) want(id epu.LaunchID, l *poolLaunch, rev epu.Revision) msg.Want {
	w := msg.Want{
		Epoch: c.id.Epoch, Owner: c.owner, Pool: c.pool, Launch: id, N: len(l.Slots), Name: l.Name, Vars: l.Vars,
		Adopt: l.Adopt, Rev: rev, Protected: c.st.Define.Spec.Protected,
	}
	if l.Spec != nil {
		w.Spec = *l.Spec
		w.Spec.Allocation = cmp.Or(l.Allocation, w.Spec.Allocation)
		w.Spec.Market = cmp.Or(l.Market, w.Spec.Market)
	}
	for i, s := range l.Slots {
		if s.Unwanted && !c.endHookDue(&s) {
			w.Ended = append(w.Ended, i)
		}
	}
	return w
}

// unsynced lists the sites that must have been listed before anything is ended there: those of the
// placement, and those that launches stand at.
func (c *Controller) unsynced() []epu.SiteID {
	var sites []epu.SiteID
	add := func(site epu.SiteID) {
		if !c.syncs[site] && !slices.Contains(sites, site) {
			sites = append(sites, site)
		}
	}
	for _, p := range c.st.Define.Spec.Placement {
		add(p.Site)
	}
	for site, n := range c.bySite {
		if n > 0 {
			add(site)
		}
	}
	slices.Sort(sites)
	return sites
}

// next is when the core must be woken at the latest.
func (c *Controller) next() time.Time {
	next := c.lastWake.Add(c.tickEvery()) // a longer gap would look like deafness
	at := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if c.decides() && c.deciding == nil {
		at(c.nextTick)
	}
	if len(c.looks) > 0 {
		at(c.looks[0].at)
	}
	if len(c.starting)+len(c.drains) > 0 && !c.id.Recovery {
		at(c.nextScan)
	}
	if c.st.Freeze != nil {
		at(c.st.Freeze.Until)
	}
	if s := c.st.Shadow; s.Running() {
		at(s.Until)
	}
	if c.acts() {
		at(c.waitUntil)
	}
	return next
}

// view is what the controller tells people.
func (c *Controller) view(now time.Time) msg.PoolView {
	all, _ := c.roster.share()
	v := msg.PoolView{
		Spec: c.st.Define.Spec, Gen: c.st.Define.Gen, Conf: c.st.Conf, Overrides: maps.Clone(c.st.Overrides),
		Wish: c.st.Wish, Last: c.last, Workers: all, Freeze: c.st.Freeze, EndAll: c.st.Define.EndAll,
		Removing: c.st.Define.Removing, Recovery: c.id.Recovery, Suspect: c.suspicion.on && !c.suspicion.confirmed,
		Engine: c.engine(), Failure: c.failure, Refused: c.refusals(), Backoff: c.backoff(),
		Launches: len(c.st.Launches), Sensors: c.sensorViews(now), Faults: c.st.Faults,
	}
	if s := c.st.Shadow; s.Running() {
		v.Shadow = s.Text(c.candidate.counts)
	}
	if c.failure != "" {
		v.FailingSince = c.failingFor
	}
	if v.Suspect {
		v.SuspectSince = c.suspicion.since
	}
	if since := c.unseen.oldest(); !since.IsZero() && c.decides() { // otherwise nobody looks
		v.UnseenSince, v.UnseenNewest = since, c.unseen.newest
	}
	if v.AlertingSince, v.LaunchesFail = c.alerting, c.st.Row.Since(); c.st.Row.Failures > 0 {
		v.LaunchFault = c.failedFor
	}
	return v
}

// engine is the engine's state in the old words: STABLE when the wish is met by running workers.
func (c *Controller) engine() string {
	n := c.roster.counts
	switch {
	case c.st.Decision == "":
		return "UNKNOWN"
	case n.Starting > 0, n.Unhealthy > 0, n.Draining > 0, n.Running != c.st.Wish.Target:
		return "PENDING"
	}
	return "STABLE"
}

// Workers are the pool's workers that are not gone. They are shared: nobody may change them.
func (c *Controller) Workers() []*epu.Worker {
	all, _ := c.roster.share()
	return all
}

// Wish is what the policy wants, after the guard rails. It is shared: nobody may change it.
func (c *Controller) Wish() epu.Wish { return c.st.Wish }

// The hooks of a pool: the points of a worker's life at which the node runs a program.
const (
	hookRunning = "running" // it has become RUNNING
	hookEnding  = "ending"  // before its machine is ended, or after that was lost
)

// HookCall runs a hook's program for one worker. A run that was begun and whose end was not durable is
// begun again after a restart, so a program may run more than once for the same worker.
type HookCall struct {
	Pool     epu.PoolID
	Event    string // running or ending
	Worker   epu.WorkerID
	Name     string // of a unique worker
	Instance epu.InstanceID
	Address  string
	Site     epu.SiteID
	Run      []string
	Timeout  time.Duration
}

// Deadline bounds the call.
func (h HookCall) Deadline() time.Duration { return h.Timeout + callSlack }

// Bounds of hooks.
const (
	hooksMax      = 8 // programs of one pool that run at once
	hookTries     = 5 // where a hook's file says nothing
	hookTimeout   = 30 * time.Second
	hookPause     = time.Second // after the first failure; it doubles
	hookPauseMax  = time.Minute
	hookFaultsMax = 20 // given up ones that are remembered
)

// hookState is how far a worker's hook is.
type hookState uint8

const (
	hookDone    hookState = 1
	hookGivenUp hookState = 2
)

// ran reports that a slot's worker has been RUNNING.
func ran(s *poolSlot) bool { return s.CheckedIn || s.Ran || s.State == epu.Running }

// runHookDue reports that the program for a worker that became RUNNING has not been run.
func (c *Controller) runHookDue(s *poolSlot) bool {
	return c.st.Define.Spec.Hooks.Running != nil && s.RunHook == 0 && s.State == epu.Running && !s.Unwanted
}

// endHookDue reports that a worker's end waits for its program, or that it was lost before that was run.
func (c *Controller) endHookDue(s *poolSlot) bool {
	return c.st.Define.Spec.Hooks.Ending != nil && s.EndHook == 0 && (s.Unwanted || s.State >= epu.Terminating) && ran(s)
}

// endingNow reports that a worker's agent may stop: its end is durable and waits for nothing.
func (c *Controller) endingNow(s *poolSlot) bool {
	return s.State >= epu.Terminating || s.Unwanted && !c.endHookDue(s)
}

// noteHooks keeps the set of workers about which a program has to be run.
func (c *Controller) noteHooks(id epu.WorkerID, s *poolSlot) {
	if c.runHookDue(s) || c.endHookDue(s) {
		if c.hooks == nil {
			c.hooks, c.hooksOut = map[epu.WorkerID]bool{}, map[string]bool{}
		}
		c.hooks[id] = true
	} else {
		delete(c.hooks, id)
	}
}

// hookRuns are the programs to be run now. A worker's second program waits for its first: who is taken
// off a list must not be put on it afterwards.
func (c *Controller) hookRuns() []Todo {
	if len(c.hooks) == 0 || c.id.Recovery {
		return nil
	}
	var todo []Todo
	for _, id := range slices.Sorted(maps.Keys(c.hooks)) {
		launch, i, _ := id.Parse()
		s := &c.st.Launches[launch].Slots[i]
		event, spec := hookRunning, c.st.Define.Spec.Hooks.Running
		if c.endHookDue(s) {
			if c.hooksOut[hookKey(hookRunning, id)] {
				continue
			}
			event, spec = hookEnding, c.st.Define.Spec.Hooks.Ending
		}
		key := hookKey(event, id)
		call := HookCall{
			Pool: c.pool, Event: event, Worker: id, Name: c.st.Launches[launch].Name, Instance: s.Instance,
			Address: s.Address, Site: c.st.Launches[launch].Site, Run: spec.Run, Timeout: cmp.Or(spec.Timeout, hookTimeout),
		}
		todo = append(todo, Todo{
			Key: key, Every: hookPause, Cap: hookPauseMax, Group: "hook", Max: hooksMax,
			Make: func() any { c.hooksOut[key] = true; return call },
		})
	}
	return todo
}

func hookKey(event string, id epu.WorkerID) string { return "hook/" + event + "/" + string(id) }

// hookRan takes in how a program ended. One that fails is tried again, a bounded number of times; then it is
// given up, an alert stands, and the worker's life goes on.
func (c *Controller) hookRan(tx *Tx, call HookCall, r CallResult) {
	delete(c.hooksOut, r.Key)
	launch, i, _ := call.Worker.Parse()
	l := c.st.Launches[launch]
	if l == nil || i >= len(l.Slots) {
		return
	}
	spec, due := c.st.Define.Spec.Hooks.Running, c.runHookDue(&l.Slots[i])
	if call.Event == hookEnding {
		spec, due = c.st.Define.Spec.Hooks.Ending, c.endHookDue(&l.Slots[i])
	}
	if !due {
		return
	}
	settled := hookSettled{Worker: call.Worker, Hook: call.Event, Time: tx.Now()}
	name := "hook_done"
	if r.Err != nil {
		if r.Attempt < cmp.Or(spec.Tries, hookTries) {
			return
		}
		settled.GivenUp, name = cmp.Or(r.Err.Error(), "it failed"), "hook_given_up"
	}
	tx.Because(string(launch))
	tx.Emit(settled)
	c.record(tx, name, map[string]any{
		"worker": call.Worker, "instance": call.Instance, "hook": call.Event, "tries": r.Attempt, "reason": settled.GivenUp,
	})
}

func (c *Controller) applyHook(e hookSettled) {
	state := hookDone
	if e.GivenUp != "" {
		state = hookGivenUp
		c.st.Faults = append(slices.Clone(c.st.Faults), msg.HookFault{Worker: e.Worker, Hook: e.Hook, Error: e.GivenUp, Time: e.Time})
		c.st.Faults = c.st.Faults[max(0, len(c.st.Faults)-hookFaultsMax):]
	}
	c.slot(e.Worker, func(s *poolSlot) {
		if e.Hook == hookEnding {
			s.EndHook = state
		} else {
			s.RunHook = state
		}
	})
}
