package params

import (
	"fmt"
	"maps"
	"slices"
)

// Named is one place of a configuration that names something of the pool's.
type Named struct {
	Key  string // the parameter as it was given, or its own name for a default; of a list or map with the entry
	Name string
}

// Sensors lists the sensors that a configuration names, defaults included, in the order of the
// parameters. It reads checked configurations and those with faults alike: what is no name is left out.
func (s Set) Sensors(conf map[string]any) []Named { return s.named(SensorNamed, conf) }

// Sites lists the sites that a configuration names, as Sensors does.
func (s Set) Sites(conf map[string]any) []Named { return s.named(SiteNamed, conf) }

func (s Set) named(kind Type, conf map[string]any) []Named {
	var out []Named
	add := func(key string, v any) {
		if name, ok := v.(string); ok && name != "" {
			out = append(out, Named{Key: key, Name: name})
		}
	}
	for i := range s {
		d := &s[i]
		key, value := d.Name, d.Default
		for _, name := range d.Names() {
			if v, ok := conf[name]; ok && v != nil {
				key, value = name, v
				break
			}
		}
		switch v := value.(type) {
		case string:
			if d.Type == kind {
				add(key, v)
			}
		case []any:
			for n, entry := range v {
				if d.Of == kind {
					add(fmt.Sprintf("%s[%d]", key, n), entry)
				}
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				if d.Of == kind {
					add(key+"."+name, v[name])
				}
			}
		}
	}
	return out
}
