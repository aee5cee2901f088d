package actors

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Due derives what is still to be done: wants not yet shown done, sites not yet synced, the evaluation
// and the checks that are out.
func (c *Controller) Due(now time.Time, rev epu.Revision) (todo []Todo, next time.Time) {
	for _, id := range slices.Sorted(maps.Keys(c.hot)) {
		if l := c.st.Launches[id]; l != nil && c.wantDue(l) {
			todo = append(todo, c.wantTodo(id, l, rev))
		}
	}
	for _, site := range c.unsynced() {
		todo = append(todo, Todo{
			Key: "sync/" + string(site), To: msg.SiteAddress(site), Every: syncEvery,
			Send: msg.SyncQuery{Epoch: c.id.Epoch, Owner: c.owner, Pool: c.pool},
		})
	}
	if c.deciding != nil {
		todo = append(todo, Todo{Key: c.decideKey, Call: *c.deciding, Every: defaultTick, Cap: decideRetryCap})
	}
	if len(c.checks) > 0 {
		call := c.checks[0]
		call.Conf = c.st.Conf
		todo = append(todo, Todo{Key: "check/" + call.Command.ID, Call: call, Every: time.Second})
	}
	if d := c.st.Define; d.Removing && len(c.st.Launches) == 0 {
		todo = append(todo, Todo{
			Key: "removed", To: RegistryAddress, Send: msg.Removed{Owner: c.owner, Pool: c.pool, Gen: d.Gen},
			Every: time.Second, Cap: time.Minute,
		})
	}
	return todo, c.next(now)
}

func (c *Controller) wantTodo(id epu.LaunchID, l *poolLaunch, rev epu.Revision) Todo {
	w := msg.Want{
		Epoch: c.id.Epoch, Owner: c.owner, Pool: c.pool, Launch: id, N: len(l.Slots), Name: l.Name, Vars: l.Vars,
		Adopt: l.Adopt, Rev: rev,
	}
	if l.Spec != nil {
		w.Spec = *l.Spec
		if l.Allocation != "" {
			w.Spec.Allocation = l.Allocation
		}
		if l.Market != "" {
			w.Spec.Market = l.Market
		}
	}
	for i, s := range l.Slots {
		if s.Unwanted {
			w.Ended = append(w.Ended, i)
		}
	}
	return Todo{
		Key: "want/" + string(id) + "/" + strconv.Itoa(len(w.Ended)), To: msg.SiteAddress(l.Site), Send: w,
		Every: wantEvery, Cap: wantEveryMax,
	}
}

// unsynced lists the sites that must have been listed before anything is ended there.
func (c *Controller) unsynced() []epu.SiteID {
	var sites []epu.SiteID
	for _, p := range c.st.Define.Spec.Placement {
		if !c.syncs[p.Site] && !slices.Contains(sites, p.Site) {
			sites = append(sites, p.Site)
		}
	}
	if len(c.syncs) == 0 || len(sites) > 0 { // sites that are no longer placed may still have launches
		for _, l := range c.st.Launches {
			if !c.syncs[l.Site] && !slices.Contains(sites, l.Site) {
				sites = append(sites, l.Site)
			}
		}
	}
	slices.Sort(sites)
	return sites
}

// next is when the core must be woken at the latest.
func (c *Controller) next(now time.Time) time.Time {
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
	if len(c.starting)+len(c.drains) > 0 {
		at(c.nextScan)
	}
	if c.st.Freeze != nil {
		at(c.st.Freeze.Until)
	}
	if c.dirty && c.acts() {
		at(now)
	}
	at(c.waitUntil)
	return next
}

// view is what the controller tells people.
func (c *Controller) view(now time.Time) msg.PoolView {
	all, _ := c.roster.share()
	v := msg.PoolView{
		Spec: c.st.Define.Spec, Gen: c.st.Define.Gen, Conf: c.st.Conf, Overrides: maps.Clone(c.st.Overrides),
		Wish: c.st.Wish, Last: c.last, Workers: all, Freeze: c.st.Freeze, EndAll: c.st.Define.EndAll,
		Removing: c.st.Define.Removing, Recovery: c.id.Recovery, Suspect: c.suspicion.on && !c.suspicion.confirmed,
		Engine: c.engine(), Failure: c.failure, Refused: c.refused, Backoff: c.streakUntil(),
		Launches: len(c.st.Launches),
	}
	if c.failure != "" {
		v.FailingFor = now.Sub(c.failingFor)
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
