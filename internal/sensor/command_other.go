//go:build !linux

package sensor

import (
	"context"
	"errors"

	"github.com/nimbus-epu/epu"
)

// command needs process groups that can be ended without a race, which we know how to do on Linux.
func command(context.Context, []string) (float64, error) {
	return 0, epu.E(epu.Invalid, "run", "a sensor's command", errors.New("this system can't; nodes that run commands need Linux"))
}
