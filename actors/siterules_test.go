package actors_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// These are the rules of the launch protocol, one by one: each closes a hole that a campaign has to be
// lucky to hit. Method: a site whose cloud is the test.

// A machine goes to a slot that is wanted, not to one that was ended meanwhile.
func TestWantedSlotsFirst(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 2, 5))
	b.tell(want(1, 2, 6, 0))
	done([]iaas.Instance{machine("i-1", "web-1-1", iaas.InstanceRunning)}, nil)
	b.expect(1, "TERMINATED, STARTED i-1, closed")
	if c, _, ok := out[actors.EndCall](b); ok {
		t.Errorf("%v is ended though a slot wants it", c.IDs)
	}
}

// A Want from before the launch was forgotten launches nothing, however late it comes.
func TestLateWantIsVoid(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	b.expect(1, "FAILED, closed")
	b.note(1, 7, true)
	b.tell(want(1, 1, 5))
	b.wait(time.Hour)
	if c, _, ok := out[actors.PrepareCall](b); ok {
		t.Errorf("%v is launched again", c)
	}
	b.tell(want(2, 1, 8)) // the floor is for unknown launches of before only
	mustOut[actors.PrepareCall](b)
}

// After an unknown outcome the same bytes are asked for with the same token; a refusal then says nothing
// about the call before it, and only two listings begun late enough close the launch.
func TestUnknownOutcome(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	first, done := b.launch(want(1, 2, 5))
	done(nil, epu.E(epu.UnknownOutcome, "launch", "", errors.New("deadline")))
	b.list()
	b.wait(b.spec.BackoffCap)
	again, done := mustOut[actors.RunCall](b)
	if again.Request.Digest() != first.Request.Digest() || again.Digest != "digest" {
		t.Errorf("got %+v after %+v, want the same bytes", again, first)
	}
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	b.list() // begun too early: the machine may not be visible yet
	b.list()
	b.expect(1, "REQUESTED, REQUESTED")
	b.wait(b.spec.VisibilityWindow + b.spec.CallTimeout)
	b.list()
	b.expect(1, "REQUESTED, REQUESTED")
	b.list(machine("i-1", "web-1-1", iaas.InstancePending)) // one listing may lack it, two do not
	b.expect(1, "PENDING i-1, FAILED, closed")
	b.wait(time.Hour)
	if _, _, ok := out[actors.RunCall](b); ok {
		t.Error("a settled launch was called again")
	}
}

// A machine is gone when it is listed as terminated, or not found by ID twice, a window apart.
func TestNotFoundTwice(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	m := machine("i-1", "web-1-1", iaas.InstanceRunning)
	done([]iaas.Instance{m}, nil)
	b.list() // within the window: no wonder
	if _, _, ok := out[actors.FindCall](b); ok {
		t.Error("searched for a machine that may not be visible yet")
	}
	b.wait(b.spec.VisibilityWindow)
	b.list()
	_, found := mustOut[actors.FindCall](b)
	found([]iaas.Instance{}, nil)
	b.expect(1, "STARTED i-1, closed")
	b.wait(b.spec.VisibilityWindow)
	_, found = mustOut[actors.FindCall](b)
	found([]iaas.Instance{m}, nil) // there it is: counting begins anew
	b.list()
	_, found = mustOut[actors.FindCall](b)
	found(nil, epu.E(epu.Transient, "find", "", errors.New("a failed answer is none")))
	for range 2 {
		b.wait(b.spec.VisibilityWindow)
		b.expect(1, "STARTED i-1, closed")
		_, found = mustOut[actors.FindCall](b)
		found([]iaas.Instance{}, nil)
	}
	b.expect(1, "TERMINATED i-1, closed")
}

// Before the first full listing nothing is ended; launches wait for it two minutes at most.
func TestFirstSync(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	done([]iaas.Instance{machine("i-1", "web-1-1", iaas.InstanceRunning)}, nil)
	b.start()
	b.tell(want(1, 1, 6, 0))
	b.tell(want(2, 1, 6))
	b.wait(2*time.Minute - 1)
	if len(b.calls) != 1 {
		t.Errorf("got the calls %v before the first listing", b.calls)
	}
	b.wait(1)
	mustOut[actors.PrepareCall](b)
	if c, _, ok := out[actors.EndCall](b); ok {
		t.Fatalf("%v is ended before the first listing", c.IDs)
	}
	b.list(machine("i-1", "web-1-1", iaas.InstanceRunning))
	if c, _ := mustOut[actors.EndCall](b); len(c.IDs) != 1 || c.IDs[0] != "i-1" {
		t.Errorf("got the end of %v", c.IDs)
	}
}

