//go:build !linux

package local

import (
	"fmt"
	"os"

	"github.com/nimbus-epu/epu/iaas"
)

// Provider can't be had on this system.
type Provider struct{ iaas.Provider }

// New always fails on this system.
func New(string, Options) (*Provider, error) { return nil, errNotLinux }

// KeeperMain always fails on this system.
func KeeperMain([]string) int {
	fmt.Fprintln(os.Stderr, errNotLinux)
	return 1
}
