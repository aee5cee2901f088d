package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu/policies/params"
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
