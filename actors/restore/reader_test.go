package restore_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/actors/restore"
)

type row struct {
	Text  string         `json:"text"`
	Word  string         `json:"word,omitempty"`
	Int   int16          `json:"int"`
	Small uint8          `json:"small"`
	Big   uint64         `json:"big"`
	Bool  bool           `json:"bool"`
	Time  time.Time      `json:"time"`
	Any   map[string]any `json:"any"`
	List  []row          `json:"list"`
}

func (w *row) read(r *restore.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "text":
			restore.Text(r, &w.Text)
		case "word":
			restore.Word(r, &w.Word)
		case "int":
			restore.Int(r, &w.Int)
		case "small":
			restore.Int(r, &w.Small)
		case "big":
			restore.Uint(r, &w.Big)
		case "bool":
			r.Bool(&w.Bool)
		case "time":
			r.Time(&w.Time)
		case "any":
			r.JSON(&w.Any)
		case "list":
			restore.List(r, &w.List, func(w *row) { w.read(r) })
		default:
			r.Skip()
		}
	})
}

type state struct {
	Rows  map[string]*row `json:"rows"`
	Other []string        `json:"other"`
	Last  string          `json:"last-name"`
}

func read(raw []byte) (s state, err error) {
	rest, err := restore.Rows(raw, "rows", func(r *restore.Reader, key string) {
		if s.Rows == nil {
			s.Rows = map[string]*row{}
		}
		w := &row{}
		w.read(r)
		s.Rows[key] = w
	})
	if err == nil {
		err = json.Unmarshal(rest, &s)
	}
	return s, err
}

// Goal: what encoding/json wrote is read as encoding/json reads it. Method: any states.
func TestRowsAreReadAsWritten(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "us-east-1a", "\"\\/<>&\u2028\x00"}))
	var rows func(deep int) *rapid.Generator[row]
	rows = func(deep int) *rapid.Generator[row] {
		return rapid.Custom(func(rt *rapid.T) row {
			w := row{
				Text: text.Draw(rt, "text"), Word: text.Draw(rt, "word"), Int: rapid.Int16().Draw(rt, "int"), Small: rapid.Uint8().Draw(rt, "small"),
				Big: rapid.Uint64().Draw(rt, "big"), Bool: rapid.Bool().Draw(rt, "bool"), Time: time.Unix(rapid.Int64Range(0, 1<<35).Draw(rt, "s"), rapid.Int64Range(0, 999_999_999).Draw(rt, "ns")).UTC(),
			}
			if rapid.Bool().Draw(rt, "any") {
				w.Any = map[string]any{text.Draw(rt, "key"): text.Draw(rt, "value")}
			}
			if deep > 0 && rapid.Bool().Draw(rt, "has a list") {
				w.List = rapid.SliceOfN(rows(deep-1), 0, 5).Draw(rt, "list")
			}
			return w
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := state{Other: rapid.SliceOf(text).Draw(rt, "other"), Last: text.Draw(rt, "last"), Rows: map[string]*row{}}
		for range rapid.IntRange(1, 4).Draw(rt, "rows") {
			w := rows(2).Draw(rt, "row")
			s.Rows[text.Draw(rt, "name")] = &w
		}
		raw, err := json.Marshal(s)
		if err != nil {
			rt.Fatal(err)
		}
		var want state
		if err := json.Unmarshal(raw, &want); err != nil {
			rt.Fatal(err)
		}
		if got, err := read(raw); err != nil || !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v, %v\nwant %+v\nof %s", got, err, want, raw)
		}
	})
}

// Goal: a snapshot with something behind it is not taken for a whole one, as encoding/json does not take it. Method:
// the beginnings of all that JSON has, and what it has not.
func TestNothingFollowsTheObject(t *testing.T) {
	for _, whole := range []string{`{}`, `{"rows":{"a":{"int":1}}}`, `null`} {
		for _, tail := range []string{"{", "{}", "[", "]", "}", ",", ":", `"`, `"a"`, "-", "0", "1e", "n", "null", "t", "f", "x", "\x00", "\ufeff"} {
			if _, err := read([]byte(whole + " " + tail)); err == nil {
				t.Errorf("%s %q was read", whole, tail)
			}
		}
		if _, err := read([]byte(whole + " \t\r\n")); err != nil {
			t.Errorf("%s with space behind it gives %v", whole, err)
		}
	}
}

// Goal: whatever stands in a store ends in rows or in an error, and what is left is JSON if the whole was. Method:
// fuzz.
func FuzzRows(f *testing.F) {
	for _, raw := range []string{
		`{"rows":{"a":{"text":"x","int":-3,"list":[{},null,{"big":18446744073709551615}]}},"other":["y"]}`,
		`{"rows":{"a":{"time":"2026-01-02T03:04:05.6Z","any":{"b":[1,2.5e3,null]},"small":256}}}`, `{"rows":null}`, `{"x":{"rows":1}} {`, `{"rows":{"a":{"text":"\ud800\u0041`, `[]`, ``,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rest, err := restore.Rows(raw, "rows", func(r *restore.Reader, _ string) { new(row).read(r) })
		if err == nil && json.Valid(raw) && !json.Valid(rest) {
			t.Errorf("left %q of %q", rest, raw)
		}
	})
}
