package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// Freeze says what a frozen pool may still do.
type Freeze int

// The freezes.
const (
	Thawed     Freeze = iota // everything
	FrozenHeal               // failed workers are replaced, nothing else
	Frozen                   // nothing
)

// Input is everything that an answer depends on.
type Input struct {
	Now       time.Time
	Wish      epu.Wish
	Workers   []*epu.Worker // not gone, sorted by Created then ID
	Limits    epu.Limits
	Placement []epu.Placement
	Synced    func(epu.SiteID) bool   // endings are allowed there; nil = everywhere
	DryRun    func(epu.SiteID) bool   // nothing is launched or ended there; nil = nowhere
	DrainTo   bool                    // a surplus running worker is drained before it is ended
	Busy      bool                    // a worker whose busy lease is in force is no victim
	Unheard   func(epu.WorkerID) bool // its first beat since this node's start is waited for; nil = nobody's
	Freeze    Freeze
	Hold      bool                          // launch nothing: the pool is being emptied
	Canaries  int                           // workers more than wished, to be witnesses of a mass failure
	Overdue   map[epu.WorkerID]Overdue      // a deadline of theirs has passed
	Backoff   func(epu.Placement) time.Time // no launch there before it; nil = none
	Launched  Used                          // of Limits.Launches
	Ended     Used                          // of Limits.Terminations
	Lost      Used                          // of Limits.Loss
	Origin    func(key string) string       // where a limit is set; nil = unknown
}

// Used is what was taken of a limit within its window.
type Used struct {
	N    int
	Next time.Time // when the oldest part leaves the window; zero when N is
}

// Overdue says why a worker has to go because of the time that has passed.
type Overdue struct {
	Reason  string
	Drained bool // it was taken out of service; else it never came into it
}

// Launch asks for workers at one site.
type Launch struct {
	Site       epu.SiteID
	Allocation epu.Allocation
	Market     epu.Market
	N          int
	Name       string // of a unique worker
	Vars       map[string]string
	Reason     string
	Asked      string // "<decision>/<index>" of the policy's action behind it; empty = the wish is
	AskedFrom  int    // workers that earlier launches of the same action have
}

// End orders the end of one worker.
type End struct {
	Worker  *epu.Worker
	Reason  string
	Surplus bool // not wanted any more, as opposed to failed
	Limited bool // it counts toward Limits.Terminations
}

// Plan is the answer.
type Plan struct {
	Launches []Launch
	Ends     []End
	Drains   []*epu.Worker
	Resumes  []*epu.Worker
	Refused  []epu.Reason // what the guard rails kept from being done
	Until    time.Time    // when time alone may allow something that was refused; zero = never
}

// Empty reports that nothing is to be done.
func (p *Plan) Empty() bool {
	return len(p.Launches) == 0 && len(p.Ends) == 0 && len(p.Drains) == 0 && len(p.Resumes) == 0
}

// planner carries the budgets of one answer.
type planner struct {
	Input
	plan               Plan
	ends               int // endings still allowed, by the rule endBy
	endBy, endText     string
	endAt              time.Time
	starts             int // launches still allowed, by the rule startBy
	startBy, startText string
	startAt            time.Time
	perSite            map[epu.SiteID]int // workers that are there, and what is being launched
	openAt             map[epu.SiteID]int // of those the ones that stay: what Wish.Sites counts
}

func newPlanner(in Input) planner {
	if in.Wish.Urgency == epu.UrgencyHigh {
		in.Backoff = nil
	}
	return planner{Input: in, perSite: map[epu.SiteID]int{}, openAt: map[epu.SiteID]int{}}
}

// Actions says what is to be done now.
func Actions(in Input) Plan {
	made := newPlanner(in)
	p := &made
	if in.Freeze == Frozen {
		return p.plan
	}
	p.budgets()
	named, generic := p.sort()
	p.uniques(named)
	p.generics(generic)
	return p.plan
}

