package spelling_test

import (
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/policies/spelling"
)

// Goal: a slip of the finger and half a name find their name, another word does not. Method: table.
func TestNearest(t *testing.T) {
	long := strings.Repeat("a", 70)
	known := []string{"id", "idle_since", "running", "scale_to", "max", "min", "missing_after", long}
	for word, want := range map[string]string{
		"runing": "running", "runnign": "running", "rnunign": "running", "idle": "idle_since", "scal": "scale_to", "scale": "scale_to",
		"mni": "min", "mux": "max", "mi": "", "i": "", "": "", "missing_fater": "missing_after", "misssingafterr": "missing_after",
		"colour": "", "ready": "", long[:69]: "", long + "b": "",
	} {
		if got := spelling.Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := spelling.Nearest("abd", []string{"abc", "abe"}); got != "abc" {
		t.Errorf("of two that are as near: got %q, want the first", got)
	}
}
