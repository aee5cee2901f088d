//go:build !linux

package local

import (
	"errors"
	"fmt"
	"os"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// errNotLinux is the answer on other systems: subreapers, OFD locks and /proc have no equal there.
var errNotLinux = &epu.Error{
	Kind: epu.Invalid, Op: "open", On: "local site",
	Err: errors.New("local instances need Linux"),
	Try: "use a site with another driver, or run the node on Linux",
}

// Provider can't be had on this system.
type Provider struct{ iaas.Provider }

// New always fails on this system.
func New(string, Options) (*Provider, error) { return nil, errNotLinux }

// KeeperMain always fails on this system.
func KeeperMain([]string) int {
	fmt.Fprintln(os.Stderr, errNotLinux)
	return 1
}
