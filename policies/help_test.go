package policies_test

import (
	"testing"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// load takes a stock policy.
func load(t testing.TB, name string) *policies.Policy {
	t.Helper()
	p, err := policies.NewLibrary(scripts.Policies()).Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// compile makes a policy of a source.
func compile(t testing.TB, name, src string) *policies.Policy {
	t.Helper()
	p, err := policies.Compile(name, []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check brings a configuration through the gate.
func check(t testing.TB, p *policies.Policy, conf map[string]any) map[string]any {
	t.Helper()
	full, problems := p.Check(conf)
	if problems != nil {
		t.Fatal(policies.Problems(problems))
	}
	return full
}
