package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/golden"
	"github.com/nimbus-epu/epu/persistence"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// expose is what a scrape gets.
func expose(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

var at = time.Date(2026, 11, 21, 14, 32, 5, 0, time.UTC)

func status(context.Context) (*msg.Status, error) {
	return &msg.Status{
		Pools: []*msg.PoolStatus{
			{Name: "epu-web", Converged: "no", Health: "degraded", Want: 12, Have: 8, Starting: 3, Draining: 1, Ending: 2, Unhealthy: 1, Backoff: durationpb.New(90 * time.Second)},
			{Name: "epu-gpu", Converged: "capped", Health: "ok", Want: 4, Have: 4, Freeze: &msg.Freeze{By: "anna"}},
			{Name: "epu-gpu"},
			{Name: "bad\xffname"},
		},
		Sites: []*msg.SiteStatus{
			{Name: "local", State: "ok", Instances: 14, Stuck: 1, ApiBudget: 99, LastListing: timestamppb.New(at)},
			{Name: "east", State: "unreachable", Foreign: 2, Condemned: 3},
		},
		Nodes:  []*msg.NodeStatus{{Name: "n1", Store: "ok"}},
		Alerts: []*msg.Alert{{Code: "ending-stuck", Severity: "error"}, {Code: "ending-stuck", Severity: "error"}, {Code: "policy-failing", Severity: "warning"}},
	}, nil
}

func record(t *testing.T, kind persistence.RecordKind, name string, data any) persistence.Record {
	t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return persistence.Record{ID: "1", Kind: kind, Name: name, Owner: "default", Pool: "epu-web", Time: at, Data: raw}
}

func filled(t *testing.T) *Metrics {
	t.Helper()
	m := New(Options{
		Status:  status,
		Version: &msg.Version{Version: "1.0.0", Commit: "abc", Go: "go1.26.8"},
		Counters: func() Counters {
			return Counters{ActorRestarts: 1, UnknownMessages: 2, HistoryDropped: 3, EventsDropped: 4, MailboxDepth: map[string]int{"site": 5}, JournalDegraded: true}
		},
	})
	records := make(chan persistence.Record, 20)
	d := epu.Decision{Pool: "epu-web", Before: 5, Wish: epu.Wish{Target: 8}, Took: 300 * time.Microsecond, Equal: 7}
	records <- record(t, persistence.KindDecision, "", d)
	d.Before, d.Clamps, d.Error, d.Equal = 8, []epu.Reason{{Rule: "limits.max"}}, "queuelen.lua:14: nil", 0
	records <- record(t, persistence.KindDecision, "", d)
	records <- record(t, persistence.KindDecision, "", "no decision")
	records <- record(t, persistence.KindAudit, "scale", nil)
	records <- record(t, persistence.KindEvent, "worker_running", nil)
	records <- record(t, persistence.KindEvent, "worker_failed", map[string]any{"site": "east", "kind": "capacity"})
	records <- record(t, persistence.KindEvent, "worker_failed", map[string]any{"site": "east", "kind": "i-0123"})
	records <- record(t, persistence.KindEvent, "worker_failed", 7)
	close(records)
	m.Run(t.Context(), records)
	m.Request("/v1/status", 200)
	m.Request("/v1/status", 799)
	m.Panic()
	return m
}

// Goal: names, labels and values are a contract. Method: a golden exposition with everything in it.
func TestExposition(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "exposition.txt"), expose(filled(t)), *rewrite)
}

// Goal: the conventions of Prometheus hold. Method: the linter of promtool.
func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(expose(filled(t)))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
}

// Goal: the reference has every metric that is exposed and no other. Method: compare both.
func TestReference(t *testing.T) {
	golden.Check(t, filepath.Join("..", "..", "docs", "reference", "metrics.md"), Reference(), *rewrite)
	text := expose(filled(t))
	for _, s := range specs() {
		if !strings.Contains(text, "# TYPE "+s.name+" "+s.kind+"\n") {
			t.Errorf("%s (%s) is documented and not exposed", s.name, s.kind)
		}
	}
	if got, want := strings.Count(text, "# TYPE epu_"), len(specs()); got != want {
		t.Errorf("got %d metrics, want the %d that are documented", got, want)
	}
}

// Goal: no instance becomes a label. Method: look at all labels' names.
func TestLabelsAreBounded(t *testing.T) {
	allowed := map[string]bool{
		"pool": true, "state": true, "health": true, "site": true, "code": true, "severity": true, "actor": true, "direction": true,
		"clamped": true, "kind": true, "name": true, "route": true, "version": true, "commit": true, "go": true,
	}
	for _, s := range specs() {
		for _, l := range s.labels {
			if !allowed[l] {
				t.Errorf("%s has the label %s", s.name, l)
			}
		}
	}
}

// Goal: a removed pool leaves nothing behind. Method: remove it.
func TestRemovedPoolIsForgotten(t *testing.T) {
	m := filled(t)
	if !strings.Contains(expose(m), `epu_decisions_total{clamped="false",direction="up",pool="epu-web"} 1`) {
		t.Fatal("the pool was not counted")
	}
	m.Count(record(t, persistence.KindEvent, "pool_removed", nil))
	if text := expose(m); strings.Contains(text, "epu_decisions_total{") || strings.Contains(text, "epu_policy_errors_total{") {
		t.Errorf("got %s", text)
	}
}

// Goal: a node that can't say how things are still serves its own numbers, in bounded time, and a
// status that never comes does not pile up. Method: an error, and in a bubble a status that hangs.
func TestNoStatus(t *testing.T) {
	m := New(Options{Status: func(context.Context) (*msg.Status, error) { return nil, errors.New("x") }})
	if text := expose(m); !strings.Contains(text, "epu_status_up 0") || !strings.Contains(text, "epu_journal_degraded 0") {
		t.Errorf("got %s", text)
	}
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var mu sync.Mutex
		asked := 0
		m := New(Options{Status: func(context.Context) (*msg.Status, error) {
			mu.Lock()
			asked++
			mu.Unlock()
			<-free
			return &msg.Status{}, nil
		}})
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if text := expose(m); !strings.Contains(text, "epu_status_up 0") {
					t.Errorf("got %s", text)
				}
			})
		}
		all.Wait()
		took := time.Since(began)
		mu.Lock()
		if took != statusTimeout || asked != 1 {
			t.Errorf("got %d questions in %v, want one and 2 s", asked, took)
		}
		mu.Unlock()
		close(free)
		synctest.Wait()
		if text := expose(m); !strings.Contains(text, "epu_status_up 1") {
			t.Errorf("after it came: %s", text)
		}
	})
}
