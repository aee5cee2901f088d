package actors_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// These are stories of a whole pool that a random campaign tells too rarely. Method: a fleet on a calm
// cloud, in virtual time.

// calmFleet is a pool of n running workers.
func calmFleet(t *testing.T, n int, change func(*epu.PoolSpec)) *actortest.Fleet {
	t.Helper()
	pool := campaignPool()
	pool.Policy.Conf = map[string]any{"preserve_n": n}
	pool.Placement = []epu.Placement{{Site: "cloud"}, {Site: "second"}}
	if change != nil {
		change(&pool)
	}
	f := actortest.NewFleet(1, sim.Options{Boot: sim.Range{Min: 5 * time.Second, Max: 30 * time.Second}, Visibility: time.Minute},
		pool, campaignSite("cloud"), campaignSite("second"))
	f.OnCrash = func() { f.After(time.Second, f.Start) }
	f.Run(5 * time.Minute)
	settled(t, f, n, 0)
	return f
}

func settled(t *testing.T, f *actortest.Fleet, n, names int) {
	t.Helper()
	if wrong := f.Check(n, names); len(wrong) > 0 {
		t.Fatalf("%s\n%s", strings.Join(wrong, "\n"), f.Describe())
	}
}

// ended counts the workers that are being ended or that ended, by the machines that were asked to end.
func ended(f *actortest.Fleet) int {
	n := 0
	for _, m := range f.Machines() {
		if !m.Asked.IsZero() {
			n++
		}
	}
	return n
}

// A node that was stopped for a while has heard nobody, and blames nobody.
func TestStoppedNodeBlamesNobody(t *testing.T) {
	f := calmFleet(t, 10, nil)
	f.Scale(12)
	f.Run(8 * time.Second) // two are launched and not yet there
	f.Stall(time.Hour)
	f.Deaf = true // agents back off while their node is away
	f.Run(50 * time.Second)
	f.Deaf = false
	f.Run(10 * time.Minute)
	if n := ended(f); n > 0 || len(f.Machines()) != 12 {
		t.Errorf("%d machines were ended and %d launched", n, len(f.Machines())-12)
	}
	settled(t, f, 12, 0)
}

// A node that hears nobody for hours, the canary included, ends nobody. When it hears again, only the
// canary is too many.
func TestDeafNodeEndsNobody(t *testing.T) {
	f := calmFleet(t, 10, func(p *epu.PoolSpec) { p.Health.LaunchDeadline = 24 * time.Hour })
	f.Deaf = true
	f.Run(3 * time.Minute)
	if n := len(f.Machines()); n != 10 {
		t.Errorf("%d machines before the suspicion lasted long enough for a canary", n)
	}
	f.Run(3 * time.Hour)
	if n := ended(f); n > 0 {
		t.Errorf("%d machines were ended by a node that is deaf", n)
	}
	if n := len(f.Machines()); n != 11 {
		t.Errorf("got %d machines, want ten and one canary", n)
	}
	f.Crash() // a new owner knows no more than the old one; it has a canary of its own
	f.Run(time.Hour)
	f.Deaf = false
	f.Run(20 * time.Minute)
	for _, m := range f.Machines()[:10] {
		if !m.Alive() {
			t.Errorf("machine %s was ended though nothing was wrong with it", m.ID)
		}
	}
	settled(t, f, 10, 0)
}

// The first one to be heard again is the canary, and the others follow soon: nobody is ended.
func TestCanaryIsHeardFirst(t *testing.T) {
	f := calmFleet(t, 10, nil)
	for _, m := range f.Machines() {
		f.Mute(m.ID)
	}
	heard := func() bool {
		ws := f.Workers()
		return ws[len(ws)-1].Created.After(ws[0].Created) && ws[len(ws)-1].Health == epu.HealthOK
	}
	for steps := 0; !heard(); steps++ {
		if f.Run(5 * time.Second); steps > 200 {
			t.Fatal("there is no canary")
		}
	}
	f.Run(30 * time.Second)
	for _, m := range f.Machines() {
		f.Unmute(m.ID)
	}
	f.Run(10 * time.Minute)
	for _, m := range f.Machines()[:10] {
		if !m.Asked.IsZero() {
			t.Errorf("machine %s was ended though nothing was wrong with it", m.ID)
		}
	}
	if wrong := f.Check(10, 0); len(f.Machines()) != 11 || len(wrong) > 0 {
		t.Log(wrong)
	}
}

