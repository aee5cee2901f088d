package reconcile_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// draw makes any pool that may come to be, and some that should not.
func draw(rt *rapid.T) *world {
	w := newWorld()
	for i := range rapid.IntRange(0, 25).Draw(rt, "workers") {
		id := epu.NewLaunchID("web", 1, uint64(i+1))
		x := &epu.Worker{
			ID: epu.NewWorkerID(id, 0), Launch: id,
			Site:     epu.SiteID(rapid.SampledFrom([]string{"near", "far", "moon"}).Draw(rt, "site")),
			State:    rapid.SampledFrom(epu.States()[:9]).Draw(rt, "state"),
			Health:   epu.Health(rapid.IntRange(0, int(epu.Zombie)).Draw(rt, "health")),
			Suspect:  rapid.IntRange(0, 4).Draw(rt, "suspect") == 0,
			Draining: rapid.IntRange(0, 4).Draw(rt, "draining") == 0,
			Name:     rapid.SampledFrom([]string{"", "", "", "a", "b", "c"}).Draw(rt, "name"),
			Created:  start.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(rt, "age")) * time.Second),
		}
		x.Protected = rapid.IntRange(0, 7).Draw(rt, "protected") == 0
		x.Leaving = x.Draining && rapid.Bool().Draw(rt, "leaving")
		x.Replacing = x.Name == "" && rapid.IntRange(0, 7).Draw(rt, "replacing") == 0
		x.Leaving = x.Leaving || x.Replacing && x.Draining
		if rapid.IntRange(0, 4).Draw(rt, "busy") == 0 {
			x.BusyUntil = start.Add(time.Duration(rapid.IntRange(-5, 20).Draw(rt, "lease")) * time.Minute)
		}
		w.unheard[x.ID] = rapid.IntRange(0, 4).Draw(rt, "unheard") == 0
		x.Ended = x.State >= epu.Terminating
		if x.State.Gone() {
			x.State = epu.Terminating
		}
		if rapid.IntRange(0, 5).Draw(rt, "overdue") == 0 {
			w.in.Overdue[x.ID] = reconcile.Overdue{Reason: "late", Drained: x.Draining}
		}
		w.add(x)
	}
	in := &w.in
	in.Wish = epu.Wish{
		Target:  rapid.IntRange(0, 30).Draw(rt, "target"),
		Victims: rapid.SampledFrom([]epu.VictimOrder{"", epu.Oldest, epu.Newest, epu.IdleLongest}).Draw(rt, "victims"),
		NoHeal:  rapid.IntRange(0, 5).Draw(rt, "no-heal") == 0, Uniques: map[string]epu.Unique{},
	}
	for i := range min(rapid.IntRange(0, 3).Draw(rt, "names"), in.Wish.Target) {
		in.Wish.Uniques[string(rune('a'+i))] = epu.Unique{}
	}
	if rapid.IntRange(0, 2).Draw(rt, "sites") == 0 {
		in.Wish.Sites = map[epu.SiteID]int{
			"near": rapid.IntRange(0, in.Wish.Target/2).Draw(rt, "at near"), "far": rapid.IntRange(0, in.Wish.Target/2).Draw(rt, "at far"),
		}
		if rapid.Bool().Draw(rt, "all have numbers") {
			in.Wish.Sites["moon"] = max(0, in.Wish.Target-in.Wish.Sites["near"]-in.Wish.Sites["far"]-rapid.IntRange(0, 2).Draw(rt, "beyond"))
		}
	}
	in.Limits = epu.Limits{
		Max: -1, InFlight: rapid.IntRange(0, 10).Draw(rt, "in-flight"),
		Launches:     epu.Count{N: rapid.IntRange(1, 20).Draw(rt, "launches"), Window: 10 * time.Minute},
		Terminations: epu.Count{N: rapid.IntRange(0, 5).Draw(rt, "terminations"), Window: 10 * time.Minute},
	}
	if loss := rapid.IntRange(-40, 60).Draw(rt, "loss"); loss > 0 {
		in.Limits.Loss = epu.Share{Percent: loss, Window: 5 * time.Minute}
	}
	in.Placement = []epu.Placement{{Site: "near", Max: rapid.IntRange(0, 9).Draw(rt, "near")}, {Site: "far", Max: rapid.IntRange(1, 9).Draw(rt, "far")}, {Site: "moon"}}
	in.DrainTo = rapid.Bool().Draw(rt, "drain")
	in.Freeze = rapid.SampledFrom([]reconcile.Freeze{reconcile.Thawed, reconcile.Thawed, reconcile.FrozenHeal, reconcile.Frozen}).Draw(rt, "freeze")
	in.Hold = rapid.IntRange(0, 7).Draw(rt, "hold") == 0
	in.Busy = rapid.IntRange(0, 3).Draw(rt, "protect-busy") > 0
	in.Canaries = max(0, rapid.IntRange(-4, 2).Draw(rt, "canaries"))
	if rapid.IntRange(0, 3).Draw(rt, "backoff") == 0 {
		w.backoff["near"] = start.Add(time.Minute)
	}
	w.unsynced["far"] = rapid.IntRange(0, 3).Draw(rt, "unsynced") == 0
	return w
}

