package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// work takes jobs one at a time. A job under way when the worker is told to stop is finished; one that
// a worker could not finish goes back to the queue by itself, for it was not acknowledged.
func work(ctx context.Context, s settings) error {
	conn, ch, err := open(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	jobs, err := ch.ConsumeWithContext(ctx, s.queue, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume queue %s: %w", s.queue, err)
	}
	fmt.Fprintf(s.out, "waiting for jobs from queue %s\n", s.queue)
	if err := say(s.status, "idle"); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(s.out, "told to stop")
			return nil
		case job, ok := <-jobs:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("the broker closed the connection")
			}
			if err := do(s, job); err != nil {
				return err
			}
		}
	}
}

// do sleeps for as long as a job says. What is no job is thrown away: it would come back for ever.
func do(s settings, job amqp.Delivery) error {
	length, err := time.ParseDuration(string(job.Body))
	if err != nil || length < 0 {
		fmt.Fprintf(s.out, "thrown away: %.40q is no time\n", job.Body)
		return job.Reject(false)
	}
	if err := say(s.status, fmt.Sprintf("busy %v", length+10*time.Second)); err != nil {
		return err
	}
	time.Sleep(length)
	fmt.Fprintf(s.out, "slept %v\n", length)
	return errors.Join(job.Ack(false), say(s.status, "idle"))
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
