package actors

import (
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Of thousands of pools the registry talks to so many at once, and to others when those have answered; who
// does not answer gives way after a while. All at once would be listed anew with each answer.
const (
	tellsMax  = 200
	turnEvery = 2 * time.Second
)

// count lists whom the registry has something to say to, after a change that may concern all.
func (r *Registry) count() {
	if r.counted {
		return
	}
	r.counted, r.untold, r.leaving = true, nil, nil
	for _, id := range slices.Sorted(maps.Keys(r.st.Pools)) {
		switch p := r.st.Pools[id]; {
		case r.told[id] < p.Gen:
			r.untold = append(r.untold, id)
		case r.leaves(p):
			r.leaving = append(r.leaving, id)
		}
	}
}

// leaves reports that a pool's workers are being ended: asking again tells how many are left.
func (r *Registry) leaves(p msg.PoolEntry) bool { return p.Removing || r.st.EndAll }

// confirmed takes in that a pool's controller knows what is applied.
func (r *Registry) confirmed(m msg.Defined) {
	r.told[m.Pool] = max(r.told[m.Pool], m.Gen)
	r.left[m.Pool] = m.Left
	p, known := r.st.Pools[m.Pool]
	if !r.counted || !known || r.told[m.Pool] < p.Gen {
		return
	}
	if i := slices.Index(r.untold, m.Pool); i >= 0 {
		r.untold = slices.Delete(r.untold, i, i+1)
		if r.leaves(p) {
			r.leaving = append(r.leaving, m.Pool)
		}
	}
}

// turn lets those who wait have their turn, where there are more than can be talked to at once.
func (r *Registry) turn(now time.Time) {
	if !r.counted || now.Sub(r.turned) < turnEvery {
		return
	}
	r.turned = now
	for _, list := range []*[]epu.PoolID{&r.untold, &r.leaving} {
		if len(*list) > tellsMax {
			*list = slices.Concat((*list)[tellsMax:], (*list)[:tellsMax])
		}
	}
}