// Goal: whatever the pool looks like, a plan keeps every promise. Method: random pools; the plan is held
// against each promise, carried out to the letter, and asked for again.
func TestPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := draw(rt)
		p, again := w.plan(), w.plan()
		if !reflect.DeepEqual(p, again) {
			rt.Fatalf("two answers to one question:\n%s\n%s", describe(p, w.in.Now), describe(again, w.in.Now))
		}
		if err := w.limits(p); err != nil {
			rt.Fatalf("%v\n%s", err, describe(p, w.in.Now))
		}
		before, _ := w.open()
		w.carryOut(p)
		after, _ := w.open()
		if err := w.growth(before, after); err != nil && len(p.Launches)+len(p.Resumes) > 0 {
			rt.Fatalf("%v\n%s", err, describe(p, w.in.Now))
		}
		// What was carried out leads to nothing more. Only where a limit kept something back may the ends
		// of that very plan have made room for some of it.
		q := w.plan()
		for tries := 0; tries < 10 && len(p.Refused) > 0; tries++ {
			w.carryOut(q)
			q = w.plan()
		}
		if !q.Empty() {
			rt.Fatalf("the plan\n%s led to\n%s", describe(p, w.in.Now), describe(q, w.in.Now))
		}
		if len(p.Refused) == 0 {
			w.in.Now = w.in.Now.Add(time.Hour)
			if q := w.plan(); !q.Empty() {
				rt.Fatalf("an hour after the plan\n%s nothing had happened and yet came\n%s", describe(p, w.in.Now), describe(q, w.in.Now))
			}
		}
	})
}

// limits holds a plan against the guard rails.
func (w *world) limits(p reconcile.Plan) error {
	in, counted, launches, inFlight := w.in, 0, 0, 0
	most := in.Limits.Terminations.N
	if most == 0 {
		most = max(1, len(in.Workers)/5)
	}
	if in.Limits.Loss.Percent > 0 {
		most = min(most, max(1, len(in.Workers)*in.Limits.Loss.Percent/100))
	}
	perSite, ending := map[epu.SiteID]int{}, map[epu.WorkerID]bool{}
	for _, x := range in.Workers {
		perSite[x.Site]++
		if x.Open() && x.State < epu.Running {
			inFlight++
		}
	}
	for _, e := range p.Ends {
		switch {
		case ending[e.Worker.ID]:
			return fmt.Errorf("%s is ended twice", e.Worker.ID)
		case !e.Worker.Open():
			return fmt.Errorf("%s is ended again", e.Worker.ID)
		case w.unsynced[e.Worker.Site]:
			return fmt.Errorf("%s is ended at a site that was not listed", e.Worker.ID)
		case e.Surplus && in.Freeze != reconcile.Thawed:
			return fmt.Errorf("%s is surplus and ended in a frozen pool", e.Worker.ID)
		}
		if ending[e.Worker.ID] = true; e.Limited {
			counted++
		}
	}
	for _, e := range p.Ends {
		if e.Surplus && !in.Overdue[e.Worker.ID].Drained && w.kept(e.Worker) {
			return fmt.Errorf("%s is protected or busy and a victim", e.Worker.ID)
		}
	}
	for _, x := range p.Drains {
		if w.kept(x) {
			return fmt.Errorf("%s is protected or busy and drained", x.ID)
		}
	}
	if err := w.replaced(p); err != nil {
		return err
	}
	for _, x := range p.Resumes {
		if x.Leaving {
			return fmt.Errorf("%s was taken out by an order and is called back", x.ID)
		}
	}
	for _, x := range append(p.Drains, p.Resumes...) {
		if ending[x.ID] || in.Freeze != reconcile.Thawed {
			return fmt.Errorf("%s is ended and drained or resumed, or the pool is frozen", x.ID)
		}
	}
	for _, l := range p.Launches {
		launches += l.N
		perSite[l.Site] += l.N
		if l.N < 1 || in.Hold || w.in.Now.Before(w.backoff[l.Site]) {
			return fmt.Errorf("a launch of %d at %s, which backs off or is on hold", l.N, l.Site)
		}
	}
	for _, place := range in.Placement {
		added := perSite[place.Site]
		for _, x := range in.Workers {
			if x.Site == place.Site {
				added--
			}
		}
		if place.Max > 0 && added > 0 && perSite[place.Site] > place.Max {
			return fmt.Errorf("%d workers at %s, at most %d", perSite[place.Site], place.Site, place.Max)
		}
	}
	if err := w.numbered(p); err != nil {
		return err
	}
	switch {
	case in.Freeze == reconcile.Frozen && !p.Empty():
		return fmt.Errorf("a frozen pool acts")
	case counted > most:
		return fmt.Errorf("%d ends count, at most %d", counted, most)
	case launches > in.Limits.Launches.N:
		return fmt.Errorf("%d launches, at most %d", launches, in.Limits.Launches.N)
	case in.Limits.InFlight > 0 && launches > max(0, in.Limits.InFlight-inFlight):
		return fmt.Errorf("%d launches and %d starting, at most %d", launches, inFlight, in.Limits.InFlight)
	}
	return nil
}

