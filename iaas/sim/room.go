package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// problems is everything wrong with a request.
func (c *Cloud) problems(req iaas.LaunchRequest) []iaas.Problem {
	ps := req.Problems()
	if len(c.opts.Images) > 0 && req.Image != "" && !slices.Contains(c.opts.Images, req.Image) {
		ps = append(ps, iaas.Problem{Subject: "image " + req.Image, Text: "does not exist", Try: fmt.Sprintf("use one of %v", c.opts.Images)})
	}
	if len(c.opts.Allocations) > 0 && req.Allocation != "" && !slices.Contains(c.opts.Allocations, req.Allocation) {
		ps = append(ps, iaas.Problem{Subject: "allocation " + string(req.Allocation), Text: "does not exist", Try: fmt.Sprintf("use one of %v", c.opts.Allocations)})
	}
	if req.Zone != "" && !slices.Contains(c.opts.Zones, req.Zone) {
		ps = append(ps, iaas.Problem{Subject: "zone " + req.Zone, Text: "does not exist", Try: fmt.Sprintf("use one of %v", c.opts.Zones)})
	}
	return ps
}

// room chooses the one zone for a request and how many machines it gets there.
func (c *Cloud) room(req iaas.LaunchRequest, now time.Time) (zone string, n int, err error) {
	want := req.Max
	if d := keyed(c.seed, "short", string(req.Token)); d.chance(c.opts.Short) {
		want = req.Min + int(d.float()*float64(req.Max-req.Min))
	}
	if c.opts.Quota > 0 {
		want = min(want, c.opts.Quota-c.live(Place{}, "", now))
		if want < req.Min {
			return "", 0, epu.E(epu.Quota, "launch", string(req.Token), fmt.Errorf("the account's limit is %d machines", c.opts.Quota))
		}
	}
	zones := c.opts.Zones
	switch {
	case req.Zone != "":
		zones = []string{req.Zone}
	case len(zones) == 0:
		zones = []string{""}
	}
	first := int(keyed(c.seed, "zone", string(req.Token)).next() % uint64(len(zones)))
	best := -1
	for i := range zones {
		z := zones[(first+i)%len(zones)]
		if free := c.free(z, req, now); free > best {
			zone, best = z, free
		}
	}
	if n = min(want, best); n < req.Min {
		return "", 0, epu.E(epu.Capacity, "launch", string(req.Token), errors.New("insufficient capacity"))
	}
	return zone, n, nil
}

// free is how many more machines of the request's kind a zone can take now.
func (c *Cloud) free(zone string, req iaas.LaunchRequest, now time.Time) int {
	if c.opts.DroughtEvery > 0 {
		period := strconv.FormatInt(now.UnixNano()/int64(c.opts.DroughtEvery), 10)
		if keyed(c.seed, "drought", zone, string(req.Allocation), period).chance(c.opts.DroughtChance) {
			return 0
		}
	}
	free := math.MaxInt
	for _, p := range []Place{{}, {Zone: zone}, {Allocation: req.Allocation}, {Zone: zone, Allocation: req.Allocation}} {
		if limit, ok := c.caps[p]; ok {
			free = min(free, limit-c.live(p, "", now))
		}
	}
	if req.Market == epu.Reserved {
		for _, o := range c.opts.Offers {
			if o.Market == epu.Reserved && o.Zone == zone && o.Allocation == req.Allocation {
				p := Place{Zone: zone, Allocation: req.Allocation}
				free = min(free, o.Free-c.live(p, epu.Reserved, now))
			}
		}
	}
	return max(free, 0)
}

// live counts the machines that take room in a place, of one market or, with "", of all.
func (c *Cloud) live(p Place, market epu.Market, now time.Time) int {
	n := 0
	for _, m := range c.listed { // who lives is listed
		if (p.Zone == "" || p.Zone == m.zoned.Zone) && (p.Allocation == "" || p.Allocation == m.zoned.Allocation) &&
			(market == "" || market == m.Market) && m.endsAfter(now) {
			n++
		}
	}
	return n
}

// Offers implements iaas.Provider.
func (c *Cloud) Offers(ctx context.Context) ([]iaas.Offer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if _, err := c.admit(ctx, "offers", "prices", now); err != nil {
		return nil, err
	}
	out := slices.Clone(c.opts.Offers)
	for i := range out {
		o := &out[i]
		switch {
		case o.Market == epu.Reserved:
			o.Free = max(0, o.Free-c.live(Place{Zone: o.Zone, Allocation: o.Allocation}, epu.Reserved, now))
		case o.Market == epu.Spot && c.opts.PriceEvery > 0:
			period := strconv.FormatInt(now.UnixNano()/int64(c.opts.PriceEvery), 10)
			d := keyed(c.seed, "price", o.Zone, string(o.Allocation), period)
			o.USDPerHour *= 1 + c.opts.PriceSwing*(2*d.float()-1)
		}
	}
	return out, nil
}

// Notices implements iaas.Provider.
func (c *Cloud) Notices(ctx context.Context) ([]iaas.Notice, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if _, err := c.admit(ctx, "notices", "machines", now); err != nil {
		return nil, err
	}
	var out []iaas.Notice
	for _, m := range c.listed {
		if m.announced(now) {
			out = append(out, iaas.Notice{Instance: m.ID, Kind: "interruption", At: m.dieAt})
		}
	}
	return out, nil
}
