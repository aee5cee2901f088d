package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	if quoted, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		name := strings.Trim(quoted, `"`)
		known := keysOf(reflect.TypeOf(into))
		near := params.DidYouMean(name, known)
		if near == "" {
			near = "; tests know " + strings.Join(known, ", ")
		}
		return fmt.Errorf("unknown key '%s'%s", name, near)
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

// keysOf lists the keys that a table of a test may have: those of the type and of all that it holds, since
// the decoder does not say in which of them it met a strange one.
func keysOf(t reflect.Type) (keys []string) {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for i := range t.NumField() {
				f := t.Field(i)
				if name := f.Tag.Get("json"); name != "" && !slices.Contains(keys, name) {
					keys = append(keys, name)
				}
				walk(f.Type)
			}
		}
	}
	walk(t)
	return keys
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