// replaced checks that workers which are to be replaced leave others behind who do the work.
func (w *world) replaced(p reconcile.Plan) error {
	gone, released := map[epu.WorkerID]bool{}, epu.WorkerID("")
	for _, x := range p.Drains {
		if gone[x.ID] = true; x.Replacing {
			released = x.ID
		}
	}
	for _, e := range p.Ends {
		if gone[e.Worker.ID] = true; e.Reason == "replaced" {
			released = e.Worker.ID
		}
	}
	working := 0
	for _, x := range w.in.Workers {
		if x.Name == "" && x.Open() && x.State == epu.Running && !x.Draining && !x.Unhealthy() && !gone[x.ID] {
			working++
		}
	}
	if want := max(0, w.in.Wish.Target-len(w.in.Wish.Uniques)); released != "" && working < want {
		return fmt.Errorf("%s is replaced and leaves %d who work, want %d", released, working, want)
	}
	return nil
}

// kept reports that a worker must not be surplus.
func (w *world) kept(x *epu.Worker) bool {
	busy := w.in.Busy && x.BusyUntil.After(w.in.Now)
	unheard := w.unheard[x.ID] && x.State == epu.Running && x.Health == epu.HealthUnknown
	return !w.in.Hold && !x.Draining && !x.Replacing && (x.Protected || busy || unheard)
}

// growth holds what serves after a plan that launched or resumed against the wish: more than before is
// never more than wished. Names that have no worker may come on top of a surplus that is still leaving.
func (w *world) growth(before, after int) error {
	most := w.in.Wish.Target
	most += w.in.Canaries
	surplus := 0
	named := map[string]int{}
	for _, x := range w.in.Workers {
		if !x.Open() || x.Draining || x.Replacing && w.in.Freeze == reconcile.Thawed {
			continue
		}
		named[x.Name]++
	}
	for name, n := range named {
		_, wanted := w.in.Wish.Uniques[name]
		switch {
		case name == "":
			generic := w.in.Wish.Target - len(w.in.Wish.Uniques) + w.in.Canaries
			surplus += max(0, n-generic)
		case wanted:
			surplus += n - 1
		default:
			surplus += n
		}
	}
	if after > most+surplus {
		return fmt.Errorf("%d serve after %d, %d are wished and %d wait for their end", after, before, most, surplus)
	}
	return nil
}

