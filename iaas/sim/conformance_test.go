package sim_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/iaastest"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// Goal: the simulated cloud keeps the port's promises, perfect or with everything slow and late.
// Method: the suite, on a clock that moves only while the suite waits.
func TestConformance(t *testing.T) {
	slow := sim.Options{
		Zones: []string{"a", "b"}, Images: []string{"ami-1"}, Allocations: []epu.Allocation{"m"},
		Boot: sim.Range{Min: time.Second, Max: time.Minute}, Ending: sim.Range{Max: time.Minute},
		Visibility: time.Minute, Linger: time.Hour, DeadTokens: sim.DeadTokenEither,
	}
	for name, opts := range map[string]sim.Options{"perfect": {}, "slow": slow} {
		t.Run(name, func(t *testing.T) {
			iaastest.Run(t, func(t *testing.T) iaastest.Setup { return setup(opts) })
		})
	}
}

func setup(opts sim.Options) iaastest.Setup {
	b := newBench(11, opts)
	s := iaastest.Setup{
		Provider: b,
		Request: func(token epu.Token, least, most int) iaas.LaunchRequest {
			return ask(string(token), least, most)
		},
		Await: func(t testing.TB, what string, cond func() bool) {
			t.Helper()
			for end := b.now.Add(10 * time.Minute); !cond(); b.now = b.now.Add(time.Second) {
				if b.now.After(end) {
					t.Fatalf("not within 10 minutes: %s", what)
				}
			}
		},
		Settle: func() { b.now = b.now.Add(opts.Visibility) },
		Room:   func(n int) { b.SetCapacity(sim.Place{}, n) },
	}
	if len(opts.Images) > 0 {
		s.Wrong = func(req *iaas.LaunchRequest) { req.Image, req.Zone, req.Allocation = "ami-2", "z", "xxl" }
	}
	return s
}
