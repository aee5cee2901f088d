package actortest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/policies"
)

// siteCall carries out a site's call against its cloud, over a bad network.
func (f *Fleet) siteCall(s *Site, call any) (Exec, Latency) {
	r := f.Rand()
	lat := Latency{
		Request: time.Duration(r.Int64N(int64(50 * time.Millisecond))),
		Answer:  time.Duration(r.Int64N(int64(50 * time.Millisecond))), Deadline: s.Spec.CallTimeout,
		Late: epu.E(epu.UnknownOutcome, "call", "", context.DeadlineExceeded),
	}
	if r.Float64() < f.CallLost {
		slow := time.Duration(r.Int64N(int64(f.CallSlowMax) + 1))
		if r.IntN(2) == 0 {
			lat.Request = min(lat.Request+slow, s.Spec.CallTimeout)
		} else {
			lat.Answer += slow
		}
	}
	if r.Float64() < f.CallLate {
		lat.Request = s.Spec.CallTimeout + time.Duration(r.Int64N(int64(10*time.Minute)))
	}
	f.checkCall(s, call)
	twice := r.Float64() < f.CallDoubled
	return func(call any) (any, error) {
		result, err := f.cloudCall(s, call)
		if twice && err == nil { // an answer that was heard is the first one's: no transport mixes them up
			_, _ = f.cloudCall(s, call)
		}
		return result, err
	}, lat
}

func (f *Fleet) cloudCall(s *Site, call any) (any, error) {
	switch c := call.(type) {
	case actors.PrepareCall:
		return f.render(c.Request).Digest(), nil
	case actors.RunCall:
		c.Request = f.render(c.Request)
		if was, ok := s.bytes[c.Request.Token]; ok && c.Request.Digest() == c.Digest && was != c.Digest {
			f.wrong("token %s of %s is used with other bytes", c.Request.Token, c.Launch)
		}
		if c.Request.Digest() == c.Digest {
			s.bytes[c.Request.Token] = c.Digest
		}
		return Provide(context.Background(), s.Cloud, c)
	case actors.ListCall:
		list, err := Provide(context.Background(), s.Cloud, call)
		s.listed = s.listed || err == nil
		return list, err
	}
	return Provide(context.Background(), s.Cloud, call)
}

// Provide carries out a site's call with a provider.
func Provide(ctx context.Context, p iaas.Provider, call any) (any, error) {
	switch c := call.(type) {
	case actors.PrepareCall:
		return c.Request.Digest(), nil
	case actors.RunCall:
		if c.Request.Digest() != c.Digest {
			return nil, epu.E(epu.Conflict, "launch", string(c.Launch), errors.New("the request's bytes changed"))
		}
		return p.Launch(ctx, c.Request)
	case actors.ListCall:
		return p.List(ctx, iaas.ListRequest{Tags: c.Tags})
	case actors.FindCall:
		return p.List(ctx, iaas.ListRequest{IDs: c.IDs})
	case actors.OffersCall:
		return p.Offers(ctx)
	case actors.EndCall:
		return nil, p.Terminate(ctx, c.IDs)
	}
	panic(fmt.Sprintf("unknown call %T", call))
}

// render fills in what depends on the node's configuration.
func (f *Fleet) render(req iaas.LaunchRequest) iaas.LaunchRequest {
	req.UserData += fmt.Sprint(" rendering ", f.rendering)
	return req
}

// poolCall carries out a controller's call.
func (f *Fleet) poolCall(call any) (Exec, Latency) {
	quick := Latency{Request: time.Millisecond, Answer: time.Millisecond}
	switch call := call.(type) {
	case actors.PollCall:
		quick.Answer += f.SensorSlow
		return f.poll, quick
	case actors.HookCall:
		quick.Answer += f.HookSlow
		if f.HookFails > 0 {
			quick.Request, quick.Answer = time.Duration(f.Rand().Int64N(int64(5*time.Second))), time.Duration(f.Rand().Int64N(int64(5*time.Second)))
			quick.Deadline, quick.Late = call.Timeout, epu.E(epu.UnknownOutcome, "run", "", context.DeadlineExceeded)
			if call.Event == "ending" && quick.Request+quick.Answer >= call.Timeout {
				f.hookRuns(call.Worker).Failed++
			}
		}
		return f.hook, quick
	case actors.CheckConfCall:
		if f.CheckErr != nil {
			return func(any) (any, error) { return nil, f.CheckErr }, quick
		}
		if f.CheckConf != nil {
			problems, slow := f.CheckConf(call)
			quick.Answer += slow
			if problems != nil {
				return func(any) (any, error) { return actors.CheckedConf{Problems: problems}, nil }, quick
			}
		}
	case actors.DecideCall:
		if f.DecideSlow > 0 {
			quick.Request = time.Duration(f.Rand().Int64N(int64(f.DecideSlow)))
			quick.Answer = time.Duration(f.Rand().Int64N(int64(f.DecideSlow)))
		}
	}
	return func(call any) (any, error) {
		switch c := call.(type) {
		case actors.WhatIfCall:
			return f.whatIf(c)
		case actors.ShadowCall:
			return f.shadow(c)
		}
		result, err := Decide(call)
		if d, ok := result.(epu.Decision); ok && f.Policy != nil {
			f.Policy(call.(actors.DecideCall).Snapshot, &d)
			f.noteActions(&d)
			result = d
		}
		return result, err
	}, quick
}