// A machine of ours in no slot is condemned once a window has shown that it stays, five in ten minutes
// over restarts too; one of a run, of an older epoch or with tags that can't be read is left alone.
func TestStrays(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(9, 1, 5)) // sequence numbers up to 9 are known
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	b.note(9, 6, true)
	run := machine("i-run", "web-1-1", iaas.InstanceRunning)
	run.Tags[iaas.TagKeeper] = "run/7"
	machines := []iaas.Instance{run, machine("i-odd", "odd", iaas.InstanceRunning), machine("i-old", "web-0-1", iaas.InstanceRunning)}
	for _, id := range []string{"i-1", "i-2", "i-3", "i-4", "i-5", "i-6", "i-7"} {
		machines = append(machines, machine(id, "web-1-3", iaas.InstanceRunning))
	}
	b.list(machines...)
	if v := b.view(); v.Condemned != 0 || len(v.Strays) != 0 {
		t.Errorf("judged by one listing: %+v", v)
	}
	b.wait(b.spec.VisibilityWindow)
	b.list(machines...)
	if v := b.view(); v.Condemned != 5 || len(v.Strays) != 9 || v.Recovery {
		t.Errorf("got %d condemned and %d in all, want 5 and 9: %+v", v.Condemned, len(v.Strays), v)
	}
	b.start()
	b.list(machines...)
	b.wait(b.spec.VisibilityWindow)
	b.list(machines...)
	if v := b.view(); v.Condemned != 5 {
		t.Errorf("%d are condemned after a restart, want 5 still", v.Condemned)
	}
	b.tell(msg.SweepSite{Instances: []epu.InstanceID{"i-6", "i-odd", "i-run", "i-none"}})
	if v := b.view(); v.Condemned != 7 {
		t.Errorf("%d are condemned after the sweep of two, want 7", v.Condemned)
	}
}

// Strays are ended like any other, and forgotten when they are confirmed gone.
func TestStrayIsEnded(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	done([]iaas.Instance{machine("i-1", "web-1-1", iaas.InstanceRunning)}, nil)
	two := []iaas.Instance{machine("i-1", "web-1-1", iaas.InstanceRunning), machine("i-2", "web-1-1", iaas.InstanceRunning)}
	b.list(two...)
	b.wait(b.spec.VisibilityWindow)
	b.list(two...)
	c, ended := mustOut[actors.EndCall](b)
	if len(c.IDs) != 1 || c.IDs[0] != "i-2" {
		t.Fatalf("got the end of %v, want i-2", c.IDs)
	}
	ended(nil, epu.E(epu.Transient, "end", "", errors.New("no")))
	b.wait(time.Minute)
	_, ended = mustOut[actors.EndCall](b)
	ended(nil, nil)
	two[1].State = iaas.InstanceTerminated
	b.list(two...)
	if v := b.view(); v.Condemned != 0 {
		t.Errorf("%d are still condemned", v.Condemned)
	}
}

