package params

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Goal: every place that names a sensor is found, so that one that is missing is told before the policy
// runs. Method: parameters of each shape, with and without values, old names and faults.
func TestSensors(t *testing.T) {
	set := Set{
		{Name: "queue", Type: SensorNamed, Default: "queue-length", Aliases: []Alias{{Name: "old_queue"}}},
		{Name: "idle", Type: SensorNamed},
		{Name: "others", Type: List, Of: SensorNamed},
		{Name: "by_site", Type: Map, Of: SensorNamed},
		{Name: "label", Type: Text, Default: "no sensor"},
		{Name: "words", Type: List, Of: Text},
		{Name: "site", Type: SiteNamed, Aliases: []Alias{{Name: "force_site"}}},
	}
	for _, tt := range []struct {
		conf map[string]any
		want []Named
	}{
		{nil, []Named{{"queue", "queue-length"}}},
		{map[string]any{"old_queue": "q", "idle": 5.0, "words": []any{"x"}}, []Named{{"old_queue", "q"}}},
		{
			map[string]any{"queue": "a", "idle": "b", "others": []any{"c", 1.0, "d"}, "by_site": map[string]any{"z": "f", "y": "e"}},
			[]Named{{"queue", "a"}, {"idle", "b"}, {"others[0]", "c"}, {"others[2]", "d"}, {"by_site.y", "e"}, {"by_site.z", "f"}},
		},
	} {
		if diff := cmp.Diff(tt.want, set.Sensors(tt.conf)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.conf, diff)
		}
	}
	sites := set.Sites(map[string]any{"force_site": "mars", "queue": "q"})
	if diff := cmp.Diff([]Named{{"force_site", "mars"}}, sites); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}

// Goal: an empty text takes back a setting that may be left out, and nothing else. Method: one for parameters with and
// without a default, and for what is required.
func TestEmptyTextIsNone(t *testing.T) {
	set := Set{
		{Name: "site", Type: SiteNamed},
		{Name: "label", Type: Text, Default: "x"},
		{Name: "most", Type: Integer},
		{Name: "queue", Type: SensorNamed, Required: true},
		{Name: "tags", Type: List, Of: Text},
	}
	old := map[string]any{"queue": "q", "site": "near", "most": 3}
	rule := func(map[string]any) []Problem { return nil }
	merged, changed, problems := set.Reconfigure(old, map[string]any{"site": "", "label": "", "most": ""}, rule)
	if diff := cmp.Diff(map[string]any{"queue": "q", "label": ""}, merged); diff != "" || problems != nil {
		t.Errorf("%v (-want +got):\n%s", problems, diff)
	}
	if diff := cmp.Diff([]string{"label", "most", "site"}, changed); diff != "" {
		t.Error(diff)
	}
	if _, _, problems = set.Reconfigure(old, map[string]any{"queue": "", "tags": ""}, rule); len(problems) != 2 {
		t.Errorf("got %v, want both refused", problems)
	}
}
