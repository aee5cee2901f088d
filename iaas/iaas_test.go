package iaas_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// Goal: in dry run nothing reaches the cloud and everything can be seen.
// Method: one machine is launched behind the decorator's back, then everything is tried through it.
func TestDryRun(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cloud := sim.New(1, func() time.Time { return now }, sim.Options{})
	req := iaas.LaunchRequest{Token: "a", Min: 1, Max: 1, Image: "ami-1"}
	made, err := cloud.Launch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var p iaas.Provider = iaas.DryRun(cloud)
	if _, err = p.Launch(t.Context(), req); epu.KindOf(err) != epu.Invalid || !errors.Is(err, iaas.ErrDryRun) || epu.TryOf(err) == "" {
		t.Errorf("launch: got %v, want a refusal that says what to do", err)
	}
	if err := p.Terminate(t.Context(), []epu.InstanceID{made[0].ID}); !errors.Is(err, iaas.ErrDryRun) {
		t.Errorf("terminate: got %v, want a refusal", err)
	}
	if got, err := p.List(t.Context(), iaas.ListRequest{}); err != nil || len(got) != 1 || got[0].State != iaas.InstanceRunning {
		t.Errorf("list: got %v, %v; want the one running machine", got, err)
	}
	if n := cloud.Calls(); n["launch"] != 1 || n["terminate"] != 0 {
		t.Errorf("calls reached the cloud: %v", n)
	}
	if l, n := p.(*iaas.Dry).Refused(); l != 1 || n != 1 {
		t.Errorf("got %d and %d refusals, want one each", l, n)
	}
}

// Goal: the digest tells requests apart exactly as their JSON does, and survives storing them.
func TestDigest(t *testing.T) {
	full := iaas.LaunchRequest{
		Token: "t", Min: 1, Max: 2, Image: "i", Args: []string{"a"}, Allocation: "m", Market: epu.Spot, Zone: "z",
		Vars: map[string]epu.Var{"B": {Value: "1"}, "A": {From: "env:X", Secret: true}}, UserData: "u", Tags: map[string]string{"y": "1", "x": "2"},
	}
	const want = `{"token":"t","min":1,"max":2,"image":"i","args":["a"],"allocation":"m","market":"spot","zone":"z",` +
		`"vars":{"A":{"from":"env:X","secret":true},"B":{"value":"1"}},"user_data":"u","tags":{"x":"2","y":"1"}}`
	b, err := json.Marshal(full)
	if err != nil || string(b) != want {
		t.Fatalf("the form of a request that sites have stored has changed:\ngot  %s\nwant %s", b, want)
	}
	var back iaas.LaunchRequest
	if err := json.Unmarshal(b, &back); err != nil || back.Digest() != full.Digest() || len(full.Digest()) != 64 {
		t.Errorf("a stored request has another digest: %v", err)
	}
	back.Args = []string{"a", ""}
	if back.Digest() == full.Digest() {
		t.Error("another request has the same digest")
	}
}

// Goal: every state has a word of its own.
func TestInstanceStateWords(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for s := iaas.InstancePending; s <= iaas.InstanceTerminated; s++ {
		if w := s.String(); seen[w] {
			t.Errorf("state %d has the word %q of another", s, w)
		} else {
			seen[w] = true
		}
	}
}

// FuzzProblems: whatever a token is, it passes only if it is safe in a file name, a tag and a URL.
func FuzzProblems(f *testing.F) {
	for _, s := range []string{"a", "", "../x", "a/b", strings.Repeat("a", 65), "ü", "a\x00", "epu-web-1-7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		req := iaas.LaunchRequest{Token: epu.Token(token), Min: 1, Max: 1, Image: "i"}
		safe := len(token) >= 1 && len(token) <= 64
		for _, c := range token {
			safe = safe && strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-", c)
		}
		ps := req.Problems()
		if (len(ps) == 0) != safe {
			t.Errorf("token %q: got %v, want it to pass: %v", token, ps, safe)
		}
		if err := iaas.Refusal(req.Token, ps); (err == nil) != safe || err != nil && epu.KindOf(err) != epu.Invalid {
			t.Errorf("token %q: got %v", token, err)
		}
	})
}
