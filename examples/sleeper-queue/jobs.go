package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const usage = `sleeper-queue produce [--burst N] [--length TIME] [--name TEXT]   put N jobs of TIME each into the queue
sleeper-queue work                                                take jobs from it until told to stop

AMQP_URL  the broker, default amqp://guest:guest@127.0.0.1:5672/
QUEUE     the queue, default sleep; it is made if it is not there
`

// dialMax is how long an attempt to reach the broker may take.
const dialMax = 5 * time.Second

type settings struct {
	url, queue string
	status     string // file that tells the agent whether the worker is busy; empty without an agent
	out        io.Writer
}

func run(ctx context.Context, args []string, s settings) error {
	if len(args) == 0 {
		return errors.New("say what to do: produce or work (sleeper-queue help)")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.SetOutput(io.Discard) // the error says it all
	switch args[0] {
	case "work":
		if err := parse(f, args[1:]); err != nil {
			return err
		}
		return work(ctx, s)
	case "produce":
		burst := f.Int("burst", 100, "jobs to put into the queue at once; 0 only makes the queue")
		length := time.Second
		f.Func("length", "time that each job takes", func(text string) (err error) {
			if length, err = time.ParseDuration(text); err != nil {
				return errors.New("a time has a unit: 2s, 500ms")
			}
			return nil
		})
		name := f.String("name", "job", "jobs are called NAME-1, NAME-2 and so on")
		if err := parse(f, args[1:]); err != nil {
			return err
		}
		if *burst < 0 || length < 0 {
			return errors.New("produce: neither a burst nor a length can be negative")
		}
		return produce(ctx, s, *burst, length, *name)
	case "help", "-h", "--help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%q is neither produce nor work (sleeper-queue help)", args[0])
}

func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%s: %w (sleeper-queue help)", f.Name(), err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: %q is too much (sleeper-queue help)", f.Name(), f.Arg(0))
	}
	return nil
}

// open connects to the broker and makes sure that the queue is there.
func open(s settings) (*amqp.Connection, *amqp.Channel, error) {
	address, err := amqp.ParseURI(s.url)
	if err != nil { // whose text has the password in it
		return nil, nil, errors.New("AMQP_URL is no broker's address; write amqp://USER:PASSWORD@HOST:PORT/")
	}
	conn, err := amqp.DialConfig(s.url, amqp.Config{
		Heartbeat: dialMax, Locale: "en_US", Dial: amqp.DefaultDial(dialMax),
		Properties: amqp.Table{"connection_name": "sleeper-queue"},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the broker at %s:%d (AMQP_URL): %w", address.Host, address.Port, err)
	}
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDeclare(s.queue, true, false, false, false, nil)
	}
	if err != nil {
		_ = conn.Close() // the first error says more
		return nil, nil, fmt.Errorf("open queue %s: %w", s.queue, err)
	}
	return conn, ch, nil
}

// away reports that an error is the broker's absence, which ends, and not a refusal, which does not.
func away(err error) bool {
	var said *amqp.Error
	if errors.As(err, &said) {
		return !slices.Contains([]int{amqp.AccessRefused, amqp.NotAllowed, amqp.PreconditionFailed, amqp.ResourceLocked}, said.Code)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// produce puts jobs into the queue and waits until the broker has them all.
func produce(ctx context.Context, s settings, n int, length time.Duration, name string) error {
	conn, ch, err := open(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	var sent []*amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", s.queue, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, ContentType: "text/plain",
			MessageId: fmt.Sprintf("%s-%d", name, i+1), Body: []byte(length.String()),
		})
		if err != nil {
			return fmt.Errorf("job %d of %d: %w", i+1, n, err)
		}
		sent = append(sent, c)
	}
	for i, c := range sent {
		if ok, err := c.WaitContext(ctx); err != nil {
			return fmt.Errorf("job %d of %d: %w", i+1, n, err)
		} else if !ok {
			return fmt.Errorf("job %d of %d: the broker did not take it", i+1, n)
		}
	}
	fmt.Fprintf(s.out, "%d jobs of %v are in queue %s\n", n, length, s.queue)
	return nil
}
