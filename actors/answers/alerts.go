package answers

import (
	"fmt"
	"slices"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
)

// Alerts are what an operator should look at now.
func Alerts(s *msg.Status) []*msg.Alert {
	var out []*msg.Alert
	add := func(code, severity, subject, text, try string) {
		out = append(out, &msg.Alert{Code: code, Severity: severity, Subject: subject, Text: text, Try: try})
	}
	for _, p := range s.GetPools() {
		switch p.GetHealth() {
		case "policy-failing":
			add("policy-failing", "error", p.GetName(), p.GetError(), "epumgmt explain "+p.GetName())
		case "suspect":
			add("workers-silent", "warning", p.GetName(), "most workers are silent: they may be dead, or this node deaf", "epumgmt instances "+p.GetName())
		}
		if p.GetBackoff() != nil && p.GetGap() > 0 {
			add("launches-failing", "warning", p.GetName(),
				"launches failed; the next try is in "+p.GetBackoff().AsDuration().Round(time.Second).String(), "epumgmt events "+p.GetName())
		}
	}
	for _, site := range s.GetSites() {
		if site.GetStuck() > 0 {
			add("ending-stuck", "error", site.GetName(), fmt.Sprintf("%d machines do not end", site.GetStuck()), "epumgmt instances")
		}
		if site.GetState() == "unreachable" {
			add("site-unreachable", "error", site.GetName(), site.GetError(), "epumgmt doctor")
		}
		if site.GetState() == "recovery" || site.GetForeign() > 0 {
			add("strays", "warning", site.GetName(), fmt.Sprintf("%d machines have no record", site.GetForeign()), "epumgmt sweep")
		}
	}
	for _, n := range s.GetNodes() {
		if n.GetStore() != "ok" {
			add("store", "error", n.GetName(), n.GetStore(), "epumgmt doctor")
		}
	}
	return out
}

// Doctor sorts a status's alerts into checks.
func Doctor(s *msg.Status, node string) *msg.Doctor {
	byGroup := func(code, name string, subjects []string, codes ...string) *msg.Check {
		c := &msg.Check{Code: code, Name: name, Result: "ok", Text: fmt.Sprintf("%d checked", len(subjects))}
		for _, a := range s.GetAlerts() {
			if !slices.Contains(codes, a.GetCode()) {
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
		byGroup("store", "store", []string{node}, "store"),
		byGroup("sites", "sites", sites, "site-unreachable", "ending-stuck", "strays"),
		byGroup("pools", "pools", pools, "policy-failing", "workers-silent", "launches-failing"),
	}}
}
