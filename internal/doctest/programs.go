package doctest

import (
	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/agent"
	"github.com/nimbus-epu/epu/internal/cli/epumgmt"
	"github.com/nimbus-epu/epu/internal/daemon"
)

// programs gives the command tree of each program that pages may name. A program that is not listed
// does not exist as far as the documentation is concerned.
func programs() map[string]func() *cobra.Command {
	return map[string]func() *cobra.Command{
		"epu-agent": agent.Root,
		"epud":      daemon.Root,
		"epumgmt":   epumgmt.Root,
	}
}