// A machine whose launch was never recorded shows that the store is older than it: at once, before
// anything else is judged, and over restarts, until the operator has decided in this epoch.
func TestStoreOlderThanMachines(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	i1, i2 := machine("i-1", "web-1-1", iaas.InstanceRunning), machine("i-2", "web-1-7", iaas.InstanceRunning)
	done([]iaas.Instance{i1}, nil)
	b.tell(want(2, 1, 5)) // accepted, not asked for
	b.start()
	b.tell(want(1, 1, 6, 0))
	b.list(i1, i2)
	for range 2 {
		b.tell(want(3, 1, 6))
		b.wait(time.Hour)
		if v := b.view(); !v.Recovery || len(v.Strays) != 1 {
			t.Errorf("got %+v, want recovery with one stray", v)
		}
		_, _, ends := out[actors.EndCall](b)
		_, _, launches := out[actors.PrepareCall](b)
		if ends || launches {
			t.Errorf("ended %v or launched %v in recovery", ends, launches)
		}
		b.start()
		b.list(i1, i2)
	}
	b.tell(msg.SweepSite{Instances: []epu.InstanceID{"i-2"}})
	b.tell(msg.SiteDefine{Spec: b.spec, Epoch: 1})
	if _, _, ok := out[actors.EndCall](b); ok || !b.view().Recovery {
		t.Error("a definition of the same epoch ended the recovery")
	}
	b.tell(msg.SiteDefine{Spec: b.spec, Epoch: 2})
	w := want(3, 1, 6)
	w.Epoch, w.Launch = 2, epu.NewLaunchID("web", 2, 3)
	b.tell(want(3, 1, 6)) // of the older epoch: dropped
	if _, _, ok := out[actors.PrepareCall](b); ok {
		t.Error("a launch of the older epoch is asked for")
	}
	b.tell(w)
	mustOut[actors.EndCall](b)
	mustOut[actors.EndCall](b)
	mustOut[actors.PrepareCall](b)
}

// In a new epoch floors and reports begin anew; launches of the older one are never called, but their
// machines find their slots, and a Want of one that is not recorded makes a record to find them.
func TestNewEpoch(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(4, 1, 50))
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	b.note(4, 60, true) // Wants of before revision 60 are void in this epoch
	b.launch(want(1, 2, 70))
	b.launch(want(2, 1, 70))
	b.reports = nil
	b.id.Epoch, b.id.Recovery = 2, true
	b.start()
	b.tell(want(1, 2, 80)) // of the older epoch: dropped
	b.wait(time.Minute)
	machines := []iaas.Instance{machine("i-1", "web-1-1", iaas.InstanceRunning), machine("i-3", "web-1-3", iaas.InstanceRunning)}
	b.list(machines...)
	lost := want(3, 1, 4) // the pool's stream is from an earlier moment: its revisions are lower
	lost.Epoch, lost.Spec = 2, epu.LaunchSpec{}
	b.tell(lost)
	b.list(machines...)
	b.expect(1, "STARTED i-1, REQUESTED")
	b.expect(3, "STARTED i-3, closed")
	b.wait(b.spec.VisibilityWindow + b.spec.CallTimeout)
	b.list(machines...)
	b.list(machines...)
	b.expect(1, "STARTED i-1, FAILED, closed")
	b.expect(2, "FAILED, closed")
	b.tell(msg.SiteDefine{Spec: b.spec, Epoch: 3})
	b.wait(time.Hour)
	if c, _, ok := out[actors.RunCall](b); ok {
		t.Errorf("launch %s of the older epoch is called", c.Launch)
	}
}

// A launch whose controller does not know it is not forgotten while its machines live. People see them,
// and may sweep them.
func TestOrphans(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	m := machine("i-1", "web-1-1", iaas.InstanceRunning)
	done([]iaas.Instance{m}, nil)
	b.note(1, 9, false)
	b.reports = nil
	b.wait(10 * time.Minute)
	if len(b.reports) == 0 {
		t.Error("the report is not repeated")
	}
	b.list(m)
	if v := b.view(); len(v.Strays) != 1 || v.Strays[0].Instance != "i-1" {
		t.Fatalf("got %+v, want the machine as a stray", v.Strays)
	}
	b.tell(msg.SweepSite{Instances: []epu.InstanceID{"i-1"}})
	mustOut[actors.EndCall](b)
	m.State = iaas.InstanceTerminated
	b.list(m)
	b.note(1, 9, false)
	if v := b.view(); v.Instances != 0 || len(v.Strays) != 0 {
		t.Errorf("got %+v, want nothing left", v)
	}
}

// What a site has no room for fails at once; the rest is launched. Machines that were condemned count.
func TestInstancesMax(t *testing.T) {
	b := newSiteBench(t, func(s *epu.SiteSpec) { s.InstancesMax = 3 })
	b.list()
	c, done := b.launch(want(1, 2, 5))
	done([]iaas.Instance{machine("i-1", c.Launch, iaas.InstanceRunning), machine("i-2", c.Launch, iaas.InstanceRunning)}, nil)
	c, done = b.launch(want(2, 4, 6))
	if c.Request.Max != 1 {
		t.Errorf("asked for %d, want 1", c.Request.Max)
	}
	done([]iaas.Instance{machine("i-3", c.Launch, iaas.InstanceRunning)}, nil)
	b.expect(2, "STARTED i-3, FAILED, FAILED, FAILED, closed")
	b.tell(want(3, 2, 7))
	b.expect(3, "FAILED, FAILED, closed")
}

