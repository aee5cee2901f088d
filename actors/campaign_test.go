package actors_test

import (
	"bufio"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/actortest"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/sim"
)

var (
	seeds = flag.Int("seeds", 0, "seeds of the campaign; default EPU_CAMPAIGN, or a few dozen")
	trace = flag.String("trace", "", "write the steps, messages and events of the run to this file")
	seed  = flag.Uint64("seed", 0, "run this one seed of the campaign only")
)

// How many seeds keep the test short; make campaign runs thousands.
const (
	seedsDefault = 24
	seedsRaced   = 6
)

func campaignPool() epu.PoolSpec {
	return epu.PoolSpec{
		Name: "epu-web", Owner: epu.DefaultOwner, DeployableType: "worker", Tick: 5 * time.Second,
		Policy:    epu.PolicySpec{Name: "npreserving", Conf: map[string]any{"preserve_n": 3}},
		Placement: []epu.Placement{{Site: "cloud", Max: 12}, {Site: "second"}},
		Health: epu.HealthSpec{
			Source: epu.HealthAgent, Heartbeat: 10 * time.Second, BootGrace: 2 * time.Minute, MissingAfter: time.Minute,
			SecondChance: 15 * time.Second, ZombieAfter: 2 * time.Minute, LaunchDeadline: 10 * time.Minute,
		},
		Drain: epu.DrainSpec{Timeout: time.Minute, ProtectBusy: true},
		Limits: epu.Limits{
			Max: -1, Launches: epu.Count{N: 100, Window: 10 * time.Minute}, InFlight: 50,
			Terminations: epu.Count{N: 20, Window: 10 * time.Minute}, FailuresInRow: 5,
			FailureBackoff: 5 * time.Minute, MassConfirm: 3 * time.Minute,
		},
	}
}

func campaignSite(name epu.SiteID) epu.SiteSpec {
	return epu.SiteSpec{
		Name: name, Driver: epu.DriverSim, CallTimeout: 20 * time.Second, LaunchesMax: 10,
		PollEvery: 10 * time.Second, VisibilityWindow: time.Minute, BackoffFirst: 5 * time.Second, BackoffCap: time.Minute,
	}
}

// Goal: whatever the clouds, the network, operators and kill -9 do, nothing leaks, doubles or is ended
// wrongly, and the pool converges. Method: seeded hours of abuse on a deterministic host, then hours of
// peace, then the invariants.
func TestCampaign(t *testing.T) {
	if *seed != 0 {
		abuse(t, *seed)
		return
	}
	n := *seeds
	if n == 0 {
		if n = seedsDefault; raced {
			n = seedsRaced
		}
		if s := os.Getenv("EPU_CAMPAIGN"); s != "" {
			var err error
			if n, err = strconv.Atoi(s); err != nil {
				t.Fatalf("EPU_CAMPAIGN: %v", err)
			}
		}
	}
	for s := uint64(1); s <= uint64(n); s++ {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			t.Parallel() // each seed has a world of its own
			abuse(t, s)
		})
	}
}

// Goal: a seed reproduces a run byte for byte. Method: a few seeds run twice, traces are compared.
func TestCampaignIsDeterministic(t *testing.T) {
	t.Parallel()
	seeds := uint64(4)
	if raced {
		seeds = 1
	}
	for s := uint64(1); s <= seeds; s++ {
		var sums [2]uint64
		for i := range sums {
			h := fnv.New64a()
			c := newCampaign(s)
			c.Trace = func(line string) { _, _ = h.Write([]byte(line)) }
			c.abuse(30)
			c.peace(20 * time.Minute)
			sums[i] = h.Sum64()
		}
		if sums[0] != sums[1] {
			t.Errorf("seed %d gave two different runs", s)
		}
	}
}

// campaign is one seed's fleet and what its operators want.
type campaign struct {
	*actortest.Fleet
	want, names int
	remove      bool // at the end
	restores    bool // the store is restored now and then
	backup      []byte
	target      int  // of the wish that the policy saw last
	unsure      bool // its decision then read what is stale or unknown
	recovering  int  // steps since the store was restored; 0 = it was not
}

