package faulty_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/faulty"
	"github.com/nimbus-epu/epu/iaas/iaastest"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// Goal: a network that doubles every request, or does nothing wrong, can't be told from a direct call.
// Method: the providers' suite through the decorator.
func TestConformance(t *testing.T) {
	for name, f := range map[string]faulty.Fault{"no fault": {}, "everything twice": {Twice: true}} {
		t.Run(name, func(t *testing.T) {
			iaastest.Run(t, func(t *testing.T) iaastest.Setup {
				now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				cloud := sim.New(2, func() time.Time { return now }, sim.Options{
					Boot: sim.Range{Max: time.Minute}, Ending: sim.Range{Max: time.Minute}, Linger: time.Hour,
				})
				return iaastest.Setup{
					Provider: faulty.New(cloud, func(string) faulty.Fault { return f }),
					Request: func(token epu.Token, least, most int) iaas.LaunchRequest {
						return iaas.LaunchRequest{Token: token, Min: least, Max: most, Image: "ami-1", Tags: map[string]string{}}
					},
					Await: func(t testing.TB, what string, cond func() bool) {
						t.Helper()
						for end := now.Add(time.Hour); !cond(); now = now.Add(time.Second) {
							if now.After(end) {
								t.Fatalf("not within an hour: %s", what)
							}
						}
					},
					Room: func(n int) { cloud.SetCapacity(sim.Place{}, n) },
				}
			})
		})
	}
}
