package resource

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// tickDefault is the policy period of pools whose file and node name none.
const tickDefault = 5 * time.Second

// policyDefault is the policy that keeps a fixed number of workers; the only one that needs no limits.max.
const policyDefault = "npreserving"

// noMax is the limits.max of a pool without one.
const noMax = -1

// PoolDefaults is a pool of which only the defaults are known.
func PoolDefaults() epu.PoolSpec {
	return epu.PoolSpec{
		Owner:  epu.DefaultOwner,
		Tick:   tickDefault,
		Policy: epu.PolicySpec{Name: policyDefault},
		Health: epu.HealthSpec{
			Source:         epu.HealthAgent,
			Heartbeat:      10 * time.Second,
			BootGrace:      5 * time.Minute,
			MissingAfter:   2 * time.Minute,
			SecondChance:   15 * time.Second,
			ZombieAfter:    2 * time.Minute,
			LaunchDeadline: 15 * time.Minute,
		},
		Drain: epu.DrainSpec{Timeout: time.Hour},
		Limits: epu.Limits{
			Max:            noMax,
			Launches:       epu.Count{N: 100, Window: 10 * time.Minute},
			InFlight:       50,
			Terminations:   epu.Count{Window: 10 * time.Minute},
			FailuresInRow:  5,
			FailureBackoff: 30 * time.Minute,
			MassConfirm:    10 * time.Minute,
		},
	}
}

// SiteDefaults is a site of a driver of which only the defaults are known. A local site answers at once
// and misses nothing, so its budget is larger and its periods are shorter.
func SiteDefaults(driver epu.Driver) epu.SiteSpec {
	s := epu.SiteSpec{
		Owner:            epu.DefaultOwner,
		Driver:           driver,
		APIBurst:         100,
		APIPerSecond:     2,
		CallTimeout:      20 * time.Second,
		LaunchesMax:      10,
		PollEvery:        10 * time.Second,
		VisibilityWindow: time.Minute,
		BackoffFirst:     15 * time.Second,
		BackoffCap:       15 * time.Minute,
	}
	if driver == epu.DriverLocal {
		s.APIPerSecond = 200
		s.PollEvery = time.Second
		s.VisibilityWindow = time.Second
	}
	return s
}