// newCampaign draws how bad a seed's clouds, network and node are: some are merely rough, in some nearly
// every call goes wrong.
func newCampaign(s uint64) *campaign {
	r := rand.New(rand.NewPCG(s, 1))
	cloud := sim.Rough()
	if r.IntN(2) == 0 {
		cloud.Failures = []sim.Failure{
			{Op: "launch", Kind: epu.Capacity, P: 0.4 * r.Float64()},
			{Op: "launch", Kind: epu.UnknownOutcome, P: 0.5 * r.Float64()},
			{Op: "terminate", Kind: epu.UnknownOutcome, P: 0.3},
			{Kind: epu.Transient, P: 0.2 * r.Float64()},
		}
	}
	first, second, pool := campaignSite("cloud"), campaignSite("second"), campaignPool()
	if r.IntN(2) == 0 {
		first.InstancesMax = 8
	}
	if r.IntN(2) == 0 {
		cloud.Offers = []epu.Offer{{Allocation: "m", Market: epu.OnDemand, USDPerHour: 0.5}, {Allocation: "m", Market: epu.Spot, USDPerHour: 0.2}}
		cloud.PriceEvery, cloud.PriceSwing = 10*time.Minute, 0.9
		second.ChargeEvery = time.Hour
		pool.Placement[0].Allocation, pool.Placement[1].Allocation, pool.Placement[1].Market = "m", "m", epu.Spot
	}
	pool.Limits.Launches.N, pool.Limits.Terminations.N = 10+r.IntN(90), 2+r.IntN(18)
	c := &campaign{Fleet: actortest.NewFleet(s, cloud, pool, first, second), want: 3}
	c.Faults = actortest.Faults{
		Lose: 0.3 * r.Float64(), Double: 0.3 * r.Float64(), Slow: 0.3 * r.Float64(), SlowMax: 20 * time.Minute,
		Crash: 0.03 * r.Float64(), Refuse: 0.05 * r.Float64(),
	}
	c.dress(r)
	c.CallLost, c.CallDoubled, c.CallSlowMax = 0.6*r.Float64(), 0.1, 40*time.Second
	if r.IntN(4) == 0 {
		c.CallLate = 0.1
		c.Lenient()
	}
	c.remove = r.IntN(8) == 0
	c.restores = r.IntN(4) == 0
	c.OnCrash = func() { c.After(time.Duration(c.Rand().Int64N(int64(time.Minute))), c.Start) }
	return c
}

func abuse(t *testing.T, s uint64) {
	c := newCampaign(s)
	if *trace != "" {
		out, err := os.Create(*trace)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		w := bufio.NewWriter(out)
		defer w.Flush()
		c.Trace = func(line string) { _, _ = w.WriteString(line + "\n") }
	}
	c.abuse(120)
	c.peace(3 * time.Hour)
	t.Logf("seed %d: %d crashes, %d machines, %d steps", s, c.Crashes, len(c.Machines()), c.Steps)
	if wrong := c.wrong(); len(wrong) > 0 {
		t.Errorf("seed %d (go test ./actors -run TestCampaign -seed %d):", s, s)
		for _, w := range wrong {
			t.Error(w)
		}
		t.Log(c.Describe())
	}
}

func (c *campaign) abuse(steps int) {
	for range steps {
		pause := time.Minute
		if c.Rand().IntN(3) == 0 {
			pause = 5 * time.Second
		}
		c.Run(time.Duration(c.Rand().Int64N(int64(pause))))
		c.hurt()
		if c.restores {
			c.restore()
		}
	}
}

// peace ends all faults, lets the last of the slow messages arrive, and waits.
func (c *campaign) peace(wait time.Duration) {
	c.Policy, c.DecideSlow, c.HookFails, c.Deaf = nil, 0, 0, false
	c.Redefine(func(d *msg.Define) { d.Spec.Limits, d.Spec.Placement = c.Pool.Limits, c.Pool.Placement })
	c.Calm(sim.Options{Boot: sim.Range{Min: 5 * time.Second, Max: time.Minute}, Visibility: time.Minute})
	c.Thaw()
	for range 15 {
		c.Run(2 * time.Minute)
		if c.Restored {
			c.Recover()
		}
	}
	if c.Restored {
		c.Run(time.Second)
		c.EndRecovery()
	}
	c.Command(&msg.Thaw{}) // the last failures may have frozen it
	c.Command(&msg.Reconfigure{Conf: must(structpb.NewStruct(map[string]any{"preserve_n": c.want, "names": c.names}))})
	for _, w := range c.Workers() {
		c.Command(&msg.Unprotect{Instance: string(w.ID)})
	}
	c.Run(time.Minute)
	if c.remove {
		c.want, c.names = 0, 0
		c.Redefine(func(d *msg.Define) { d.Removing = true })
	}
	const step = 15 * time.Minute
	for well := time.Duration(0); wait > 0 && well < wellFor; wait -= step {
		if c.Run(step); c.Restored {
			c.Recover()
			c.Run(10 * time.Minute)
		}
		if well += step; len(c.wrong()) > 0 {
			well = 0
		}
	}
}

// wrong is what a fleet in peace must not show.
func (c *campaign) wrong() []string {
	wrong := c.Check(max(c.want, c.names), c.names)
	if c.remove && !c.Removed {
		wrong = append(wrong, "the pool was not removed")
	}
	if v, ok := c.Ask(msg.PoolQuery{}).(msg.PoolView); !c.remove && (!ok || v.Last == nil || v.Last.PolicyHash != c.Define.Version) {
		wrong = append(wrong, fmt.Sprintf("version %q of the policy does not decide: %+v", c.Define.Version, v.Last))
	}
	return wrong
}

// wellFor is how long all must be well until a seed's run ends: longer than any timer that is left.
const wellFor = 45 * time.Minute

// restore takes backups, and now and then puts one in the place of the store. Some steps later the
// operator has decided about the machines that were found.
func (c *campaign) restore() {
	switch r := c.Rand(); {
	case c.recovering > 0:
		c.recovering++
		c.Recover()
		if c.recovering > 10 && r.IntN(10) == 0 {
			c.EndRecovery()
			c.recovering = 0
		}
	case c.backup == nil:
		if r.IntN(10) == 0 {
			c.backup = c.Backup()
		}
	case r.IntN(20) == 0:
		c.Restore(c.backup)
		c.backup, c.recovering = nil, 1
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
