package params_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/policies/params"
)

// The goal is that a variant is what it says, and that the flags that mend it do. Method: single cases, and random
// configurations that are made good with what was said.

func office() params.Set {
	return params.Set{
		{Name: "day", Type: params.Integer, Required: true, Aliases: []params.Alias{{Name: "daytime"}}},
		{Name: "night", Type: params.Integer, Default: 1, Aliases: []params.Alias{{Name: "nighttime"}}},
		{Name: "zone", Type: params.Text},
	}
}

func fine(map[string]any) []params.Problem { return nil }

func TestMend(t *testing.T) {
	for _, c := range []struct {
		conf map[string]any
		v    params.Variant
		want string
	}{
		{map[string]any{"day": 3}, params.Variant{}, ""},
		{nil, params.Variant{}, "--set day=VALUE"},
		{map[string]any{"high": 3, "low": 2}, params.Variant{}, "--unset high,low --set day=VALUE"},
		{map[string]any{"high": 3, "daytime": 2}, params.Variant{}, "--unset high"},
		{map[string]any{"day": "x", "night": "y"}, params.Variant{}, "--unset night --set day=VALUE"},
		{map[string]any{"day": 1, "daytime": 2}, params.Variant{}, "--unset daytime"},
		{map[string]any{"day": 1}, params.Variant{Changes: map[string]any{"night": "x"}}, ""},
		{map[string]any{"day": 1}, params.Variant{Changes: map[string]any{"nigth": 1}}, ""},
		{map[string]any{"day": 1}, params.Variant{Unset: []string{"day"}}, "--set day=VALUE"},
		{map[string]any{"high": 1}, params.Variant{Whole: true}, "--set day=VALUE"},
	} {
		_, problems := office().Vary(c.conf, c.v, fine)
		if got := office().Mend(c.conf, c.v, problems); got != c.want {
			t.Errorf("%v with %+v: got %q, want %q (%v)", c.conf, c.v, got, c.want, problems)
		}
	}
}

// Goal: what is wrong within a value is mended as the whole value is, once. Method: a rule with two problems in it.
func TestMendOfAnEntry(t *testing.T) {
	within := func(map[string]any) []params.Problem {
		return []params.Problem{{Key: "night[0].count", Text: "x"}, {Key: "night[1]", Text: "x"}, {Key: "day.a", Text: "x"}, {Key: "day.b", Text: "x"}}
	}
	conf := map[string]any{"daytime": 1, "night": 2}
	_, problems := office().Vary(conf, params.Variant{}, within)
	if got, want := office().Mend(conf, params.Variant{}, problems), "--unset night --set day=VALUE"; got != want {
		t.Errorf("got %q, want %q (%v)", got, want, problems)
	}
}

func TestMendMends(t *testing.T) {
	keys := rapid.SampledFrom([]string{"day", "daytime", "night", "nighttime", "zone", "high", "low"})
	values := rapid.OneOf(rapid.Just[any](3), rapid.Just[any]("x"))
	rapid.Check(t, func(rt *rapid.T) {
		conf := rapid.MapOf(keys, values).Draw(rt, "conf")
		before := len(conf)
		var v params.Variant
		for range 3 {
			_, problems := office().Vary(conf, v, fine)
			if problems == nil {
				break
			}
			for flag := range strings.SplitSeq(office().Mend(conf, v, problems), "--") {
				if what, ok := strings.CutPrefix(strings.TrimSpace(flag), "unset "); ok {
					v.Unset = append(v.Unset, strings.Split(what, ",")...)
				} else if ok = strings.Contains(flag, "day=VALUE"); ok {
					v.Changes = map[string]any{"day": 5}
				}
			}
		}
		if _, problems := office().Vary(conf, v, fine); problems != nil || v.Idle(conf) != nil || len(conf) != before {
			rt.Fatalf("%v with %+v: %v, %v", conf, v, problems, v.Idle(conf))
		}
	})
}

func TestIdle(t *testing.T) {
	conf := map[string]any{"high": 1, "low": 2}
	got := params.Variant{Unset: []string{"hihg", "low", "x"}}.Idle(conf)
	want := []params.Problem{
		{Key: "hihg", Text: "there is nothing to unset: the pool does not set it; did you mean 'high'?"},
		{Key: "x", Text: "there is nothing to unset: the pool does not set it, it sets high, low"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := (params.Variant{Unset: []string{"low"}, Whole: true}).Idle(conf); len(got) != 1 {
		t.Errorf("beside a whole configuration: %v", got)
	}
}
