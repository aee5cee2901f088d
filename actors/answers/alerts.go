package answers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Views are what alerts know of beyond a status: since when things are as they are.
type Views struct {
	Pools    map[epu.PoolID]msg.PoolView
	Sites    map[epu.SiteID]msg.SiteView
	Started  time.Time // the node
	Degraded time.Time // its store, since then; zero when it is well
}

// since says when that began which an alert tells of; zero when nobody knows.
func (v Views) since(code msg.AlertCode, subject string) time.Time {
	pool, site := v.Pools[epu.PoolID(subject)], v.Sites[epu.SiteID(subject)]
	switch code {
	case msg.AlertPolicyFailing:
		return pool.FailingSince
	case msg.AlertWorkersSilent:
		return pool.SuspectSince
	case msg.AlertLaunchesFailing:
		return pool.LaunchesFail
	case msg.AlertFrozen:
		if pool.Freeze != nil {
			return pool.Freeze.Since
		}
	case msg.AlertEndingStuck:
		return site.StuckSince
	case msg.AlertSiteUnreachable:
		return site.FaultSince
	case msg.AlertSiteRecovery:
		return site.Started
	case msg.AlertStrays:
		return firstListed(site.Strays)
	case msg.AlertRecovery:
		return v.Started
	case msg.AlertStore:
		return v.Degraded
	}
	return time.Time{}
}

// firstListed is since when there is a machine without a record.
func firstListed(strays []msg.StrayView) (first time.Time) {
	for _, s := range strays {
		if !s.Condemned && !s.Since.IsZero() && (first.IsZero() || s.Since.Before(first)) {
			first = s.Since
		}
	}
	return first
}

// Alerts are what an operator should look at now.
func Alerts(s *msg.Status, v Views) []*msg.Alert {
	var out []*msg.Alert
	add := func(code msg.AlertCode, severity, subject, text, try string) {
		a := &msg.Alert{Code: string(code), Severity: severity, Subject: subject, Text: text, Try: try}
		if at := v.since(code, subject); !at.IsZero() {
			a.Since = timestamppb.New(at)
		}
		out = append(out, a)
	}
	for _, p := range s.GetPools() {
		switch p.GetHealth() {
		case "policy-failing":
			text, _, _ := strings.Cut(p.GetError(), "\n") // explain shows the source and what was read as well
			add(msg.AlertPolicyFailing, "error", p.GetName(), text, "epumgmt explain "+p.GetName())
		case "suspect":
			add(msg.AlertWorkersSilent, "warning", p.GetName(), "most workers are silent: they may be dead, or this node deaf", "epumgmt instances "+p.GetName())
		}
		if f := p.GetFreeze(); f.GetBy() == msg.FreezeOnFailures {
			add(msg.AlertFrozen, "error", p.GetName(), f.GetReason()+": it is frozen, and failed workers are not replaced",
				"see why with epumgmt events "+p.GetName()+", then epumgmt thaw "+p.GetName())
		} else if p.GetBackoff() != nil && p.GetGap() > 0 {
			text := "launches failed"
			if why := v.Pools[epu.PoolID(p.GetName())].LaunchFault; why != "" {
				text += ": " + why
			}
			text += "; the next try is in " + p.GetBackoff().AsDuration().Round(time.Second).String()
			add(msg.AlertLaunchesFailing, "warning", p.GetName(), text, "epumgmt thaw "+p.GetName()+" when that is mended, to try at once")
		}
	}
	whole := slices.ContainsFunc(s.GetNodes(), func(n *msg.NodeStatus) bool { return n.GetStore() == storeRecovery })
	undecided := 0 // machines that wait for the operator
	for _, site := range s.GetSites() {
		n := int(site.GetForeign())
		undecided += n
		if site.GetStuck() > 0 {
			add(msg.AlertEndingStuck, "error", site.GetName(), epu.Plural(int(site.GetStuck()), "machine")+" should have ended long ago",
				"end them with the cloud's own tools; the site notices it by itself")
		}
		if site.GetState() == "unreachable" {
			add(msg.AlertSiteUnreachable, "error", site.GetName(), "it can't be listed: "+site.GetError(),
				"mend what the error names; the site is asked again by itself")
		}
		switch {
		case whole: // one alert below stands for all
		case site.GetState() == storeRecovery:
			add(msg.AlertSiteRecovery, "error", site.GetName(), recoveryText(n), recoveryTry(n))
		case n > 0:
			add(msg.AlertStrays, "warning", site.GetName(), epu.Plural(n, "machine")+" without a record",
				"epumgmt sweep   then   epumgmt adopt POOL INSTANCE...   or   epumgmt sweep --confirm INSTANCE...")
		}
	}
	for _, n := range s.GetNodes() {
		switch n.GetStore() {
		case "ok":
		case storeRecovery:
			add(msg.AlertRecovery, "error", n.GetName(), recoveryText(undecided), recoveryTry(undecided))
		default:
			add(msg.AlertStore, "error", n.GetName(), n.GetStore(),
				"make room for the data folder, or mend its disk; what waits is written by itself then")
		}
	}
	return out
}

// storeRecovery is the state of a store or site that launches and ends nothing until the operator decided.
const storeRecovery = "recovery"

func recoveryText(undecided int) string {
	text := "in recovery: nothing is launched or ended"
	if undecided == 0 {
		return text + ", and no machine waits for a decision"
	}
	return text + " until you have decided about " + epu.Plural(undecided, "machine")
}

func recoveryTry(undecided int) string {
	if undecided == 0 {
		return "epumgmt end-recovery --confirm"
	}
	return "epumgmt sweep   then   epumgmt adopt POOL   or   epumgmt sweep --confirm INSTANCE...   then   epumgmt end-recovery --confirm"
}

// Doctor sorts a status's alerts into checks.
func Doctor(s *msg.Status, node string) *msg.Doctor {
	byGroup := func(code msg.AlertCode, name string, subjects []string, codes ...msg.AlertCode) *msg.Check {
		c := &msg.Check{Code: string(code), Name: name, Result: "ok", Text: fmt.Sprintf("%d checked", len(subjects))}
		for _, a := range s.GetAlerts() {
			if !slices.Contains(codes, msg.AlertCode(a.GetCode())) {
				continue
			}
			result := "warning"
			if a.GetSeverity() == "error" {
				result = "failure"
			}
			c.Children = append(c.Children, &msg.Check{Code: a.GetCode(), Name: a.GetSubject(), Result: result, Text: a.GetText(), Try: a.GetTry()})
			if c.Result != "failure" {
				c.Result = result
			}
		}
		return c
	}
	var pools, sites []string
	for _, p := range s.GetPools() {
		pools = append(pools, p.GetName())
	}
	for _, site := range s.GetSites() {
		sites = append(sites, site.GetName())
	}
	return &msg.Doctor{Checks: []*msg.Check{
		byGroup(msg.CheckStore, "store", []string{node}, msg.AlertStore, msg.AlertRecovery),
		byGroup(msg.CheckSites, "sites", sites, msg.AlertSiteUnreachable, msg.AlertEndingStuck, msg.AlertStrays, msg.AlertSiteRecovery),
		byGroup(msg.CheckPools, "pools", pools, msg.AlertPolicyFailing, msg.AlertWorkersSilent, msg.AlertLaunchesFailing, msg.AlertFrozen,
			msg.AlertSensor, msg.AlertHook, msg.AlertPolicy, msg.AlertPolicyBroken),
	}}
}