// Most workers really die: nobody is ended before a canary is heard, then they are, within the limit.
func TestMassFailure(t *testing.T) {
	f := calmFleet(t, 10, func(p *epu.PoolSpec) { p.Limits.Terminations = epu.Count{N: 2, Window: 10 * time.Minute} })
	for _, m := range f.Machines()[:7] {
		f.Mute(m.ID)
	}
	f.Run(3 * time.Minute)
	if n := ended(f); n > 0 {
		t.Errorf("%d machines were ended before there was a witness", n)
	}
	for minute := range 120 {
		before := ended(f)
		f.Run(time.Minute)
		if n := ended(f) - before; n > 3 { // two that failed, and one too many
			t.Errorf("%d machines were ended in minute %d, at most two may", n, minute)
		}
	}
	settled(t, f, 10, 0)
}

// A minority that dies is replaced at once, restart or not.
func TestFewDie(t *testing.T) {
	for _, restart := range []bool{false, true} {
		f := calmFleet(t, 10, nil)
		for _, m := range f.Machines()[:3] {
			f.Mute(m.ID)
		}
		if restart {
			f.Crash()
		}
		f.Run(10 * time.Minute)
		settled(t, f, 10, 0)
	}
}

// After a restart nothing is ended at a site before that site was listed, not even what failed; at another
// site things go on.
func TestNothingEndsUnseen(t *testing.T) {
	f := calmFleet(t, 4, func(p *epu.PoolSpec) { p.Placement[0].Max = 2 })
	f.Sites[0].Cloud.Outage(true)
	f.Crash()
	for _, m := range f.Machines() {
		f.Fail(m.ID)
	}
	f.Run(20 * time.Minute)
	for _, w := range f.Workers() {
		if w.Site == "cloud" && w.Ended {
			t.Errorf("%s was ended before its site was listed: %s", w.ID, w.EndReason)
		}
	}
	if n := ended(f); n != 2 {
		t.Errorf("%d machines were ended, want the two of the other site", n)
	}
	f.Sites[0].Cloud.Outage(false)
	f.Run(20 * time.Minute)
	settled(t, f, 4, 0)
}

// A frozen pool lets its machines die; with healing left on it replaces them, and does nothing else.
func TestFreeze(t *testing.T) {
	for _, healing := range []bool{false, true} {
		f := calmFleet(t, 6, nil)
		f.Command(&msg.FreezeCommand{Pool: "epu-web", Healing: healing})
		f.Run(time.Second)
		f.Scale(2)
		f.Run(time.Second)
		for i, m := range f.Machines()[:3] {
			if i == 0 {
				m.Kill()
			} else {
				f.Fail(m.ID)
			}
		}
		f.Crash() // being frozen lasts
		f.Run(2 * time.Hour)
		launched := len(f.Machines()) - 6
		if healing && (launched != 3 || ended(f) != 2) || !healing && (launched != 0 || ended(f) != 0) {
			t.Errorf("healing %v: %d launched and %d ended", healing, launched, ended(f))
		}
		f.Command(&msg.Thaw{Pool: "epu-web"})
		f.Run(20 * time.Minute)
		settled(t, f, 2, 0)
	}
}

// A backup from before half of the machines is restored: the others are found, and nothing is done until
// the operator has decided. What is adopted works on under a new name; the rest is swept.
func TestRestore(t *testing.T) {
	f := calmFleet(t, 4, nil)
	backup := f.Backup()
	f.Scale(8)
	f.Run(5 * time.Minute)
	f.Restore(backup)
	f.Run(time.Hour)
	if n := len(f.Machines()); n != 8 || ended(f) > 0 {
		t.Errorf("%d machines, %d ended, though the store is in recovery", n, ended(f))
	}
	for range 5 {
		f.Recover()
		f.Run(3 * time.Minute)
	}
	f.EndRecovery()
	f.Scale(8)
	f.Run(time.Hour)
	settled(t, f, 8, 0)
}

