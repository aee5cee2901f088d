package iaas

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nimbus-epu/epu"
)

// ErrDryRun is the cause of every refusal of a Dry provider.
var ErrDryRun = errors.New("the site is in dry run")

// Dry is a provider whose writes never reach the cloud. It sits on the site and not in the policy,
// since a policy is only one of several that may ask for machines.
type Dry struct {
	Provider
	launches     atomic.Int64
	terminations atomic.Int64
}

// DryRun lets reads through to p and refuses Launch and Terminate with an error of kind Invalid: it
// will not succeed however often it is repeated, and nothing was done.
func DryRun(p Provider) *Dry { return &Dry{Provider: p} }

// Refused counts the launches and terminations that were refused.
func (d *Dry) Refused() (launches, terminations int64) {
	return d.launches.Load(), d.terminations.Load()
}

// Launch refuses.
func (d *Dry) Launch(_ context.Context, req LaunchRequest) ([]Instance, error) {
	d.launches.Add(1)
	return nil, dryError("launch", string(req.Token), fmt.Sprintf("%d to %d machines of %s were not launched", req.Min, req.Max, req.Image))
}

// Terminate refuses.
func (d *Dry) Terminate(_ context.Context, ids []epu.InstanceID) error {
	d.terminations.Add(1)
	return dryError("terminate", fmt.Sprintf("%d machines", len(ids)), "none was terminated")
}

func dryError(op, on, what string) error {
	e := epu.E(epu.Invalid, op, on, fmt.Errorf("%w: %s", ErrDryRun, what))
	e.Try = "set dry_run: false in the site's file to let it act"
	return e
}
