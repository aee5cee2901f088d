package resource

import (
	"fmt"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// Ranges of a pool's settings.
const (
	workersMax    = 1_000_000
	placementsMax = 32
	tickMin       = 100 * time.Millisecond
	tickMax       = time.Hour
	periodMin     = 10 * time.Millisecond // of health thresholds; tests and demonstrations use short ones
	periodMax     = 7 * 24 * time.Hour
)

// tickDefault is the policy period of pools whose file and node name none.
const tickDefault = 5 * time.Second

// policyDefault is the policy that keeps a fixed number of workers; the only one that needs no limits.max.
const policyDefault = "npreserving"

// noMax is the limits.max of a pool without one.
const noMax = -1

// PoolDefaults is a pool of which only the defaults are known.
func PoolDefaults() epu.PoolSpec {
	return epu.PoolSpec{
		Owner:  epu.DefaultOwner,
		Tick:   tickDefault,
		Policy: epu.PolicySpec{Name: policyDefault},
		Health: epu.HealthSpec{
			Source:         epu.HealthAgent,
			Heartbeat:      10 * time.Second,
			BootGrace:      5 * time.Minute,
			MissingAfter:   2 * time.Minute,
			SecondChance:   15 * time.Second,
			ZombieAfter:    2 * time.Minute,
			LaunchDeadline: 15 * time.Minute,
		},
		Drain: epu.DrainSpec{Timeout: time.Hour, ProtectBusy: true},
		Limits: epu.Limits{
			Max:            noMax,
			Launches:       epu.Count{N: 100, Window: 10 * time.Minute},
			InFlight:       50,
			Terminations:   epu.Count{Window: 10 * time.Minute},
			FailuresInRow:  5,
			FailureBackoff: 30 * time.Minute,
			MassConfirm:    10 * time.Minute,
		},
	}
}

// pool reads a pool.
func (p *parser) pool(m *strictyaml.Map) epu.PoolSpec {
	def := PoolDefaults()
	s := epu.PoolSpec{
		Name:           epu.PoolID(nameOf(m.Need("name", "name: epu-<service>"), nameForm)),
		Owner:          ownerOf(m),
		Description:    m.Get("description").Text(""),
		DeployableType: nameOf(m.Need("deployable_type", "deployable_type: <name of a deployable type>"), nameForm),
		Vars:           poolVars(m.Get("vars")),
		Tick:           m.Get("tick").Duration(p.tick, tickMin, tickMax),
		Policy:         policyOf(m.Get("policy"), def.Policy),
		Placement:      placements(m.Need("placement", "placement: [{site: local}]")),
		Health:         healthOf(m.Get("health"), def.Health),
		Drain:          p.drainOf(m.Get("drain"), def.Drain),
		Protected:      m.Get("protect_from_terminate_all").Bool(false),
	}
	s.Limits = limitsOf(m, def.Limits, s.Policy.Name)
	s.Sensors = p.sensorsOf(m.Get("sensors"))
	s.Work = workOf(m.Get("work"), s.Sensors)
	s.Hooks = p.hooksOf(m.Get("hooks"))
	m.Later("alerts")
	s.Origins = m.Origins()
	return s
}

// poolVars reads a pool's variables: texts, or where a secret comes from.
func poolVars(v strictyaml.Value) map[string]epu.Var {
	vars := map[string]epu.Var{}
	for name, item := range v.Map().All() {
		if !variableName(name, item) {
			continue
		}
		if item.IsMap() {
			m := item.Map()
			if from := referenceOf(m.Need("from", "{from: env:NAME}")); from != "" {
				vars[name] = epu.Var{From: from, Secret: true}
			}
			m.Done()
			continue
		}
		if text, ok := item.Scalar(); ok {
			vars[name] = epu.Var{Value: text}
		}
	}
	if len(vars) == 0 {
		return nil
	}
	return vars
}

// policyOf reads which policy decides, and its configuration in the types of JSON.
func policyOf(v strictyaml.Value, def epu.PolicySpec) epu.PolicySpec {
	m := v.Map()
	s := def
	if name := m.Get("name"); name.Present() {
		s.Name = nameOf(name, nameForm)
	}
	conf := m.Get("conf")
	conf.Map() // refuses what is no mapping
	if conf.IsMap() {
		if values, ok := conf.Any().(map[string]any); ok && len(values) > 0 {
			s.Conf = values
		}
	}
	s.Version = versionOf(m.Get("version"))
	m.Done()
	return s
}

// placements reads where workers may be launched, in order.
func placements(v strictyaml.Value) []epu.Placement {
	items := v.List()
	if v.IsList() && len(items) == 0 {
		v.Fail("names no site", "placement: [{site: local}]")
	}
	if len(items) > placementsMax {
		v.Fail(fmt.Sprintf("has %d entries, more than %d", len(items), placementsMax), "")
		return nil
	}
	var out []epu.Placement
	seen := map[epu.Placement]string{}
	for _, item := range items {
		place := placement(item)
		same := place
		same.Max = 0
		if first, twice := seen[same]; twice && place.Site != "" {
			item.Fail("is the same place as "+first, "remove one of them")
		}
		seen[same] = item.Key()
		out = append(out, place)
	}
	return out
}

// placement reads one place.
func placement(v strictyaml.Value) epu.Placement {
	m := v.Map()
	place := epu.Placement{
		Site:       epu.SiteID(nameOf(m.Need("site", "site: local"), siteNameForm)),
		Allocation: epu.Allocation(m.Get("allocation").Text("")),
		Market:     epu.Market(m.Get("market").Word("", string(epu.OnDemand), string(epu.Reserved), string(epu.Spot))),
		Max:        m.Get("max").Int(0, 1, epu.PoolMax),
	}
	if list := m.Get("allocations"); list.Present() {
		names := list.Texts()
		switch {
		case place.Allocation != "":
			list.Fail("stands beside allocation", "keep one of them")
		case len(names) > 1:
			list.Fail("more than one allocation is not supported yet", "a placement of its own for each")
		case len(names) == 1:
			place.Allocation = epu.Allocation(names[0])
		}
	}
	m.Later("zones")
	m.Done()
	return place
}

// healthOf reads a pool's health thresholds.
func healthOf(v strictyaml.Value, def epu.HealthSpec) epu.HealthSpec {
	m := v.Map()
	source := m.Get("source")
	if text := source.Text(""); text == "cloud" {
		source.Fail("cloud is not supported yet", "agent, process or none")
		source = strictyaml.Value{}
	}
	period := func(key string, def time.Duration) time.Duration {
		return m.Get(key).Duration(def, periodMin, periodMax)
	}
	s := epu.HealthSpec{
		Source:         epu.HealthSource(source.Word(string(def.Source), string(epu.HealthAgent), string(epu.HealthProcess), string(epu.HealthNone))),
		Heartbeat:      period("heartbeat", def.Heartbeat),
		BootGrace:      period("boot_grace", def.BootGrace),
		MissingAfter:   period("missing_after", def.MissingAfter),
		SecondChance:   period("second_chance", def.SecondChance),
		ZombieAfter:    period("zombie_after", def.ZombieAfter),
		LaunchDeadline: period("launch_deadline", def.LaunchDeadline),
	}
	if s.Source == epu.HealthAgent && s.MissingAfter <= s.Heartbeat {
		m.Get("missing_after").Fail(
			fmt.Sprintf("%s is not longer than the heartbeat of %s: every worker would be out of contact",
				strictyaml.FormatDuration(s.MissingAfter), strictyaml.FormatDuration(s.Heartbeat)),
			"at least three heartbeats")
	}
	m.Done()
	return s
}

// limitsOf reads a pool's guard rails. Only npreserving, whose count is the operator's own word, can do
// without limits.max.
func limitsOf(pool *strictyaml.Map, def epu.Limits, policy string) epu.Limits {
	m := pool.Get("limits").Map()
	s := epu.Limits{
		Min:            m.Get("min").Int(0, 0, epu.PoolMax),
		Max:            maxOf(m.Get("max"), policy),
		Launches:       countOf(m.Get("launches"), def.Launches),
		InFlight:       m.Get("in_flight").Int(def.InFlight, 1, epu.PoolMax),
		FailuresInRow:  m.Get("failures_in_row").Int(def.FailuresInRow, 1, 1000),
		FailureBackoff: m.Get("failure_backoff").Duration(def.FailureBackoff, time.Second, periodMax),
		MassConfirm:    m.Get("mass_failure_confirm").Duration(def.MassConfirm, time.Second, periodMax),
		FreezeAfter:    freezeAfterOf(m.Get("freeze_on_failures")),
		Spend:          spendOf(m.Get("spend")),
	}
	s.Terminations, s.Loss = endsOf(m, def.Terminations)
	if s.Max != noMax && s.Min > s.Max {
		m.Get("min").Fail(fmt.Sprintf("%d is above limits.max (%d)", s.Min, s.Max), "raise max or lower min")
	}
	m.Done()
	return s
}

// maxOf reads limits.max: a number, or none where the policy is npreserving.
func maxOf(v strictyaml.Value, policy string) int {
	none := !v.Present()
	if text := v.Text(""); text == "none" {
		none = true
	}
	if !none {
		return v.Int(noMax, 0, epu.PoolMax)
	}
	if policy != policyDefault && policy != "" {
		v.Fail(fmt.Sprintf("is required with the policy %s: it bounds what a mistake can cost", policy), "max: <the most workers you would ever pay for>")
	}
	return noMax
}

// endsOf reads how many workers may be ended per window: a count, a share of them, or both, of which the
// narrower holds. Without any it is the default, a share of 20 %.
func endsOf(m *strictyaml.Map, def epu.Count) (count epu.Count, loss epu.Share) {
	counted, shared := m.Get("terminations"), m.Get("loss")
	if counted.Present() || !shared.Present() {
		count = countOf(counted, def)
	}
	if !shared.Present() {
		return count, loss
	}
	text, window, ok := perWindow(shared, "20% per 10m")
	if !ok {
		return def, loss
	}
	digits, percent := strings.CutSuffix(text, "%")
	n, fault := strictyaml.ParseInt(digits, 1, 100)
	switch {
	case !percent || fault != nil:
		shared.Fail(fmt.Sprintf("%q is no share of the workers", text), "1% to 100%, such as 20% per 10m")
		return def, loss
	case n == shareDefault && !counted.Present(): // as the default is told
		return epu.Count{Window: window}, loss
	}
	return count, epu.Share{Percent: int(n), Window: window}
}

// shareDefault is the percentage that limits.terminations stands for without a count.
const shareDefault = 20

// freezeAfterOf reads "10 in a row", or just the number.
func freezeAfterOf(v strictyaml.Value) int {
	text, ok := v.Scalar()
	if !ok {
		return 0
	}
	n, fault := strictyaml.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "in a row")), 1, 1000)
	if fault != nil {
		v.Fail(fmt.Sprintf("%q is no number of failed launches", text), "10 in a row")
	}
	return int(n)
}

