package resource

import (
	"bytes"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// Spec is a spec that has a file of its own.
type Spec interface {
	epu.PoolSpec | epu.SiteSpec | epu.TypeSpec
}

// Difference is one key that two specs give different values. An absent value is empty; a secret is ***.
type Difference struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Diff lists the keys in which two specs differ, sorted, with defaults filled in on both sides. A nil
// spec has no keys, so the difference to nil is everything. Where the values were given is no difference.
func Diff[S Spec](before, after *S) []Difference {
	flat := func(s *S) map[string]shown {
		out := map[string]shown{}
		if s != nil {
			flatten(fieldsOf(*s), "", out)
		}
		return out
	}
	old, now := flat(before), flat(after)
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	var out []Difference
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, hadA := old[k]
		b, hasB := now[k]
		if a.text != b.text || hadA != hasB {
			out = append(out, Difference{Key: k, Before: a.text, After: b.text})
		}
	}
	return out
}

// Defaults lists the keys that a spec's file does not give and that have a value all the same. True are those
// whose value may cost money or end machines.
func Defaults[S Spec](spec S) map[string]bool {
	all, out := map[string]shown{}, map[string]bool{}
	flatten(fieldsOf(spec), "", all)
	origins := originsOf(spec)
	for key, s := range all {
		if _, given := origins[key]; !given && (s.def || key == "tick") {
			out[key] = s.grave
		}
	}
	return out
}

// originsOf says where a spec's values were given.
func originsOf[S Spec](spec S) map[string]string {
	switch s := any(spec).(type) {
	case epu.PoolSpec:
		return s.Origins
	case epu.SiteSpec:
		return s.Origins
	case epu.TypeSpec:
		return s.Origins
	}
	return nil
}

// Format writes a spec as the document that Parse reads back to the same spec. Values that Parse would
// fill in by itself are left out.
func Format[S Spec](spec S) []byte { return write(fieldsOf(spec), false) }

// FormatFull is Format with every value, defaults included: what is in force, whatever the defaults of
// the version that reads it.
func FormatFull[S Spec](spec S) []byte { return write(fieldsOf(spec), true) }

// write makes a YAML document of fields.
func write(fields []field, full bool) []byte {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	// Nodes made below have no cycles and valid kinds, and a buffer takes everything.
	if err := encoder.Encode(mapNode(fields, full)); err != nil {
		panic("resource: format: " + err.Error())
	}
	if err := encoder.Close(); err != nil {
		panic("resource: format: " + err.Error())
	}
	return out.Bytes()
}

// mapNode makes a mapping of fields, without those that are left out.
func mapNode(fields []field, full bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		if v := fieldNode(f, full); v != nil {
			n.Content = append(n.Content, textNode(f.key), v)
		}
	}
	return n
}

// fieldNode makes a field's value; nil when it is left out.
func fieldNode(f field, full bool) *yaml.Node {
	switch {
	case len(f.items) > 0:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range f.items {
			m := mapNode(item, false)
			m.Style = yaml.FlowStyle
			n.Content = append(n.Content, m)
		}
		return n
	case f.sub != nil:
		m := mapNode(f.sub, full && !f.flow)
		if f.flow {
			m.Style = yaml.FlowStyle
			return m
		}
		if len(m.Content) == 0 {
			return nil
		}
		return m
	case f.value == nil || f.def && (!full || isEmpty(f.value)):
		return nil
	}
	return valueNode(f.value)
}

// isEmpty reports a default that stands for "not given" and can't be written.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// valueNode makes a single value, list or free mapping.
func valueNode(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return textNode(v)
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range v {
			n.Content = append(n.Content, textNode(s))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range v {
			n.Content = append(n.Content, valueNode(item))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, textNode(key), valueNode(v[key]))
		}
		return n
	case time.Duration:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strictyaml.FormatDuration(v)}
	case float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: formatNumber(v)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Itoa(v)}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(v)}
	}
	return textNode(textOf(v))
}

// plainText is text that YAML may write without quotes, unless it reads like a number or a boolean,
// which the encoder sees to.
var plainText = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9 _./@%+=()-]*$`)

// textNode makes a text that reads back as the same text.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plainText.MatchString(s) || strings.HasSuffix(s, " ") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// formatNumber writes a number without a needless fraction or exponent.
func formatNumber(f float64) string {
	if f == 0 {
		return "0" // also of -0, which no file means
	}
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
