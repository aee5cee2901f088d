package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// launch spreads a launch over the pool's places, within the launch budget: nameless workers first over
// the sites that the wish names and that have too few, all others in the places' order. A place that is
// full or backing off is passed over.
func (p *planner) launch(l Launch) {
	if l.N > p.starts {
		p.refuse(p.startBy, waits(l.N-p.starts, l.N)+p.startText, p.startAt)
		l.N = p.starts
	}
	places := p.Placement
	var over passed
	if l.Name == "" && len(p.Wish.Sites) > 0 && (l.Site == "" || l.Site == p.Wish.Site) {
		for _, place := range p.Placement {
			if want, named := p.Wish.Sites[place.Site]; named {
				here := l
				here.Site = ""
				here.N = min(l.N, max(0, want-p.openAt[place.Site]))
				l.N -= p.spread(here, []epu.Placement{place}, &over)
			}
		}
		places = p.rest()
	}
	l.N -= p.spread(l, places, &over)
	switch {
	case l.N <= 0:
	case over.dry != "":
		p.refuse(dryRule, fmt.Sprintf("site %s is in dry run: %d more would be launched", over.dry, l.N), time.Time{})
	case !over.backoff.IsZero():
		p.refuse("backoff", "launches failed; the next try is at "+over.backoff.UTC().Format(time.TimeOnly)+" UTC", over.backoff)
	case l.Site != "":
		p.refuse("placement", noPlace(l.N)+string(l.Site)+" is at its max or not in the pool's placement", time.Time{})
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
}

// rest is where workers go that no named site takes: sites that the wish does not name, then those that
// it names but not with 0.
func (p *planner) rest() []epu.Placement {
	var unnamed, named []epu.Placement
	for _, place := range p.Placement {
		switch n, ok := p.Wish.Sites[place.Site]; {
		case !ok:
			unnamed = append(unnamed, place)
		case n > 0:
			named = append(named, place)
		}
	}
	return slices.Concat(unnamed, named)
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
