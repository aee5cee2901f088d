//go:build linux

// Command demo tells the story of EPU on a terminal with the real programs: a pool comes up, heals, is
// scaled, outlives the daemon's sudden death, and ends. It does what a user would do, through epumgmt,
// checks every step against the machine, and takes everything away again that it started. On a terminal
// it stops between chapters; with CI=true or DEMO=auto, or off a terminal, it goes through by itself.
//
//	go run ./internal/demo FOLDER   # of epud and epumgmt
//
// Start reading at story.go.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nimbus-epu/epu/internal/cli"
)

func main() {
	// SIGPIPE too: a reader that goes away must not end the demo before it has cleared away.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	env := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	err := demo(ctx, env, os.Environ(), os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(cli.CodeFailed)
	}
}
