// Command epud is the node daemon of EPU.
package main

import (
	"context"
	"os"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/daemon"
)

func main() {
	streams := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	env := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	os.Exit(daemon.Main(context.Background(), os.Args[1:], os.Environ(), streams, env))
}
