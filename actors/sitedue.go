package actors

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Placeholders in user data that the executor fills in just before the digest is taken: they differ
// from node to node, or must not be stored.
const (
	bootstrapPlaceholder = "${EPU_BOOTSTRAP}"
	nodesPlaceholder     = "${EPU_NODES}"
)

// Due derives what is still to be done: list, search, report, call, end.
func (s *Site) Due(now time.Time, _ epu.Revision) (todo []Todo, next time.Time) {
	todo = append(todo, Todo{Key: "list", Call: ListCall{Tags: s.tags()}, Every: s.spec.PollEvery})
	if s.synced && s.priced() {
		todo = append(todo, Todo{Key: "offers", Call: OffersCall{}, Every: offersEvery})
	}
	if len(s.missing) > 0 {
		ids := slices.Sorted(maps.Keys(s.missing))
		todo = append(todo, Todo{Key: "find", Call: FindCall{IDs: ids}, Every: s.spec.VisibilityWindow})
	}
	mayLaunch := !s.recovering()
	if !s.synced && now.Sub(s.started) < syncWaitMax {
		mayLaunch, next = false, s.started.Add(syncWaitMax)
	}
	// The provider of a site in dry run refuses endings too; but a site that was switched to it live must not
	// even ask, whatever provider it has.
	mayEnd := s.synced && !s.recovering() && !s.spec.DryRun
	for _, id := range s.hot.ids {
		l := s.st.Launches[id]
		if l.Rev != l.Noted {
			todo = append(todo, s.reportTodo(id, l))
			if l.gone() {
				todo = append(todo, s.archivedTodo(id, l))
			}
		}
		if t, ok := s.launchTodo(id, l); ok && mayLaunch {
			todo = append(todo, t)
		}
		if t, ok := s.endTodo(id, l, now); ok && mayEnd {
			todo = append(todo, t)
		}
	}
	if mayEnd {
		for _, id := range slices.Sorted(maps.Keys(s.st.Condemned)) {
			s.endingSince(id, now)
			todo = append(todo, ending("end/"+string(id), func() any { return EndCall{IDs: []epu.InstanceID{id}} }))
		}
	}
	return todo, next
}

func (s *Site) reportTodo(id epu.LaunchID, l *siteLaunch) Todo {
	return Todo{
		Key: "report/" + string(id) + "/" + revText(l.Rev), To: msg.ControllerAddress(l.Owner, l.Pool),
		Make: func() any { return s.report(id, l) }, Every: reportEvery, Cap: reportEveryMax,
	}
}

// archivedTodo tells the registry too of a launch of which nothing is left: its pool may be archived, and
// then it has no controller to take it in.
func (s *Site) archivedTodo(id epu.LaunchID, l *siteLaunch) Todo {
	return Todo{
		Key: "archived/" + string(id) + "/" + revText(l.Rev), To: RegistryAddress,
		Make: func() any { return s.report(id, l) }, Every: reportEveryMax,
	}
}

// launchTodo is the next step of asking the cloud for a launch's machines.
func (s *Site) launchTodo(id epu.LaunchID, l *siteLaunch) (Todo, bool) {
	if l.Closed || l.Settling || l.Digest == "" && l.ended() {
		return Todo{}, false
	}
	t := Todo{Every: s.spec.BackoffFirst, Cap: s.spec.BackoffCap, Group: "launch", Max: s.spec.LaunchesMax}
	if l.Digest == "" {
		t.Key = "prepare/" + string(id) + "/" + revText(l.Rev)
		t.Make = func() any {
			req := l.Request
			req.Min, req.Max = 1, l.openSlots()
			return PrepareCall{Request: req}
		}
		return t, true
	}
	t.Key = "run/" + string(id)
	t.Make = func() any { return RunCall{Launch: id, Request: l.Request, Digest: l.Digest} }
	return t, true
}

// endTodo ends the machines of a launch's unwanted slots with one call. A further one gets a new key, so
// that it does not wait for the backoff of those before it.
func (s *Site) endTodo(id epu.LaunchID, l *siteLaunch, now time.Time) (Todo, bool) {
	known, left := 0, false
	for _, slot := range l.Slots {
		if slot.Ended && slot.Instance != "" {
			known++
			if !slot.State.Gone() {
				left = true
				s.endingSince(slot.Instance, now)
			}
		}
	}
	return ending("end/"+string(id)+"/"+strconv.Itoa(known), func() any {
		var call EndCall
		for _, slot := range l.Slots {
			if slot.Ended && slot.Instance != "" && !slot.State.Gone() {
				call.IDs = append(call.IDs, slot.Instance)
			}
		}
		return call
	}), left
}

func ending(key string, call func() any) Todo {
	return Todo{Key: key, Make: call, Every: endRepeatFirst, Cap: endRepeatCap, Group: "end", Max: endsMax}
}

// endingSince notes when a machine's end was due first, to tell people of one that takes too long.
func (s *Site) endingSince(id epu.InstanceID, now time.Time) {
	if n := s.note(id); n.ending.IsZero() {
		n.ending = now
	}
}

func revText(r epu.Revision) string { return strconv.FormatUint(uint64(r), 10) }

// launchToken makes a launch's token: a function of the installation and the launch, so that no other
// launch can have it.
func launchToken(installation epu.InstallationID, launch epu.LaunchID) epu.Token {
	sum := sha256.Sum256([]byte(string(installation) + "\x00" + string(launch)))
	return epu.Token("epu-" + hex.EncodeToString(sum[:20]))
}

