package sim_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
)

type bench struct {
	*sim.Cloud
	now time.Time
}

func newBench(seed uint64, opts sim.Options) *bench {
	b := &bench{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.Cloud = sim.New(seed, func() time.Time { return b.now }, opts)
	return b
}

func ask(token string, least, most int) iaas.LaunchRequest {
	return iaas.LaunchRequest{Token: epu.Token(token), Min: least, Max: most, Image: "ami-1", Tags: map[string]string{iaas.TagLaunch: token}}
}

func (b *bench) states(t *testing.T) string {
	t.Helper()
	ins, err := b.List(context.Background(), iaas.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(ins))
	for i, in := range ins {
		words[i] = in.State.String()
	}
	return strings.Join(words, " ")
}

// Goal: a machine's life follows from the clock alone.
// Method: one machine is looked at before and after each of its times, with nothing called in between.
func TestLifeOfAMachine(t *testing.T) {
	b := newBench(7, sim.Options{
		Boot: sim.Range{Min: 10 * time.Second, Max: 10 * time.Second}, Ending: sim.Range{Min: 5 * time.Second, Max: 5 * time.Second},
		Linger: time.Minute,
	})
	if _, err := b.Launch(t.Context(), ask("a", 1, 1)); err != nil {
		t.Fatal(err)
	}
	look := func(after time.Duration, want string) {
		t.Helper()
		b.now = b.now.Add(after)
		if got := b.states(t); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	look(0, "pending")
	look(10*time.Second-1, "pending")
	look(1, "running")
	id := b.Machines()[0].ID
	for range 2 { // the second call changes nothing
		if err := b.Terminate(t.Context(), []epu.InstanceID{"i-none", id}); err != nil {
			t.Fatal(err)
		}
		look(2*time.Second, "stopping")
	}
	look(time.Second, "terminated")
	look(time.Minute-1, "terminated")
	look(1, "")
	if m := b.Machines()[0]; m.Alive() || m.Reason != "User initiated" || m.Ended.Sub(m.Asked) != 5*time.Second {
		t.Errorf("got %+v, want a machine that ended 5 s after it was asked to", m)
	}
}

// Goal: limits answer with their own kind, give what there is down to Min, and are lifted again.
// Method: capacity, quota, reservation and throttling are run into one after the other.
func TestLimits(t *testing.T) {
	kind := func(err error, want epu.Kind) {
		t.Helper()
		if err == nil || epu.KindOf(err) != want {
			t.Errorf("got %v, want an error of kind %v", err, want)
		}
	}
	b := newBench(1, sim.Options{Zones: []string{"a", "b"}, Capacity: map[sim.Place]int{{Zone: "a"}: 3, {Zone: "b"}: 1}, Quota: 5})
	got, err := b.Launch(t.Context(), ask("most", 1, 10))
	if err != nil || len(got) != 3 || got[0].Zone != "a" {
		t.Fatalf("got %v, %v; want the 3 machines of the roomier zone", got, err)
	}
	_, err = b.Launch(t.Context(), ask("two", 2, 2))
	kind(err, epu.Capacity)
	if n := b.Orders()["two"].Machines; n != 0 {
		t.Errorf("a refused launch made %d machines", n)
	}
	b.SetCapacity(sim.Place{Zone: "b"}, -1)
	if got, err = b.Launch(t.Context(), ask("two", 2, 2)); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v; want a refused token to work once there is room", got, err)
	}
	_, err = b.Launch(t.Context(), ask("six", 1, 1))
	kind(err, epu.Quota)

	b = newBench(1, sim.Options{Offers: []iaas.Offer{{Allocation: "m", Market: epu.Reserved, Free: 1}}})
	req := ask("r", 1, 2)
	req.Allocation, req.Market = "m", epu.Reserved
	if got, err = b.Launch(t.Context(), req); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v; want what is left of the reservation", got, err)
	}
	if o, err := b.Offers(t.Context()); err != nil || o[0].Free != 0 {
		t.Errorf("got %v, %v; want nothing left", o, err)
	}

	b = newBench(1, sim.Options{CallBurst: 2, CallPerSecond: 1})
	b.states(t)
	b.states(t)
	_, err = b.List(t.Context(), iaas.ListRequest{})
	kind(err, epu.Throttled)
	b.now = b.now.Add(time.Second)
	b.states(t)
	b.Outage(true)
	b.now = b.now.Add(time.Second)
	_, err = b.Launch(t.Context(), ask("o", 1, 1))
	kind(err, epu.Transient)
}