// Switched off, a site refuses what is new, drops what was not asked for and settles what may have been.
func TestSwitchedOff(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	b.tell(want(2, 1, 5))
	mustOut[actors.PrepareCall](b)
	b.tell(msg.SiteDefine{Spec: b.spec, Disabled: true, Gen: 3})
	b.tell(want(3, 1, 6))
	b.expect(2, "REJECTED, closed")
	b.expect(3, "REJECTED, closed")
	done(nil, epu.E(epu.UnknownOutcome, "launch", "", errors.New("deadline")))
	b.wait(time.Hour)
	if _, _, ok := out[actors.RunCall](b); ok {
		t.Error("called again though it is switched off")
	}
	b.list()
	b.list()
	b.expect(1, "REJECTED, closed")
}

// Switched off but for protected pools, a site goes on launching for those and for nobody else; switched off
// for them too, it drops what it had begun.
func TestSwitchedOffButForProtected(t *testing.T) {
	b := newSiteBench(t, nil)
	b.tell(msg.SiteDefine{Spec: b.spec, Disabled: true, Gen: 3})
	b.list()
	spared, other := want(1, 1, 5), want(2, 1, 5)
	spared.Protected = true
	b.tell(spared)
	b.tell(other)
	b.expect(2, "REJECTED, closed")
	mustOut[actors.PrepareCall](b)
	b.tell(msg.SiteDefine{Spec: b.spec, Disabled: true, ProtectedToo: true, Gen: 4})
	b.expect(1, "REJECTED, closed")
	late := want(3, 1, 6)
	late.Protected = true
	b.tell(late)
	b.expect(3, "REJECTED, closed")
}

// In dry run a launch is closed with what it would have done.
func TestDryRunSite(t *testing.T) {
	b := newSiteBench(t, func(s *epu.SiteSpec) { s.DryRun = true })
	b.list()
	b.tell(want(1, 4, 5, 3))
	b.expect(1, "REJECTED, REJECTED, REJECTED, TERMINATED, closed")
	if got := b.last(1).Slots[0].Reason; got != "site cloud is in dry run: would launch 3 x img" {
		t.Errorf("got %q", got)
	}
}

// A site that is switched to dry run live ends nothing that was to be ended, calls for nothing that was
// prepared, condemns nothing, and goes on when that is over.
func TestDryRunLive(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	one := machine("i-1", "web-1-1", iaas.InstanceRunning)
	done([]iaas.Instance{one}, nil)
	b.launch(want(2, 1, 5)) // the outcome is lost with the incarnation
	b.tell(want(1, 1, 6, 0))
	b.spec.DryRun = true
	b.start()
	stray := machine("i-2", "web-1-1", iaas.InstanceRunning)
	for range 3 {
		b.list(one, stray)
		b.wait(b.spec.VisibilityWindow + b.spec.CallTimeout)
	}
	_, _, ends := out[actors.EndCall](b)
	_, _, runs := out[actors.RunCall](b)
	if v := b.view(); ends || runs || v.Condemned > 0 || len(v.Strays) != 1 {
		t.Errorf("in dry run: ended %v, called %v, view %+v", ends, runs, v)
	}
	b.expect(2, "REJECTED, closed")
	b.spec.DryRun = false
	b.start()
	b.list(one, stray)
	if c, _ := mustOut[actors.EndCall](b); len(c.IDs) != 1 || c.IDs[0] != "i-1" {
		t.Errorf("got the end of %v, want i-1", c.IDs)
	}
}

// A launch that fails says of what kind the failure was.
func TestFailuresHaveAKind(t *testing.T) {
	b := newSiteBench(t, func(s *epu.SiteSpec) { s.InstancesMax = 1 })
	b.list()
	_, done := b.launch(want(1, 1, 5))
	b.tell(want(2, 1, 5))
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	if got := b.last(1).Slots[0].Kind + " " + b.last(2).Slots[0].Kind; got != "capacity quota" {
		t.Errorf("got the kinds %q", got)
	}
}

