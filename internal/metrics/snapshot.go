package metrics

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nimbus-epu/epu/actors/msg"
)

// snapshot collects what is true at the moment of a scrape. The mutex guards the question that is under
// way: a status that never comes costs one goroutine, not one for each scrape.
type snapshot struct {
	o     Options
	descs map[string]*prometheus.Desc

	mu      sync.Mutex
	pending *statusAnswer
}

// statusAnswer is one question for the status. Its fields are set before done is closed.
type statusAnswer struct {
	done   chan struct{}
	status *msg.Status
}

func newSnapshot(o Options) *snapshot {
	s := &snapshot{o: o, descs: map[string]*prometheus.Desc{}}
	for _, m := range []spec{
		statusUp, poolInstances, poolDesired, poolUnhealthy, poolConverged, poolHealth, poolFrozen, poolBackoff,
		siteUp, siteInstances, siteStuck, siteForeign, siteCondemned, siteBudget, siteListing, alertsActive, recoveryMode,
		journalDegraded, mailboxDepth, actorRestarts, unknownMessages, historyDropped, eventsDropped,
	} {
		s.descs[m.name] = m.desc()
	}
	return s
}

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(out chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		out <- d
	}
}

// scrape is the channel of one scrape.
type scrape struct {
	s   *snapshot
	out chan<- prometheus.Metric
}

func (c scrape) set(m spec, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.kind == "counter" {
		kind = prometheus.CounterValue
	}
	// Names come from operators and may be anything; what Prometheus can't take is made fit.
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?")
	}
	c.out <- prometheus.MustNewConstMetric(c.s.descs[m.name], kind, value, labels...)
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	c := scrape{s, out}
	n := s.o.Counters()
	c.set(journalDegraded, yes(n.JournalDegraded))
	c.set(actorRestarts, float64(n.ActorRestarts))
	c.set(unknownMessages, float64(n.UnknownMessages))
	c.set(historyDropped, float64(n.HistoryDropped))
	c.set(eventsDropped, float64(n.EventsDropped))
	for actor, depth := range n.MailboxDepth {
		c.set(mailboxDepth, float64(depth), actor)
	}
	st := s.status()
	c.set(statusUp, yes(st != nil))
	if st == nil {
		return
	}
	for _, p := range unique(st.GetPools()) {
		c.pool(p)
	}
	for _, site := range unique(st.GetSites()) {
		c.site(site)
	}
	c.alerts(st.GetAlerts())
	recovery := false
	for _, node := range st.GetNodes() {
		recovery = recovery || node.GetStore() == "recovery"
	}
	c.set(recoveryMode, yes(recovery))
}

// unique drops what has the name of one before it: one doubled line would cost the whole scrape.
func unique[T interface{ GetName() string }](list []T) []T {
	seen := make(map[string]bool, len(list))
	var out []T
	for _, x := range list {
		if !seen[x.GetName()] {
			seen[x.GetName()] = true
			out = append(out, x)
		}
	}
	return out
}

// status asks, or joins whoever has asked and is still waiting. It gives nil when no answer comes.
func (s *snapshot) status() *msg.Status {
	if s.o.Status == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.StatusTimeout)
	defer cancel()
	s.mu.Lock()
	a := s.pending
	if a == nil {
		a = &statusAnswer{done: make(chan struct{})}
		s.pending = a
		go s.ask(a)
	}
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.status
	case <-ctx.Done():
		return nil
	}
}

func (s *snapshot) ask(a *statusAnswer) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.StatusTimeout)
	defer cancel()
	st, err := s.o.Status(ctx)
	if err == nil {
		a.status = st
	}
	s.mu.Lock()
	s.pending = nil
	s.mu.Unlock()
	close(a.done)
}

func (c scrape) pool(p *msg.PoolStatus) {
	name := p.GetName()
	c.set(poolDesired, float64(p.GetWant()), name)
	c.set(poolInstances, float64(p.GetStarting()), name, "starting")
	c.set(poolInstances, float64(p.GetHave()), name, "running")
	c.set(poolInstances, float64(p.GetDraining()), name, "draining")
	c.set(poolInstances, float64(p.GetEnding()), name, "ending")
	c.set(poolUnhealthy, float64(p.GetUnhealthy()), name)
	c.set(poolConverged, yes(p.GetConverged() == "yes" || p.GetConverged() == "capped"), name)
	for _, word := range []string{"ok", "degraded", "suspect", "policy-failing", "unknown"} {
		c.set(poolHealth, yes(p.GetHealth() == word), name, word)
	}
	c.set(poolFrozen, yes(p.GetFreeze() != nil), name)
	c.set(poolBackoff, p.GetBackoff().AsDuration().Seconds(), name)
}

func (c scrape) site(s *msg.SiteStatus) {
	name := s.GetName()
	c.set(siteUp, yes(s.GetState() == "ok" || s.GetState() == "dry run"), name)
	c.set(siteInstances, float64(s.GetInstances()), name)
	c.set(siteStuck, float64(s.GetStuck()), name)
	c.set(siteForeign, float64(s.GetForeign()), name)
	c.set(siteCondemned, float64(s.GetCondemned()), name)
	c.set(siteBudget, float64(s.GetApiBudget()), name)
	if s.GetLastListing() != nil {
		const second = 1e9
		c.set(siteListing, float64(s.GetLastListing().AsTime().UnixNano())/second, name)
	}
}

func (c scrape) alerts(list []*msg.Alert) {
	type class struct{ code, severity string }
	counts := map[class]int{}
	for _, a := range list {
		counts[class{a.GetCode(), a.GetSeverity()}]++
	}
	for k, n := range counts {
		c.set(alertsActive, float64(n), k.code, k.severity)
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
