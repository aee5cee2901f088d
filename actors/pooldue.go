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
// and the checks that are out.
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
	if c.deciding != nil {
		todo = append(todo, Todo{Key: c.decideKey, Call: *c.deciding, Every: defaultTick, Cap: decideRetryCap})
	}
	if len(c.checks) > 0 {
		call := c.checks[0]
		call.Conf, call.ConfGen = c.st.Conf, c.st.Define.ConfGen
		key := "check/" + call.Command.ID + "/" + strconv.FormatUint(call.ConfGen, 10)
		todo = append(todo, Todo{Key: key, Call: call, Every: time.Second})
	}
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
		if l.Slots[i].Unwanted {
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
		Adopt: l.Adopt, Rev: rev,
	}
	if l.Spec != nil {
		w.Spec = *l.Spec
		w.Spec.Allocation = cmp.Or(l.Allocation, w.Spec.Allocation)
		w.Spec.Market = cmp.Or(l.Market, w.Spec.Market)
	}
	for i, s := range l.Slots {
		if s.Unwanted {
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
