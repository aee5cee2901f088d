package actors_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/policies"
)

// dress draws what a seed's pool has beyond workers: hooks, sensors, a policy that does more than wish
// for a number.
func (c *campaign) dress(r *rand.Rand) {
	if r.IntN(2) == 0 {
		c.HookFails = 0.7 * r.Float64()
		hook := &epu.HookSpec{Run: []string{"register"}, Timeout: time.Duration(4+r.IntN(7)) * time.Second, Tries: 3}
		c.Redefine(func(d *msg.Define) { d.Spec.Hooks = epu.HooksSpec{Running: hook, Ending: hook} })
	}
	if r.IntN(2) == 0 {
		c.Redefine(func(d *msg.Define) {
			d.Spec.Sensors = map[string]epu.SensorSpec{
				"load":  {Source: epu.SourcePush, Every: 15 * time.Second, StaleAfter: time.Minute, Keep: time.Hour},
				"depth": {Source: epu.SourceHTTP, Every: 15 * time.Second, StaleAfter: time.Minute, Keep: time.Hour},
			}
		})
		c.Sensor = func(string) (sensing.Point, error) {
			if c.Rand().IntN(3) == 0 {
				return sensing.Point{}, errors.New("no answer")
			}
			return sensing.Point{Value: c.Rand().Float64()}, nil
		}
	}
	if r.IntN(2) == 0 {
		c.Policy = c.acting
		c.DecideSlow = time.Duration(r.IntN(2)) * 20 * time.Second
	}
}

// hurt does one thing that an operator, a cloud or fate may do.
func (c *campaign) hurt() {
	harms := []func(r *rand.Rand){
		c.hurtWish, c.hurtWish, c.hurtWish, c.hurtWish,
		c.hurtWorker, c.hurtWorker, c.hurtWorker, c.hurtWorker, c.hurtWorker, c.hurtWorker,
		c.hurtMachine, c.hurtMachine, c.hurtMachine, c.hurtMachine, c.hurtMachine,
		c.hurtPool, c.hurtPool, c.hurtPool,
		c.hurtNode, c.hurtNode, c.hurtCloud, c.hurtCloud,
	}
	harms[c.Rand().IntN(len(harms))](c.Rand())
}

// hurtWish changes what is wanted.
func (c *campaign) hurtWish(r *rand.Rand) {
	if r.IntN(4) > 0 {
		c.want = r.IntN(30)
		c.Scale(c.want)
		return
	}
	c.names = r.IntN(5)
	c.Command(&msg.Reconfigure{Conf: must(structpb.NewStruct(map[string]any{"names": c.names}))})
}

// hurtWorker has an operator say something about one worker.
func (c *campaign) hurtWorker(r *rand.Rand) {
	ws := c.Workers()
	if len(ws) == 0 {
		return
	}
	i := string(ws[r.IntN(len(ws))].ID)
	orders := []any{
		&msg.Kill{Instance: i}, &msg.Drain{Instance: i}, &msg.Resume{Instance: i}, &msg.Replace{Instance: i},
		&msg.Replace{Instance: i}, &msg.Protect{Instance: i}, &msg.Unprotect{Instance: i},
	}
	c.Command(orders[r.IntN(len(orders))])
}

// hurtMachine ends a machine, its agent or its program, or gives it work.
func (c *campaign) hurtMachine(r *rand.Rand) {
	machines := c.Machines()
	if len(machines) == 0 {
		return
	}
	m := machines[r.IntN(len(machines))]
	do := []func(){
		m.Kill, func() { c.Mute(m.ID) }, func() { c.Unmute(m.ID) }, func() { c.Fail(m.ID) },
		func() { c.Busy(m.ID, time.Duration(r.Int64N(int64(10*time.Minute)))) },
		func() { c.Busy(m.ID, time.Duration(r.Int64N(int64(10*time.Minute)))) },
	}
	do[r.IntN(len(do))]()
}

// hurtPool applies the pool anew, freezes or thaws it, pushes a reading, or asks what if.
func (c *campaign) hurtPool(r *rand.Rand) {
	switch r.IntN(9) {
	case 0:
		c.Redefine(func(d *msg.Define) {
			d.Spec.Limits.InFlight = 5 + r.IntN(50)
			d.Spec.Limits.Max = -1 + r.IntN(2)*r.IntN(30)
			d.Spec.Limits.Spend = float64(r.IntN(2)*r.IntN(8)) / 2
			d.Spec.Limits.FreezeAfter = r.IntN(2) * (1 + r.IntN(6))
			d.Spec.Protected = r.IntN(3) == 0
		})
	case 1:
		if r.IntN(4) == 0 {
			c.TerminateAll(r.IntN(2) == 0)
		} else {
			c.Enable()
		}
	case 2:
		c.Command(&msg.FreezeCommand{Healing: r.IntN(2) == 0, For: durationpb.New(time.Minute)})
	case 3:
		c.Command(&msg.Thaw{})
	case 4:
		switch r.IntN(3) {
		case 0:
			c.Reimage()
		case 1:
			c.Rerender()
		case 2: // a version of the policy is applied, or gone back to
			c.Redefine(func(d *msg.Define) { d.Version = fmt.Sprintf("%012x", r.IntN(4)) })
		}
	case 5: // the order of the places, and how much room the first has
		c.Redefine(func(d *msg.Define) {
			p := d.Spec.Placement
			d.Spec.Placement = []epu.Placement{p[1], p[0]}
			d.Spec.Placement[0].Max, d.Spec.Placement[1].Max = 3+r.IntN(10), 0
		})
	case 8:
		c.question(r)
	case 6, 7:
		v := &msg.SensorValue{Sensor: "load", Unknown: r.IntN(4) == 0}
		if !v.Unknown {
			v.Value = proto.Float64(r.Float64())
		}
		c.Command(&msg.SensorPush{Values: []*msg.SensorValue{v}})
	}
}

