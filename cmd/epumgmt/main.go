package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/epumgmt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not look at the first
	streams := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	code := epumgmt.Main(ctx, os.Args[1:], streams, cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr))
	stop()
	os.Exit(code)
}
