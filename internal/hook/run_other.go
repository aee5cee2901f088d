//go:build !linux

package hook

import (
	"context"
	"errors"

	"github.com/nimbus-epu/epu"
)

// Do needs process groups that can be ended without a race, which we know how to do on Linux.
func (p Program) Do(context.Context) error {
	return epu.E(epu.Invalid, "run", "a hook", errors.New("this system can't; nodes that run hooks need Linux"))
}
