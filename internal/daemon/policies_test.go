package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

const keeper = `return {
  doc = "Keep some workers.",
  params = { keep = { type = "integer", min = 0, default = 1, doc = "workers" } },
  decide = function(control, state, conf)
    control.because("keep " .. conf.keep, "keep")
    control.scale_to(conf.keep + EXTRA)
  end,
}
`

// keeping is a version of the policy keeper; every number gives another one.
func keeping(extra string) *msg.PolicyApply {
	return &msg.PolicyApply{Name: "keeper", Files: []*msg.File{{
		Path: "keeper.lua", Content: []byte(strings.Replace(keeper, "EXTRA", extra, 1)),
	}}}
}

// keeperPool is the tests' pool under that policy.
func keeperPool(policy string) *msg.Apply {
	text := strings.Replace(files, "policy: {conf: {preserve_n: 2}}", "policy: {name: keeper, "+policy+"}", 1)
	text = strings.Replace(text, "limits: {", "limits: {max: 5, ", 1)
	return &msg.Apply{Files: []*msg.File{{Path: "pool.yaml", Content: []byte(text)}}}
}

func (r *running) version(t *testing.T) string {
	t.Helper()
	return ask[*msg.Status](t, r, &msg.StatusQuery{}).GetPools()[0].GetPolicyHash()
}

// refused wants a command refused, with every text in its error or problems.
func (r *running) refused(t *testing.T, what string, err error, kind epu.Kind, texts ...string) {
	t.Helper()
	if epu.KindOf(err) != kind {
		t.Errorf("%s: got %v (%v), want %v", what, err, epu.KindOf(err), kind)
		return
	}
	all := err.Error() + " " + epu.TryOf(err)
	if list, ok := err.(*msg.Refusal); ok {
		for _, p := range list.List {
			all += "\n" + p.GetText() + " " + p.GetTry()
			if p.GetFile() != "" {
				all += " at " + p.GetFile()
			}
		}
	}
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%s: got %q, want %q in it", what, all, text)
		}
	}
}

// Goal: a policy that was applied decides at once, one that does not fit changes nothing, a rollback brings the
// one before back, and all of it outlives the node. Method: a node in this process with a pool of workers.
func TestPolicyVersions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, dir)
	defer func() { r.stop(t) }()
	first := ask[*msg.PolicyApplied](t, r, keeping("0"))
	if !first.GetChanged() || first.GetBefore() != "" || len(first.GetHash()) != 12 {
		t.Fatalf("first version: got %v", first)
	}
	ask[*msg.Applied](t, r, keeperPool("conf: {keep: 1}"))
	r.await(t, "the first version decides", converged(1))
	if got := r.version(t); got != first.GetHash() {
		t.Errorf("the decision's version is %s, want %s", got, first.GetHash())
	}
	second := ask[*msg.PolicyApplied](t, r, keeping("1"))
	if !second.GetChanged() || second.GetBefore() != first.GetHash() || strings.Join(second.GetPools(), " ") != "epu-test" || strings.Join(second.GetFiles(), " ") != "changed keeper.lua" {
		t.Errorf("second version: got %v", second)
	}
	r.await(t, "the second version decides", converged(2))
	if again := ask[*msg.PolicyApplied](t, r, keeping("1")); again.GetChanged() {
		t.Errorf("applied twice: got %v, want no change", again)
	}

	_, err := relay.Ask[*msg.PolicyApplied](t.Context(), r.client, keeping("nothing.at.all"))
	r.refused(t, "a policy that fails", err, epu.Invalid, "keeper.lua")
	other := keeping("2")
	other.Files[0].Content = []byte(strings.ReplaceAll(string(other.GetFiles()[0].GetContent()), "keep =", "hold ="))
	other.Files[0].Content = []byte(strings.ReplaceAll(string(other.GetFiles()[0].GetContent()), "conf.keep", "conf.hold"))
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, other)
	r.refused(t, "a policy that the pool's configuration does not fit", err, epu.Invalid, "pool epu-test", "keep", "pool.yaml")
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, &msg.PolicyApply{Name: "keeper", Files: []*msg.File{{Path: "keeper.lua", Content: []byte("-- \xff\n" + keeper)}}})
	r.refused(t, "a policy in another encoding", err, epu.Invalid, "not written in UTF-8")
	ask[*msg.Done](t, r, &msg.Reconfigure{Pool: "epu-test", Conf: &structpb.Struct{Fields: map[string]*structpb.Value{"keep": structpb.NewNumberValue(0)}}})
	other = keeping("1")
	other.Files[0].Content = []byte(strings.Replace(string(other.GetFiles()[0].GetContent()), "min = 0", "min = 1", 1))
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, other)
	r.refused(t, "a policy that a reconfigured pool does not fit", err, epu.Invalid, "pool epu-test", "keep")
	ask[*msg.Done](t, r, &msg.Reconfigure{Pool: "epu-test", Conf: &structpb.Struct{Fields: map[string]*structpb.Value{"keep": structpb.NewNumberValue(1)}}})
	if got := r.version(t); got != second.GetHash() {
		t.Errorf("after refusals version %s decides, want %s", got, second.GetHash())
	}

	r.await(t, "the pool has its size again", converged(2))
	port := r.samePort()
	r.stop(t)
	r = start(t, dir, port)
	r.await(t, "the second version decides after a restart", func(s *msg.Status) bool {
		return converged(2)(s) && s.GetPools()[0].GetPolicyHash() == second.GetHash()
	})
	back := ask[*msg.PolicyApplied](t, r, &msg.PolicyRollback{Name: "keeper"})
	if !back.GetChanged() || back.GetHash() != first.GetHash() || back.GetBefore() != second.GetHash() {
		t.Errorf("rollback: got %v", back)
	}
	r.await(t, "the first version decides again", converged(1))
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, &msg.PolicyRollback{Name: "keeper"})
	r.refused(t, "a rollback beyond the first", err, epu.NotFound, "no earlier version")
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, &msg.PolicyRollback{Name: "keeper", Hash: "0123456789ab"})
	r.refused(t, "a rollback to nothing", err, epu.NotFound, first.GetHash(), second.GetHash())

	versions := ask[*msg.PolicyVersions](t, r, &msg.PolicyVersionsQuery{}).GetVersions()
	if len(versions) != 2 || versions[0].GetHash() != second.GetHash() || versions[0].GetCurrent() || !versions[1].GetCurrent() || versions[1].GetBy() != "anna" || strings.Join(versions[1].GetPools(), " ") != "epu-test" {
		t.Errorf("versions: got %v", versions)
	}
	src := ask[*msg.PolicySource](t, r, &msg.PolicySourceQuery{Name: "keeper", Hash: second.GetHash()[:6]})
	if src.GetHash() != second.GetHash() || !strings.Contains(string(src.GetFiles()[0].GetContent()), "conf.keep + 1") {
		t.Errorf("source: got %v", src)
	}
}

