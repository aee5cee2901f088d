// Command epud is the node daemon of EPU.
package main

import (
	"context"
	"os"

	"github.com/nimbus-epu/epu/iaas/local"
	"github.com/nimbus-epu/epu/internal/agent"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/daemon"
)

func main() {
	// The local site starts this binary again: as the keeper of an instance, and as its agent.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case local.KeeperCommand:
			os.Exit(local.KeeperMain(os.Args[2:]))
		case daemon.AgentCommand:
			os.Exit(agent.Main(os.Args[2:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
		}
	}
	streams := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	env := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	os.Exit(daemon.Main(context.Background(), os.Args[1:], os.Environ(), streams, env))
}
