package actors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// siteBench is one site on a host whose cloud is the test: it sees every call and says what comes of it.
type siteBench struct {
	*script
	t       *testing.T
	spec    epu.SiteSpec
	id      actors.SiteIdentity
	journal *memory.Journal
	shell   *actors.Durable
	site    *actors.Site
	reports []msg.Report
	seen    msg.SiteView
}

func testMeta() persistence.Meta { return persistence.Meta{Installation: "test", Epoch: 1} }

func newSiteBench(t *testing.T, change func(*epu.SiteSpec)) *siteBench {
	spec := campaignSite("cloud")
	if change != nil {
		change(&spec)
	}
	b := &siteBench{
		script: &script{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, t: t, spec: spec,
		journal: memory.New(testMeta()),
		id:      actors.SiteIdentity{Installation: "test", Epoch: 1},
	}
	b.start()
	return b
}

// start begins an incarnation; the one before it is dead.
func (b *siteBench) start() {
	s := &siteHost{script: &script{now: b.now}, b: b}
	b.script = s.script
	b.site = actors.NewSite(b.spec, b.id, b.now)
	b.shell = actors.NewDurable(b.site, s, actors.SiteCodec(), epu.SiteStream(b.spec.Name))
	b.shell.Start()
	if b.failed != nil {
		b.t.Fatal(b.failed)
	}
}

// siteHost commits at once and collects reports; the rest is the script's.
type siteHost struct {
	*script
	b *siteBench
}

func (h *siteHost) NewID() string { return fmt.Sprint(h.now.UnixNano(), "-", h.script.NewID()) }

func (h *siteHost) Load(s epu.StreamID, done func(persistence.Loaded, error)) {
	done(h.b.journal.Load(context.Background(), s))
}

func (h *siteHost) Append(s epu.StreamID, at epu.Revision, events []persistence.Event, done func(epu.Revision, error)) {
	done(h.b.journal.Append(context.Background(), h.b.journal.Meta().Epoch, s, at, events...))
}

func (h *siteHost) Send(to msg.Address, m any) {
	switch m := m.(type) {
	case msg.Report:
		h.b.reports = append(h.b.reports, m)
	case msg.SiteView:
		h.b.seen = m
	}
	h.script.Send(to, m)
}

func (b *siteBench) tell(m any) {
	b.t.Helper()
	if b.shell.Receive(m, "tester"); b.failed != nil || b.unknown > 0 {
		b.t.Fatalf("%T: failed %v, unknown %d", m, b.failed, b.unknown)
	}
}

// out takes a call of a type that is out; ok is false when there is none.
func out[T any](b *siteBench) (c T, done func(any, error), ok bool) {
	for i, x := range b.calls {
		if c, ok := x.call.(T); ok {
			b.calls = slices.Delete(b.calls, i, i+1)
			return c, x.done, true
		}
	}
	return c, nil, false
}

// must takes a call that has to be out.
func mustOut[T any](b *siteBench) (T, func(any, error)) {
	b.t.Helper()
	c, done, ok := out[T](b)
	if !ok {
		b.t.Fatalf("no %T is out, only %v", c, b.calls)
	}
	return c, done
}

// list answers the next listing, which begins now, with these machines.
func (b *siteBench) list(machines ...iaas.Instance) {
	b.t.Helper()
	if _, done, ok := out[actors.ListCall](b); ok { // one that began earlier fails
		done(nil, epu.E(epu.Transient, "list", "", errors.New("no")))
	}
	b.wait(b.spec.PollEvery)
	_, done := mustOut[actors.ListCall](b)
	done(machines, nil)
}

func machine(id string, launch epu.LaunchID, state iaas.InstanceState) iaas.Instance {
	return iaas.Instance{ID: epu.InstanceID(id), State: state, Tags: map[string]string{
		iaas.TagLaunch: string(launch), iaas.TagOwner: "default", iaas.TagKeeper: "pool/default/web",
	}}
}

func want(seq uint64, n int, rev epu.Revision, ended ...int) msg.Want {
	return msg.Want{
		Epoch: 1, Owner: "default", Pool: "web", Launch: epu.NewLaunchID("web", 1, seq), N: n, Rev: rev, Ended: ended,
		Spec: epu.LaunchSpec{Image: "img"},
	}
}

// launch brings a launch to its call.
func (b *siteBench) launch(w msg.Want) (actors.RunCall, func(any, error)) {
	b.t.Helper()
	b.tell(w)
	_, done := mustOut[actors.PrepareCall](b)
	done("digest", nil)
	return mustOut[actors.RunCall](b)
}

// last is the newest report of a launch.
func (b *siteBench) last(seq uint64) msg.Report {
	b.t.Helper()
	for _, r := range slices.Backward(b.reports) {
		if _, _, n, _ := r.Launch.Parse(); n == seq {
			return r
		}
	}
	b.t.Fatalf("no report of launch %d", seq)
	return msg.Report{}
}

// note has a controller take in the newest report of a launch.
func (b *siteBench) note(seq uint64, rev epu.Revision, known bool) {
	r := b.last(seq)
	b.tell(msg.Noted{Epoch: b.id.Epoch, Owner: "default", Pool: "web", Launch: r.Launch, Rev: r.Rev, PoolRev: rev, Known: known})
}

// slots draws the newest report of a launch.
func (b *siteBench) slots(seq uint64) string {
	b.t.Helper()
	r := b.last(seq)
	var words []string
	for _, s := range r.Slots {
		words = append(words, strings.TrimSpace(s.State.Word()+" "+string(s.Instance)))
	}
	if r.Closed {
		words = append(words, "closed")
	}
	return strings.Join(words, ", ")
}

func (b *siteBench) expect(seq uint64, want string) {
	b.t.Helper()
	if got := b.slots(seq); got != want {
		b.t.Errorf("launch %d: got %s, want %s", seq, got, want)
	}
}

// view asks the site as people do.
func (b *siteBench) view() msg.SiteView {
	b.t.Helper()
	b.tell(msg.SiteQuery{})
	return b.seen
}
