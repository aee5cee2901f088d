package epu_test

import (
	"testing"

	"github.com/nimbus-epu/epu"
)

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 workers", 1: "1 worker", 2: "2 workers"} {
		if got := epu.Plural(n, "worker"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
