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
}
