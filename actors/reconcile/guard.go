package reconcile

import (
	"cmp"

	"github.com/nimbus-epu/epu"
)

// Rails are a pool's limits and what a decision is held against. They are plain data, so that a question which
// is answered elsewhere gets the same answer as the controller.
type Rails struct {
	Limits  epu.Limits
	Workers []*epu.Worker     // that are not gone
	Before  int               // the target in force
	Open    int               // workers that are there or on their way
	Budget  epu.Budget        // what the pool may cost and costs
	Places  []epu.Placement   // where workers may go, each with the size and the market that holds there
	Offers  []epu.Offer       // what sites ask for machines
	Origins map[string]string // file and line of each limit
}

// Guard holds what a decision wanted against the rails and notes what is left of it, with the reasons. One that
// goes too far as a whole has failed: nothing of it is left, and the wish that stands is the caller's to say.
func (r *Rails) Guard(d *epu.Decision) {
	origin := func(key string) string { return r.Origins[key] }
	if why := Overreach(Input{Workers: r.Workers, Limits: r.Limits, Origin: origin}, d.Actions); why != "" {
		d.Error, d.Actions, d.MemoryAfter = why, nil, d.MemoryBefore
		return
	}
	wish, clamps := Clamp(d.Wanted, r.Before, r.Limits, Sure(d.Inputs), origin)
	wish, held := holdGrowth(wish, r.Open, r.Budget, r.next(wish), origin)
	d.Wish, d.Clamps = wish, append(clamps, held...)
}

// next is what one more worker costs an hour at the first place where it may go; 0 when that is not known.
func (r *Rails) next(wish epu.Wish) float64 {
	for _, p := range r.Places {
		if wish.Site == "" || wish.Site == p.Site {
			p.Allocation, p.Market = cmp.Or(wish.Allocation, p.Allocation), cmp.Or(wish.Market, p.Market)
			return Price(r.Offers, p, "")
		}
	}
	return 0
}

// Price is what a worker at a place costs an hour by these offers; 0 when none of them says. Without a zone the
// first that fits counts.
func Price(offers []epu.Offer, at epu.Placement, zone string) float64 {
	price, market := 0.0, cmp.Or(at.Market, epu.OnDemand)
	for _, o := range offers {
		if o.Site != at.Site || o.Allocation != at.Allocation || o.Market != market {
			continue
		}
		if o.Zone == zone {
			return o.USDPerHour
		}
		if price == 0 && (o.Zone == "" || zone == "") {
			price = o.USDPerHour
		}
	}
	return price
}
