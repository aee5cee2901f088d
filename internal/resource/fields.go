package resource

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// hidden stands for a secret.
const hidden = "***"

// field is one key of a file with its value, in the file's order. Format writes fields, Diff compares
// them: both see what an operator would write.
type field struct {
	key   string
	value any       // string, bool, int, float64, time.Duration, []string, []any or map[string]any; nil with sub
	sub   []field   // of a section
	items [][]field // of a list of sections
	def   bool      // the value is what Parse fills in by itself
	flow  bool      // a section that is written in one line, and even when it is empty
	none  bool      // a value of 0 means that there is no limit
	grave bool      // as a default it may cost money or end machines: whoever adds the spec sees it
}

// weighty marks a field whose default may cost money or end machines.
func weighty(f field) field {
	f.grave = true
	return f
}

// ceiling is a field that is left out of files when it is 0, which means that there is no limit.
func ceiling(key string, n int) field {
	f := leaf(key, n, 0)
	f.none = n == 0
	return f
}

// leaf is a field that is left out of files when it has its default.
func leaf[T comparable](key string, value, def T) field {
	return field{key: key, value: value, def: value == def}
}

// texts is a list that is left out of files when it is empty.
func texts(key string, values []string) field {
	return field{key: key, value: values, def: len(values) == 0}
}

// section is a group of fields.
func section(key string, sub ...field) field { return field{key: key, sub: sub} }

// fieldsOf lists a spec's fields.
func fieldsOf[S Spec](spec S) []field {
	switch s := any(spec).(type) {
	case epu.PoolSpec:
		return poolFields(s)
	case epu.SiteSpec:
		return siteFields(s)
	case epu.TypeSpec:
		return typeFields(s)
	}
	return nil
}

// head is what begins every document.
func head(kind, name string, owner epu.Owner) []field {
	return []field{
		{key: "schema", value: schema},
		{key: "kind", value: kind},
		{key: "name", value: name},
		leaf("owner", string(owner), string(epu.DefaultOwner)),
	}
}

// poolFields lists a pool's fields.
func poolFields(s epu.PoolSpec) []field {
	def := PoolDefaults()
	h, l := s.Health, s.Limits
	places := field{key: "placement"}
	for _, p := range s.Placement {
		places.items = append(places.items, []field{
			{key: "site", value: string(p.Site)},
			leaf("allocation", string(p.Allocation), ""),
			leaf("market", string(p.Market), ""),
			ceiling("max", p.Max),
		})
	}
	return append(head(kindPool, string(s.Name), s.Owner),
		leaf("description", s.Description, ""),
		field{key: "deployable_type", value: s.DeployableType},
		section("vars", varFields(s.Vars)...),
		field{key: "tick", value: s.Tick}, // always written: its default is the node's, not ours
		section("policy",
			leaf("name", s.Policy.Name, def.Policy.Name),
			leaf("version", s.Policy.Version, ""),
			field{key: "conf", value: s.Policy.Conf, def: len(s.Policy.Conf) == 0},
		),
		section("sensors", sensorFields(s.Sensors)...),
		section("work",
			leaf("left", s.Work.Left, ""),
			leaf("rate", s.Work.Rate, ""),
			leaf("deadline", s.Work.Deadline, ""),
		),
		places,
		section("health",
			leaf("source", string(h.Source), string(def.Health.Source)),
			leaf("heartbeat", h.Heartbeat, def.Health.Heartbeat),
			leaf("boot_grace", h.BootGrace, def.Health.BootGrace),
			weighty(leaf("missing_after", h.MissingAfter, def.Health.MissingAfter)),
			leaf("second_chance", h.SecondChance, def.Health.SecondChance),
			leaf("zombie_after", h.ZombieAfter, def.Health.ZombieAfter),
			leaf("launch_deadline", h.LaunchDeadline, def.Health.LaunchDeadline),
		),
		section("drain", drainFields(s.Drain, def.Drain)...),
		section("hooks", hookFields(s.Hooks)...),
		section("limits",
			leaf("min", l.Min, 0),
			weighty(maxField(l.Max)),
			weighty(leaf("launches", formatCount(l.Launches), formatCount(def.Limits.Launches))),
			leaf("in_flight", l.InFlight, def.Limits.InFlight),
			terminationsField(&l),
			weighty(lossField(&l, def.Limits.Terminations)),
			leaf("failures_in_row", l.FailuresInRow, def.Limits.FailuresInRow),
			leaf("failure_backoff", l.FailureBackoff, def.Limits.FailureBackoff),
			leaf("mass_failure_confirm", l.MassConfirm, def.Limits.MassConfirm),
			spendField(l.Spend),
			freezeField(l.FreezeAfter),
		),
		leaf("protect_from_terminate_all", s.Protected, false),
	)
}

// maxField is limits.max.
func maxField(n int) field {
	if n == noMax {
		return field{key: "max", value: "none", def: true}
	}
	return field{key: "max", value: n}
}

// terminationsField is limits.terminations where there is such a count.
func terminationsField(l *epu.Limits) field {
	if l.Terminations.N == 0 {
		return section("terminations")
	}
	return field{key: "terminations", value: formatCount(l.Terminations)}
}

// lossField is limits.loss: the share that may be ended, alone or beside a count.
func lossField(l *epu.Limits, def epu.Count) field {
	share := l.Loss
	if c := l.Terminations; c.N == 0 && c.Window > 0 {
		share = epu.Share{Percent: shareDefault, Window: c.Window}
	}
	if share.Percent == 0 {
		return section("loss")
	}
	return field{key: "loss", value: fmt.Sprintf("%d%% per %s", share.Percent, strictyaml.FormatDuration(share.Window)), def: l.Terminations == def && l.Loss.Percent == 0}
}

