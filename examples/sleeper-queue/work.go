package main

import (
	"context"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	retryAfter = time.Second      // between attempts to reach a broker that is away
	leaseExtra = 10 * time.Second // that a job may take longer than it says, before the pool counts its worker as idle
)

// work takes jobs until it is told to stop. While the broker is away it waits: a worker that gave up
// would be replaced by one that can't work either.
func work(ctx context.Context, s settings) error {
	for {
		err := serve(ctx, s)
		if ctx.Err() != nil {
			fmt.Fprintln(s.out, "told to stop")
			return nil
		}
		if !away(err) {
			return err
		}
		fmt.Fprintf(s.out, "the broker is away: %v\n", err)
		pause(ctx, retryAfter)
	}
}

// pause waits for a while, or until the worker is told to stop.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// serve takes jobs one at a time while the broker is there. A job under way when the worker is told to
// stop is finished; one that a worker could not finish goes back to the queue by itself, for it was not
// acknowledged.
func serve(ctx context.Context, s settings) error {
	if err := say(s.status, "idle"); err != nil {
		return err
	}
	conn, ch, err := open(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	lost := conn.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	jobs, err := ch.ConsumeWithContext(ctx, s.queue, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume queue %s: %w", s.queue, err)
	}
	fmt.Fprintf(s.out, "waiting for jobs from queue %s\n", s.queue)
	for job := range jobs {
		if ctx.Err() != nil {
			return nil // not begun, so it goes back
		}
		if err := do(s, job); err != nil {
			return err
		}
	}
	select {
	case err := <-lost:
		if err != nil {
			return err
		}
	default:
	}
	return &amqp.Error{Code: amqp.ChannelError, Reason: "the queue was deleted"}
}

// do sleeps for as long as a job says. What is no job is thrown away: it would come back for ever.
func do(s settings, job amqp.Delivery) error {
	length, err := time.ParseDuration(string(job.Body))
	if err != nil || length < 0 {
		fmt.Fprintf(s.out, "thrown away: %.40q is no time\n", job.Body)
		return job.Reject(false)
	}
	if err := say(s.status, fmt.Sprintf("busy %v", length+leaseExtra)); err != nil {
		return err
	}
	time.Sleep(length)
	again := ""
	if job.Redelivered {
		again = ", delivered once before"
	}
	fmt.Fprintf(s.out, "%s: slept %v%s\n", job.MessageId, length, again)
	if err := job.Ack(false); err != nil {
		fmt.Fprintf(s.out, "%s: the broker does not know that it is done, and will deliver it again\n", job.MessageId)
		return err
	}
	return say(s.status, "idle")
}

// say tells the agent whether the worker is busy. The file is replaced, so that the agent never reads
// half a line.
func say(file, text string) error {
	if file == "" {
		return nil
	}
	if err := os.WriteFile(file+".new", []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
