package clitest

import (
	"context"
	"os"
	"os/signal"
	"strconv"

	"github.com/nimbus-epu/epu/internal/cli"
)

// Program runs a command line as its own program does, for tests whose binary plays that program, and gives the exit
// code. Change makes the surroundings those of the test; with TEST_TTY in the environment they are a terminal of that
// width.
func Program(run func(context.Context, []string, cli.IO, cli.Env) int, change func(*cli.Env)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	e := cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)
	change(&e)
	if w, err := strconv.Atoi(e.Getenv("TEST_TTY")); err == nil {
		e.StdoutTTY, e.StderrTTY, e.StdinTTY, e.Width = true, true, true, w
	}
	return run(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, e)
}
