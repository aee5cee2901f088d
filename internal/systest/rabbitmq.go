package systest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/rabbitmqtest"
)

// startMax is when a program that does not serve is ended, and its test fails with its output.
const startMax = 2 * time.Minute

// RabbitMQ is a broker of the test's own, which ends with the test.
type RabbitMQ struct {
	AMQP       string // amqp://guest:guest@127.0.0.1:PORT
	Management string // http://127.0.0.1:PORT

	t      testing.TB
	broker *rabbitmqtest.Broker
}

// StartRabbitMQ starts a broker with the management plugin and waits until it serves, some 10 s.
func StartRabbitMQ(t testing.TB) *RabbitMQ {
	t.Helper()
	Need(t, "rabbitmqctl", "rabbitmq-server")
	Need(t, "epmd", "rabbitmq-server")
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	broker, err := rabbitmqtest.New(ctx, rabbitmqtest.Options{Folder: t.TempDir(), Environ: os.Environ(), Management: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	b := &RabbitMQ{AMQP: broker.AMQP, Management: broker.Management, t: t, broker: broker}
	b.Start()
	return b
}

// Start starts the broker on the data that it has, and waits until it serves.
func (b *RabbitMQ) Start() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	if err := b.broker.Start(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// Kill ends the broker without a word and waits until it is gone. Its data stays for Start.
func (b *RabbitMQ) Kill() { b.broker.Kill() }
