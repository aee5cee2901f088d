package reconcile

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nimbus-epu/epu"
)

// launch spreads a launch over the pool's places, within the launch budget: nameless workers first over
// the sites that the wish names and that have too few, then over those that it does not name, all others
// in the places' order. A place that is full or backing off is passed over.
func (p *planner) launch(l Launch) {
	if l.N > p.starts {
		p.refuse(p.startBy, waits(l.N-p.starts, l.N)+p.startText, p.startAt)
		l.N = p.starts
	}
	var over passed
	if l.Name == "" && len(p.Wish.Sites) > 0 && (l.Site == "" || l.Site == p.Wish.Site) {
		l.N -= p.named(l, &over)
	} else {
		l.N -= p.spread(l, p.Placement, &over)
	}
	switch {
	case l.N <= 0:
	case over.dry != "":
		p.refuse(dryRule, fmt.Sprintf("site %s is in dry run: %d more would be launched", over.dry, l.N), time.Time{})
	case !over.backoff.IsZero():
		p.refuse("backoff", "launches failed; the next try is at "+over.backoff.UTC().Format(time.TimeOnly)+" UTC", over.backoff)
	case l.Site != "":
		p.refuse("placement", noPlace(l.N)+string(l.Site)+" is at its max or not in the pool's placement", time.Time{})
	case over.full:
		p.refuse("placement", noPlace(l.N)+"every site has as many as the policy wants there, or is at its max", time.Time{})
	default:
		p.refuse("placement", noPlace(l.N)+"every site of the pool is at its max", time.Time{})
	}
}

func waits(n, of int) string {
	switch {
	case of == 1:
		return "1 launch waits: "
	case n == 1:
		return fmt.Sprintf("1 of %d launches waits: ", of)
	}
	return fmt.Sprintf("%d of %d launches wait: ", n, of)
}

func noPlace(n int) string {
	if n == 1 {
		return "1 worker finds no place: "
	}
	return epu.Plural(n, "worker") + " find no place: "
}

// passed says why places were passed over.
type passed struct {
	dry     epu.SiteID // the first one in dry run
	backoff time.Time  // the earliest at which one may be tried
	full    bool       // more may be at sites that the wish names, but not beyond its numbers
}

// named launches nameless workers by the numbers of the wish and gives how many it launched. What a named
// site refuses never goes to another one beyond its number: the policy would take it down there, and have
// it launched again, for ever. What the wish has beyond its numbers, as limits.min makes it, may go there.
func (p *planner) named(l Launch, over *passed) (launched int) {
	var unnamed, more []epu.Placement
	for _, place := range p.Placement {
		want, ok := p.Wish.Sites[place.Site]
		if !ok {
			unnamed = append(unnamed, place)
			continue
		}
		if want > 0 {
			more = append(more, place)
		}
		here := l
		here.Site, here.N = "", min(l.N-launched, max(0, want-p.openAt[place.Site]))
		launched += p.spread(here, []epu.Placement{place}, over)
	}
	rest := l
	rest.N -= launched
	n := p.spread(rest, unnamed, over)
	launched += n
	rest.N = min(rest.N-n, p.unnumbered())
	launched += p.spread(rest, more, over)
	over.full = launched < l.N
	return launched
}

// unnumbered is how many workers more the wish has than its numbers for sites, less those there are already.
func (p *planner) unnumbered() int {
	n := p.Wish.Target + p.Canaries
	for _, want := range p.Wish.Sites {
		n -= want
	}
	for site, open := range p.openAt {
		n -= max(0, open-p.Wish.Sites[site])
	}
	return max(0, n)
}

// spread launches at places in their order and gives how many it launched.
func (p *planner) spread(l Launch, places []epu.Placement, over *passed) (launched int) {
	for _, place := range places {
		if l.Site != "" && place.Site != l.Site {
			continue
		}
		if l.N > 0 && p.dry(place.Site) {
			over.dry = cmp.Or(over.dry, place.Site)
			continue
		}
		n := l.N
		if place.Max > 0 {
			n = min(n, max(0, place.Max-p.perSite[place.Site]))
		}
		if n == 0 {
			continue
		}
		place.Allocation = cmp.Or(l.Allocation, place.Allocation)
		place.Market = cmp.Or(l.Market, place.Market)
		if p.Backoff != nil {
			if until := p.Backoff(place); p.Now.Before(until) {
				if over.backoff.IsZero() || until.Before(over.backoff) {
					over.backoff = until
				}
				continue
			}
		}
		part := l
		part.Site, part.Allocation, part.Market, part.N = place.Site, place.Allocation, place.Market, n
		p.plan.Launches = append(p.plan.Launches, part)
		p.perSite[place.Site] += n
		p.openAt[place.Site] += n
		p.starts -= n
		l.N -= n
		launched += n
	}
	return launched
}

// stays reports that a worker counts toward Wish.Sites until it is taken out of service.
func (p *planner) stays(w *epu.Worker) bool {
	return w.Open() && !w.Draining && (!w.Replacing || w.Name != "" || p.Freeze != Thawed)
}

// goes takes a worker that is drained or ended now out of the count of its site.
func (p *planner) goes(w *epu.Worker) {
	if p.stays(w) {
		p.openAt[w.Site]--
	}
}

// resume calls workers back that drain.
func (p *planner) resume(back ...*epu.Worker) {
	p.plan.Resumes = append(p.plan.Resumes, back...)
	for _, w := range back {
		p.openAt[w.Site]++
	}
}
