package simulate

import (
	"cmp"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// Bill is what workers took of time and money.
type Bill struct {
	Worked time.Duration // from launch to end, of all workers together
	USD    float64
}

// bill adds up a worker that ends.
func (p *Pool) bill(w *epu.Worker, now time.Time) { p.paid.add(w, now, p.cfg.World.Charge) }

func (b *Bill) add(w *epu.Worker, now time.Time, charge time.Duration) {
	life := now.Sub(w.Created)
	b.Worked += life
	if charge > 0 {
		life = (life + charge - 1) / charge * charge
		life = max(life, charge)
	}
	b.USD += w.Price * life.Hours()
}

// Bill is what all workers took until now.
func (p *Pool) Bill(now time.Time) Bill {
	b := p.paid
	for _, w := range p.Workers() {
		b.add(w, now, p.cfg.World.Charge)
	}
	return b
}

// charges tells the workers when their next charge begins.
func (p *Pool) charges(now time.Time) {
	charge := p.cfg.World.Charge
	if charge <= 0 {
		return
	}
	for _, w := range p.Workers() {
		if w.ChargeAt.After(now) {
			continue
		}
		next := w.Created.Add((now.Sub(w.Created)/charge + 1) * charge)
		p.quietly(w.ID, func(w *epu.Worker) { w.ChargeAt = next })
	}
}

func (p *Pool) price(place epu.Placement) float64 {
	if p.cfg.World.Price == nil {
		return 0
	}
	return p.cfg.World.Price(place)
}

// budget is what the open workers cost.
func (p *Pool) budget() epu.Budget {
	b := epu.Budget{PerHour: p.cfg.Limits.Spend}
	for _, w := range p.Workers() {
		if w.Open() {
			b.Now += w.Price
			if w.Price == 0 {
				b.Unknown++
			}
		}
	}
	return b
}

// offers are the places with their prices, cheapest first.
func (p *Pool) offers() []epu.Offer {
	if p.cfg.World.Price == nil {
		return nil
	}
	var out []epu.Offer
	for _, place := range p.cfg.Placement {
		out = append(out, epu.Offer{
			Site: place.Site, Allocation: place.Allocation, Market: cmp.Or(place.Market, epu.OnDemand), USDPerHour: p.price(place),
		})
	}
	slices.SortStableFunc(out, func(a, b epu.Offer) int { return cmp.Compare(a.USDPerHour, b.USDPerHour) })
	return out
}
