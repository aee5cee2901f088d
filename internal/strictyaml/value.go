package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Value is one value of a document, present or absent. A reader such as Int gives the default for an
// absent value; for a wrong one it records a problem and gives the default too, so that reading goes on.
type Value struct {
	node    *yaml.Node
	line    int // of the value; of its map when absent
	file    string
	key     string
	log     *Log
	origins map[string]string
}

// Present reports that the file gives the value.
func (v Value) Present() bool { return v.node != nil }

// Key is the value's dotted key from the document's root.
func (v Value) Key() string { return v.key }

// File is the file that the value stands in.
func (v Value) File() string { return v.file }

// Where is the value's "file:line".
func (v Value) Where() string { return fmt.Sprintf("%s:%d", v.file, v.line) }

// Fail records a problem with the value.
func (v Value) Fail(text, try string) {
	v.log.Add(Problem{File: v.file, Line: v.line, Key: v.key, Text: text, Try: try})
}

// refuse records a fault, if there is one, and reports whether there was none.
func (v Value) refuse(f *Fault) bool {
	if f == nil {
		return true
	}
	v.Fail(f.Text, f.Try)
	return false
}

// IsMap reports that the value is a mapping.
func (v Value) IsMap() bool { return v.node != nil && v.node.Kind == yaml.MappingNode }

// IsList reports that the value is a list.
func (v Value) IsList() bool { return v.node != nil && v.node.Kind == yaml.SequenceNode }

// Scalar is the text of a single value, as written; ok is false when it is absent or, with a problem
// recorded, empty, a list or a map.
func (v Value) Scalar() (text string, ok bool) {
	if v.node == nil {
		return "", false
	}
	switch {
	case v.node.Kind != yaml.ScalarNode:
		v.Fail("a single value was expected here, not a list or a map", "key: value")
		return "", false
	case isNull(v.node):
		v.Fail("has no value", `leave the key out, or write "" for an empty text`)
		return "", false
	case v.node.ShortTag() == "!!binary":
		v.Fail("binary values are not supported", "")
		return "", false
	}
	text, fault := ParseText(v.node.Value)
	return text, v.refuse(fault)
}

// Text is the value as text; numbers and booleans become the text that was written.
func (v Value) Text(def string) string {
	if s, ok := v.Scalar(); ok {
		return s
	}
	return def
}

// Bool is the value as true or false.
func (v Value) Bool(def bool) bool {
	if s, ok := v.Scalar(); ok {
		if b, fault := ParseBool(s); v.refuse(fault) {
			return b
		}
	}
	return def
}

// Int is the value as a whole number from low to high.
func (v Value) Int(def, low, high int) int {
	if s, ok := v.Scalar(); ok {
		if n, fault := ParseInt(s, int64(low), int64(high)); v.refuse(fault) {
			return int(n)
		}
	}
	return def
}

// Float is the value as a number from low to high.
func (v Value) Float(def, low, high float64) float64 {
	if s, ok := v.Scalar(); ok {
		if n, fault := ParseFloat(s, low, high); v.refuse(fault) {
			return n
		}
	}
	return def
}

// Duration is the value as a duration from low to high; it must have a unit.
func (v Value) Duration(def, low, high time.Duration) time.Duration {
	if s, ok := v.Scalar(); ok {
		if d, fault := ParseDuration(s, low, high); v.refuse(fault) {
			return d
		}
	}
	return def
}

// Word is the value as one of a few words.
func (v Value) Word(def string, words ...string) string {
	if s, ok := v.Scalar(); ok {
		if w, fault := ParseWord(s, words); v.refuse(fault) {
			return w
		}
	}
	return def
}

// List is the value's items; nil when it is absent or no list.
func (v Value) List() []Value {
	if v.node == nil {
		return nil
	}
	if !v.IsList() {
		v.Fail("a list was expected here", "put it in brackets: [a, b]")
		return nil
	}
	items := make([]Value, 0, len(v.node.Content))
	for i, n := range v.node.Content {
		item := v
		item.node, item.line = n, n.Line
		item.key = fmt.Sprintf("%s[%d]", v.key, i)
		items = append(items, item)
	}
	return items
}

// Texts is the value as a list of texts.
func (v Value) Texts() []string {
	var out []string
	for _, item := range v.List() {
		if s, ok := item.Scalar(); ok {
			out = append(out, s)
		}
	}
	return out
}

// Any is the value in the types of JSON: bool, float64, string, []any and map[string]any. Keys keep
// their case. A number that float64 can't hold exactly is refused rather than rounded.
func (v Value) Any() any {
	switch {
	case v.node == nil:
		return nil
	case v.IsMap():
		out := map[string]any{}
		for key, item := range v.Map().All() {
			out[key] = item.Any()
		}
		return out
	case v.IsList():
		out := []any{}
		for _, item := range v.List() {
			if item.origins != nil && (item.IsMap() || item.IsList()) { // of what is missing in an entry, its own line is told
				item.origins[item.key] = item.Where()
			}
			out = append(out, item.Any())
		}
		return out
	}
	s, ok := v.Scalar()
	if !ok {
		return nil
	}
	tag := v.node.ShortTag()
	if tag == "!!bool" {
		b, fault := ParseBool(s)
		v.refuse(fault)
		return b
	}
	if tag != "!!int" && tag != "!!float" {
		return s
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		v.Fail(fmt.Sprintf("%q is not a number in decimal form", s), "put a text in quotes")
	} else if tag == "!!int" && math.Abs(n) > 1<<53 {
		v.Fail(s+" is too large to be kept exactly", "put a text in quotes")
	}
	return n
}