// Goal: pools get from a version to one with other settings, as its refusal says: pinned, past the change, and with the
// new settings. Method: those steps, and the shorter ways that are refused.
func TestFromOldSettingsToNew(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	first := ask[*msg.PolicyApplied](t, r, keeping("0"))
	ask[*msg.Applied](t, r, keeperPool("conf: {keep: 1}"))
	r.await(t, "the first version decides", converged(1))
	ask[*msg.Done](t, r, &msg.Reconfigure{Pool: "epu-test", Conf: &structpb.Struct{Fields: map[string]*structpb.Value{"keep": structpb.NewNumberValue(2)}}})
	next := keeping("0")
	text := strings.NewReplacer("keep = {", "hold = {", "conf.keep", "conf.hold").Replace(string(next.GetFiles()[0].GetContent()))
	next.Files[0].Content = []byte(text)
	_, err := relay.Ask[*msg.PolicyApplied](t.Context(), r.client, next)
	r.refused(t, "other settings", err, epu.Invalid, "pool epu-test: policy.conf.keep: is no parameter", "policy.version: "+first.GetHash(), "run this command again")
	_, err = relay.Ask[*msg.Applied](t.Context(), r.client, keeperPool("conf: {hold: 3}"))
	r.refused(t, "the file before the version", err, epu.Invalid, "policy.conf.hold: is no parameter")

	ask[*msg.Applied](t, r, keeperPool("version: "+first.GetHash()+", conf: {keep: 2}"))
	second := ask[*msg.PolicyApplied](t, r, next)
	if !second.GetChanged() || strings.Join(second.GetPinned(), " ") != "epu-test" {
		t.Errorf("past the pinned pool: got %v", second)
	}
	r.await(t, "the pinned pool goes on", converged(2))
	ask[*msg.Applied](t, r, keeperPool("conf: {hold: 3}"))
	r.await(t, "the second version decides with the new settings", converged(3))
	if got := r.version(t); got != second.GetHash() {
		t.Errorf("version %s decides, want %s", got, second.GetHash())
	}
	_, err = relay.Ask[*msg.PolicyApplied](t.Context(), r.client, &msg.PolicyRollback{Name: "keeper"})
	r.refused(t, "back to other settings", err, epu.Invalid, "policy.version: "+second.GetHash())
}

