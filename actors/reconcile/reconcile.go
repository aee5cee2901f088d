package reconcile

import (
	"fmt"
	"maps"
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
	Synced    func(epu.SiteID) bool // endings are allowed there
	DrainTo   bool                  // a surplus running worker is drained before it is ended
	Freeze    Freeze
	Hold      bool      // launch nothing: switched off or recovering
	Backoff   time.Time // no launch before it
	Launched  int       // workers launched in the window of Limits.Launches
	Ended     int       // workers ended in the window of Limits.Terminations
	Suspect   bool      // silence is not acted on
	Origin    func(key string) string
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
}

// End orders the end of one worker.
type End struct {
	Worker  *epu.Worker
	Reason  string
	Surplus bool // not wanted any more, as opposed to failed
}

// Plan is the answer.
type Plan struct {
	Launches []Launch
	Ends     []End
	Drains   []*epu.Worker
	Resumes  []*epu.Worker
	Refused  []epu.Reason // what the guard rails kept from being done
	Wait     bool         // something was refused that time alone will allow
}

// Empty reports that nothing is to be done.
func (p *Plan) Empty() bool {
	return len(p.Launches) == 0 && len(p.Ends) == 0 && len(p.Drains) == 0 && len(p.Resumes) == 0
}

// planner carries the budgets of one answer.
type planner struct {
	Input
	plan    Plan
	ends    int // endings still allowed
	starts  int // launches still allowed
	startBy string
	perSite map[epu.SiteID]int
}

// Actions says what is to be done now.
func Actions(in Input) Plan {
	p := &planner{Input: in, perSite: map[epu.SiteID]int{}}
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
	n := l.Terminations.N
	if n == 0 {
		n = max(1, len(p.Workers)/5)
	}
	p.ends = max(0, n-p.Ended)
	if l.Terminations.Window == 0 {
		p.ends = len(p.Workers)
	}
	p.starts, p.startBy = 1<<30, ""
	p.cap(l.Launches.Window > 0, l.Launches.N-p.Launched, "limits.launches",
		fmt.Sprintf("%d launches per %s", l.Launches.N, l.Launches.Window))
	inFlight := 0
	for _, w := range p.Workers {
		p.perSite[w.Site]++
		if w.Open() && w.State < epu.Running {
			inFlight++
		}
	}
	p.cap(l.InFlight > 0, l.InFlight-inFlight, "limits.in_flight", fmt.Sprintf("%d workers starting at once", l.InFlight))
	p.cap(p.Now.Before(p.Backoff), 0, "backoff", "launches failed; the next try is at "+p.Backoff.UTC().Format(time.TimeOnly)+" UTC")
	p.cap(p.Hold, 0, "hold", "launching is switched off")
}

func (p *planner) cap(applies bool, n int, rule, text string) {
	if applies && n < p.starts {
		p.starts, p.startBy = max(0, n), rule+": "+text
	}
}

// sort ends the workers that must be replaced and splits the rest into named and generic ones.
func (p *planner) sort() (named map[string][]*epu.Worker, generic []*epu.Worker) {
	named = map[string][]*epu.Worker{}
	for _, w := range p.Workers {
		if !w.Open() {
			continue
		}
		if w.Unhealthy() && !p.Wish.NoHeal {
			if p.end(w, unhealthyReason(w), false) {
				continue
			}
		}
		if w.Name != "" {
			named[w.Name] = append(named[w.Name], w)
		} else {
			generic = append(generic, w)
		}
	}
	return named, generic
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

// end orders an end within the termination limit; machines already gone are not its business.
func (p *planner) end(w *epu.Worker, reason string, surplus bool) bool {
	switch {
	case surplus && p.Freeze != Thawed:
		return false
	case p.Synced != nil && !p.Synced(w.Site):
		p.refuse("first sync", "site "+string(w.Site)+" has not been listed since the start: nothing is ended there yet")
		return false
	case p.ends == 0 && w.State >= epu.Pending:
		p.refuse("limits.terminations", "the limit on terminations is used up: "+string(w.ID)+" stays for now")
		return false
	}
	if w.State >= epu.Pending {
		p.ends--
	}
	p.plan.Ends = append(p.plan.Ends, End{Worker: w, Reason: reason, Surplus: surplus})
	return true
}

func (p *planner) refuse(rule, text string) {
	p.plan.Wait = true
	if n := len(p.plan.Refused); n > 0 && p.plan.Refused[n-1].Rule == rule {
		return
	}
	r := epu.Reason{Rule: rule, Text: text}
	if p.Origin != nil {
		r.Origin = p.Origin(rule)
	}
	p.plan.Refused = append(p.plan.Refused, r)
}

// uniques keeps one open worker of every wanted name and none of others.
func (p *planner) uniques(named map[string][]*epu.Worker) {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		have := named[name]
		keep := 1
		reason := "a second worker of the unique name " + name
		if _, wanted := p.Wish.Uniques[name]; !wanted {
			keep, reason = 0, "the unique name "+name+" is no longer wanted"
		}
		for _, w := range have[min(keep, len(have)):] {
			p.surplus(w, reason)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Wish.Uniques)) {
		if len(named[name]) > 0 || !p.mayGrow() {
			continue
		}
		u := p.Wish.Uniques[name]
		p.launch(Launch{
			Site: u.Site, Allocation: u.Allocation, Market: u.Market, N: 1, Name: name, Vars: u.Vars,
			Reason: "unique worker " + name + " is wanted",
		})
	}
}

