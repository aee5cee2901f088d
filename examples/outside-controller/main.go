// Command outside-controller drives the size of a pool from outside, through a node's HTTP API. It reads demands on its
// standard input, one number a line, and keeps a worker for each so many:
//
//	while sleep 5; do psql -At -c 'select count(*) from jobs'; done | outside-controller --pool epu-outside --per 20
//
// With each line it pushes a reading, which shows the pool's policy that it lives, and when the number of workers
// changes it sets that by reconfigure. It knows nothing of EPU but two requests.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	c := controller{client: &http.Client{Timeout: 10 * time.Second}, said: -1, out: os.Stdout, log: os.Stderr}
	flag.StringVar(&c.node, "node", "http://127.0.0.1:7421", "the node's address for HTTP")
	flag.StringVar(&c.user, "user", "outside-controller", "name for the audit")
	flag.StringVar(&c.pool, "pool", "epu-outside", "the pool")
	flag.Float64Var(&c.per, "per", 20, "how much demand one worker is for")
	flag.Parse()
	// Both requests say how things are to be, so an interrupt may come at any time; a second one ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := c.follow(ctx, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "outside-controller:", err)
		os.Exit(1)
	}
}
