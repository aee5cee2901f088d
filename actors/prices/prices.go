package prices

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// List is what sites offer and for which periods they charge. The zero List knows nothing.
type List struct {
	offers   map[epu.SiteID][]epu.Offer
	every    map[epu.SiteID]time.Duration
	cheapest []epu.Offer
}

// Take takes in what a site says, in the place of what it said before, and reports that this is something else.
// The offers are shared from then on and must not change.
func (l *List) Take(site epu.SiteID, offers []epu.Offer, every time.Duration) bool {
	if slices.Equal(l.offers[site], offers) && l.every[site] == every {
		return false
	}
	if l.offers == nil {
		l.offers, l.every = map[epu.SiteID][]epu.Offer{}, map[epu.SiteID]time.Duration{}
	}
	l.offers[site], l.every[site] = offers, every
	l.cheapest = nil // others may hold the last one
	for _, site := range slices.Sorted(maps.Keys(l.offers)) {
		l.cheapest = append(l.cheapest, l.offers[site]...)
	}
	slices.SortStableFunc(l.cheapest, func(a, b epu.Offer) int { return cmp.Compare(a.USDPerHour, b.USDPerHour) })
	return true
}

// Cheapest are the offers of all sites in the order of their price, and among equals of their sites' names. The
// slice is immutable.
func (l *List) Cheapest() []epu.Offer { return l.cheapest }

// Hour is what a worker at a place costs an hour as its site says; 0 when it does not.
func (l *List) Hour(at epu.Placement, zone string) float64 {
	return reconcile.Price(l.offers[at.Site], at, zone)
}

// Budget is what workers may cost together and cost, by the prices that they have; open is how many of them are open.
func (l *List) Budget(perHour float64, workers []*epu.Worker, open int) epu.Budget {
	b := epu.Budget{PerHour: perHour}
	if len(l.cheapest) == 0 { // no worker has a price: nobody has to look at thousands of them
		b.Unknown = open
		return b
	}
	for _, w := range workers {
		switch {
		case !w.Open():
		case w.Price > 0:
			b.Now += w.Price
		default:
			b.Unknown++
		}
	}
	return b
}

// NextCharge is when the next charge for a machine begins that a site has been asked for at a time; zero where machines
// are charged by the second. A machine is launched after it was asked for: its true charges are a little later.
func (l *List) NextCharge(site epu.SiteID, asked, now time.Time) time.Time {
	every := l.every[site]
	if every <= time.Second {
		return time.Time{}
	}
	return asked.Add((max(0, now.Sub(asked))/every + 1) * every)
}
