package strictyaml

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Map is the value as a mapping; an absent value is an empty one, and so is a section of which every
// line is commented out.
func (v Value) Map() *Map {
	m := &Map{at: v, values: map[string]Value{}}
	if v.node == nil || isNull(v.node) {
		return m
	}
	if !v.IsMap() {
		v.Fail("keys with values were expected here", "key: value, or {key: value}")
		m.broken = true
		return m
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, n := v.node.Content[i], v.node.Content[i+1]
		item := Value{node: n, line: k.Line, file: v.file, log: v.log, origins: v.origins}
		if k.Kind != yaml.ScalarNode || k.Value == "" {
			item.key = v.key
			item.Fail("a key must be a plain word", "")
			continue
		}
		item.key = join(v.key, k.Value)
		if _, fault := ParseText(k.Value); !item.refuse(fault) {
			continue
		}
		if first, twice := m.values[k.Value]; twice {
			item.Fail(fmt.Sprintf("given twice, first on line %d", first.line), "keep one of them")
			continue
		}
		m.values[k.Value] = item
		m.order = append(m.order, k.Value)
	}
	return m
}

// join makes a dotted key.
func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// Map is one mapping of a document. Whoever reads it asks for the keys it knows; Done refuses the rest.
type Map struct {
	at     Value
	values map[string]Value
	order  []string // in the file's order
	known  []string // asked for, present or not
	later  []string // refused by Later
	broken bool     // was no mapping: missing keys are no news
}

// At is the mapping itself as a value, for its place and for problems with the whole.
func (m *Map) At() Value { return m.at }

// Has reports that the file gives the key, without asking for it.
func (m *Map) Has(key string) bool {
	_, ok := m.values[key]
	return ok
}

// Get asks for a key, records where it was given, and returns its value.
func (m *Map) Get(key string) Value {
	m.known = append(m.known, key)
	v := m.find(key)
	if v.Present() && m.at.origins != nil {
		m.at.origins[v.key] = v.Where()
	}
	return v
}

// find is the value of a key, or an absent one in its place.
func (m *Map) find(key string) Value {
	v, ok := m.values[key]
	if !ok {
		return Value{line: m.at.line, file: m.at.file, log: m.at.log, origins: m.at.origins, key: join(m.at.key, key)}
	}
	return v
}

// Need is Get for a key that must be given.
func (m *Map) Need(key, try string) Value {
	v := m.Get(key)
	if !v.Present() && !m.broken {
		v.Fail("is missing", try)
	}
	return v
}

// Later refuses keys that are part of the file format but have no effect yet.
func (m *Map) Later(keys ...string) {
	for _, key := range keys {
		m.later = append(m.later, key)
		if v := m.find(key); v.Present() {
			v.Fail("not supported yet", "leave it out")
		}
	}
}

// All asks for every key, in the file's order: the keys are the operator's own words.
func (m *Map) All() func(yield func(string, Value) bool) {
	return func(yield func(string, Value) bool) {
		for _, key := range m.order {
			if !yield(key, m.Get(key)) {
				return
			}
		}
	}
}

// Names lists the keys in the file's order, without asking for them.
func (m *Map) Names() []string { return slices.Clone(m.order) }

// Done refuses every key that nobody asked for.
func (m *Map) Done() {
	for _, key := range m.order {
		if slices.Contains(m.known, key) || slices.Contains(m.later, key) {
			continue
		}
		try := DidYouMean(key, m.known)
		if c := Closest(key, m.later); c != "" {
			try = "did you mean " + c + "?"
		}
		m.values[key].Fail("unknown key", try)
	}
}

// Origins maps every key that was asked for and given to its "file:line".
func (m *Map) Origins() map[string]string { return m.at.origins }