// Goal: a pool left alone comes to what is wished, and stays there. Method: random pools without freeze;
// what was asked for happens at once, time goes on, and after a bound nothing moves any more.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := draw(rt)
		w.in.Freeze, w.in.Hold, w.in.Canaries, w.in.Wish.NoHeal, w.unsynced = reconcile.Thawed, false, 0, false, nil
		w.in.Placement[2].Max = 0
		delete(w.in.Wish.Sites, "moon")
		for _, x := range w.in.Workers {
			x.Protected, w.unheard[x.ID] = false, false
		}
		quiet := 0
		for step := 0; quiet < 3; step++ {
			if step > 200 {
				rt.Fatalf("still moving: %s", describe(w.plan(), w.in.Now))
			}
			p := w.plan()
			w.carryOut(p)
			if quiet++; !p.Empty() || !p.Until.IsZero() {
				quiet = 0
			}
			w.live()
			w.in.Now = w.in.Now.Add(5 * time.Minute)
		}
		serving, draining := w.open()
		if serving != w.in.Wish.Target || draining != 0 {
			rt.Fatalf("%d serve and %d drain, %d are wished: %s", serving, draining, w.in.Wish.Target, describe(w.plan(), w.in.Now))
		}
	})
}

// live lets what was asked for happen: machines start, drains end, the ended are gone, silence is known.
func (w *world) live() {
	var left []*epu.Worker
	for _, x := range w.in.Workers {
		c := *x
		c.Suspect = false
		if c.Open() && c.State < epu.Running && w.in.Overdue[c.ID].Reason == "" {
			c.State, c.Health = epu.Running, epu.HealthOK
		}
		if c.Draining {
			w.in.Overdue[c.ID] = reconcile.Overdue{Reason: "drained", Drained: true}
		} else if w.in.Overdue[c.ID].Drained {
			delete(w.in.Overdue, c.ID)
		}
		if !c.Ended {
			left = append(left, &c)
		}
	}
	w.in.Workers = left
}

// Goal: clamps hold, whatever a policy wants. Method: random wishes and limits.
func TestClamp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wish := epu.Wish{Target: rapid.IntRange(-5, 50).Draw(rt, "target"), Uniques: map[string]epu.Unique{}}
		for i := range rapid.IntRange(0, 6).Draw(rt, "names") {
			wish.Uniques[fmt.Sprint("n", i)] = epu.Unique{}
		}
		limits := epu.Limits{Min: rapid.IntRange(0, 10).Draw(rt, "min"), Max: rapid.IntRange(-1, 40).Draw(rt, "max")}
		if limits.Max >= 0 {
			limits.Min = min(limits.Min, limits.Max)
		}
		before, shrink := rapid.IntRange(limits.Min, 60).Draw(rt, "before"), rapid.Bool().Draw(rt, "shrink")
		floor := before
		if limits.Max >= 0 { // it may have been lowered since
			floor = min(before, limits.Max)
		}
		wanted := len(wish.Uniques)
		got, clamps := reconcile.Clamp(wish, before, limits, shrink, func(k string) string { return k + ".yaml:1" })
		again, _ := reconcile.Clamp(got, before, limits, shrink, func(string) string { return "" })
		switch {
		case len(wish.Uniques) != wanted:
			rt.Fatal("the policy's own words were changed")
		case got.Target < max(0, limits.Min, len(got.Uniques)), limits.Max >= 0 && got.Target > limits.Max:
			rt.Fatalf("got %d workers, %d of them named, with limits %+v", got.Target, len(got.Uniques), limits)
		case !shrink && got.Target < floor:
			rt.Fatalf("got %d, which is less than %d, on an unknown reading", got.Target, floor)
		case !reflect.DeepEqual(got, again):
			rt.Fatalf("clamped twice: %+v, then %+v", got, again)
		case !reflect.DeepEqual(got, wish) != (len(clamps) > 0):
			rt.Fatalf("got %+v of %+v with the reasons %v", got, wish, clamps)
		}
	})
}

// Goal: of many unhealthy workers the same ones go at every repetition. Method: equal workers but for ID.
func TestVictimsAreStable(t *testing.T) {
	for _, c := range []struct {
		by   epu.VictimOrder
		want string
	}{{"", "c"}, {epu.Newest, "c"}, {epu.Oldest, "a"}, {epu.IdleLongest, "b"}} {
		w := newWorld()
		w.in.DrainTo = false
		for i, id := range []string{"a", "b", "c"} {
			x := &epu.Worker{ID: epu.WorkerID(id), State: epu.Running, Health: epu.HealthOK, Created: start.Add(time.Duration(i) * time.Minute)}
			if id == "b" {
				x.IdleSince = start
			}
			w.add(x)
		}
		w.in.Wish = epu.Wish{Target: 2, Victims: c.by}
		if p := w.plan(); len(p.Ends) != 1 || string(p.Ends[0].Worker.ID) != c.want {
			t.Errorf("%q: got %s, want the end of %s", c.by, describe(p, start), c.want)
		}
	}
}
