package actors_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/sim"
)

var (
	seeds = flag.Int("seeds", 40, "seeds of the campaign")
	trace = flag.String("trace", "", "write the steps, messages and events of the run to this file")
	seed  = flag.Uint64("seed", 0, "run this one seed of the campaign only")
)

func campaignPool() epu.PoolSpec {
	return epu.PoolSpec{
		Name: "epu-web", Owner: epu.DefaultOwner, DeployableType: "worker", Tick: 5 * time.Second,
		Policy:    epu.PolicySpec{Name: "npreserving", Conf: map[string]any{"preserve_n": 3}},
		Placement: []epu.Placement{{Site: "cloud"}},
		Health: epu.HealthSpec{
			Source: epu.HealthAgent, Heartbeat: 10 * time.Second, BootGrace: 2 * time.Minute, MissingAfter: time.Minute,
			SecondChance: 15 * time.Second, ZombieAfter: 2 * time.Minute, LaunchDeadline: 10 * time.Minute,
		},
		Drain: epu.DrainSpec{Timeout: time.Minute},
		Limits: epu.Limits{
			Max: -1, Launches: epu.Count{N: 100, Window: 10 * time.Minute}, InFlight: 50,
			Terminations: epu.Count{N: 20, Window: 10 * time.Minute}, FailuresInRow: 5,
			FailureBackoff: 5 * time.Minute, MassConfirm: 3 * time.Minute,
		},
	}
}

func campaignSite() epu.SiteSpec {
	return epu.SiteSpec{
		Name: "cloud", Driver: epu.DriverSim, CallTimeout: 20 * time.Second, LaunchesMax: 10,
		PollEvery: 10 * time.Second, VisibilityWindow: time.Minute, BackoffFirst: 5 * time.Second, BackoffCap: time.Minute,
	}
}

// Goal: whatever the cloud, the network and kill -9 do, nothing leaks, doubles or is ended wrongly, and
// the pool converges. Method: seeded hours of abuse on a deterministic host, then an hour of peace, then
// the invariants.
func TestCampaign(t *testing.T) {
	if *seed != 0 {
		abuse(t, *seed)
		return
	}
	for s := uint64(1); s <= uint64(*seeds); s++ {
		t.Run(fmt.Sprint(s), func(t *testing.T) { abuse(t, s) })
	}
}

func abuse(t *testing.T, s uint64) {
	f := actortest.NewFleet(s, sim.Rough(), campaignPool(), campaignSite())
	r := f.Rand()
	if *trace != "" {
		out, err := os.Create(*trace)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		w := bufio.NewWriter(out)
		defer w.Flush()
		f.Trace = func(line string) { w.WriteString(line + "\n") }
	}
	f.Faults = actortest.Faults{Lose: 0.05, Double: 0.05, Slow: 0.1, SlowMax: 20 * time.Minute, Crash: 0.02, Refuse: 0.02}
	f.CallLost, f.CallDoubled, f.CallSlowMax = 0.25, 0.05, 40*time.Second
	f.OnCrash = func() { f.After(time.Duration(r.Int64N(int64(time.Minute))), f.Start) }
	want := 3
	for range 60 {
		f.World.Run(time.Duration(r.Int64N(int64(3 * time.Minute))))
		switch r.IntN(7) {
		case 0, 6:
			want = r.IntN(30)
			f.Scale(want)
		case 1:
			if ws := f.Workers(); len(ws) > 0 {
				f.Tell(msg.Command{ID: fmt.Sprint("kill", f.Steps), User: "anna", Body: &msg.Kill{Instance: string(ws[r.IntN(len(ws))].ID)}})
			}
		case 2:
			if ms := f.Cloud.Machines(); len(ms) > 0 {
				f.Cloud.Kill(ms[r.IntN(len(ms))].ID)
			}
		case 3:
			if ms := f.Cloud.Machines(); len(ms) > 0 {
				f.Mute(ms[r.IntN(len(ms))].ID)
			}
		case 4:
			if ms := f.Cloud.Machines(); len(ms) > 0 {
				f.Fail(ms[r.IntN(len(ms))].ID)
			}
		case 5:
			f.Crash()
		}
	}
	f.Faults, f.CallLost, f.CallDoubled = actortest.Faults{}, 0, 0
	f.Cloud.Calm(sim.Options{Boot: sim.Range{Min: 5 * time.Second, Max: time.Minute}, Visibility: time.Minute})
	f.World.Run(30 * time.Minute) // the last of the slow messages arrive
	f.Scale(want)
	f.World.Run(3 * time.Hour)
	t.Logf("seed %d: %d crashes, %d machines, %d launches, %d steps", s, f.Crashes, len(f.Cloud.Machines()), len(f.Cloud.Orders()), f.Steps)
	if wrong := f.Check(want); len(wrong) > 0 {
		t.Errorf("seed %d (go test ./actors -run TestCampaign -seed %d):", s, s)
		for _, w := range wrong {
			t.Error(w)
		}
		t.Log(f.Describe())
	}
}