// Goal: a pinned pool keeps its version whatever is applied, and only a version that there is can be pinned.
func TestPinnedPolicy(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	first := ask[*msg.PolicyApplied](t, r, keeping("0"))
	_, err := relay.Ask[*msg.Applied](t.Context(), r.client, keeperPool("version: 0123456789ab, conf: {keep: 1}"))
	r.refused(t, "an unknown version", err, epu.Invalid, "there is no such version", first.GetHash())
	ask[*msg.Applied](t, r, keeperPool("version: "+first.GetHash()[:5]+", conf: {keep: 1}"))
	r.await(t, "the pinned version decides", converged(1))
	second := ask[*msg.PolicyApplied](t, r, keeping("1"))
	if len(second.GetPools()) != 0 || strings.Join(second.GetPinned(), " ") != "epu-test" {
		t.Errorf("got %v, want the pool named as pinned", second)
	}
	ask[*msg.Applied](t, r, keeperPool("conf: {keep: 1}"))
	r.await(t, "the newest version decides once nothing is pinned", converged(2))

	text := strings.Replace(string(files), "policy: {", "policy: {version: VERSION, ", 1)
	stock := ask[*msg.PolicySource](t, r, &msg.PolicySourceQuery{Name: "npreserving"}).GetHash()
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{{Path: "pool.yaml", Content: []byte(strings.Replace(text, "VERSION", stock, 1))}}})
	kept := ask[*msg.PolicyVersions](t, r, &msg.PolicyVersionsQuery{Name: "npreserving"}).GetVersions()
	if len(kept) != 1 || kept[0].GetHash() != stock || kept[0].GetOrigin() != "built in" || strings.Join(kept[0].GetPools(), " ") != "epu-test" {
		t.Errorf("a built-in version that is pinned: got %v", kept)
	}
}

// keeperBroken reports that the policy keeper is said to be broken in such words; "" = that none is.
func keeperBroken(want string) func(*msg.Status) bool {
	return func(s *msg.Status) bool {
		for _, a := range s.GetAlerts() {
			if a.GetCode() == "policy-broken" {
				return want != "" && a.GetSubject() == "keeper" && strings.Contains(a.GetText(), want)
			}
		}
		return want == ""
	}
}

// Goal: epud dev takes a changed file in, a broken one never, and says where it is broken until it is mended; what
// changed while the node was down is taken in too, and a rollback is not undone by the file that stands there.
// Method: a node in this process, whose folder of policies is written to; its own answers say when it has looked.
func TestHotReload(t *testing.T) {
	dir, folder := filepath.Join(t.TempDir(), "data"), t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "keeper.lua"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(extra string) string { return string(keeping(extra).GetFiles()[0].GetContent()) }
	begin := func(environ ...string) *running {
		t.Helper()
		node, err := tryAs(t, true, dir, append(environ, "EPU_POLICIES_DIR="+folder)...)
		if err != nil {
			t.Fatal(err)
		}
		return dial(t, node)
	}
	write(text("0"))
	r := begin()
	defer func() { r.stop(t) }()
	ask[*msg.Applied](t, r, keeperPool("conf: {keep: 1}"))
	r.await(t, "the file decides", converged(1))
	first := r.version(t)

	write(text("1"))
	r.await(t, "the changed file decides", converged(2))
	second := r.version(t)
	if events := ask[*msg.Events](t, r, &msg.EventsQuery{}).GetEvents(); !slices.ContainsFunc(events, func(e *msg.EventRecord) bool {
		return e.GetName() == "policy-reload" && e.GetData().GetFields()["version"].GetStringValue() == second
	}) {
		t.Errorf("no event says so: %v", events)
	}

	write("return {\n  decide = function(control)\n")
	r.await(t, "the broken file is named", keeperBroken("keeper.lua"))
	write(strings.ReplaceAll(text("2"), "keep", "hold"))
	r.await(t, "a sound file that does not fit the pool is named", keeperBroken("pool epu-test"))
	if s := ask[*msg.Status](t, r, &msg.StatusQuery{}); !converged(2)(s) || r.version(t) != second {
		t.Errorf("after two files that can't be used: got %v", s)
	}
	write(text("2"))
	r.await(t, "the mended file decides", func(s *msg.Status) bool { return converged(3)(s) && keeperBroken("")(s) })

	port := r.samePort()
	r.stop(t)
	write(text("3"))
	r = begin(port)
	r.await(t, "what changed meanwhile decides", converged(4))
	back := ask[*msg.PolicyApplied](t, r, &msg.PolicyRollback{Name: "keeper", Hash: first})
	if !back.GetChanged() || back.GetHash() != first {
		t.Errorf("rollback: got %v", back)
	}
	r.await(t, "the first version decides again", converged(1))
	r.stop(t)
	r = begin(port)
	if err := os.WriteFile(filepath.Join(folder, "other.lua"), []byte(text("0")), 0o600); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the rollback stands after a restart", converged(1))
	write(text("4"))
	r.await(t, "the next change of the file decides", converged(5))
}
