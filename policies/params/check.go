package params

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Set is all parameters of a policy, in the order in which it declares them.
type Set []Param

// Rule is the policy's own check of a configuration that is otherwise good.
type Rule func(full map[string]any) []Problem

// Check is the gate for a configuration. It takes old key names, fills in defaults, brings every value
// into one form (int, float64, string, bool, []any, map[string]any; durations as texts), and asks the
// policy's own rule. Texts that hold numbers and booleans are accepted, because old launch plans hold
// nothing else. An empty text in place of a value that may be left out and has no default is none. All problems are reported at once; full is nil if there are any.
func (s Set) Check(conf map[string]any, rule Rule) (full map[string]any, problems []Problem) {
	full, given, problems := s.canonical(conf)
	for i := range s {
		d := &s[i]
		v, ok := full[d.Name]
		if v == "" && d.Default == nil && !d.Required && d.Type != List && d.Type != Map {
			v = nil // what a form or a command line sends for nothing
		}
		switch {
		case ok && v != nil:
			good, problem := d.Check(v)
			if problem != "" {
				problems = append(problems, Problem{Key: given[d.Name], Text: problem})
				continue
			}
			full[d.Name] = good
		case d.Required:
			problems = append(problems, Problem{Key: d.Name, Text: d.missing()})
		case d.Default != nil:
			full[d.Name], _ = d.Check(d.Default) // a copy
		default:
			delete(full, d.Name)
		}
	}
	if problems == nil {
		problems = rule(full)
		respell(problems, given)
	}
	if problems != nil {
		return nil, problems
	}
	return full, nil
}

func (d *Param) missing() string {
	if d.Doc == "" {
		return "is required"
	}
	return "is required: " + d.Doc
}

// canonical replaces old names by new ones and finds names that mean nothing. Given says under which
// name each value came.
func (s Set) canonical(conf map[string]any) (out map[string]any, given map[string]string, problems []Problem) {
	out, given = map[string]any{}, map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		d, ok := s.Find(key)
		if !ok {
			problems = append(problems, Problem{Key: key, Text: s.unknownKey(key)})
			continue
		}
		if other, twice := given[d.Name]; twice {
			problems = append(problems, Problem{Key: key, Text: fmt.Sprintf("means the same as %s, which is also given", other)})
			continue
		}
		given[d.Name] = key
		out[d.Name] = conf[key]
		if d.negates(key) {
			out[d.Name] = true // as the old key was read: anything but "true" meant off
			if strings.EqualFold(fmt.Sprint(conf[key]), "true") {
				out[d.Name] = false
			}
		}
	}
	return out, given, problems
}

func (s Set) unknownKey(key string) string {
	var known, all []string
	for i := range s {
		known = append(known, s[i].Name)
		all = append(all, s[i].Names()...)
	}
	if len(known) == 0 {
		return "is unknown: the policy has no parameters"
	}
	if d, ok := s.Find(Nearest(key, all)); ok {
		return "is no parameter of the policy; did you mean '" + d.Name + "'?"
	}
	return "is no parameter of the policy, which has " + strings.Join(known, ", ")
}

// Find finds a parameter by its name or an old one.
func (s Set) Find(key string) (*Param, bool) {
	for i := range s {
		if slices.Contains(s[i].Names(), key) {
			return &s[i], true
		}
	}
	return nil, false
}

func (d *Param) negates(key string) bool {
	return slices.Contains(d.Aliases, Alias{Name: key, Negate: true})
}

// Reconfigure replaces each key given in changes by its whole new value and keeps the rest; a nil
// value means the default. The result is checked before anything changes: with problems, nothing
// does. Changed lists the keys whose values differ now, sorted.
func (s Set) Reconfigure(old, changes map[string]any, rule Rule) (merged map[string]any, changed []string, problems []Problem) {
	input, _, problems := s.canonical(old)
	fresh, given, more := s.canonical(changes)
	if problems = append(problems, more...); problems != nil {
		rule = func(map[string]any) []Problem { return nil } // it may rely on what is wrong
	}
	for name, v := range fresh {
		if v == nil {
			delete(input, name)
			continue
		}
		input[name] = v
	}
	merged, found := s.Check(input, rule)
	respell(found, given)
	if problems = append(problems, found...); problems != nil {
		return nil, nil, problems
	}
	before, problems := s.Check(old, rule)
	if problems != nil {
		before = old
	}
	return merged, Differing(before, merged), nil
}

// Differing lists the keys that two configurations do not agree on, sorted; nil when they agree.
func Differing(a, b map[string]any) (out []string) {
	all := map[string]any{}
	for k := range a {
		all[k] = nil
	}
	for k := range b {
		all[k] = nil
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if !reflect.DeepEqual(a[k], b[k]) {
			out = append(out, k)
		}
	}
	return out
}
