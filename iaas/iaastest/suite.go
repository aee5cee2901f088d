package iaastest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// Setup is one fresh cloud without machines, as the provider's own test makes it.
type Setup struct {
	Provider iaas.Provider

	// Request is a request that the cloud takes, for machines that live until they are terminated. Each
	// call returns a request of its own, maps included.
	Request func(token epu.Token, least, most int) iaas.LaunchRequest

	// Await returns once cond holds, and fails the test if it never will. It lets time pass or blocks
	// until something happened in the cloud, and asks cond again.
	Await func(t testing.TB, what string, cond func() bool)

	// Settle lets the visibility window pass, after which a listing shows everything that was true before.
	// Nil if there is no such window.
	Settle func()

	// Wrong spoils a request in at least two ways that only this provider can know. Nil if there are none.
	Wrong func(req *iaas.LaunchRequest)

	// Room limits the cloud to n machines from now on; negative lifts the limit. Nil for one without limits.
	Room func(n int)

	// Reopen is another client of the same cloud, as after a restart. Nil if the cloud is the client.
	Reopen func() iaas.Provider
}

// Run tests a provider. fresh is called once for each part of the suite.
func Run(t *testing.T, fresh func(t *testing.T) Setup) {
	parts := []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"Launch/SameTokenSameMachines", sameToken},
		{"Launch/ManyCallersOneToken", manyCallers},
		{"Launch/TokenWithAnotherRequest", mismatch},
		{"Launch/TokenOfTheDead", deadToken},
		{"Launch/Room", room},
		{"Launch/Invalid", invalid},
		{"Launch/CutOff", cutOff},
		{"List/TagsFromBirth", tagsFromBirth},
		{"List/Selection", selection},
		{"List/CopiesOnly", copies},
		{"Terminate/LifeToTheEnd", lifeToTheEnd},
		{"Terminate/Independent", independent},
		{"Restart", restart},
		{"Extras", extras},
		{"AnySequence", anySequence},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(t, &suite{Setup: fresh(t)}) })
	}
}

type suite struct{ Setup }

func (s *suite) launch(t *testing.T, req iaas.LaunchRequest) []epu.InstanceID {
	t.Helper()
	got, err := s.Provider.Launch(t.Context(), req)
	if err != nil {
		t.Fatalf("launch %s: %v", req.Token, err)
	}
	if len(got) < req.Min || len(got) > req.Max {
		t.Fatalf("launch %s: got %d machines, want %d to %d", req.Token, len(got), req.Min, req.Max)
	}
	for _, in := range got {
		if in.ID == "" || in.Token != req.Token || in.State == 0 || in.Image != req.Image || in.Launched.IsZero() {
			t.Errorf("launch %s: got %+v, want its ID, token, image, state and time of launch", req.Token, in)
		}
		wantTags(t, in, req.Tags)
	}
	return ids(got)
}

func (s *suite) list(t testing.TB, req iaas.ListRequest) map[epu.InstanceID]iaas.Instance {
	t.Helper()
	got, err := s.Provider.List(t.Context(), req)
	if err != nil {
		t.Fatalf("list %+v: %v", req, err)
	}
	out := map[epu.InstanceID]iaas.Instance{}
	for _, in := range got {
		if _, ok := out[in.ID]; ok {
			t.Errorf("list %+v: %s is listed twice", req, in.ID)
		}
		out[in.ID] = in
	}
	return out
}

// settled is everything there is, listed after the visibility window.
func (s *suite) settled(t testing.TB) map[epu.InstanceID]iaas.Instance {
	t.Helper()
	if s.Settle != nil {
		s.Settle()
	}
	return s.list(t, iaas.ListRequest{})
}

// awaitState waits until machines are listed in one of the states.
func (s *suite) awaitState(t testing.TB, what string, want []epu.InstanceID, in func(iaas.InstanceState) bool) {
	t.Helper()
	s.Await(t, what, func() bool {
		got := s.list(t, iaas.ListRequest{IDs: want})
		for _, id := range want {
			if !in(got[id].State) {
				return false
			}
		}
		return true
	})
}

// awaitGone waits until machines are listed as terminated or not at all, which is as good once the
// visibility window of their birth has passed.
func (s *suite) awaitGone(t testing.TB, want []epu.InstanceID) {
	t.Helper()
	s.settled(t)
	s.awaitState(t, "machines are terminated", want, gone)
}

func (s *suite) awaitRunning(t testing.TB, want []epu.InstanceID) {
	t.Helper()
	s.awaitState(t, "machines run", want, func(st iaas.InstanceState) bool { return st == iaas.InstanceRunning })
}

func gone(st iaas.InstanceState) bool { return st == iaas.InstanceTerminated || st == 0 }

func (s *suite) terminate(t *testing.T, which ...epu.InstanceID) {
	t.Helper()
	if err := s.Provider.Terminate(t.Context(), which); err != nil {
		t.Fatalf("terminate %v: %v", which, err)
	}
}

func ids(ins []iaas.Instance) []epu.InstanceID {
	out := make([]epu.InstanceID, len(ins))
	for i, in := range ins {
		out[i] = in.ID
	}
	return out
}

func wantSame(t *testing.T, what string, got, want []epu.InstanceID) {
	t.Helper()
	sorted := cmpopts.SortSlices(func(a, b epu.InstanceID) bool { return a < b })
	if diff := cmp.Diff(want, got, sorted); diff != "" {
		t.Errorf("%s: other machines (-want +got):\n%s", what, diff)
	}
}

func wantTags(t *testing.T, in iaas.Instance, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if in.Tags[k] != v {
			t.Errorf("machine %s: tag %s is %q, want %q", in.ID, k, in.Tags[k], v)
		}
	}
}

// wantKind checks the kind and that the error is one that an operator can read.
func wantKind(t *testing.T, what string, err error, kinds ...epu.Kind) {
	t.Helper()
	var e *epu.Error
	if !errors.As(err, &e) || e.Op == "" {
		t.Errorf("%s: got %v, want an *epu.Error that says what was tried", what, err)
		return
	}
	for _, k := range kinds {
		if e.Kind == k {
			return
		}
	}
	t.Errorf("%s: got %q of kind %v, want one of %v", what, err, e.Kind, kinds)
}
