package iaastest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// tagsFromBirth looks at a machine in every listing from the first on: it is missing or has its tags.
func tagsFromBirth(t *testing.T, s *suite) {
	req := s.Request("birth", 2, 2)
	req.Tags[iaas.TagInstallation], req.Tags["Team"] = "inst-1", "Ünïcode & spaces"
	want := maps.Clone(req.Tags)
	made := s.launch(t, req)
	seen := func(st iaas.InstanceState) bool { return st == iaas.InstanceRunning }
	s.Await(t, "the machines run", func() bool {
		got := s.list(t, iaas.ListRequest{})
		for _, in := range got {
			wantTags(t, in, want)
			if in.Token != "birth" {
				t.Errorf("machine %s is listed with token %q", in.ID, in.Token)
			}
		}
		return len(got) == 2 && seen(got[made[0]].State) && seen(got[made[1]].State)
	})
	for _, in := range s.settled(t) {
		if in.Address == "" || in.Image != req.Image || in.Launched.IsZero() {
			t.Errorf("got %+v, want a running machine's address, image and time of launch", in)
		}
	}
}

func selection(t *testing.T, s *suite) {
	red, blue := s.Request("red", 2, 2), s.Request("blue", 1, 1)
	red.Tags["colour"], blue.Tags["colour"] = "red", "blue"
	red.Tags["shape"], blue.Tags["shape"] = "round", "round"
	reds, blues := s.launch(t, red), s.launch(t, blue)
	s.awaitRunning(t, append(slices.Clone(reds), blues...))
	s.settled(t)
	tests := []struct {
		name string
		req  iaas.ListRequest
		want []epu.InstanceID
	}{
		{"everything", iaas.ListRequest{}, append(slices.Clone(reds), blues...)},
		{"one tag", iaas.ListRequest{Tags: map[string]string{"colour": "red"}}, reds},
		{"two tags", iaas.ListRequest{Tags: map[string]string{"colour": "blue", "shape": "round"}}, blues},
		{"tags that no machine has both of", iaas.ListRequest{Tags: map[string]string{"colour": "blue", "shape": "flat"}}, nil},
		{"an unknown tag", iaas.ListRequest{Tags: map[string]string{"size": ""}}, nil},
		{"IDs, one unknown", iaas.ListRequest{IDs: []epu.InstanceID{reds[1], "i-0123456789abcdef0", blues[0]}}, []epu.InstanceID{reds[1], blues[0]}},
		{"only strange IDs", iaas.ListRequest{IDs: []epu.InstanceID{"", "..", "../../etc", "i-", "i-é"}}, nil},
	}
	for _, tt := range tests {
		got := slices.Collect(maps.Keys(s.list(t, tt.req)))
		if len(got) > 0 || len(tt.want) > 0 {
			wantSame(t, tt.name, got, tt.want)
		}
	}
}

// copies changes everything that came back or went in, and looks again.
func copies(t *testing.T, s *suite) {
	req := s.Request("copies", 1, 1)
	req.Tags["colour"] = "red"
	got, err := s.Provider.Launch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got[0].Tags["colour"] = "green"
	req.Tags["colour"] = "blue"
	made := ids(got)
	s.awaitRunning(t, made)
	for range 2 {
		in := s.settled(t)[made[0]]
		if in.Tags["colour"] != "red" {
			t.Errorf("got colour %q, want what the launch said: red", in.Tags["colour"])
		}
		in.Tags["colour"] = "yellow"
	}
}

func lifeToTheEnd(t *testing.T, s *suite) {
	made := s.launch(t, s.Request("life", 1, 1))
	s.awaitRunning(t, made)
	if st := s.settled(t)[made[0]].State; st != iaas.InstanceRunning {
		t.Errorf("a machine that runs is %v after the visibility window", st)
	}
	s.terminate(t, made...)
	s.awaitGone(t, made)
	if in, ok := s.settled(t)[made[0]]; ok && (in.State != iaas.InstanceTerminated || in.Reason == "") {
		t.Errorf("got %+v, want it terminated for a reason", in)
	}
	for range 2 {
		s.terminate(t, made...)
	}
	s.awaitGone(t, made)
}

