//go:build system

package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/agent/queue"
	"github.com/nimbus-epu/epu/internal/systest"
)

// node takes pushes as a node does.
func node(t *testing.T) (address string, pushes <-chan map[string]*msg.SensorValue) {
	all := make(chan map[string]*msg.SensorValue, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var envelope struct {
			Type string
			Body json.RawMessage
		}
		text, err := io.ReadAll(r.Body)
		push := &msg.SensorPush{}
		if err != nil || json.Unmarshal(text, &envelope) != nil || protojson.Unmarshal(envelope.Body, push) != nil || envelope.Type != "SensorPush" || push.GetPool() != "epu-web" {
			t.Errorf("got %s, %v", text, err)
		}
		values := map[string]*msg.SensorValue{}
		for _, v := range push.GetValues() {
			values[v.GetSensor()] = v
		}
		all <- values
	}))
	t.Cleanup(server.Close)
	return server.URL, all
}

// await reads pushes until every sensor has its value; "unknown" is one. No push on the way may say that
// a queue with messages is empty.
func await(t *testing.T, pushes <-chan map[string]*msg.SensorValue, want map[string]string) map[string]*msg.SensorValue {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := map[string]string{}
	for {
		select {
		case values := <-pushes:
			for name, v := range values {
				got[name] = fmt.Sprint(v.GetValue())
				if v.GetUnknown() {
					got[name] = "unknown"
				}
				if got[name] == "0" && want[name] != "0" {
					t.Fatalf("sensor %s is 0 while waiting for %s", name, want[name])
				}
			}
			if maps.Equal(got, want) {
				return values
			}
		case <-limit.Done():
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// after is real time: nobody can make a broker's virtual.
func after(d time.Duration) <-chan time.Time {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	passed := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { cancel(); passed <- time.Time{} })
	return passed
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Goal: the agent's numbers are those of a real broker, and it says unknown, never 0, while the broker
// is away or a queue is not there. Method: a private RabbitMQ with messages that wait and messages that
// are being worked at; it is killed, started again, and loses a queue. Only the real broker shows what
// its two interfaces say, when, and how they refuse.
func TestSystemQueueDepths(t *testing.T) {
	broker := systest.StartRabbitMQ(t)
	conn, err := amqp.Dial(broker.AMQP)
	do(t, err)
	ch, err := conn.Channel()
	do(t, err)
	do(t, ch.Confirm(false))
	fill := func(name string, n int) {
		_, err := ch.QueueDeclare(name, true, false, false, false, nil)
		do(t, err)
		for range n {
			confirmed, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", name, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
			do(t, err)
			confirmed.Wait()
		}
	}
	fill("jobs", 100)
	fill("mails/today", 5)
	for range 10 {
		_, ok, err := ch.Get("jobs", false)
		do(t, err)
		if !ok {
			t.Fatal("no message")
		}
	}

	run := func(count queue.Count, every time.Duration) <-chan map[string]*msg.SensorValue {
		address, pushes := node(t)
		agent := queue.New(queue.Config{
			AMQP: broker.AMQP, Management: broker.Management, Pool: "epu-web", Count: count, Every: every, Nodes: []string{address},
			Sensors: []queue.Sensor{{Name: "jobs", Queues: []string{"jobs"}}, {Name: "all", Queues: []string{"jobs", "mails/today"}}, {Name: "mails", Queues: []string{"mails/today"}}, {Name: "none", Queues: []string{"none"}}},
			Log:     slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now, After: after,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); agent.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		return pushes
	}
	ready, total := run(queue.CountReady, time.Second), run(queue.CountTotal, time.Second)
	seldom := run(queue.CountReady, time.Hour) // but at once when the broker is lost
	before := await(t, ready, map[string]string{"jobs": "90", "mails": "5", "all": "95", "none": "unknown"})
	await(t, seldom, map[string]string{"jobs": "90", "mails": "5", "all": "95", "none": "unknown"})
	managed := await(t, total, map[string]string{"jobs": "100", "mails": "5", "all": "105", "none": "unknown"})
	if age := managed["jobs"].GetAge().AsDuration(); age < 5*time.Second {
		t.Errorf("the management API's number is said to be %v old; it may be 5 s behind", age)
	}
	unacked := run(queue.CountUnacked, time.Second)
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := 0.0; got != 10; { // mails rightly has 0 of these
		select {
		case values := <-unacked:
			got = values["jobs"].GetValue()
		case <-limit.Done():
			t.Fatalf("got %v unacknowledged, want 10", got)
		}
	}

	broker.Kill()
	unknown := map[string]string{"jobs": "unknown", "mails": "unknown", "all": "unknown", "none": "unknown"}
	await(t, ready, unknown)
	await(t, total, unknown)
	await(t, seldom, unknown)

	broker.Start()
	after := await(t, ready, map[string]string{"jobs": "100", "mails": "5", "all": "105", "none": "unknown"})
	await(t, total, map[string]string{"jobs": "100", "mails": "5", "all": "105", "none": "unknown"})
	if before["jobs"].GetSource() == after["jobs"].GetSource() {
		t.Errorf("the broker that started anew has the old name %q, so nothing warms up", after["jobs"].GetSource())
	}
	if strings.Contains(after["jobs"].GetSource(), "guest") {
		t.Errorf("the source %q has the user's name in it", after["jobs"].GetSource())
	}

	conn, err = amqp.Dial(broker.AMQP)
	do(t, err)
	defer conn.Close()
	ch, err = conn.Channel()
	do(t, err)
	_, err = ch.QueueDelete("jobs", false, false, false)
	do(t, err)
	gone := map[string]string{"jobs": "unknown", "mails": "5", "all": "unknown", "none": "unknown"}
	await(t, ready, gone)
	await(t, total, gone)
}
