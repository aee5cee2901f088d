package sim_test

import (
	"fmt"
	"testing"

	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// BenchmarkList is one look at 1000 machines of the rough cloud, which campaigns do all the time.
func BenchmarkList(b *testing.B) {
	opts := sim.Rough()
	opts.Failures = nil
	c := newBench(1, opts)
	for i := range 100 {
		if _, err := c.Launch(b.Context(), ask(fmt.Sprint("t", i), 10, 10)); err != nil {
			c.SetCapacity(sim.Place{}, -1)
		}
	}
	for b.Loop() {
		if _, err := c.List(b.Context(), iaas.ListRequest{Tags: map[string]string{iaas.TagLaunch: "t1"}}); err != nil {
			b.Fatal(err)
		}
	}
}