// independent ends one machine of three among names that mean nothing, at different ages.
func independent(t *testing.T, s *suite) {
	made := s.launch(t, s.Request("three", 3, 3))
	s.terminate(t)
	s.terminate(t, "i-0123456789abcdef0", "..", "")
	s.terminate(t, "i-none", made[1], "../"+made[0], made[1])
	s.awaitGone(t, made[1:2])
	s.awaitRunning(t, []epu.InstanceID{made[0], made[2]})
	s.terminate(t, made...)
	s.awaitGone(t, made)

	early := s.launch(t, s.Request("early", 2, 2)) // ended before they can run, perhaps
	s.terminate(t, early...)
	s.awaitGone(t, early)
}

func restart(t *testing.T, s *suite) {
	if s.Reopen == nil {
		t.Skip("this cloud lives in its client")
	}
	req := s.Request("restart", 2, 2)
	made := s.launch(t, req)
	s.Provider = s.Reopen()
	wantSame(t, "the same launch after a restart", s.launch(t, s.Request("restart", 2, 2)), made)
	s.awaitRunning(t, made)
	s.Provider = s.Reopen()
	got := s.settled(t)
	wantSame(t, "after a restart", slices.Collect(maps.Keys(got)), made)
	for _, in := range got {
		wantTags(t, in, req.Tags)
		if in.Token != "restart" || in.Image != req.Image {
			t.Errorf("after a restart: got %+v, want token and image of the launch", in)
		}
	}
	s.terminate(t, made[0])
	s.Provider = s.Reopen()
	s.awaitGone(t, made[:1])
	s.awaitRunning(t, made[1:])
}

func extras(t *testing.T, s *suite) {
	offers, err := s.Provider.Offers(t.Context())
	if err != nil {
		t.Errorf("offers: %v", err)
	}
	for _, o := range offers {
		if o.Market == "" || o.USDPerHour < 0 || o.Free < 0 {
			t.Errorf("got offer %+v, want a market, and nothing negative", o)
		}
	}
	made := s.launch(t, s.Request("extras", 1, 1))
	s.awaitRunning(t, made)
	notices, err := s.Provider.Notices(t.Context())
	if err != nil {
		t.Errorf("notices: %v", err)
	}
	for _, n := range notices {
		if n.Instance == "" || n.Kind != "interruption" && n.Kind != "rebalance" {
			t.Errorf("got notice %+v, want a machine and a known kind", n)
		}
	}
}

// anySequence compares the provider with the simplest model there is: what was asked for and not
// ended lives, once.
func anySequence(t *testing.T, s *suite) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > 5 { // real machines are slow; a fresh token set per round keeps rounds apart
			return
		}
		want := map[epu.InstanceID]bool{} // true = to live
		tokens := map[epu.Token][]epu.InstanceID{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			token := epu.Token(fmt.Sprintf("seq-%d-%d", round, rapid.IntRange(0, 3).Draw(rt, "token")))
			if known := tokens[token]; known == nil || rapid.Bool().Draw(rt, "again") {
				got, err := s.Provider.Launch(t.Context(), s.Request(token, 2, 2))
				if err != nil && (known == nil || epu.KindOf(err) != epu.Conflict) {
					rt.Fatalf("launch %s: %v", token, err)
				}
				for _, in := range got {
					if known == nil {
						want[in.ID] = true
					} else if !slices.Contains(known, in.ID) {
						rt.Fatalf("token %s made %s after %v", token, in.ID, known)
					}
				}
				if known == nil {
					tokens[token] = ids(got)
				}
				continue
			}
			victim := tokens[token][rapid.IntRange(0, 1).Draw(rt, "victim")]
			if err := s.Provider.Terminate(t.Context(), []epu.InstanceID{victim}); err != nil {
				rt.Fatalf("terminate %s: %v", victim, err)
			}
			want[victim] = false
		}
		for id, lives := range want {
			if lives {
				s.awaitRunning(t, []epu.InstanceID{id})
			} else {
				s.awaitGone(t, []epu.InstanceID{id})
			}
		}
		for id, in := range s.settled(t) {
			if lives, ours := want[id]; ours && lives == gone(in.State) {
				rt.Fatalf("machine %s is %v, want it alive: %v", id, in.State, lives)
			}
		}
		if err := s.Provider.Terminate(t.Context(), slices.Collect(maps.Keys(want))); err != nil {
			rt.Fatal(err)
		}
	})
}
