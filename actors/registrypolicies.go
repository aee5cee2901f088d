package actors

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/persistence"
)

// Events of the registry's stream that are about policies. A version that is kept is in force only once
// policyCurrent says so.
type (
	// policyKept stores a version's sources.
	policyKept struct {
		Version epu.PolicyVersion `json:"version"`
	}
	// policyCurrent puts a version in force for all pools that pin none.
	policyCurrent struct {
		Name string `json:"name"`
		Hash string `json:"hash,omitempty"` // empty = what the node's library has
		By   string `json:"by"`
	}
)

// applyPolicy puts a version of a policy in force that the gateway has had checked.
func (r *Registry) applyPolicy(tx *Tx, m msg.ApplyPolicy) {
	if m.Gen != r.st.Gen {
		tx.Answer(movedOn("apply policy", m.Name, "run the command again"))
		return
	}
	for _, v := range m.Keep { // the bounds hold whoever asks
		if err := r.st.Policies.Fits(v, r.pinned()); err != nil {
			tx.Answer(refusedFor(err))
			return
		}
	}
	_, known := r.st.Policies.Get(m.Name, m.Hash)
	given := slices.ContainsFunc(m.Keep, func(v epu.PolicyVersion) bool { return v.Name == m.Name && v.Hash == m.Hash })
	if m.Hash != "" && !known && !given {
		tx.Answer(refuse(epu.NotFound, "apply policy", m.Name, "version "+m.Hash+" is not kept"))
		return
	}
	if r.st.Policies[m.Name].Current == m.Hash {
		tx.Answer(&msg.Done{})
		return
	}
	tx.Because(m.ID)
	for _, v := range m.Keep {
		tx.Emit(policyKept{Version: v})
	}
	tx.Emit(policyCurrent{Name: m.Name, Hash: m.Hash, By: m.User})
	r.audit(tx, m.Sender, m.Action, map[string]any{
		"policy": m.Name, "version": m.Hash, "before": m.Before, "pools": r.following(m.Name),
	})
	tx.Answer(&msg.Done{Changed: true})
}

// putPolicy puts a version in force and has the pools told that take it.
func (r *Registry) putPolicy(e policyCurrent) {
	r.st.Policies = r.st.Policies.Put(e.Name, e.Hash)
	r.st.Pools = maps.Clone(r.st.Pools)
	for id, p := range r.st.Pools {
		if follows(p, e.Name) {
			p.Gen = r.st.Gen + 1
			r.st.Pools[id] = p
		}
	}
}

// follows reports that a pool takes whatever version of a policy is in force.
func follows(p msg.PoolEntry, policy string) bool {
	return p.Spec.Policy.Name == policy && p.Version == ""
}

// following counts the pools that take whatever version of a policy is in force.
func (r *Registry) following(policy string) (n int) {
	for _, p := range r.st.Pools {
		if follows(p, policy) {
			n++
		}
	}
	return n
}

// pinned are the versions that pools pin.
func (r *Registry) pinned() versions.Pinned {
	out := versions.Pinned{}
	for _, p := range r.st.Pools {
		if p.Version != "" {
			out.Add(p.Spec.Policy.Name, p.Version)
		}
	}
	return out
}

// movedOn refuses what was prepared for another state.
func movedOn(op, on, try string) msg.Refused {
	err := epu.E(epu.Conflict, op, on, errors.New("what is applied has changed meanwhile"))
	err.Try = try
	return msg.Refused{Err: err}
}

// refusedFor gives an error as an answer.
func refusedFor(err error) msg.Refused {
	var e *epu.Error
	if !errors.As(err, &e) {
		e = epu.E(epu.KindOf(err), "", "", err)
	}
	return msg.Refused{Err: e}
}

// specsBytesMax bounds what one event takes over, and with it each pool, site and type: a pool's own stream has
// room for a little more than that.
const specsBytesMax = persistence.EventMax - 16<<10

// eventsOf makes the events of an apply: as few as hold it. Sites and types come first; each pool is resolved
// already, so every event is a valid step by itself.
func eventsOf(m msg.ApplySpecs) ([]specsApplied, error) {
	out, size := []specsApplied{{By: m.User}}, 0
	next := func(kind, name string, spec any) (*specsApplied, error) {
		raw, err := json.Marshal(spec)
		switch {
		case err != nil:
			return nil, epu.E(epu.Internal, "apply", kind+" "+name, err)
		case len(raw) > specsBytesMax:
			err := fmt.Errorf("it takes %d KiB, at most %d KiB can be kept", len(raw)>>10, specsBytesMax>>10)
			return nil, &epu.Error{Kind: epu.Invalid, Op: "apply", On: kind + " " + name, Err: err, Try: "move what is large out of it, into files of its workers"}
		case size > 0 && size+len(raw) > specsBytesMax:
			out, size = append(out, specsApplied{By: m.User}), 0
		}
		size += len(raw)
		return &out[len(out)-1], nil
	}
	for _, s := range m.Sites {
		e, err := next("site", string(s.Name), s)
		if err != nil {
			return nil, err
		}
		e.Sites = append(e.Sites, s)
	}
	for _, t := range m.Types {
		e, err := next("deployable type", t.Name, t)
		if err != nil {
			return nil, err
		}
		e.Types = append(e.Types, t)
	}
	for _, p := range m.Pools {
		e, err := next("pool", string(p.Spec.Name), p)
		if err != nil {
			return nil, err
		}
		e.Pools = append(e.Pools, p)
	}
	return out, nil
}