// whatIf decides twice, and carries out nothing.
func (f *Fleet) whatIf(w actors.WhatIfCall) (any, error) {
	decide := func(c actors.DecideCall) epu.Decision {
		result, _ := Decide(c)
		d := result.(epu.Decision)
		if f.Policy != nil {
			f.Policy(c.Snapshot, &d)
		}
		return d
	}
	then := w.Now
	then.Snapshot, then.Conf = w.Then, varied(w.Now.Conf, w.Variant)
	for key := range then.Conf {
		if key != "preserve_n" && key != "names" {
			return actors.WhatIfDecided{Problems: []string{key + ": there is no such setting"}, Mend: "--unset " + key}, nil
		}
	}
	return actors.WhatIfDecided{Now: decide(w.Now), Then: decide(then)}, nil
}

// shadow decides as the candidate does, which f.Candidate plays.
func (f *Fleet) shadow(c actors.ShadowCall) (any, error) {
	if len(c.Files) == 0 {
		return nil, nil
	}
	c.Decide.Conf = varied(c.Decide.Conf, c.Variant)
	result, err := Decide(c.Decide)
	d, _ := result.(epu.Decision)
	if err == nil && f.Candidate != nil {
		err = f.Candidate(c.Decide.Snapshot, &d)
	}
	return d, err
}

// varied is a configuration with its changes.
func varied(conf map[string]any, v policies.Variant) map[string]any {
	out := v.Base(conf)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, v.Changes)
	return out
}

// poll reads a sensor, which f.Sensor knows.
func (f *Fleet) poll(call any) (any, error) {
	if f.Sensor == nil {
		return nil, errors.New("nothing is there to be read")
	}
	return f.Sensor(call.(actors.PollCall).Sensor)
}

// HookRuns counts the runs of hooks for one worker.
type HookRuns struct {
	Running, Ending, Failed int           // done, done, and failures and timeouts of ending
	Timeout                 time.Duration // that the newest run was given
}

func (f *Fleet) hookRuns(id epu.WorkerID) *HookRuns {
	runs := f.Hooked[id]
	if runs == nil {
		runs = &HookRuns{}
		f.Hooked[id] = runs
	}
	return runs
}

func (f *Fleet) hook(call any) (any, error) {
	c := call.(actors.HookCall)
	runs := f.hookRuns(c.Worker)
	runs.Timeout = c.Timeout
	if f.Rand().Float64() < f.HookFails {
		if c.Event == "ending" {
			runs.Failed++
		}
		return nil, errors.New("exit status 1")
	}
	if c.Event == "ending" {
		runs.Ending++
	} else {
		runs.Running++
	}
	return nil, nil
}

// Decide carries out a controller's call: the rule of npreserving in Go, quick enough for thousands of
// seeds. The first names of its workers are unique.
func Decide(call any) (any, error) {
	switch c := call.(type) {
	case actors.DecideCall:
		n := number(c.Conf["preserve_n"])
		d := epu.Decision{
			ID: c.Snapshot.Decision, Time: c.Snapshot.Now, Policy: c.Policy, PolicyHash: c.Version, Conf: c.Conf,
			Wanted: epu.Wish{Target: n}, Reasons: []epu.Reason{{Rule: "preserve_n", Text: fmt.Sprintf("preserve_n = %d", n)}},
		}
		for i := range number(c.Conf["names"]) {
			if d.Wanted.Uniques == nil {
				d.Wanted.Uniques = map[string]epu.Unique{}
			}
			name := fmt.Sprint("unique-", i)
			d.Wanted.Uniques[name] = epu.Unique{Vars: map[string]string{"NAME": name}}
		}
		return d, nil
	case actors.CheckConfCall:
		merged := maps.Clone(c.Conf)
		if merged == nil {
			merged = map[string]any{}
		}
		maps.Copy(merged, c.Changes)
		return actors.CheckedConf{Conf: merged, Changed: slices.Sorted(maps.Keys(c.Changes))}, nil
	}
	panic(fmt.Sprintf("unknown call %T", call))
}

// number reads a number of a configuration, which comes from JSON after a restart.
func number(v any) int {
	switch v := v.(type) {
	case int:
		return v
	case float64:
		return int(v)
	}
	return 0
}