// hookDefaults is a hook of which only the defaults are known.
func hookDefaults() epu.HookSpec { return epu.HookSpec{Timeout: 30 * time.Second, Tries: 5} }

// hooksOf reads the programs around the lives of a pool's workers.
func (p *parser) hooksOf(v strictyaml.Value) epu.HooksSpec {
	m := v.Map()
	s := epu.HooksSpec{Running: p.hook(m.Get("running")), Ending: p.hook(m.Get("ending"))}
	m.Done()
	return s
}

// hook reads one of them; nil when there is none.
func (p *parser) hook(v strictyaml.Value) *epu.HookSpec {
	if !v.Present() {
		return nil
	}
	m := v.Map()
	s := hookDefaults()
	s.Run = p.programOf(m, "run")
	s.Timeout = m.Get("timeout").Duration(s.Timeout, 100*time.Millisecond, time.Hour)
	s.Tries = m.Get("tries").Int(s.Tries, 1, 100)
	m.Done()
	return &s
}

// drainOf reads how workers are taken out of service.
func (p *parser) drainOf(v strictyaml.Value, def epu.DrainSpec) epu.DrainSpec {
	m := v.Map()
	s := epu.DrainSpec{
		Timeout:     m.Get("timeout").Duration(def.Timeout, 0, periodMax),
		Forever:     m.Get("wait").Word("", "forever") != "",
		ProtectBusy: m.Get("protect_busy").Bool(def.ProtectBusy),
	}
	if s.Forever {
		s.Timeout = 0
		if m.Has("timeout") {
			m.Get("timeout").Fail("stands beside wait: forever", "keep one of them")
		}
	}
	if m.Has("command") {
		s.Command = p.programOf(m, "command")
	} else {
		m.Get("command")
	}
	m.Done()
	return s
}

// spendOf reads what a pool's workers may cost: a limit beyond which nothing grows.
func spendOf(v strictyaml.Value) float64 {
	if !v.Present() {
		return 0
	}
	m := v.Map()
	usd := m.Need("usd_per_hour", "usd_per_hour: 120").Float(0, 0, 1_000_000)
	if m.Has("usd_per_hour") && usd == 0 {
		m.Get("usd_per_hour").Fail("must be above 0", "leave spend out for no limit")
	}
	m.Get("on_exceed").Word("stop-growing", "stop-growing")
	m.Done()
	return usd
}