// mayGrow says whether launches are allowed. A frozen pool with healing on may replace what is being
// ended, which it does by launching up to the wish that was in force when it was frozen.
func (p *planner) mayGrow() bool { return p.Freeze != Frozen }

// surplus takes a worker out of service: by drain when it works, at once otherwise.
func (p *planner) surplus(w *epu.Worker, reason string) {
	if p.Freeze != Thawed || w.Draining {
		return
	}
	if p.DrainTo && w.State == epu.Running && w.Health == epu.HealthOK {
		p.plan.Drains = append(p.plan.Drains, w)
		return
	}
	p.end(w, reason, true)
}

// generics brings the nameless workers to the target less the uniques.
func (p *planner) generics(have []*epu.Worker) {
	want := max(0, p.Wish.Target-len(p.Wish.Uniques))
	serving := make([]*epu.Worker, 0, len(have))
	var draining []*epu.Worker
	for _, w := range have {
		if w.Draining {
			draining = append(draining, w)
		} else {
			serving = append(serving, w)
		}
	}
	switch n := want - len(serving); {
	case n > 0:
		if p.Freeze == Thawed {
			back := draining[:min(n, len(draining))]
			p.plan.Resumes = append(p.plan.Resumes, back...)
			n -= len(back)
		}
		if n > 0 && p.mayGrow() {
			p.launch(Launch{
				Site: p.Wish.Site, Allocation: p.Wish.Allocation, Market: p.Wish.Market, N: n, Vars: p.Wish.Vars,
				Reason: fmt.Sprintf("%d of %d wanted", len(serving), want),
			})
		}
	case n < 0:
		order(serving, p.Wish.Victims)
		for _, w := range serving[:-n] {
			p.surplus(w, fmt.Sprintf("surplus: %d wanted, %d there", want, len(serving)))
		}
	}
}

// launch spreads a launch over the pool's placement, within the launch budget.
func (p *planner) launch(l Launch) {
	if l.N > p.starts {
		p.refuse(ruleOf(p.startBy), fmt.Sprintf("%d of %d launches wait (%s)", l.N-p.starts, l.N, p.startBy))
		l.N = p.starts
	}
	places := p.Placement
	if l.Site != "" {
		places = []epu.Placement{{Site: l.Site, Allocation: l.Allocation, Market: l.Market}}
	}
	for _, place := range places {
		n := l.N
		if place.Max > 0 {
			n = min(n, max(0, place.Max-p.perSite[place.Site]))
		}
		if n == 0 {
			continue
		}
		part := l
		part.Site, part.N = place.Site, n
		if part.Allocation == "" {
			part.Allocation = place.Allocation
		}
		if part.Market == "" {
			part.Market = place.Market
		}
		p.plan.Launches = append(p.plan.Launches, part)
		p.perSite[place.Site] += n
		p.starts -= n
		l.N -= n
	}
	if l.N > 0 {
		p.refuse("placement", fmt.Sprintf("%d workers find no place: every site of the pool is at its max", l.N))
	}
}

func ruleOf(s string) string {
	for i := range s {
		if s[i] == ':' {
			return s[:i]
		}
	}
	return s
}
