package persistence_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

type opened struct {
	Launch string `json:"launch"`
	Slots  int    `json:"slots,omitempty"`
}

type ended struct {
	Worker string `json:"worker"`
}

func testCodec() *persistence.Codec {
	c := persistence.NewCodec()
	persistence.Register[opened](c, "launch-opened", 3)
	persistence.Register[ended](c, "worker-ended", 1)
	c.Upgrade("launch-opened", 1, func(d json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(strings.ReplaceAll(string(d), `"id"`, `"launch"`)), nil
	})
	c.Upgrade("launch-opened", 2, func(d json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(strings.ReplaceAll(string(d), `"n"`, `"slots"`)), nil
	})
	return c
}

// Goal: what is encoded is decoded to the same value. Method: one event of each type, one with
// characters that JSON encoders like to escape.
func TestCodecRoundTrip(t *testing.T) {
	c := testCodec()
	for _, want := range []any{opened{Launch: "epu-web-1-7", Slots: 2}, opened{}, ended{Worker: "a<b>&c"}} {
		ev, err := c.Encode(want)
		if err != nil {
			t.Fatalf("encode %#v: %v", want, err)
		}
		if strings.Contains(string(ev.Data), `\u00`) {
			t.Errorf("encode %#v: data %s is escaped for HTML", want, ev.Data)
		}
		got, err := c.Decode(ev)
		if err != nil || got != want {
			t.Errorf("round trip of %#v: got %#v, %v", want, got, err)
		}
	}
	if diff := cmp.Diff([]string{"launch-opened", "worker-ended"}, c.Types()); diff != "" {
		t.Error(diff)
	}
}

// Goal: old events are readable for ever, newer ones are refused with advice. Method: a table of
// stored events.
func TestCodecDecode(t *testing.T) {
	c := testCodec()
	for _, tc := range []struct {
		name  string
		ev    persistence.Event
		want  any
		newer bool
		text  string
	}{
		{"oldest version, two upgrades", persistence.Event{Type: "launch-opened", V: 1, Data: []byte(`{"id":"x-1-1","n":4}`)}, opened{"x-1-1", 4}, false, ""},
		{"one upgrade", persistence.Event{Type: "launch-opened", V: 2, Data: []byte(`{"launch":"x-1-1","n":4}`)}, opened{"x-1-1", 4}, false, ""},
		{"unknown field", persistence.Event{Type: "worker-ended", V: 1, Data: []byte(`{"worker":"w","later":{}}`)}, ended{"w"}, false, ""},
		{"no data", persistence.Event{Type: "worker-ended", V: 1}, ended{}, false, ""},
		{"newer version", persistence.Event{Type: "worker-ended", V: 2, Data: []byte(`{}`)}, nil, true, "up to version 1"},
		{"unknown type", persistence.Event{Type: "moon-landed", V: 1}, nil, true, `"moon-landed"`},
		{"no such version", persistence.Event{Type: "launch-opened", V: 0, Data: []byte(`{}`)}, nil, false, "no upgrade"},
		{"wrong type of field", persistence.Event{Type: "worker-ended", V: 1, Data: []byte(`{"worker":1}`)}, nil, false, "worker-ended"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := c.Decode(tc.ev)
			if tc.want != nil {
				if err != nil || got != tc.want {
					t.Fatalf("got %#v, %v, want %#v", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("got %v, want an error with %q", err, tc.text)
			}
			if errors.Is(err, persistence.ErrNewer) != tc.newer || (epu.TryOf(err) != "") != tc.newer {
				t.Errorf("got %v with advice %q, want newer %v", err, epu.TryOf(err), tc.newer)
			}
		})
	}
	if _, err := c.Encode(&ended{}); err == nil {
		t.Error("encoding a pointer: got no error")
	}
	if _, err := c.Encode(nil); err == nil {
		t.Error("encoding nil: got no error")
	}
}

// Goal: a broken set-up is found at once. Method: each misuse must panic.
func TestCodecRegisterPanics(t *testing.T) {
	for name, f := range map[string]func(c *persistence.Codec){
		"name twice":        func(c *persistence.Codec) { persistence.Register[struct{ A int }](c, "worker-ended", 1) },
		"type twice":        func(c *persistence.Codec) { persistence.Register[ended](c, "other", 1) },
		"no struct":         func(c *persistence.Codec) { persistence.Register[int](c, "int", 1) },
		"no version":        func(c *persistence.Codec) { persistence.Register[struct{ A int }](c, "a", 0) },
		"upgrade of none":   func(c *persistence.Codec) { c.Upgrade("nope", 1, nil) },
		"upgrade of newest": func(c *persistence.Codec) { c.Upgrade("worker-ended", 1, nil) },
		"upgrade twice":     func(c *persistence.Codec) { c.Upgrade("launch-opened", 1, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			f(testCodec())
		})
	}
}

// Goal: no stored bytes crash a reader, and what decodes can be stored again. Method: fuzz.
func FuzzCodecDecode(f *testing.F) {
	f.Add("launch-opened", 1, []byte(`{"id":"x-1-1","n":4}`))
	f.Add("worker-ended", 1, []byte(`{"worker":"w"}`))
	f.Add("worker-ended", 9, []byte(`null`))
	f.Add("", 0, []byte(``))
	c := testCodec()
	f.Fuzz(func(t *testing.T, typ string, v int, data []byte) {
		got, err := c.Decode(persistence.Event{Type: typ, V: v, Data: data})
		if err != nil {
			return
		}
		ev, err := c.Encode(got)
		if err != nil {
			t.Fatalf("decoded %#v, which does not encode: %v", got, err)
		}
		again, err := c.Decode(ev)
		if err != nil || again != got {
			t.Fatalf("got %#v, %v, want %#v", again, err, got)
		}
	})
}

// Goal: a query's bounds are as documented. Method: a table around one record.
func TestQueryMatches(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := persistence.Record{ID: "1", Kind: persistence.KindEvent, Pool: "epu-web", Time: at}
	for _, tc := range []struct {
		q    persistence.Query
		want bool
	}{
		{persistence.Query{}, true},
		{persistence.Query{Kind: persistence.KindEvent, Pool: "epu-web", ID: "1"}, true},
		{persistence.Query{Kind: persistence.KindAudit}, false},
		{persistence.Query{Pool: "epu-db"}, false},
		{persistence.Query{ID: "2"}, false},
		{persistence.Query{Since: at, Until: at.Add(1)}, true},
		{persistence.Query{Since: at.Add(1)}, false},
		{persistence.Query{Until: at}, false},
	} {
		if got := tc.q.Matches(r); got != tc.want {
			t.Errorf("%+v: got %v, want %v", tc.q, got, tc.want)
		}
	}
}

// Goal: a decision survives its record. Method: round trip; a record of another kind is refused.
func TestDecisionRecord(t *testing.T) {
	d := epu.Decision{
		ID: "01J", Pool: "epu-web", Owner: epu.DefaultOwner, Time: time.Unix(7, 0).UTC(),
		Wish: epu.Wish{Target: 3}, Reasons: []epu.Reason{{Rule: "preserve_n", Text: "3 wanted"}},
	}
	r, err := persistence.DecisionRecord(d)
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "01J" || r.Pool != "epu-web" || !r.Time.Equal(d.Time) {
		t.Errorf("got %+v", r)
	}
	got, err := r.Decision()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, got); diff != "" {
		t.Error(diff)
	}
	r.Kind = persistence.KindAudit
	if _, err := r.Decision(); epu.KindOf(err) != epu.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
}