// budgets works out how many workers may be launched and ended now.
func (p *planner) budgets() {
	l := p.Limits
	for _, r := range p.rails() {
		if left := max(0, r.n-r.used.N); p.endBy == "" || left < p.ends {
			p.ends, p.endBy, p.endText, p.endAt = left, r.rule, r.text, r.used.Next
		}
	}
	p.starts, p.startBy = math.MaxInt, ""
	p.cap(l.Launches.Window > 0, l.Launches.N-p.Launched.N, "limits.launches",
		perWindow(l.Launches), p.Launched.Next)
	inFlight := 0
	for _, w := range p.Workers {
		p.perSite[w.Site]++
		if p.stays(w) {
			p.openAt[w.Site]++
		}
		if w.Open() && w.State < epu.Running {
			inFlight++
		}
	}
	p.cap(l.InFlight > 0, l.InFlight-inFlight, "limits.in_flight", epu.Plural(l.InFlight, "worker")+" starting at once", time.Time{})
	p.cap(p.Hold, 0, "hold", "the pool is being emptied", time.Time{})
}

func perWindow(c epu.Count) string {
	if c.N == 1 {
		return "1 launch per " + c.Window.String()
	}
	return fmt.Sprintf("%d launches per %s", c.N, c.Window)
}

// cap bounds the launches. Until is when time lifts the bound; zero when something has to happen.
func (p *planner) cap(applies bool, n int, rule, text string, until time.Time) {
	if applies && n < p.starts {
		p.starts, p.startBy, p.startText, p.startAt = max(0, n), rule, text, until
	}
}

// sort ends the workers that must go and splits the rest into named and generic ones.
func (p *planner) sort() (named map[string][]*epu.Worker, generic []*epu.Worker) {
	named = map[string][]*epu.Worker{}
	for _, w := range p.Workers {
		switch {
		case !w.Open() || p.mustGo(w):
		case w.Name != "":
			named[w.Name] = append(named[w.Name], w)
		default:
			generic = append(generic, w)
		}
	}
	return named, generic
}

// mustGo ends a worker whatever the wish says: its drain is over, it is unhealthy or it never started.
func (p *planner) mustGo(w *epu.Worker) bool {
	over, late := p.Overdue[w.ID]
	switch {
	case late && over.Drained:
		return p.end(w, over.Reason, true, false)
	case p.Wish.NoHeal:
		return false
	case late:
		return p.end(w, over.Reason, false, true)
	case w.Unhealthy():
		return p.end(w, unhealthyReason(w), false, true)
	}
	return false
}

func unhealthyReason(w *epu.Worker) string {
	why := w.Health.String()
	if w.State == epu.RunningFailed {
		why = w.State.Word()
	}
	if w.Error != "" {
		return why + ": " + w.Error
	}
	return why
}

// end orders an end, within the termination limit if it is limited; a slot that may have no machine yet
// is not the limit's business.
func (p *planner) end(w *epu.Worker, reason string, surplus, limited bool) bool {
	limited = limited && w.State >= epu.Pending && p.endBy != ""
	switch {
	case surplus && p.Freeze != Thawed:
		return false
	case p.dry(w.Site):
		p.refuse(dryRule, "site "+string(w.Site)+" is in dry run: "+string(w.ID)+" would be ended", time.Time{})
		return false
	case p.Synced != nil && !p.Synced(w.Site):
		p.refuse("first sync", "site "+string(w.Site)+" has not been listed since the start: nothing is ended there yet", time.Time{})
		return false
	case limited && p.ends == 0:
		p.usedUp(w)
		return false
	}
	if limited {
		p.ends--
	}
	p.goes(w)
	p.plan.Ends = append(p.plan.Ends, End{Worker: w, Reason: reason, Surplus: surplus, Limited: limited})
	return true
}

// usedUp says that a limit on ends keeps a worker.
func (p *planner) usedUp(w *epu.Worker) {
	p.refuse(p.endBy, p.endText+" is used up: "+string(w.ID)+" stays for now", p.endAt)
}

// dryRule is the rule that holds back what a site in dry run would do.
const dryRule = "dry run"

func (p *planner) dry(site epu.SiteID) bool { return p.DryRun != nil && p.DryRun(site) }

// refuse notes what a guard rail kept from being done, once per rule. Until is when time alone may
// allow it.
func (p *planner) refuse(rule, text string, until time.Time) {
	if !until.IsZero() && (p.plan.Until.IsZero() || until.Before(p.plan.Until)) {
		p.plan.Until = until
	}
	if slices.ContainsFunc(p.plan.Refused, func(r epu.Reason) bool { return r.Rule == rule }) {
		return
	}
	r := epu.Reason{Rule: rule, Text: text}
	if p.Origin != nil {
		r.Origin = p.Origin(rule)
	}
	p.plan.Refused = append(p.plan.Refused, r)
}

