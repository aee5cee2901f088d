package metrics

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// counted are the metrics that are counted as things happen.
type counted struct {
	decisions, equal, policyErrors, launchFailures, events, commands, requests *prometheus.CounterVec
	took                                                                       prometheus.Histogram
	panics                                                                     prometheus.Counter
}

func newCounted() counted {
	return counted{
		decisions: decisions.counter(), equal: decisionsEqual.counter(), policyErrors: policyErrors.counter(),
		launchFailures: launchFailures.counter(), events: events.counter(), commands: commands.counter(), requests: requests.counter(),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: decisionDuration.name, Help: decisionDuration.help,
			Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1},
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: panics.name, Help: panics.help}),
	}
}

func (c counted) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		c.decisions, c.equal, c.policyErrors, c.launchFailures, c.events, c.commands, c.requests, c.took, c.panics,
	}
}

// Run counts records until their channel is closed or the context ends.
func (m *Metrics) Run(ctx context.Context, records <-chan persistence.Record) {
	for {
		select {
		case r, ok := <-records:
			if !ok {
				return
			}
			m.Count(r)
		case <-ctx.Done():
			return
		}
	}
}

// Count counts one record. One that can't be read counts as an event without details.
func (m *Metrics) Count(r persistence.Record) {
	c := m.counted
	switch r.Kind {
	case persistence.KindDecision:
		if d, err := r.Decision(); err == nil {
			c.decision(&d)
		}
	case persistence.KindAudit:
		c.commands.WithLabelValues(label(r.Name)).Inc()
	case persistence.KindEvent:
		c.events.WithLabelValues(label(r.Name)).Inc()
		switch r.Name {
		case "launch_failed", "worker_failed":
			c.launchFailed(r)
		case "pool_removed":
			c.forget(string(r.Pool))
		}
	}
}

func (c counted) decision(d *epu.Decision) {
	pool := label(string(d.Pool))
	c.decisions.WithLabelValues(pool, string(d.Direction()), strconv.FormatBool(len(d.Clamps) > 0)).Inc()
	c.equal.WithLabelValues(pool).Add(float64(max(d.Equal, 0)))
	c.took.Observe(max(d.Took.Seconds(), 0))
	if d.Error != "" {
		c.policyErrors.WithLabelValues(pool).Inc()
	}
}

// launchFailed counts a worker that never came to be, under the kind that the site gave.
func (c counted) launchFailed(r persistence.Record) {
	var data struct {
		Site string `json:"site"`
		Kind string `json:"kind"`
	}
	kind := "unknown"
	if json.Unmarshal(r.Data, &data) == nil && knownKind(data.Kind) {
		kind = data.Kind
	}
	c.launchFailures.WithLabelValues(label(data.Site), kind).Inc()
}

// knownKind keeps the label's values to those that an error can have.
func knownKind(word string) bool {
	for k := epu.Internal; k <= epu.Unavailable; k++ {
		if k.String() == word {
			return true
		}
	}
	return false
}

// forget drops the series of a pool that is no more, or they would stay for the life of the node.
func (c counted) forget(pool string) {
	for _, v := range []*prometheus.CounterVec{c.decisions, c.equal, c.policyErrors} {
		v.DeletePartialMatch(prometheus.Labels{"pool": label(pool)})
	}
}

// label makes a name fit for a label's value.
func label(name string) string {
	const labelBytesMax = 128
	if len(name) > labelBytesMax {
		name = name[:labelBytesMax]
	}
	return strings.ToValidUTF8(name, "?")
}
