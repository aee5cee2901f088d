package actors_test

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

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

// climate draws how bad a seed's cloud, network and node are: some are merely rough, in some nearly
// every call goes wrong.
func climate(r *rand.Rand) (sim.Options, actortest.Faults, float64) {
	cloud := sim.Rough()
	faults := actortest.Faults{
		Lose: 0.3 * r.Float64(), Double: 0.3 * r.Float64(), Slow: 0.3 * r.Float64(), SlowMax: 20 * time.Minute,
		Crash: 0.03 * r.Float64(), Refuse: 0.05 * r.Float64(),
	}
	if r.IntN(2) == 0 {
		cloud.Failures = []sim.Failure{
			{Op: "launch", Kind: epu.Capacity, P: 0.4 * r.Float64()},
			{Op: "launch", Kind: epu.UnknownOutcome, P: 0.5 * r.Float64()},
			{Op: "terminate", Kind: epu.UnknownOutcome, P: 0.3},
			{Kind: epu.Transient, P: 0.2 * r.Float64()},
		}
	}
	return cloud, faults, 0.6 * r.Float64()
}

func abuse(t *testing.T, s uint64) {
	cloud, faults, lost := climate(rand.New(rand.NewPCG(s, 1)))
	f := actortest.NewFleet(s, cloud, campaignPool(), campaignSite())
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
	f.Faults = faults
	f.CallLost, f.CallDoubled, f.CallSlowMax = lost, 0.1, 40*time.Second
	f.OnCrash = func() { f.After(time.Duration(f.Rand().Int64N(int64(time.Minute))), f.Start) }
	want := 3
	for range 120 {
		pause := time.Minute
		if f.Rand().IntN(3) == 0 {
			pause = 5 * time.Second
		}
		f.World.Run(time.Duration(f.Rand().Int64N(int64(pause))))
		want = hurt(f, want)
	}
	f.Faults, f.CallLost, f.CallDoubled = actortest.Faults{}, 0, 0
	f.Cloud.Calm(sim.Options{Boot: sim.Range{Min: 5 * time.Second, Max: time.Minute}, Visibility: time.Minute})
	f.Thaw()
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

// hurt does one thing that an operator, a cloud or fate may do, and returns the size that is wanted.
func hurt(f *actortest.Fleet, want int) int {
	r := f.Rand()
	machines := f.Cloud.Machines()
	command := func(body any) {
		f.Tell(msg.Command{ID: fmt.Sprint("command-", f.Steps), User: "anna", Body: body})
	}
	switch r.IntN(10) {
	case 0, 1, 2:
		want = r.IntN(30)
		f.Scale(want)
	case 3:
		if ws := f.Workers(); len(ws) > 0 {
			command(&msg.Kill{Instance: string(ws[r.IntN(len(ws))].ID)})
		}
	case 4:
		if len(machines) > 0 {
			f.Cloud.Kill(machines[r.IntN(len(machines))].ID)
		}
	case 5:
		if len(machines) > 0 {
			f.Mute(machines[r.IntN(len(machines))].ID)
		}
	case 6:
		if len(machines) > 0 {
			f.Fail(machines[r.IntN(len(machines))].ID)
		}
	case 7:
		f.Crash()
	case 8: // an apply with other limits, and terminate-all on or off
		f.Redefine(func(d *msg.Define) {
			d.Spec.Limits.InFlight = 5 + r.IntN(50)
			d.EndAll = r.IntN(4) == 0
		})
	case 9:
		if r.IntN(2) == 0 {
			command(&msg.FreezeCommand{Healing: r.IntN(2) == 0, For: durationpb.New(time.Minute)})
		} else {
			command(&msg.Thaw{})
		}
	}
	return want
}