// The same, but nobody said that the store is old: its epoch is that of the machines.
func TestRolledBackStore(t *testing.T) {
	f := calmFleet(t, 4, nil)
	before := f.Copy()
	f.Scale(8)
	f.Run(5 * time.Minute)
	f.RollBack(before)
	f.Run(10 * time.Minute)
	if n := len(f.Machines()); n != 8 || ended(f) > 0 {
		t.Errorf("%d machines, %d ended, though the store is older than they are", n, ended(f))
	}
	f.EndRecovery() // without having decided anything: what no record explains is listed, and stays
	f.Run(10 * time.Minute)
	if n := ended(f); n > 0 {
		t.Errorf("%d machines ended", n)
	}
	// The lost life used launches that this one does not know. Theirs are never made again: with the token of
	// one the cloud would answer with its old machines, and their agents would pass for the new workers.
	f.Scale(7)
	f.Run(10 * time.Minute)
	for _, m := range f.Machines()[8:] {
		if _, epoch, _, _ := epu.LaunchID(m.Tags[iaas.TagLaunch]).Parse(); epoch != 2 {
			t.Errorf("machine %s is of launch %s, want one of the epoch that the end of recovery began", m.ID, m.Tags[iaas.TagLaunch])
		}
	}
	if n := len(f.Machines()); n != 11 || len(f.Workers()) != 7 {
		t.Errorf("%d machines and %d workers, want 11 and 7", n, len(f.Workers()))
	}
}

// A site that is full or fails is passed over, and used again when it is not.
func TestOverflow(t *testing.T) {
	f := calmFleet(t, 2, func(p *epu.PoolSpec) { p.Placement[0].Max = 4 })
	at := func() (near, far int) {
		for _, w := range f.Workers() {
			if w.Site == "cloud" {
				near++
			} else {
				far++
			}
		}
		return near, far
	}
	f.Scale(6)
	f.Run(5 * time.Minute)
	if near, far := at(); near != 4 || far != 2 {
		t.Errorf("got %d and %d, want 4 at the first site and 2 at the second", near, far)
	}
	f.Sites[0].Cloud.SetCapacity(sim.Place{}, 0)
	for _, m := range f.Machines() {
		if m.Site == f.Sites[0] {
			m.Kill()
		}
	}
	f.Run(10 * time.Minute)
	if near, far := at(); near != 0 || far != 6 {
		t.Errorf("got %d and %d, want all at the second site while the first has no room", near, far)
	}
	f.Sites[0].Cloud.SetCapacity(sim.Place{}, -1)
	f.Scale(8)
	f.Run(10 * time.Minute)
	if near, far := at(); near != 2 || far != 6 {
		t.Errorf("got %d and %d, want the next two at the first site again", near, far)
	}
	settled(t, f, 8, 0)
}

// A pool of ten thousand launches in steps of its limits, and ends in one command: what is too much for
// one append goes in parts.
func TestLargePool(t *testing.T) {
	t.Parallel()
	n := 3000
	if raced {
		n = 500
	}
	f := calmFleet(t, n, func(p *epu.PoolSpec) {
		p.Limits = epu.Limits{Max: -1, FailuresInRow: 5, FailureBackoff: time.Minute, MassConfirm: time.Minute}
		p.Health.Heartbeat, p.Health.MissingAfter = time.Minute, 5*time.Minute
	})
	f.TerminateAll(false)
	f.Run(10 * time.Minute)
	settled(t, f, 0, 0)
}

// While terminate-all is on, a protected pool is left alone in every way: it heals, and grows when it is
// told to. With the protected ones included it ends like any other.
func TestProtectedPoolHeals(t *testing.T) {
	f := calmFleet(t, 4, func(p *epu.PoolSpec) { p.Protected = true })
	f.TerminateAll(false)
	f.Run(time.Minute)
	settled(t, f, 4, 0)
	f.Machines()[0].Kill()
	f.Crash() // a site forgets the switch, and is told again; the launch under way is the protected pool's
	f.Run(10 * time.Minute)
	settled(t, f, 4, 0)
	f.Scale(6)
	f.Run(10 * time.Minute)
	settled(t, f, 6, 0)
	for _, w := range f.Workers() {
		if w.State == epu.Rejected {
			t.Errorf("%s was refused", w.ID)
		}
	}
	if v := f.Ask(msg.PoolQuery{}).(msg.PoolView); !v.Backoff.IsZero() {
		t.Errorf("launches are backing off until %v", v.Backoff)
	}
	f.TerminateAll(true)
	f.Run(10 * time.Minute)
	settled(t, f, 0, 0)
	f.Enable()
	f.Run(10 * time.Minute)
	settled(t, f, 6, 0)
}

