package actors

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
)

// Goal: a snapshot is read as encoding/json reads it, though its rows are read by hand; a field that is added to a
// row and forgotten there is found. Method: states with every field set, however deep, and with none.
func TestRestoreReadsEveryField(t *testing.T) {
	for _, full := range []bool{true, false} {
		pool, site := poolState{Launches: map[epu.LaunchID]*poolLaunch{}}, siteState{Launches: map[epu.LaunchID]*siteLaunch{}}
		if full {
			fill(reflect.ValueOf(&pool).Elem(), 1)
			fill(reflect.ValueOf(&site).Elem(), 1)
		}
		pool.Launches["web-1-1"], site.Launches["web-1-1"] = &poolLaunch{}, &siteLaunch{}
		restoresAs(t, NewController(epu.DefaultOwner, "web", SiteIdentity{Epoch: 1}, time.Unix(0, 0)), pool)
		restoresAs(t, NewSite(epu.SiteSpec{Name: "cloud"}, SiteIdentity{Epoch: 1}, time.Unix(0, 0)), site)
	}
}

// Goal: a row of failed launches that an older version stored, without its beginning, is told all the same. Method:
// the view of such a state, and of one in which none failed.
func TestRowWithoutBeginningIsTold(t *testing.T) {
	last := time.Unix(1000, 0)
	c := NewController(epu.DefaultOwner, "web", SiteIdentity{Epoch: 1}, last)
	c.failedFor = "no room"
	if v := c.view(last); v.LaunchFault != "" || !v.LaunchesFail.IsZero() {
		t.Errorf("with no failure: %q since %v", v.LaunchFault, v.LaunchesFail)
	}
	c.st.Row = lifecycle.Streak{Failures: 2, Last: last}
	if v := c.view(last); v.LaunchFault != "no room" || !v.LaunchesFail.Equal(last) {
		t.Errorf("got %q since %v, want %q since %v", v.LaunchFault, v.LaunchesFail, c.failedFor, last)
	}
}

// restoresAs gives a core the snapshot of a state: its own must then have the same.
func restoresAs(t *testing.T, c Core, state any) {
	t.Helper()
	raw, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Restore(raw); err != nil {
		t.Fatalf("%T: %v in %s", c, err, raw)
	}
	if got, err := json.Marshal(c.State()); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("%T: got %s, %v\nof %s", c, got, err, raw)
	}
}

// fill sets everything below a value to something that is not zero, and texts to such that have to be escaped.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(n) / 4)
	case reflect.String:
		v.SetString("a \"<b>\\\n\u00e9\u2028\U0001f600 " + string(rune('a'+n)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"n":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(v.Index(i), n+i)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 2 {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n+i)
			fill(elem, n+i)
			v.SetMapIndex(key, elem)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf("any"))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(n), 5000).UTC()))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	}
}

// Goal: snapshots that older versions wrote, or a person by hand, are read. Method: one with its members in another
// order, spaces, nulls and members that nobody knows.
func TestRestoreReadsWhatOthersWrote(t *testing.T) {
	c := NewController(epu.DefaultOwner, "web", SiteIdentity{Epoch: 1}, time.Unix(0, 0))
	if err := c.Restore([]byte(` { "launches" : { "web-1-1" : { "slots" : [ { "in" : true , "Zone" : "z\u0061" , "later" : {"a":[1,{}]} , "State" : 600 } , null ] ,
		"opened" : "2026-01-02T03:04:05+01:00" , "vars" : null , "newer" : [ "x" ] , "site" : "cloud" } , "web-1-2" : { "slots" : null } } ,
		"rev" : 7 , "newest" : { } , "epoch" : 1 } `)); err != nil {
		t.Fatal(err)
	}
	l := c.st.Launches["web-1-1"]
	if len(c.st.Launches) != 2 || c.st.Rev != 7 || c.st.Epoch != 1 || l == nil || len(l.Slots) != 2 || l.Site != "cloud" ||
		!l.Opened.Equal(time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)) || !l.Slots[0].CheckedIn || l.Slots[0].Zone != "za" || l.Slots[0].State != epu.Running {
		t.Errorf("got %+v with %+v", c.st, l)
	}
	for _, raw := range []string{``, `[]`, `{`, `{"launches":[]}`, `{"launches":{"web-1-1":{"slots":[{"State":600000}]}}}`, `{"launches":{"web-1-1":{"opened":"soon"}}}`, `{"rev":"x"}`} {
		if err := NewController(epu.DefaultOwner, "web", SiteIdentity{Epoch: 1}, time.Unix(0, 0)).Restore([]byte(raw)); err == nil {
			t.Errorf("%s was read", raw)
		}
	}
}
