package answers

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Pool is a pool's line: what was applied, as the registry has it, and how far its controller is.
func Pool(applied msg.PoolEntry, v msg.PoolView, now time.Time) *msg.PoolStatus {
	p := &msg.PoolStatus{
		Name: string(applied.Spec.Name), Owner: string(applied.Spec.Owner), Want: int32(v.Wish.Target), Engine: v.Engine,
		Policy: applied.Spec.Policy.Name, Error: v.Failure,
	}
	if v.EndAll || v.Removing {
		p.Want = 0
	}
	for _, w := range v.Workers {
		switch {
		case !w.Open():
			p.Ending++
			continue
		case w.Draining:
			p.Draining++
		case w.State >= epu.Running:
			p.Have++
		default:
			p.Starting++
		}
		if w.Unhealthy() {
			p.Unhealthy++
		}
	}
	p.Gap = p.Want - p.Have
	if conf, err := toStruct(v.Conf); err == nil {
		p.Conf = conf
	}
	if v.Last != nil {
		p.PolicyHash = v.Last.PolicyHash
		p.LastDecision = Summary(v.Last)
		if v.EndAll {
			p.LastDecision.Text += "; overruled by terminate-all (undo: epumgmt enable)"
		}
	}
	if wait := v.Backoff.Sub(now); wait > 0 {
		p.Backoff = durationpb.New(wait)
	}
	if f := v.Freeze; f != nil {
		p.Freeze = &msg.Freeze{By: f.By, Reason: f.Reason, Since: timestamppb.New(f.Since), Healing: f.Healing}
		if !f.Until.IsZero() {
			p.Freeze.Until = timestamppb.New(f.Until)
		}
	}
	if !decidedSince(v) {
		p.Engine = "PENDING" // the wish is from before an operator's change
	}
	p.Shadow, p.Protected = v.Shadow, applied.Spec.Protected
	if !v.UnseenSince.IsZero() {
		p.UnseenSince, p.UnseenNewest = timestamppb.New(v.UnseenSince), timestamppb.New(v.UnseenNewest)
	}
	p.Converged, p.Health = converged(applied, v, p), healthWord(v, p)
	return p
}

func converged(applied msg.PoolEntry, v msg.PoolView, p *msg.PoolStatus) string {
	met := p.GetGap() == 0 && p.GetStarting() == 0 && p.GetUnhealthy() == 0 && p.GetDraining() == 0 && decidedSince(v)
	switch {
	case v.Recovery:
		return "recovery"
	case v.Gen < applied.Gen: // its controller has not heard of the last change yet
		return "no"
	case v.Removing:
		return "removing"
	case v.Freeze != nil:
		return "frozen"
	case met && !v.EndAll && v.Last != nil && len(v.Last.Clamps) > 0 && v.Last.Wanted.Target > v.Last.Wish.Target:
		return "capped"
	case met && (v.Last != nil || v.EndAll) && !(v.EndAll && len(v.Workers) > 0):
		return "yes"
	}
	return "no"
}

// decidedSince reports that the policy has decided since an operator last changed what it is told:
// whoever scales and then waits must not be answered with the wish from before.
func decidedSince(v msg.PoolView) bool {
	for _, o := range v.Overrides {
		if v.Last != nil && o.Time.After(v.Last.Time) {
			return false
		}
	}
	return true
}

func healthWord(v msg.PoolView, p *msg.PoolStatus) string {
	switch {
	case v.Failure != "":
		return "policy-failing"
	case v.Suspect:
		return "suspect"
	case p.GetUnhealthy() > 0, !v.Backoff.IsZero() && p.GetGap() > 0:
		return "degraded"
	case v.Last == nil && !v.EndAll: // after terminate-all the policy is not asked
		return "unknown"
	}
	return "ok"
}

// Site is a site's line; err is why it could not say anything.
func Site(spec epu.SiteSpec, v msg.SiteView, err error) *msg.SiteStatus {
	s := &msg.SiteStatus{Name: string(spec.Name), Driver: string(spec.Driver), State: "ok", InstancesMax: int32(spec.InstancesMax)}
	if err != nil {
		s.State, s.Error = "unreachable", err.Error()
		return s
	}
	s.Instances, s.Stuck, s.Condemned = int32(v.Instances), int32(v.Stuck), int32(v.Condemned)
	s.Error = v.Fault
	s.ApiBurst = int32(spec.APIBurst)
	for _, st := range v.Strays {
		if !st.Condemned {
			s.Foreign++
		}
	}
	if !v.LastListing.IsZero() {
		s.LastListing = timestamppb.New(v.LastListing)
	}
	switch {
	case v.Recovery:
		s.State = "recovery"
	case spec.DryRun:
		s.State = "dry run"
	case !v.Synced:
		s.State = "unreachable"
		if v.Fault == "" {
			s.State = "starting"
		}
	case v.Disabled:
		s.State = "disabled"
	}
	return s
}

func toStruct(m map[string]any) (*structpb.Struct, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(raw)
}