// A pool of which no launch succeeds is frozen after so many in a row, says so, and stays it until somebody
// thaws it; failures with a success between them are not in a row.
func TestFreezeOnFailures(t *testing.T) {
	f := calmFleet(t, 3, func(p *epu.PoolSpec) { p.Limits.FreezeAfter = 3 })
	room := func(n int) {
		for _, s := range f.Sites {
			s.Cloud.SetCapacity(sim.Place{}, n)
		}
	}
	frozen := func() *msg.FreezeState { return f.Ask(msg.PoolQuery{}).(msg.PoolView).Freeze }
	for range 2 { // less than three failures each time, and more in all
		room(0)
		f.Living()[0].Kill()
		for range 60 {
			f.Run(time.Second)
			if !f.Ask(msg.PoolQuery{}).(msg.PoolView).Backoff.IsZero() {
				break
			}
		}
		room(-1)
		f.Run(time.Hour)
		settled(t, f, 3, 0)
	}
	if frozen() != nil {
		t.Fatalf("got %+v, want no freeze: a worker ran between the failures", frozen())
	}
	room(0)
	f.Living()[0].Kill()
	f.Run(2 * time.Hour)
	if got := frozen(); got == nil || got.By != msg.FreezeOnFailures || got.Reason != "3 launches in a row failed" {
		t.Fatalf("got %+v, want a freeze after 3 launches", got)
	}
	if why := f.Ask(msg.PoolQuery{}).(msg.PoolView).LaunchFault; !strings.Contains(why, "capacity") {
		t.Errorf("launches failed for %q, want the cloud's word about its capacity", why)
	}
	room(-1)
	f.Crash() // the freeze lasts, and the count with it
	f.Run(2 * time.Hour)
	if n := len(f.Living()); n != 2 || frozen() == nil {
		t.Fatalf("got %d machines, frozen %v; want 2 and frozen until somebody thaws it", n, frozen())
	}
	f.Command(&msg.Thaw{Pool: "epu-web"})
	f.Run(time.Hour)
	settled(t, f, 3, 0)
	if frozen() != nil {
		t.Errorf("got %+v, want none after a thaw", frozen())
	}
}

// Workers that were kept beside a canary are no canaries once they are wished for.
func TestCanaryIsOneMore(t *testing.T) {
	f := calmFleet(t, 8, nil)
	for _, w := range f.Workers() {
		done(t, f, true, &msg.Protect{Instance: string(w.ID)})
	}
	f.Scale(2)
	for _, m := range f.Machines() {
		f.Mute(m.ID)
	}
	for len(f.Machines()) == 8 {
		if f.Run(5 * time.Second); f.Now().Sub(f.Workers()[0].Created) > time.Hour {
			t.Fatal("there is no canary")
		}
	}
	f.Scale(8)
	f.Run(30 * time.Second)
	if n := len(f.Machines()); n != 9 {
		t.Errorf("%d machines, want the eight and a canary", n)
	}
	f.Run(time.Hour)
	settled(t, f, 8, 0)
}

// A canary is launched though there are more workers than wished: who was there before the suspicion is no
// witness. With it the failure is confirmed and made up for.
func TestCanaryBesideSurplus(t *testing.T) {
	f := calmFleet(t, 3, nil)
	ws := f.Workers()
	for _, w := range ws {
		done(t, f, true, &msg.Protect{Instance: string(w.ID)})
	}
	f.Scale(2)
	f.Run(time.Minute)
	settled(t, f, 3, 0)
	for _, w := range ws[:2] {
		f.Mute(w.Instance)
	}
	f.Run(time.Hour)
	settled(t, f, 2, 0)
	if m := machineOf(f, ws[2].Instance); !m.Alive() {
		t.Errorf("the protected worker %s that was well all the time is gone", ws[2].ID)
	}
}