// uniques keeps one open worker of every wanted name and none of others. Of several the one that serves
// stays, then the oldest; one that drains is called back when its name is wanted again.
func (p *planner) uniques(named map[string][]*epu.Worker) {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		have := named[name]
		slices.SortStableFunc(have, func(a, b *epu.Worker) int { return cmp.Compare(boolInt(a.Draining), boolInt(b.Draining)) })
		reason := "the unique name " + name + " is no longer wanted"
		if _, wanted := p.Wish.Uniques[name]; wanted {
			reason = "a second worker of the unique name " + name
			if have[0].Draining && !have[0].Leaving && p.Freeze == Thawed {
				p.resume(have[0])
			}
			have = have[1:]
		}
		for _, w := range p.spare(have, len(have)) {
			p.surplus(w, reason)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Wish.Uniques)) {
		if len(named[name]) > 0 {
			continue
		}
		u := p.Wish.Uniques[name]
		p.launch(Launch{
			Site: u.Site, Allocation: u.Allocation, Market: u.Market, N: 1, Name: name, Vars: u.Vars,
			Reason: "unique worker " + name + " is wanted",
		})
	}
}

// surplus takes a worker out of service: by drain when it works or may be at work, at once otherwise.
func (p *planner) surplus(w *epu.Worker, reason string) {
	if p.Freeze != Thawed || w.Draining {
		return
	}
	if p.DrainTo && w.State == epu.Running && (w.Health == epu.HealthOK || p.unheard(w)) && !p.dry(w.Site) {
		p.goes(w)
		p.plan.Drains = append(p.plan.Drains, w)
		return
	}
	p.end(w, reason, true, true)
}

// generics brings the nameless workers to the target less the uniques. Those that an order took out of
// service or wants replaced don't count.
func (p *planner) generics(have []*epu.Worker) {
	want := max(0, p.Wish.Target-len(p.Wish.Uniques)) + p.Canaries
	serving := make([]*epu.Worker, 0, len(have))
	var draining, replaced []*epu.Worker
	for _, w := range have {
		switch {
		case w.Draining && w.Leaving:
		case w.Draining:
			draining = append(draining, w)
		case w.Replacing && p.Freeze == Thawed:
			replaced = append(replaced, w)
		default:
			serving = append(serving, w)
		}
	}
	switch n := want - len(serving); {
	case n > 0:
		if p.Freeze == Thawed && p.Canaries == 0 { // one that was there before is no witness
			back := draining[:min(n, len(draining))]
			p.resume(back...)
			n -= len(back)
		}
		if n > 0 {
			p.launch(Launch{
				Site: p.Wish.Site, Allocation: p.Wish.Allocation, Market: p.Wish.Market, N: n, Vars: p.Wish.Vars,
				Reason: fmt.Sprintf("%d wanted, %d there", want, len(serving)),
			})
		}
	case n < 0:
		gone := p.spare(serving, -n)
		for _, w := range gone {
			p.surplus(w, fmt.Sprintf("surplus: %d wanted, %d there", want, len(serving)))
		}
		if len(replaced) > 0 {
			serving = slices.DeleteFunc(serving, func(w *epu.Worker) bool { return slices.Contains(gone, w) })
		}
	}
	p.release(replaced, serving, want)
}

// release takes workers that are to be replaced out of service, as far as those that work are enough
// without them.
func (p *planner) release(replaced, serving []*epu.Worker, want int) {
	ready := 0
	for _, w := range serving {
		ready += boolInt(p.ready(w))
	}
	for _, w := range replaced {
		ready += boolInt(p.ready(w))
	}
	for _, w := range replaced {
		left := ready - boolInt(p.ready(w))
		if left < want {
			continue
		}
		ready = left
		if p.DrainTo && w.State == epu.Running && !p.dry(w.Site) {
			p.plan.Drains = append(p.plan.Drains, w)
		} else {
			p.end(w, "replaced", true, false)
		}
	}
}

// ready reports that a worker is known to do its work.
func (p *planner) ready(w *epu.Worker) bool {
	return w.State == epu.Running && !w.Unhealthy() && (w.Health == epu.HealthOK || !p.DrainTo)
}
