package queue

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Count says which of a queue's messages count.
type Count string

// What can be counted.
const (
	CountReady   Count = "ready"   // waiting for a consumer
	CountUnacked Count = "unacked" // delivered and not yet acknowledged: being worked at
	CountTotal   Count = "total"   // both
)

const (
	measureMax    = 10 * time.Second // for one round of questions to the broker
	sendMax       = 10 * time.Second // for one request to one node
	retryDelayMin = 500 * time.Millisecond
	retryDelayMax = 15 * time.Second
)

// Sensor is one sensor and the queues whose messages it sums up.
type Sensor struct {
	Name   string
	Queues []string
}

// Config is everything the agent needs. Management is required for counts other than ready.
type Config struct {
	AMQP        string      // the broker's address, with user and password
	AMQPTLS     *tls.Config // nil: the system's authorities
	Management  string      // base URL of the management API; user and password are those of AMQP
	Pool        epu.PoolID
	Sensors     []Sensor
	Count       Count
	Every       time.Duration
	Nodes       []string // base URLs, tried in order
	User        string   // for the nodes' audit
	Log         *slog.Logger
	Now         func() time.Time
	After       func(time.Duration) <-chan time.Time
	Transport   http.RoundTripper // to nodes; nil: direct
	BrokerHTTP  http.RoundTripper // to the management API; nil: direct, with AMQPTLS
	ManagedLate time.Duration     // how old the management API's numbers may be; 0: 5 s, its default period
}

// Agent measures and pushes until it is told to stop.
type Agent struct {
	conf   Config
	broker *broker
	sender *sender
	said   map[string]string // per sensor: why it is unknown, as last logged
}

// New makes an agent.
func New(c Config) *Agent {
	if c.ManagedLate == 0 {
		c.ManagedLate = managedLateDefault
	}
	return &Agent{conf: c, broker: newBroker(c), sender: newSender(c), said: map[string]string{}}
}

// reading is what one sensor gave.
type reading struct {
	sensor string
	value  int64
	err    error         // why it is unknown
	taken  time.Time     // when the broker was asked
	late   time.Duration // how old the broker's number may have been by then
	source string
}

// Run measures every period, and at once when the connection is lost, until the context ends.
func (a *Agent) Run(ctx context.Context) {
	defer a.broker.close()
	for ctx.Err() == nil {
		next := a.conf.Now().Add(a.conf.Every)
		a.deliver(ctx, a.measure(ctx), next)
		select {
		case <-a.conf.After(next.Sub(a.conf.Now())):
		case <-a.broker.lost():
		case <-ctx.Done():
		}
	}
}

// measure asks the broker about every queue once.
func (a *Agent) measure(ctx context.Context) []reading {
	ctx, cancel := context.WithTimeout(ctx, min(measureMax, max(a.conf.Every, time.Second)))
	defer cancel()
	type depth struct {
		n   int64
		err error
	}
	known := map[string]depth{}
	var all []reading
	for _, s := range a.conf.Sensors {
		r := reading{sensor: s.Name, taken: a.conf.Now()}
		for _, q := range s.Queues {
			d, asked := known[q]
			if !asked {
				d.n, d.err = a.broker.depth(ctx, q)
				known[q] = d
			}
			if d.err != nil && r.err == nil {
				r.err = fmt.Errorf("queue %q: %w", q, d.err)
			}
			r.value += d.n
		}
		if a.conf.Count != CountReady {
			r.late = a.conf.ManagedLate
		}
		r.source = a.broker.source()
		all = append(all, r)
		a.note(r)
	}
	return all
}

// note logs when a sensor becomes unknown, for another reason, or known again.
func (a *Agent) note(r reading) {
	why := ""
	if r.err != nil {
		why = r.err.Error()
	}
	was, before := a.said[r.sensor]
	if before && was == why {
		return
	}
	a.said[r.sensor] = why
	if why != "" {
		a.conf.Log.Warn("the queue's length is unknown", "sensor", r.sensor, "error", why)
		return
	}
	a.conf.Log.Info("measuring", "sensor", r.sensor, "messages", r.value)
}

// deliver pushes readings to the first node that takes them. It tries again, the readings growing older,
// until there are newer ones to be had.
func (a *Agent) deliver(ctx context.Context, all []reading, next time.Time) {
	for delay := retryDelayMin; ctx.Err() == nil; delay = min(2*delay, retryDelayMax) {
		if a.sender.send(ctx, a.push(all)) {
			return
		}
		left := next.Sub(a.conf.Now())
		if left <= delay {
			return
		}
		select {
		case <-a.conf.After(delay):
		case <-a.broker.lost():
			return // what we know is no longer so
		case <-ctx.Done():
		}
	}
}

// push is the message for the readings as of now.
func (a *Agent) push(all []reading) *msg.SensorPush {
	push := &msg.SensorPush{Pool: string(a.conf.Pool)}
	for _, r := range all {
		v := &msg.SensorValue{Sensor: r.sensor, Source: r.source, Age: durationpb.New(a.conf.Now().Sub(r.taken) + r.late)}
		if r.err != nil {
			v.Unknown, v.Error = true, strings.ToValidUTF8(r.err.Error(), "?") // or it could not be sent
		} else {
			v.Value = proto.Float64(float64(r.value))
		}
		push.Values = append(push.Values, v)
	}
	return push
}
