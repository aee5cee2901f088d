// Command sleeper-queue is a work producer and a worker around a RabbitMQ queue, to see a pool follow
// its load. A job is a time such as 2s; the worker sleeps for as long.
//
//	sleeper-queue produce --burst 200 --length 2s
//	sleeper-queue work
//
// Both find the broker in AMQP_URL (default amqp://guest:guest@127.0.0.1:5672/) and the queue in QUEUE
// (default sleep). Nothing here is special to EPU but the function say in work.go, which tells the agent
// whether the worker is busy.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], settings{
		url:    cmp.Or(os.Getenv("AMQP_URL"), "amqp://guest:guest@127.0.0.1:5672/"),
		queue:  cmp.Or(os.Getenv("QUEUE"), "sleep"),
		status: os.Getenv("EPU_STATUS_FILE"),
		out:    os.Stdout,
	})
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stdout, usage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "sleeper-queue:", err)
		os.Exit(1)
	}
}
