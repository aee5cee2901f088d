package reconcile_test

import (
	"fmt"
	"slices"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// numbered checks that no launch puts workers at a site beyond the number that the wish has for it, but those
// that the wish has beyond all its numbers. Names go where they go, and make the others move.
func (w *world) numbered(p reconcile.Plan) error {
	in, there := w.in, map[epu.SiteID]int{}
	gone := map[epu.WorkerID]bool{}
	for _, e := range p.Ends {
		gone[e.Worker.ID] = true
	}
	for _, x := range p.Drains {
		gone[x.ID] = true
	}
	for _, x := range in.Workers {
		if x.Open() && !gone[x.ID] && (!x.Draining || slices.Contains(p.Resumes, x)) && (!x.Replacing || in.Freeze != reconcile.Thawed) {
			there[x.Site]++
		}
	}
	launched := map[epu.SiteID]bool{}
	for _, l := range p.Launches {
		if l.Name != "" {
			return nil
		}
		_, named := in.Wish.Sites[l.Site]
		there[l.Site] += l.N
		launched[l.Site] = launched[l.Site] || named
	}
	beyond, free := 0, in.Wish.Target+in.Canaries
	for _, n := range in.Wish.Sites {
		free -= n
	}
	grew := false
	for site, n := range there {
		over := max(0, n-in.Wish.Sites[site])
		beyond += over
		grew = grew || launched[site] && over > 0
	}
	if grew && beyond > max(0, free) {
		return fmt.Errorf("launches put workers at sites beyond their numbers: %v, want %v of %d", there, in.Wish.Sites, in.Wish.Target)
	}
	return nil
}