// The last report of a launch whose pool is archived is taken in by the registry, which knows that nobody
// else will; of a pool that there is it says nothing. A late outcome leaves no trace.
func TestArchivedPoolsLaunchIsForgotten(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	done(nil, epu.E(epu.Capacity, "launch", "", errors.New("full")))
	registry := &siteHost{script: &script{now: b.now}, b: b}
	shell := actors.NewDurable(actors.NewRegistry(epu.DefaultOwner, 1), registry, actors.RegistryCodec(), actors.RegistryStream)
	shell.Start()
	asked := func() int {
		n := 0
		for _, s := range b.sent {
			if strings.HasPrefix(s, "registry: ") {
				n++
			}
		}
		return n
	}
	if asked() != 1 {
		t.Fatalf("the registry was told %d times, want once at first", asked())
	}
	shell.Receive(b.last(1), "")
	if got := strings.Join(registry.sent, "\n"); !strings.HasPrefix(got, "provisioner/site-cloud: {1 default web web-1-1 ") {
		t.Fatalf("the registry answered %q", got)
	}
	b.note(1, 0, false)
	b.wait(time.Hour)
	if asked() != 1 || strings.Contains(b.site.Describe(), "web-1-1") {
		t.Errorf("the launch is not forgotten: told %d times, %s", asked(), b.site.Describe())
	}

	shell.Receive(msg.ApplySpecs{Pools: []msg.PoolEntry{{Spec: epu.PoolSpec{Name: "web"}}}, Sender: msg.Sender{ID: "c", User: "anna"}}, "")
	before := len(registry.sent)
	shell.Receive(b.last(1), "")
	if got := registry.sent[before:]; len(got) > 0 {
		t.Errorf("the registry answered %q for a pool that it has", got)
	}
}

// A slot ended while the request is prepared changes the request: it is prepared again for fewer.
func TestPreparedAnew(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	b.tell(want(1, 3, 5))
	_, done := mustOut[actors.PrepareCall](b)
	b.tell(want(1, 3, 6, 1))
	done("digest of three", nil)
	c, done := mustOut[actors.PrepareCall](b)
	if c.Request.Max != 2 {
		t.Errorf("prepared %d, want 2", c.Request.Max)
	}
	done("digest of two", nil)
	if run, _ := mustOut[actors.RunCall](b); run.Request.Max != 2 || run.Digest != "digest of two" {
		t.Errorf("got %+v, want the request for two", run)
	}
}

// A launch whose slots are all ended before the site heard of it never was; the answer says so, and an
// older copy of its Want makes nothing of it.
func TestEndedBeforeItWas(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	b.tell(want(1, 2, 6, 0, 1))
	b.expect(1, "TERMINATED, TERMINATED, closed")
	b.tell(want(1, 2, 5))
	b.wait(time.Hour)
	if _, _, ok := out[actors.PrepareCall](b); ok {
		t.Error("launched though it had ended")
	}
}

// A stray that is adopted becomes a launch of one slot; one that has vanished ends the adoption.
func TestAdopt(t *testing.T) {
	b := newSiteBench(t, nil)
	b.id.Epoch = 2
	b.start()
	m := machine("i-1", "web-1-7", iaas.InstanceRunning)
	b.list(m)
	b.wait(b.spec.VisibilityWindow)
	b.list(m)
	w := msg.Want{Epoch: 2, Owner: "default", Pool: "web", Launch: "web-2-1", N: 1, Rev: 3, Adopt: "i-1", Spec: epu.LaunchSpec{Image: "img"}}
	b.tell(w)
	b.expect(1, "STARTED i-1, closed")
	b.tell(w) // a copy
	other := w
	other.Launch = "web-2-2"
	b.tell(other)
	b.expect(2, "TERMINATED, closed")
	w.Ended, w.Rev = []int{0}, 4
	b.tell(w)
	b.list(m)
	if c, _ := mustOut[actors.EndCall](b); len(c.IDs) != 1 || c.IDs[0] != "i-1" {
		t.Errorf("got the end of %v", c.IDs)
	}
}
