package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nimbus-epu/epu/actors/msg"
)

// Counters are numbers that a node counts about itself. Those of events only grow.
type Counters struct {
	ActorRestarts   uint64
	UnknownMessages uint64
	HistoryDropped  uint64         // records
	EventsDropped   uint64         // records that the event log could not take
	MailboxDepth    map[string]int // messages waiting, by kind of actor: registry, site, controller
	JournalDegraded bool           // the store can't be written now
}

// Options are the sources of the metrics. All but Status may stay empty.
type Options struct {
	// Status gives a snapshot of the installation. It is asked once per scrape, however many scrape at
	// once, and given up after StatusTimeout.
	Status        func(ctx context.Context) (*msg.Status, error)
	StatusTimeout time.Duration // default 2 s
	// Counters gives the node's own numbers. It must not block.
	Counters func() Counters
	Version  *msg.Version
	// Process adds what the Go library says about the process: memory, goroutines, file descriptors.
	Process bool
}

const statusTimeout = 2 * time.Second

// Metrics holds a node's metrics. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	counted  counted
}

// New makes the metrics and their registry.
func New(o Options) *Metrics {
	if o.StatusTimeout <= 0 {
		o.StatusTimeout = statusTimeout
	}
	if o.Counters == nil {
		o.Counters = func() Counters { return Counters{} }
	}
	m := &Metrics{registry: prometheus.NewRegistry(), counted: newCounted()}
	m.registry.MustRegister(m.counted.collectors()...)
	m.registry.MustRegister(newSnapshot(o), buildInfo(o.Version))
	if o.Process {
		m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return m
}

// Registry is where they all are; others may add theirs.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// scrapesMax bounds scrapes at once; more are told to come again.
const scrapesMax = 8

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax, ErrorHandling: promhttp.ContinueOnError})
}

// Request counts an answered HTTP request. The route is a pattern of ours, never a path from outside.
func (m *Metrics) Request(route string, status int) {
	m.counted.requests.WithLabelValues(route, statusWord(status)).Inc()
}

// Panic counts a request whose handler failed.
func (m *Metrics) Panic() { m.counted.panics.Inc() }

// statusWord keeps the label's values few: codes that we answer with, and a word for anything else.
func statusWord(status int) string {
	if http.StatusText(status) == "" {
		return "other"
	}
	const digits = "0123456789"
	return string([]byte{digits[status/100%10], digits[status/10%10], digits[status%10]})
}

func buildInfo(v *msg.Version) prometheus.Collector {
	g := prometheus.NewGaugeVec(opts(buildInfoSpec), buildInfoSpec.labels)
	g.WithLabelValues(v.GetVersion(), v.GetCommit(), v.GetGo()).Set(1)
	return g
}
