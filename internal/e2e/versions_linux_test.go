//go:build system

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sizedPool is the sample's pool under the policy sized.
const sizedPool = `schema: epu/v1
kind: pool
name: epu-sleeper
deployable_type: sleeper
vars: {GREETING: hello}
tick: 500ms
placement: [{site: local}]
health: {heartbeat: 1s, boot_grace: 30s, missing_after: 5s, second_chance: 2s}
drain: {timeout: 10s}
limits: {max: 20, launches: 50 per 1m, terminations: 20 per 1m}
policy: {name: sized}
`

// sized is a version of a policy that keeps so many workers.
func sized(n int) string {
	return fmt.Sprintf(`return {
  doc = "Keep %[1]d workers.",
  decide = function(control)
    control.because("it is so written", "sized")
    control.scale_to(%[1]d)
  end,
}
`, n)
}

// shelf is a node whose policies are applied or edited.
type shelf struct {
	*node
	hashes map[int]string // of sized, by number of workers
}

// put writes a file in the node's folder.
func (s *shelf) put(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// inForce says what is wrong if not exactly this version is in force, decides in the pool, and was put in force
// no more than once.
func (s *shelf) inForce(n int) func([]workerLine) string {
	return func([]workerLine) string {
		var kept []struct {
			Hash    string   `json:"hash"`
			Current bool     `json:"current"`
			Pools   []string `json:"pools"`
		}
		for line := range strings.Lines(s.must("policy", "versions", "sized", "-o", "jsonl")) {
			kept = append(kept, struct {
				Hash    string   `json:"hash"`
				Current bool     `json:"current"`
				Pools   []string `json:"pools"`
			}{})
			if err := json.Unmarshal([]byte(line), &kept[len(kept)-1]); err != nil {
				return err.Error()
			}
		}
		seen := map[string]bool{}
		for _, v := range kept {
			if seen[v.Hash] {
				return v.Hash + " is kept twice"
			}
			seen[v.Hash] = true
			if v.Current != (v.Hash == s.hashes[n]) || v.Current != (strings.Join(v.Pools, " ") == pool) {
				return fmt.Sprintf("got %+v, want %s in force", kept, s.hashes[n])
			}
		}
		if out := s.must("explain", pool, "-o", "json"); !seen[s.hashes[n]] || !strings.Contains(out, `"policy_hash": "`+s.hashes[n]+`"`) {
			return fmt.Sprintf("version %s does not decide: %s", s.hashes[n], out)
		}
		return ""
	}
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{node: newNode(t), hashes: map[int]string{}}
	s.put("pools/pool.yaml", sizedPool)
	for n := 1; n <= 3; n++ {
		file := fmt.Sprintf("v%d/sized.lua", n)
		s.put(file, sized(n))
		var checked struct {
			Policies []struct{ Hash string }
		}
		if err := json.Unmarshal([]byte(s.must("policy", "check", file, "-o", "json")), &checked); err != nil || len(checked.Policies) != 1 {
			t.Fatalf("hash of %s: %v", file, err)
		}
		s.hashes[n] = checked.Policies[0].Hash
	}
	return s
}

// Goal: a version that was applied or gone back to is in force after a daemon was killed at any durable step of
// that, wholly, once, and for the pool that uses it. Method: two versions and a rollback, with the daemon killed
// around what the registry appends.
func TestSystemCrashVersions(t *testing.T) {
	kills(t, func(t *testing.T) *story {
		s := newShelf(t)
		return &story{node: s.node, plot: func(*story) []step {
			return []step{
				{workers: 2, machines: 2},
				{command: order("policy", "apply", "./v1/sized.lua"), workers: 2, machines: 2},
				{command: order("apply", "-f", "pools"), workers: 1, machines: 2, check: s.inForce(1)},
				{command: order("policy", "apply", "./v3/sized.lua"), workers: 3, machines: 4, check: s.inForce(3)},
				{command: order("policy", "rollback", "sized", s.hashes[1]), workers: 1, machines: 4, check: s.inForce(1)},
			}
		}}
	}, "policy-kept*", "policy-current*")
}

// Goal: a file that changes under epud dev takes effect once, also when the daemon is killed at a durable step of
// that. Method: the same with an editor in the place of commands.
func TestSystemCrashReload(t *testing.T) {
	kills(t, func(t *testing.T) *story {
		s := newShelf(t)
		s.put("policies/sized.lua", sized(1))
		edit := func(n int) func() []string {
			return func() []string { s.put("policies/sized.lua", sized(n)); return nil }
		}
		return &story{node: s.node, plot: func(*story) []step {
			return []step{
				{workers: 2, machines: 2},
				{command: order("apply", "-f", "pools"), workers: 1, machines: 2},
				{command: edit(3), workers: 3, machines: 4, check: s.inForce(3)},
				{command: edit(2), workers: 2, machines: 4, check: s.inForce(2)},
			}
		}}
	}, "policy-kept*", "policy-current*")
}