// freezeField is limits.freeze_on_failures.
func freezeField(n int) field {
	if n == 0 {
		return section("freeze_on_failures")
	}
	return field{key: "freeze_on_failures", value: fmt.Sprintf("%d in a row", n)}
}

// varFields lists variables by name.
func varFields(vars map[string]epu.Var) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v := vars[name]
		switch {
		case v.From != "":
			out = append(out, section(name, field{key: "from", value: v.From}))
		case v.Secret:
			out = append(out, field{key: name, value: hidden})
		default:
			out = append(out, field{key: name, value: v.Value})
		}
	}
	return out
}

// drainFields lists how workers are taken out of service.
func drainFields(s, def epu.DrainSpec) []field {
	how := weighty(leaf("timeout", s.Timeout, def.Timeout))
	if s.Forever {
		how = field{key: "wait", value: "forever"}
	}
	return []field{how, leaf("protect_busy", s.ProtectBusy, def.ProtectBusy), texts("command", s.Command)}
}

// hookFields lists the programs around workers' lives.
func hookFields(s epu.HooksSpec) []field {
	def := hookDefaults()
	hook := func(key string, h *epu.HookSpec) []field {
		if h == nil {
			return nil
		}
		return []field{section(key,
			field{key: "run", value: h.Run},
			leaf("timeout", h.Timeout, def.Timeout),
			leaf("tries", h.Tries, def.Tries),
		)}
	}
	return append(hook("running", s.Running), hook("ending", s.Ending)...)
}

// spendField is limits.spend; none when there is no limit.
func spendField(usdPerHour float64) field {
	if usdPerHour == 0 {
		return section("spend")
	}
	return section("spend", field{key: "usd_per_hour", value: usdPerHour})
}

// siteFields lists a site's fields.
func siteFields(s epu.SiteSpec) []field {
	def := SiteDefaults(s.Driver)
	tags := section("tags")
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		tags.sub = append(tags.sub, field{key: key, value: s.Tags[key]})
	}
	return append(head(kindSite, string(s.Name), s.Owner),
		field{key: "driver", value: string(s.Driver)},
		leaf("folder", s.Folder, ""),
		leaf("dry_run", s.DryRun, false),
		section("limits",
			weighty(ceiling("instances", s.InstancesMax)),
			section("api",
				leaf("burst", s.APIBurst, def.APIBurst),
				leaf("per_second", s.APIPerSecond, def.APIPerSecond),
			),
			leaf("call_timeout", s.CallTimeout, def.CallTimeout),
			leaf("concurrent_launches", s.LaunchesMax, def.LaunchesMax),
		),
		section("polling",
			leaf("every", s.PollEvery, def.PollEvery),
			leaf("visibility_window", s.VisibilityWindow, def.VisibilityWindow),
		),
		section("backoff",
			leaf("first", s.BackoffFirst, def.BackoffFirst),
			leaf("cap", s.BackoffCap, def.BackoffCap),
		),
		section("billing", leaf("quantum", s.ChargeEvery, def.ChargeEvery)),
		tags,
	)
}

// typeFields lists a deployable type's fields.
func typeFields(s epu.TypeSpec) []field {
	variables, sites := section("variables"), section("sites")
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		v := s.Variables[name]
		def := field{key: "default", def: v.Default == nil}
		if v.Default != nil {
			def.value = *v.Default
			if v.Secret {
				def.value = hidden
			}
		}
		variables.sub = append(variables.sub, field{key: name, flow: true, sub: []field{
			leaf("doc", v.Doc, ""),
			def,
			leaf("required", v.Required, false),
			texts("one_of", v.OneOf),
			leaf("from", v.From, ""),
			leaf("secret", v.Secret, false),
		}})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sites)) {
		at := s.Sites[name]
		sites.sub = append(sites.sub, section(string(name),
			field{key: "image", value: at.Image},
			texts("args", at.Args),
			leaf("allocation", string(at.Allocation), ""),
		))
	}
	return append(head(kindType, s.Name, s.Owner),
		leaf("description", s.Description, ""),
		variables,
		sites,
		section("agent", texts("run", s.AgentRun)),
	)
}

// shown is a leaf as Diff tells of it.
type shown struct {
	text       string
	def, grave bool
}

// flatten lists every leaf by its dotted key.
func flatten(fields []field, parent string, out map[string]shown) {
	for _, f := range fields {
		key := f.key
		if parent != "" {
			key = parent + "." + f.key
		}
		for i, item := range f.items {
			flatten(item, fmt.Sprintf("%s[%d]", key, i), out)
		}
		flatten(f.sub, key, out)
		conf, isConf := f.value.(map[string]any)
		switch {
		case f.flow:
			out[key] = shown{text: "declared"}
		case isConf && len(conf) > 0:
			flatten(confFields(conf), key, out)
		case f.none:
			out[key] = shown{text: "none", def: f.def, grave: f.grave}
		case f.value != nil && !(isConf && f.def):
			out[key] = shown{text: textOf(f.value), def: f.def, grave: f.grave}
		}
	}
}

// confFields lists a free mapping by key.
func confFields(conf map[string]any) []field {
	var out []field
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		out = append(out, field{key: key, value: conf[key]})
	}
	return out
}

// textOf is a leaf as one line of text.
func textOf(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return strictyaml.FormatDuration(v)
	case float64:
		return formatNumber(v)
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = itemText(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = itemText(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, itemText(key)+": "+itemText(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// itemText is an item of a list: quoted where it could be taken for several, or for something else.
func itemText(v any) string {
	if s, ok := v.(string); ok && !plainText.MatchString(s) {
		return strconv.Quote(s)
	}
	return textOf(v)
}
