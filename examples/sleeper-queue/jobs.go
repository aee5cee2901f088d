package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type settings struct {
	url, queue string
	status     string // file that tells the agent whether the worker is busy; empty without an agent
	out        io.Writer
}

func run(ctx context.Context, args []string, s settings) error {
	if len(args) == 0 {
		return errors.New("say what to do: produce or work")
	}
	switch args[0] {
	case "work":
		return work(ctx, s)
	case "produce":
		f := flag.NewFlagSet("produce", flag.ContinueOnError)
		burst := f.Int("burst", 100, "jobs to put into the queue at once")
		length := f.Duration("length", time.Second, "time that each job takes")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		if *burst < 1 || *length < 0 || f.NArg() > 0 {
			return errors.New("produce --burst N --length TIME: at least one job, no negative time, nothing else")
		}
		return produce(ctx, s, *burst, *length)
	}
	return fmt.Errorf("%q is neither produce nor work", args[0])
}

// open connects to the broker and makes sure that the queue is there.
func open(s settings) (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.Dial(s.url)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the broker (AMQP_URL): %w", err)
	}
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDeclare(s.queue, true, false, false, false, nil)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open queue %s: %w", s.queue, err), conn.Close())
	}
	return conn, ch, nil
}

// produce puts jobs into the queue and waits until the broker has them all.
func produce(ctx context.Context, s settings, n int, length time.Duration) error {
	conn, ch, err := open(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	job := amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: []byte(length.String())}
	for i := range n {
		sent, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", s.queue, true, false, job)
		if err != nil {
			return fmt.Errorf("job %d of %d: %w", i+1, n, err)
		}
		if ok, err := sent.WaitContext(ctx); err != nil || !ok {
			return fmt.Errorf("job %d of %d: the broker did not take it: %w", i+1, n, err)
		}
	}
	fmt.Fprintf(s.out, "%d jobs of %v are in queue %s\n", n, length, s.queue)
	return nil
}