// Goal: listings are late only within the window, and nothing in them never was.
// Method: many machines and listings; each one is compared with the truth of the window before it.
func TestLateVisibility(t *testing.T) {
	b := newBench(3, sim.Options{Visibility: time.Minute, Boot: sim.Range{Min: time.Second, Max: 20 * time.Second}, Linger: time.Hour})
	missed, stale := 0, 0
	for i := range 200 {
		if _, err := b.Launch(t.Context(), ask(fmt.Sprint("t", i), 1, 2)); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(7 * time.Second)
		seen := map[epu.InstanceID]iaas.InstanceState{}
		ins, err := b.List(t.Context(), iaas.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range ins {
			seen[in.ID] = in.State
		}
		for _, m := range b.Machines() {
			age := b.now.Sub(m.Launched)
			switch state, ok := seen[m.ID]; {
			case !ok && age >= time.Minute:
				t.Fatalf("a machine of age %v is missing", age)
			case !ok:
				missed++
			case state > m.State:
				t.Fatalf("listed as %v before it was: %v", state, m.State)
			case state < m.State:
				stale++
			}
		}
		if i%3 == 0 {
			_ = b.Terminate(t.Context(), []epu.InstanceID{ins[len(ins)-1].ID})
		}
	}
	if missed == 0 || stale == 0 {
		t.Errorf("got %d missing and %d stale entries, want some of both", missed, stale)
	}
}

// Goal: what a token with only dead machines answers is the option's to say.
func TestDeadTokens(t *testing.T) {
	for _, option := range []sim.DeadToken{sim.DeadTokenReturns, sim.DeadTokenConflict} {
		b := newBench(1, sim.Options{DeadTokens: option})
		got, err := b.Launch(t.Context(), ask("a", 2, 2))
		if err != nil || !b.Kill(got[0].ID) || b.Kill(got[0].ID) {
			t.Fatalf("launching and killing once failed: %v", err)
		}
		if got, err = b.Launch(t.Context(), ask("a", 2, 2)); err != nil || len(got) != 2 {
			t.Errorf("got %v, %v; want both machines while one lives", got, err)
		}
		b.Kill(got[1].ID)
		got, err = b.Launch(t.Context(), ask("a", 2, 2))
		if wantErr := option == sim.DeadTokenConflict; wantErr != (epu.KindOf(err) == epu.Conflict) || !wantErr && len(got) != 2 {
			t.Errorf("got %v, %v with option %d", got, err, option)
		}
	}
}

// Goal: spot machines end after a notice, prices move, and both only for spot.
func TestSpot(t *testing.T) {
	b := newBench(5, sim.Options{
		Offers:     []iaas.Offer{{Allocation: "m", Market: epu.Spot, USDPerHour: 1}, {Allocation: "m", Market: epu.OnDemand, USDPerHour: 3}},
		PriceEvery: time.Minute, PriceSwing: 0.5, SpotLifeMean: time.Hour, SpotWarning: 2 * time.Minute,
	})
	req := ask("spot", 20, 20)
	req.Market = epu.Spot
	if _, err := b.Launch(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Launch(t.Context(), ask("steady", 1, 1)); err != nil {
		t.Fatal(err)
	}
	noticed, prices := map[epu.InstanceID]time.Time{}, map[float64]bool{}
	for range 24 * 60 {
		ns, err := b.Notices(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range ns {
			noticed[n.Instance] = n.At
		}
		offers, err := b.Offers(t.Context())
		if err != nil || offers[1].USDPerHour != 3 || offers[0].USDPerHour < 0.5 || offers[0].USDPerHour > 1.5 {
			t.Fatalf("got offers %v, %v", offers, err)
		}
		prices[offers[0].USDPerHour] = true
		b.now = b.now.Add(time.Minute)
	}
	for _, m := range b.Machines() {
		if at, ok := noticed[m.ID]; ok != (m.Token == "spot") || ok && (m.Alive() || !m.Ended.Equal(at)) {
			t.Errorf("machine %s of %s: alive %v, ended %v, announced for %v", m.ID, m.Token, m.Alive(), m.Ended, at)
		}
	}
	if len(prices) < 100 {
		t.Errorf("got %d different prices in a day, want one a minute", len(prices))
	}
}

// Goal: the same seed and calls give the same world, whatever the faults; tokens never give more than
// one set of machines; a refused launch made none.
// Method: random calls against two clouds of one seed, and the truth afterwards.
func TestDeterministicAndIdempotent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		x, y := newBench(seed, sim.Rough()), newBench(seed, sim.Rough())
		made := map[string]bool{} // tokens that a launch did not refuse
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			step := time.Duration(rapid.IntRange(0, 120).Draw(rt, "pause")) * time.Second
			op := rapid.IntRange(0, 3).Draw(rt, "op")
			token := fmt.Sprint("t", rapid.IntRange(0, 9).Draw(rt, "token"))
			var said [2]string
			for i, b := range []*bench{x, y} {
				b.now = b.now.Add(step)
				switch op {
				case 0, 1:
					got, err := b.Launch(context.Background(), ask(token, 1, 3))
					if err == nil || epu.KindOf(err) == epu.UnknownOutcome {
						made[token] = true
					}
					said[i] = fmt.Sprint(got, err)
				case 2:
					got, err := b.List(context.Background(), iaas.ListRequest{})
					said[i] = fmt.Sprint(got, err)
				case 3:
					if ms := b.Machines(); len(ms) > 0 {
						said[i] = fmt.Sprint(b.Terminate(context.Background(), []epu.InstanceID{ms[0].ID, ms[len(ms)-1].ID}))
					}
				}
			}
			if said[0] != said[1] {
				rt.Fatalf("the same call had different answers:\n%s\n%s", said[0], said[1])
			}
		}
		if diff := cmp.Diff(x.Machines(), y.Machines()); diff != "" {
			rt.Fatalf("the same seed gave different worlds:\n%s", diff)
		}
		for token, o := range x.Orders() {
			if o.Machines < 1 || o.Machines > 3 || !made[string(token)] {
				rt.Fatalf("token %s: %+v, launch honoured: %v", token, o, made[string(token)])
			}
		}
	})
}