// question has the policy asked what would be, or puts a candidate into its shadow that wants more, fails or is ended.
func (c *campaign) question(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		c.Tell(&msg.WhatIfQuery{Sensors: map[string]float64{"load": r.Float64()}, Conf: must(structpb.NewStruct(map[string]any{"preserve_n": r.IntN(500)}))})
	case 1:
		c.Tell(&msg.SnapshotQuery{})
	case 2:
		n := r.IntN(4)
		c.Candidate = func(_ *policies.Snapshot, d *epu.Decision) error {
			if n == 0 {
				return errors.New("mine.lua:1: no")
			}
			d.Wanted.Target *= n
			d.Actions = append(d.Actions, epu.Action{Kind: epu.ActLaunch, Count: n})
			return nil
		}
		c.Command(candidate(time.Duration(1 + r.Int64N(int64(time.Hour)))))
	case 3:
		c.Command(&msg.Shadow{Stop: true})
	}
}

// hurtNode kills the node, stops it for a while or makes it deaf.
func (c *campaign) hurtNode(r *rand.Rand) {
	switch r.IntN(6) {
	case 0, 1, 2:
		c.Crash()
	case 3:
		c.Stall(time.Duration(r.Int64N(int64(20 * time.Minute))))
	case 4:
		c.Deaf = true
	case 5:
		c.Deaf = false
	}
}

// hurtCloud begins an outage, or ends all.
func (c *campaign) hurtCloud(r *rand.Rand) {
	if r.IntN(2) == 0 {
		c.Sites[r.IntN(2)].Cloud.Outage(true)
		return
	}
	for _, s := range c.Sites {
		s.Cloud.Outage(false)
	}
}

// acting is a policy that also asks for things to be done once, of workers that it sees and of ones that
// it does not, spreads its workers over sites, is in no hurry or in a great one, and fails.
func (c *campaign) acting(s *policies.Snapshot, d *epu.Decision) {
	r := c.Rand()
	c.heldFirm(s)
	if r.IntN(12) == 0 {
		*d = epu.Decision{ID: d.ID, Time: d.Time, Wanted: s.Wish, Error: "whim.lua:1: no"}
		return
	}
	if load, ok := s.Readings["load"]; ok {
		d.Inputs = append(d.Inputs, epu.Input{Name: "sensor load", Value: load})
		c.unsure = load.Quality == epu.QualityStale || load.Quality == epu.QualityUnknown
	}
	w := &d.Wanted
	if r.IntN(3) == 0 && w.Target > 0 {
		w.Sites = map[epu.SiteID]int{"cloud": r.IntN(w.Target + 1)}
		w.Sites["second"] = r.IntN(w.Target + 1 - w.Sites["cloud"])
	}
	w.Urgency = []epu.Urgency{"", "", epu.UrgencyLow, epu.UrgencyHigh}[r.IntN(4)]
	w.Victims = []epu.VictimOrder{"", epu.Oldest, epu.IdleLongest, epu.MostExpensive, epu.NearestCharge}[r.IntN(5)]
	w.NoHeal = r.IntN(20) == 0
	for r.IntN(6) == 0 {
		a := epu.Action{Kind: []epu.ActionKind{epu.ActLaunch, epu.ActTerminate, epu.ActDrain, epu.ActResume}[r.IntN(4)], Reason: "whim"}
		if a.Kind == epu.ActLaunch {
			a.Count = 1 + r.IntN(5)
		} else {
			a.Workers = []epu.WorkerID{"epu-web-9-9/9"}
			if len(s.Workers) > 0 {
				a.Workers = append(a.Workers, s.Workers[r.IntN(len(s.Workers))].ID)
			}
		}
		d.Actions = append(d.Actions, a)
	}
}

// heldFirm notes a wish that became smaller by a decision that read what is stale or unknown. The limits
// alone may still make it smaller.
func (c *campaign) heldFirm(s *policies.Snapshot) {
	if most := s.MinMax[1]; c.unsure && s.Wish.Target < c.target && !c.Restored && s.Budget.PerHour == 0 && (most < 0 || s.Wish.Target < most) {
		c.Fleet.Wrong = append(c.Fleet.Wrong, fmt.Sprintf("%v: the wish went from %d to %d by a decision that was not sure of its readings", s.Now, c.target, s.Wish.Target))
	}
	c.target, c.unsure = s.Wish.Target, false
}