// userData is what a machine's agent reads first; empty for pools without an agent.
func userData(w msg.Want) string {
	if w.Spec.Health.Source != epu.HealthAgent {
		return ""
	}
	b, err := json.Marshal(msg.UserData{
		Nodes: []string{nodesPlaceholder}, Bootstrap: bootstrapPlaceholder, Launch: w.Launch,
		Heartbeat: w.Spec.Health.Heartbeat.Seconds(), Run: w.Spec.Run,
	})
	if err != nil {
		panic("user data is plain data and always has a JSON form: " + err.Error())
	}
	return string(b)
}

// adopt takes a stray machine in as a launch of one slot.
func (s *Site) adopt(tx *Tx, w msg.Want) {
	if _, ok := s.strays[w.Adopt]; !ok {
		tx.Emit(floorRaised{Owner: w.Owner, Pool: w.Pool, Floor: w.Rev})
		tx.Answer(goneReport(s.id.Epoch, s.spec.Name, w))
		return
	}
	delete(s.strays, w.Adopt)
	tx.Emit(adopted{Launch: w.Launch, Owner: w.Owner, Pool: w.Pool, Instance: w.Adopt})
}

// sweep ends stray machines that the operator named: by their slot where they have one.
func (s *Site) sweep(tx *Tx, m msg.SweepSite) {
	var out msg.Swept
	for _, id := range m.Instances {
		st, stray := s.strays[id]
		ref, slotted := s.index[id]
		_, orphan := s.orphans[ref.launch]
		switch {
		case stray:
			delete(s.strays, id)
			tx.Emit(condemned{Instance: id, Launch: st.Launch, Why: "swept by the operator: " + st.Why, Swept: true, Time: tx.Now()})
		case slotted && orphan:
			tx.Emit(slotsEnded{Launch: ref.launch, Slots: []int{ref.slot}})
		default:
			out.Refused = append(out.Refused, id)
			continue
		}
		out.Condemned = append(out.Condemned, id)
	}
	tx.Answer(out)
}

// view is what the site tells people.
func (s *Site) view(now time.Time) msg.SiteView {
	v := msg.SiteView{
		Spec: s.spec, Disabled: s.disabled, Recovery: s.recovering(), Synced: s.synced,
		Instances: s.supply(), Condemned: len(s.st.Condemned), LastListing: s.lastList, Started: s.started, FaultSince: s.faulty,
	}
	if s.listErr != nil {
		v.Fault = s.listErr.Error()
	}
	for id, n := range s.notes {
		if !n.ending.IsZero() && s.endingNow(id) && now.Sub(n.ending) > endStuckAfter {
			if v.Stuck++; v.StuckSince.IsZero() || n.ending.Before(v.StuckSince) {
				v.StuckSince = n.ending
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.strays)) {
		st := s.strays[id]
		v.Strays = append(v.Strays, msg.StrayView{Instance: id, Launch: st.Launch, Owner: st.Owner, Pool: st.Pool, Why: st.Why, Since: s.firstSeen[id]})
	}
	for _, launch := range slices.Sorted(maps.Keys(s.orphans)) {
		l := s.st.Launches[launch]
		for _, slot := range l.Slots {
			if slot.Instance != "" && !slot.State.Gone() {
				v.Strays = append(v.Strays, msg.StrayView{
					Instance: slot.Instance, Launch: launch, Owner: l.Owner, Pool: l.Pool, Why: "its pool does not know it", Condemned: slot.Ended, Slotted: true,
				})
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.st.Condemned)) {
		c := s.st.Condemned[id]
		pool, _, _, _ := c.Launch.Parse()
		v.Strays = append(v.Strays, msg.StrayView{Instance: id, Launch: c.Launch, Pool: pool, Why: c.Why, Condemned: true})
	}
	return v
}

func (s *Site) endingNow(id epu.InstanceID) bool {
	if _, ok := s.st.Condemned[id]; ok {
		return true
	}
	ref, ok := s.index[id]
	return ok && !s.st.Launches[ref.launch].Slots[ref.slot].State.Gone()
}

// Condemned counts the machines of ours that stand in no slot and are being ended.
func (s *Site) Condemned() int { return len(s.st.Condemned) }

// Describe draws what is open at the site: launches, their slots and what was condemned.
func (s *Site) Describe() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.st.Condemned)) {
		fmt.Fprintf(&b, "condemned %s of %s: %s\n", id, s.st.Condemned[id].Launch, s.st.Condemned[id].Why)
	}
	for _, id := range slices.Sorted(maps.Keys(s.st.Launches)) {
		l := s.st.Launches[id]
		fmt.Fprintf(&b, "%s rev=%d noted=%d digest=%t settling=%t closed=%t\n", id, l.Rev, l.Noted, l.Digest != "", l.Settling, l.Closed)
		for i, slot := range l.Slots {
			fmt.Fprintf(&b, "  %d %s %s ended=%t %s\n", i, slot.State, slot.Instance, slot.Ended, slot.Reason)
		}
	}
	return b.String()
}

// FillUserData replaces the placeholders of user data by a launch's bootstrap token, the base URLs of the
// nodes, and the file on the machine that vouches for them (empty = the system's authorities).
func FillUserData(data, bootstrap string, nodes []string, caFile string) string {
	var u msg.UserData
	if err := json.Unmarshal([]byte(data), &u); err != nil {
		return data // not ours: the deployable type's own words
	}
	u.Bootstrap, u.Nodes, u.CAFile = bootstrap, nodes, caFile
	b, err := json.Marshal(u)
	if err != nil {
		panic("user data is plain data and always has a JSON form: " + err.Error())
	}
	return string(b)
}
