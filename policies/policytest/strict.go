package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// strict decodes and refuses fields that do not exist: a misspelt expectation would never fail. Its errors
// are for the author of a test, who wrote Lua and knows of no JSON.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		where := "it"
		if kind.Field != "" {
			where = strings.TrimPrefix(kind.Field, "Step.") // which a case has within it
		}
		return fmt.Errorf("%s is a %s, but must be %s", where, luaKind(kind.Value), wanted(kind.Type))
	}
	if err == nil {
		return nil
	}
	var within stray // of a table that reads itself and does not know where it is
	unknown := strings.HasPrefix(err.Error(), "json: unknown field ") || errors.As(err, &within)
	var raw any
	if unknown && json.Unmarshal(b, &raw) == nil {
		if k, found := strayOf(raw, reflect.TypeOf(into), ""); found {
			return k
		}
	}
	return err
}

// luaKind is a kind of JSON in Lua's words.
func luaKind(kind string) string {
	switch word, _, _ := strings.Cut(kind, " "); word {
	case "object", "array":
		return "table"
	case "bool":
		return "boolean"
	case "string":
		return "text"
	default:
		return word
	}
}

func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	}
	return "a table"
}

// stray is a key that its table does not have.
type stray struct {
	name  string
	at    string   // the key of the table; empty for the outermost
	known []string // keys of the table
}

func (k stray) Error() string {
	where := ""
	if k.at != "" {
		where = k.at + ": "
	}
	return fmt.Sprintf("%sunknown key '%s'%s (known there: %s)", where, k.name, params.DidYouMean(k.name, k.known), strings.Join(k.known, ", "))
}

// strayOf finds the first key that the type does not have where it stands: the decoder says neither where it met one
// nor what that table knows.
func strayOf(v any, t reflect.Type, at string) (k stray, found bool) {
	switch t.Kind() {
	case reflect.Pointer:
		return strayOf(v, t.Elem(), at)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			list = []any{v} // one entry may stand for a list of one
		}
		for _, e := range list {
			if k, found = strayOf(e, t.Elem(), at); found {
				return k, true
			}
		}
	case reflect.Map:
		m, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if k, found = strayOf(m[name], t.Elem(), at); found {
				return k, true
			}
		}
	case reflect.Struct:
		m, _ := v.(map[string]any)
		names, types := fieldsOf(t)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) // as the decoder does
			if i < 0 {
				return stray{name: name, at: at, known: names}, true
			}
			if k, found = strayOf(m[name], types[i], names[i]); found {
				return k, true
			}
		}
	}
	return stray{}, false
}

// fieldsOf lists the keys that a table of a test may have, with their types.
func fieldsOf(t reflect.Type) (names []string, types []reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			within, of := fieldsOf(f.Type)
			names, types = append(names, within...), append(types, of...)
		} else if name := f.Tag.Get("json"); name != "" {
			names, types = append(names, name), append(types, f.Type)
		}
	}
	return names, types
}

// Table is the global under which test files find the functions of tests.
const Table = "test"

// Functions describes what test files can call beside what policies can.
func Functions() []policies.Function {
	return []policies.Function{
		sandbox.F(Table, "policy", "name: string", "", "Names the policy that the cases of this file are about, by its file without .lua. It is looked up beside the test first.", nil),
		sandbox.F(Table, "case", "case: epu.TestCase", "", "States one test: a situation, or several that follow each other, and what the policy should want in it. A key that does not exist is an error; what expect leaves out is not looked at.", nil),
	}
}

// Classes describes the tables that Functions take. They are made from the types that tests are read into, so that
// neither can have a key that the other does not.
func Classes() []policies.Class {
	step := classOf("epu.TestStep", "One decision of a test. What a step leaves out of workers, sensors, work, windows, places and site_backoff stays as it was in the step before.", Step{})
	whole := classOf("epu.TestCase", "One test of a policy. Without steps it is a single decision.", Case{})
	whole.Parent = step.Name
	whole.Fields[0].Type = strings.TrimSuffix(whole.Fields[0].Type, "?") // all but the name may be left out
	return []policies.Class{
		whole, step,
		classOf("epu.TestExpect", "What a decision should be. What it leaves out is not looked at.", Expect{}),
		classOf("epu.TestWorker", "One worker, or several that are equal.", Worker{}),
		classOf("epu.TestSensor", "The newest reading of a sensor.", Sensor{}),
		classOf("epu.TestWindow", "The readings of a sensor over a span.", Window{}),
		classOf("epu.TestWork", "A finite amount of work.", Work{}),
	}
}

// classOf describes a type by the tags of its fields. What a case has of a step is the parent's.
func classOf(name, doc string, of any) policies.Class {
	c := policies.Class{Name: name, Doc: doc}
	t := reflect.TypeOf(of)
	for i := range t.NumField() {
		f := t.Field(i)
		switch key := f.Tag.Get("json"); {
		case f.Anonymous && f.Type != reflect.TypeFor[Step]():
			c.Fields = append(c.Fields, classOf("", "", reflect.Zero(f.Type).Interface()).Fields...)
		case key != "":
			c.Fields = append(c.Fields, sandbox.Attr{Name: key, Type: luaType(f.Type) + "?", Doc: f.Tag.Get("doc")})
		}
	}
	return c
}

// luaType is a type in the words of the Lua language server.
func luaType(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Sensor]():
		return "number|epu.TestSensor"
	case reflect.TypeFor[map[string]string]():
		return "table<string, string>"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return luaType(t.Elem())
	case reflect.Slice: // one entry may stand for a list of one
		one := luaType(t.Elem())
		return one + "|" + one + "[]"
	case reflect.Map:
		return "table<string, " + luaType(t.Elem()) + ">"
	case reflect.Struct:
		return "epu.Test" + t.Name()
	case reflect.Int:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.Interface:
		return "any"
	}
	return "string"
}