// Of thousands of pools the registry talks to so many at once, and to others when those have answered; who
// does not answer gives way after a while. All at once would be listed anew with each answer.
const (
	tellsMax  = 200
	turnEvery = 2 * time.Second
)

// count lists whom the registry has something to say to, after a change that may concern all.
func (r *Registry) count() {
	if r.counted {
		return
	}
	r.counted, r.untold, r.leaving = true, nil, nil
	for _, id := range slices.Sorted(maps.Keys(r.st.Pools)) {
		switch p := r.st.Pools[id]; {
		case r.told[id] < p.Gen:
			r.untold = append(r.untold, id)
		case r.leaves(p):
			r.leaving = append(r.leaving, id)
		}
	}
}

// leaves reports that a pool's workers are being ended: asking again tells how many are left.
func (r *Registry) leaves(p msg.PoolEntry) bool { return p.Removing || r.st.EndAll }

// confirmed takes in that a pool's controller knows what is applied.
func (r *Registry) confirmed(m msg.Defined) {
	r.told[m.Pool] = max(r.told[m.Pool], m.Gen)
	r.left[m.Pool] = m.Left
	p, known := r.st.Pools[m.Pool]
	if !r.counted || !known || r.told[m.Pool] < p.Gen {
		return
	}
	if i := slices.Index(r.untold, m.Pool); i >= 0 {
		r.untold = slices.Delete(r.untold, i, i+1)
		if r.leaves(p) {
			r.leaving = append(r.leaving, m.Pool)
		}
	}
}

// turn lets those who wait have their turn, where there are more than can be talked to at once.
func (r *Registry) turn(now time.Time) {
	if !r.counted || now.Sub(r.turned) < turnEvery {
		return
	}
	r.turned = now
	for _, list := range []*[]epu.PoolID{&r.untold, &r.leaving} {
		if len(*list) > tellsMax {
			*list = slices.Concat((*list)[tellsMax:], (*list)[:tellsMax])
		}
	}
}

// Due lists the controllers and sites that have not confirmed what concerns them. It is asked after each answer,
// so what they are to be told is made when it is sent.
func (r *Registry) Due(time.Time, epu.Revision) (todo []Todo, next time.Time) {
	r.count()
	untold, leaving := r.untold[:min(len(r.untold), tellsMax)], r.leaving[:min(len(r.leaving), tellsMax)]
	todo = make([]Todo, 0, len(untold)+len(leaving)+len(r.st.Sites))
	for _, id := range untold {
		todo = append(todo, Todo{
			Key: r.key("define", string(id), r.st.Pools[id].Gen), To: msg.ControllerAddress(r.owner, id),
			Make: func() any { return r.define(id) }, Every: definedEvery, Cap: 5 * time.Second,
		})
	}
	for _, id := range leaving {
		todo = append(todo, Todo{
			Key: r.key("define", string(id), r.st.Pools[id].Gen) + "/left", To: msg.ControllerAddress(r.owner, id),
			Make: func() any { return r.define(id) }, Every: time.Second,
		})
	}
	if max(len(r.untold), len(r.leaving)) > tellsMax {
		next = r.turned.Add(turnEvery)
	}
	for _, id := range slices.Sorted(maps.Keys(r.st.Sites)) {
		t := Todo{
			Key: r.key("site", string(id), r.st.SiteGen), To: msg.SiteAddress(id),
			Make: func() any {
				return msg.SiteDefine{Spec: r.st.Sites[id], Disabled: r.st.EndAll, ProtectedToo: r.st.ProtectedToo, Gen: r.st.SiteGen, Epoch: r.epoch}
			},
			Every: 200 * time.Millisecond, Cap: 5 * time.Second,
		}
		if r.sites[id] >= r.st.SiteGen {
			// Confirmed; but a site forgets the switch when it begins anew, so it is told now and then.
			t.Key, t.Every, t.Cap = t.Key+"/again", siteToldEvery, 0
		}
		todo = append(todo, t)
	}
	return todo, next
}

// key makes a key that changes with what is to be said, and with the epoch it is said in.
func (r *Registry) key(what, id string, gen uint64) string {
	return fmt.Sprintf("%s/%s/%d/%d", what, id, r.epoch, gen)
}

func (r *Registry) define(id epu.PoolID) msg.Define {
	p := r.st.Pools[id]
	d := msg.Define{
		Epoch: r.epoch, Gen: p.Gen, Spec: p.Spec, Version: r.st.Policies.InForce(p.Spec.Policy.Name, p.Version), Launches: p.Launches, ConfGen: p.ConfGen, Removing: p.Removing,
		EndAll: r.st.EndAll && (!p.Spec.Protected || r.st.ProtectedToo),
	}
	for _, at := range p.Spec.Placement {
		if r.st.Sites[at.Site].DryRun && !slices.Contains(d.DryRun, at.Site) {
			d.DryRun = append(d.DryRun, at.Site)
		}
	}
	return d
}
