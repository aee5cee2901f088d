package iaastest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

func sameToken(t *testing.T, s *suite) {
	first := s.launch(t, s.Request("same-1", 1, 3))
	wantSame(t, "the same launch at once", s.launch(t, s.Request("same-1", 1, 3)), first)
	s.awaitRunning(t, first)
	wantSame(t, "the same launch when its machines run", s.launch(t, s.Request("same-1", 1, 3)), first)
	other := s.launch(t, s.Request("same-2", 1, 1))
	if slices.Contains(first, other[0]) {
		t.Errorf("two tokens share machine %s", other[0])
	}
	if n := len(s.settled(t)); n != len(first)+1 {
		t.Errorf("got %d machines listed, want %d", n, len(first)+1)
	}
}

func manyCallers(t *testing.T, s *suite) {
	const callers = 8
	var wg sync.WaitGroup
	answers := make([][]epu.InstanceID, callers)
	for i := range callers {
		wg.Go(func() {
			got, err := s.Provider.Launch(t.Context(), s.Request("many", 2, 2))
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
			answers[i] = ids(got)
		})
	}
	wg.Wait()
	for _, a := range answers {
		wantSame(t, "callers of one token", a, answers[0])
	}
	s.awaitRunning(t, answers[0])
	if got := s.settled(t); len(got) != 2 {
		t.Errorf("%d callers with one token made %d machines, want 2", callers, len(got))
	}
}

func mismatch(t *testing.T, s *suite) {
	first := s.launch(t, s.Request("mismatch", 1, 1))
	changes := map[string]func(*iaas.LaunchRequest){
		"max":       func(r *iaas.LaunchRequest) { r.Max++ },
		"tags":      func(r *iaas.LaunchRequest) { r.Tags[iaas.TagOwner] = "somebody" },
		"user data": func(r *iaas.LaunchRequest) { r.UserData += "x" },
	}
	for name, change := range changes {
		req := s.Request("mismatch", 1, 1)
		change(&req)
		_, err := s.Provider.Launch(t.Context(), req)
		wantKind(t, "a token with other "+name, err, epu.Conflict)
	}
	wantSame(t, "the first request again", s.launch(t, s.Request("mismatch", 1, 1)), first)
	s.awaitRunning(t, first)
	if got := s.settled(t); len(got) != 1 {
		t.Errorf("refused launches made machines: got %d, want 1", len(got))
	}
}

func deadToken(t *testing.T, s *suite) {
	first := s.launch(t, s.Request("dead", 2, 2))
	s.awaitRunning(t, first)
	s.terminate(t, first[0])
	s.awaitGone(t, first[:1])
	wantSame(t, "a token with one living machine", s.launch(t, s.Request("dead", 2, 2)), first)
	s.terminate(t, first[1])
	s.awaitGone(t, first)
	got, err := s.Provider.Launch(t.Context(), s.Request("dead", 2, 2))
	if err != nil {
		wantKind(t, "a token of dead machines", err, epu.Conflict)
	} else {
		wantSame(t, "a token of dead machines", ids(got), first)
	}
	for id, in := range s.settled(t) {
		if !gone(in.State) {
			t.Errorf("machine %s is %v after its token was used again", id, in.State)
		}
	}
}

func room(t *testing.T, s *suite) {
	if s.Room == nil {
		t.Skip("this cloud has no limits of its own")
	}
	s.Room(2)
	_, err := s.Provider.Launch(t.Context(), s.Request("three", 3, 5))
	wantKind(t, "a launch without room", err, epu.Capacity, epu.Quota)
	if got := s.launch(t, s.Request("up-to-five", 1, 5)); len(got) != 2 {
		t.Errorf("got %d machines, want the 2 there is room for", len(got))
	}
	_, err = s.Provider.Launch(t.Context(), s.Request("one", 1, 1))
	wantKind(t, "a launch without room", err, epu.Capacity, epu.Quota)
	s.Room(-1)
	if got := s.launch(t, s.Request("three", 3, 5)); len(got) != 5 {
		t.Errorf("got %d machines, want 5 once there is room", len(got))
	}
}

func invalid(t *testing.T, s *suite) {
	spoil := map[string]func(*iaas.LaunchRequest){
		"empty token":     func(r *iaas.LaunchRequest) { r.Token = "" },
		"path as token":   func(r *iaas.LaunchRequest) { r.Token = "../../x" },
		"long token":      func(r *iaas.LaunchRequest) { r.Token = epu.Token(make([]byte, 65)) },
		"nothing asked":   func(r *iaas.LaunchRequest) { r.Min, r.Max = 0, 0 },
		"negative":        func(r *iaas.LaunchRequest) { r.Min, r.Max = -1, 1 },
		"min above max":   func(r *iaas.LaunchRequest) { r.Min, r.Max = 2, 1 },
		"no image":        func(r *iaas.LaunchRequest) { r.Image = "" },
		"all of the same": func(r *iaas.LaunchRequest) { r.Token, r.Min, r.Max, r.Image = "", 2, 1, "" },
	}
	if s.Wrong != nil {
		spoil["provider's own"] = s.Wrong
	}
	for name, do := range spoil {
		req := s.Request("invalid", 1, 1)
		do(&req)
		_, err := s.Provider.Launch(t.Context(), req)
		wantKind(t, name, err, epu.Invalid)
		ps, err := s.Provider.Validate(t.Context(), req)
		if err != nil || len(ps) == 0 {
			t.Errorf("%s: validate says %v, %v; want a problem", name, ps, err)
		}
		if many := name == "all of the same" || name == "provider's own"; many && len(ps) < 2 {
			t.Errorf("%s: got %v, want all problems at once", name, ps)
		}
		for _, p := range ps {
			if p.Subject == "" || p.Text == "" {
				t.Errorf("%s: got %+v, want a subject and a text", name, p)
			}
		}
	}
	if ps, err := s.Provider.Validate(t.Context(), s.Request("valid", 1, 1)); err != nil || len(ps) != 0 {
		t.Errorf("got %v, %v of a good request, want no problem", ps, err)
	}
	if got := s.settled(t); len(got) != 0 {
		t.Errorf("invalid launches and validations made machines: %v", got)
	}
}

// cutOff uses deadlines that have passed: whatever was done, the answer is that nobody knows, and
// repeating the call settles it.
func cutOff(t *testing.T, s *suite) {
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	if _, err := s.Provider.List(late, iaas.ListRequest{}); err == nil {
		t.Error("a listing that was cut off gave an answer")
	} else {
		wantKind(t, "a listing that was cut off", err, epu.Transient)
	}
	_, err := s.Provider.Launch(late, s.Request("late", 2, 2))
	wantKind(t, "a launch that was cut off", err, epu.UnknownOutcome)
	made := s.launch(t, s.Request("late", 2, 2))
	s.awaitRunning(t, made)
	if got := s.settled(t); len(got) != 2 {
		t.Errorf("a launch repeated after its deadline made %d machines, want 2", len(got))
	}
	wantKind(t, "a termination that was cut off", s.Provider.Terminate(late, made), epu.UnknownOutcome)
	s.terminate(t, made...)
	s.awaitGone(t, made)
}
