package resource

import (
	"fmt"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// Bounds on tags, those of the strictest cloud.
const (
	tagsMax     = 40 // of 50; EPU's own are the rest
	tagKeyMax   = 128
	tagValueMax = 256
)

// SiteDefaults is a site of a driver of which only the defaults are known. A local site answers at once
// and misses nothing, so its budget is larger and its periods are shorter.
func SiteDefaults(driver epu.Driver) epu.SiteSpec {
	s := epu.SiteSpec{
		Owner:            epu.DefaultOwner,
		Driver:           driver,
		APIBurst:         100,
		APIPerSecond:     2,
		CallTimeout:      20 * time.Second,
		LaunchesMax:      10,
		PollEvery:        10 * time.Second,
		VisibilityWindow: time.Minute,
		BackoffFirst:     15 * time.Second,
		BackoffCap:       15 * time.Minute,
		ChargeEvery:      time.Second,
	}
	if driver == epu.DriverLocal {
		s.APIPerSecond = 200
		s.PollEvery = time.Second
		s.VisibilityWindow = time.Second
	}
	return s
}

// site reads a site.
func (p *parser) site(m *strictyaml.Map) epu.SiteSpec {
	driver := p.driverOf(m.Need("driver", "driver: local"))
	s := SiteDefaults(driver)
	s.Name = epu.SiteID(nameOf(m.Need("name", "name: local"), siteNameForm))
	s.Owner = ownerOf(m)
	s.DryRun = m.Get("dry_run").Bool(false)
	if folder := m.Get("folder"); folder.Present() {
		if s.Folder = folder.Text(""); driver != epu.DriverLocal && driver != "" {
			folder.Fail("only a local site has a folder", "leave it out")
		} else if folder.Text("x") == "" {
			folder.Fail("is empty", "leave it out for the default in the node's data folder")
		}
	}
	s.Tags = tagsOf(m.Get("tags"))

	limits := m.Get("limits").Map()
	s.InstancesMax = limits.Get("instances").Int(0, 0, workersMax)
	s.CallTimeout = limits.Get("call_timeout").Duration(s.CallTimeout, 100*time.Millisecond, 10*time.Minute)
	s.LaunchesMax = limits.Get("concurrent_launches").Int(s.LaunchesMax, 1, 1000)
	api := limits.Get("api").Map()
	s.APIBurst = api.Get("burst").Int(s.APIBurst, 1, 100_000)
	s.APIPerSecond = api.Get("per_second").Float(s.APIPerSecond, 0.01, 100_000)
	api.Done()
	limits.Done()

	polling := m.Get("polling").Map()
	s.PollEvery = polling.Get("every").Duration(s.PollEvery, 10*time.Millisecond, time.Hour)
	s.VisibilityWindow = polling.Get("visibility_window").Duration(s.VisibilityWindow, 0, time.Hour)
	polling.Later("unknown_machine_window")
	polling.Done()

	backoff := m.Get("backoff").Map()
	s.BackoffFirst = backoff.Get("first").Duration(s.BackoffFirst, 10*time.Millisecond, periodMax)
	s.BackoffCap = backoff.Get("cap").Duration(s.BackoffCap, 10*time.Millisecond, periodMax)
	if s.BackoffFirst > s.BackoffCap {
		backoff.Get("first").Fail(fmt.Sprintf("%s is longer than the cap of %s",
			strictyaml.FormatDuration(s.BackoffFirst), strictyaml.FormatDuration(s.BackoffCap)), "")
	}
	backoff.Done()

	billing := m.Get("billing").Map()
	s.ChargeEvery = billing.Get("quantum").Duration(s.ChargeEvery, time.Second, 24*time.Hour)
	billing.Later("minimum")
	billing.Done()

	m.Later("region", "endpoint", "ca_file", "credentials", "network", "unknown_tagged_machines")
	s.Origins = m.Origins()
	return s
}

// driverOf reads a site's driver.
func (p *parser) driverOf(v strictyaml.Value) epu.Driver {
	switch text := v.Text(""); {
	case text == string(epu.DriverEC2):
		v.Fail("ec2 is not supported yet", "local")
		return ""
	case text == string(epu.DriverSim) && p.simulated:
		return epu.DriverSim
	case text == string(epu.DriverSim):
		v.Fail("sim is for tests and simulations: a node has no simulated machines", "local")
		return ""
	}
	return epu.Driver(v.Word("", string(epu.DriverLocal)))
}

// tagsOf reads the tags of every machine. Case is kept: CostCenter and costcenter are two bills.
func tagsOf(v strictyaml.Value) map[string]string {
	tags := map[string]string{}
	for key, item := range v.Map().All() {
		value, ok := item.Scalar()
		lower := strings.ToLower(key)
		switch {
		case !ok:
		case strings.HasPrefix(lower, "epu:") || strings.HasPrefix(lower, "aws:"):
			item.Fail("tags that begin with epu: or aws: belong to EPU and the cloud", "choose another key")
		case len(key) > tagKeyMax || len(value) > tagValueMax:
			item.Fail(fmt.Sprintf("a tag's key has at most %d characters, its value %d", tagKeyMax, tagValueMax), "")
		default:
			tags[key] = value
		}
	}
	if len(tags) > tagsMax {
		v.Fail(fmt.Sprintf("has %d tags, more than %d", len(tags), tagsMax), "")
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}
