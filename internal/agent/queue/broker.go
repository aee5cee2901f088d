package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nimbus-epu/epu"
)

const (
	heartbeat   = 5 * time.Second // a broker that is silent for twice as long is lost
	dialTimeout = 5 * time.Second
)

// broker asks one RabbitMQ. It is used by one goroutine.
type broker struct {
	conf    Config
	place   string // the address without user and password
	managed *managed

	conn    *amqp.Connection // nil: not connected
	channel *amqp.Channel    // nil: closed by the broker after a refusal
	raw     net.Conn
	gone    chan *amqp.Error
	blocked chan amqp.Blocking
	why     string // why the broker blocks us; empty: it does not

	since time.Time     // of the newest connection
	retry time.Time     // no attempt to connect before
	delay time.Duration // until the attempt after the next
	err   error         // of the last attempt
}

func newBroker(c Config) *broker {
	b := &broker{conf: c, place: "rabbitmq"}
	if u, err := url.Parse(c.AMQP); err == nil {
		b.place = u.Scheme + "://" + u.Host + u.EscapedPath()
	}
	if c.Count != CountReady {
		b.managed = newManaged(c)
	}
	return b
}

// source names who measures: the broker, and since when we know it. A broker that starts anew ends the
// connection, so its numbers come under a new name.
func (b *broker) source() string {
	if b.since.IsZero() {
		return b.place
	}
	return b.place + " since " + b.since.UTC().Format(time.RFC3339Nano)
}

// lost is closed, or gets a value, when the connection ends.
func (b *broker) lost() <-chan *amqp.Error {
	if b.conn == nil {
		return nil
	}
	return b.gone
}

// depth is how many messages of a queue count.
func (b *broker) depth(ctx context.Context, queue string) (int64, error) {
	if err := b.connect(ctx); err != nil {
		return 0, err
	}
	var ready int
	err := b.within(ctx, func() (err error) {
		ready, err = b.declare(queue)
		return err
	})
	if err != nil {
		return 0, b.refused(err)
	}
	if b.isBlocked() {
		return 0, epu.E(epu.Unavailable, "ask", b.place, fmt.Errorf("the broker blocks its connections: %s", b.why))
	}
	if b.managed == nil {
		return int64(ready), nil
	}
	return b.managed.depth(ctx, queue)
}

// declare asks for a queue without making one. A refusal ends the channel, so each queue may need one.
func (b *broker) declare(queue string) (ready int, err error) {
	if b.channel == nil || b.channel.IsClosed() {
		if b.channel, err = b.conn.Channel(); err != nil {
			return 0, err
		}
	}
	q, err := b.channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	return q.Messages, err
}

// isBlocked looks whether the broker has said that it is short of memory or disk.
func (b *broker) isBlocked() bool {
	for {
		select {
		case state, open := <-b.blocked:
			if !open {
				return false
			}
			b.why = ""
			if state.Active {
				b.why = "alarm: " + state.Reason
			}
		default:
			return b.why != ""
		}
	}
}

// connect makes a connection if there is none. Attempts are spaced out.
func (b *broker) connect(ctx context.Context) error {
	if b.conn != nil && !b.conn.IsClosed() {
		return nil
	}
	b.close()
	now := b.conf.Now()
	if now.Before(b.retry) {
		return b.err
	}
	b.err = b.within(ctx, b.dial)
	if b.err != nil {
		b.err = b.refused(b.err)
		b.close()
		b.delay = min(max(2*b.delay, retryDelayMin), retryDelayMax, 2*b.conf.Every) // nobody waits long for frequent readings
		b.retry = b.conf.Now().Add(b.delay)
		return b.err
	}
	b.delay, b.retry, b.since = 0, time.Time{}, b.conf.Now()
	b.conf.Log.Info("connected", "broker", b.place)
	return nil
}

func (b *broker) dial() error {
	conn, err := amqp.DialConfig(b.conf.AMQP, amqp.Config{
		Heartbeat: heartbeat, TLSClientConfig: b.conf.AMQPTLS, Locale: "en_US",
		Properties: amqp.Table{"connection_name": "epu-agent queue", "product": "epu-agent"},
		Dial: func(network, address string) (net.Conn, error) {
			raw, err := amqp.DefaultDial(dialTimeout)(network, address)
			b.raw = raw
			return raw, err
		},
	})
	if err != nil {
		return err
	}
	b.conn, b.why = conn, ""
	b.gone = conn.NotifyClose(make(chan *amqp.Error, 1))
	b.blocked = conn.NotifyBlocked(make(chan amqp.Blocking, 8)) // looked at each period; the library waits if it is full
	return nil
}

// within bounds what the library does, which takes no context: cutting the connection ends it.
func (b *broker) within(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	raw := b.raw
	go func() { done <- do() }() // ends at the latest when the connection is cut
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if raw != nil {
			_ = raw.Close()
		}
		<-done // dialling is bounded by its own timeout
		return epu.E(epu.Unavailable, "", "", errors.New("no answer in time"))
	}
}

// refused gives the library's errors a kind and plain words.
func (b *broker) refused(err error) error {
	e := &epu.Error{Kind: epu.Unavailable, Op: "ask", On: b.place, Err: err}
	var said *amqp.Error
	switch {
	case errors.As(err, &said):
		e.Err = errors.New(said.Reason)
		switch said.Code {
		case amqp.NotFound:
			e.Kind = epu.NotFound
		case amqp.AccessRefused, amqp.NotAllowed:
			e.Kind = epu.Denied
		case amqp.ResourceLocked:
			e.Kind = epu.Denied
		}
	default:
		var kind *epu.Error
		if errors.As(err, &kind) {
			e.Err = kind.Err
		}
	}
	return e
}

// close gives the connection up.
func (b *broker) close() {
	if b.conn != nil {
		_ = b.conn.CloseDeadline(time.Time{}.Add(1)) // long past: no waiting for an answer
	}
	if b.raw != nil {
		_ = b.raw.Close()
	}
	b.conn, b.channel, b.raw, b.gone, b.blocked = nil, nil, nil, nil, nil
}
