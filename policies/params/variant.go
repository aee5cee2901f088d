package params

import (
	"maps"
	"slices"
	"strings"
)

// Variant is how a configuration that is tried out differs from one that is in force.
type Variant struct {
	Changes map[string]any // whole top-level values
	Unset   []string       // keys of the configuration in force that are taken away
	Whole   bool           // Changes are all of it: nothing of the configuration in force is left
}

// Base is what is left of the configuration in force before the changes.
func (v Variant) Base(conf map[string]any) map[string]any {
	if v.Whole {
		return map[string]any{}
	}
	left := maps.Clone(conf)
	for _, key := range v.Unset {
		delete(left, key)
	}
	return left
}

// Idle reports keys to be unset that the configuration in force does not have.
func (v Variant) Idle(conf map[string]any) (problems []Problem) {
	known := slices.Sorted(maps.Keys(conf))
	for _, key := range v.Unset {
		if _, ok := conf[key]; ok && !v.Whole {
			continue
		}
		text := "there is nothing to unset: the pool does not set it"
		switch near := Nearest(key, known); {
		case v.Whole:
			text = "there is nothing to unset: the configuration is given whole"
		case near != "":
			text += "; did you mean '" + near + "'?"
		case len(known) > 0:
			text += ", it sets " + strings.Join(known, ", ")
		}
		problems = append(problems, Problem{Key: key, Text: text})
	}
	return problems
}

// Vary makes the configuration of a variant, as Check does, or all that is wrong with it.
func (s Set) Vary(conf map[string]any, v Variant, rule Rule) (full map[string]any, problems []Problem) {
	merged, _, problems := s.Reconfigure(v.Base(conf), v.Changes, rule)
	if problems == nil {
		full, problems = s.Check(merged, rule)
	}
	return full, problems
}

// Chosen is what of a whole configuration somebody has chosen: it is among what was given, or has changed. A default that
// nobody chose is left out, for another version of the policy may have another one, or none.
func (s Set) Chosen(full map[string]any, changed []string, given ...map[string]any) map[string]any {
	out := map[string]any{}
	keep := func(key string) {
		if d, ok := s.Find(key); ok {
			if v, has := full[d.Name]; has {
				out[d.Name] = v
			}
		}
	}
	for _, key := range changed {
		keep(key)
	}
	for _, conf := range given {
		for key := range conf {
			keep(key)
		}
	}
	return out
}

// Unknown lists the keys of a configuration that are no parameters, sorted.
func (s Set) Unknown(conf map[string]any) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		if _, ok := s.Find(key); !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// Mend names the flags --unset and --set that would mend what is wrong with a variant because of the
// configuration in force, or because that lacks something; empty if there is nothing of the kind. What is wrong
// with the changes themselves is for who wrote them.
func (s Set) Mend(conf map[string]any, v Variant, problems []Problem) string {
	base := v.Base(conf)
	var unset, flags []string
	for _, p := range problems {
		root := Root(p.Key)
		d, known := s.Find(root)
		key := root
		if _, exact := base[key]; known && !exact { // it may stand there under an old name
			if i := slices.IndexFunc(d.Names(), func(name string) bool { _, ok := base[name]; return ok }); i >= 0 {
				key = d.Names()[i]
			}
		}
		_, changed := v.Changes[root]
		_, had := base[key]
		switch {
		case p.Key == "" || changed:
		case had && (!known || !d.Required || d.doubled(key, base)):
			if !slices.Contains(unset, key) {
				unset = append(unset, key)
			}
		case known:
			if set := "--set " + d.Name + "=VALUE"; !slices.Contains(flags, set) {
				flags = append(flags, set)
			}
		}
	}
	if len(unset) > 0 {
		flags = slices.Insert(flags, 0, "--unset "+strings.Join(unset, ","))
	}
	return strings.Join(flags, " ")
}

// doubled reports that a configuration has the parameter under another name than this key as well.
func (d *Param) doubled(key string, conf map[string]any) bool {
	return slices.ContainsFunc(d.Names(), func(name string) bool {
		_, ok := conf[name]
		return ok && name != key
	})
}
