package actors_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// Goal: a recovery that a machine of a newer store began outlasts restarts, whether the stream is replayed
// or restored from a snapshot, also when that machine is not seen again. Method: the machine is listed
// once; then the site begins anew and lists nothing.
func TestRecoveryOutlastsRestarts(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	i1 := machine("i-1", "web-1-1", iaas.InstanceRunning)
	done([]iaas.Instance{i1}, nil)
	b.list(i1, machine("i-2", "web-1-7", iaas.InstanceRunning))
	if v := b.view(); !v.Recovery {
		t.Fatalf("got %+v, want recovery", v)
	}
	for _, how := range []string{"replay", "snapshot"} {
		if how == "snapshot" {
			raw, err := json.Marshal(b.site.State())
			if err == nil {
				err = b.journal.Snapshot(context.Background(), 1, epu.SiteStream(b.spec.Name), b.shell.Rev(), raw)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		b.start()
		b.list(i1)
		b.tell(want(3, 1, 6))
		if _, _, ok := out[actors.PrepareCall](b); ok || !b.view().Recovery {
			t.Errorf("after a %s: a launch is asked for %v, view %+v", how, ok, b.view())
		}
	}
}

// Goal: in recovery a Want of an unknown launch makes no record, and is taken once recovery has ended.
// Method: the same Want before and after.
func TestWantWaitsForRecovery(t *testing.T) {
	b := newSiteBench(t, nil)
	b.id.Recovery = true
	b.start()
	b.list()
	b.tell(want(1, 2, 5))
	b.list()
	if len(b.reports) > 0 {
		t.Errorf("got the reports %v in recovery", b.reports)
	}
	b.tell(msg.SiteDefine{Spec: b.spec, Epoch: 2})
	w := want(1, 2, 5)
	w.Epoch, w.Launch = 2, epu.NewLaunchID("web", 2, 1)
	b.tell(w)
	mustOut[actors.PrepareCall](b)
}

// Goal: a Want of another epoch changes nothing, be it older or newer, for launches that are known and
// for ones that are not. Method: it would end a slot, or make a record.
func TestWantOfAnotherEpoch(t *testing.T) {
	for _, epoch := range []epu.Epoch{1, 3} {
		b := newSiteBench(t, nil)
		b.list()
		_, done := b.launch(want(1, 1, 5))
		i1 := machine("i-1", "web-1-1", iaas.InstanceRunning)
		done([]iaas.Instance{i1}, nil)
		b.id.Epoch = 2
		b.start()
		b.list(i1)
		reports := len(b.reports)
		ending, fresh := want(1, 1, 90, 0), want(8, 1, 90)
		ending.Epoch, fresh.Epoch = epoch, epoch
		b.tell(ending)
		b.tell(fresh)
		b.list(i1)
		if _, _, ok := out[actors.EndCall](b); ok {
			t.Errorf("a Want of epoch %d ended a machine", epoch)
		}
		for _, r := range b.reports[reports:] {
			if r.Launch == fresh.Launch {
				t.Errorf("a Want of epoch %d made a record: %+v", epoch, r)
			}
		}
	}
}

// Goal: what was noted in an older epoch counts for nothing in a new one: the site reports again until it
// is noted anew. Method: a launch that was noted, then an epoch in which nobody noted anything.
func TestNewEpochReportsAgain(t *testing.T) {
	b := newSiteBench(t, nil)
	b.list()
	_, done := b.launch(want(1, 1, 5))
	i1 := machine("i-1", "web-1-1", iaas.InstanceRunning)
	done([]iaas.Instance{i1}, nil)
	b.list(i1)
	b.note(1, 6, true)
	b.reports = nil
	b.start()
	b.list(i1)
	if len(b.reports) > 0 {
		t.Fatalf("got %v, want no report of what is noted", b.reports)
	}
	b.id.Epoch = 2
	b.start()
	b.list(i1)
	if r := b.last(1); r.Epoch != 2 {
		t.Errorf("got %+v, want a report in the new epoch", r)
	}
	b.note(1, 2, true) // the pool's stream is from an earlier moment
	b.reports = nil
	b.list(i1)
	if len(b.reports) > 0 {
		t.Errorf("got %v after it was noted anew", b.reports)
	}
}
