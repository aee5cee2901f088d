package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: readings reach a node that can be reached, in order, and say truly how old they are by then.
// Method: real sender and loop in virtual time, over a transport whose nodes go and come.

// nodes is a transport to nodes by their host names.
type nodes struct {
	t      *testing.T
	mu     sync.Mutex     // guards what follows: a node comes back while it is asked
	status map[string]int // 0: no answer
	asked  []string
	took   []*msg.SensorPush
}

func (n *nodes) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, r.URL.Host)
	status := n.status[r.URL.Host]
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	var envelope struct {
		Type string
		Body json.RawMessage
	}
	push := &msg.SensorPush{}
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &envelope) != nil || envelope.Type != "SensorPush" || protojson.Unmarshal(envelope.Body, push) != nil ||
		r.URL.Path != "/v1/command" || r.Header.Get("X-EPU-User") != "me" || r.Header.Get("Content-Type") != "application/json" {
		n.t.Errorf("got %s %s", r.URL, text)
	}
	if status == http.StatusOK {
		n.took = append(n.took, push)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(`{"error":{"text":"no such\npool"}}`)), Header: http.Header{}}, nil
}

func agent(t *testing.T, n *nodes, log io.Writer) *Agent {
	return New(Config{
		AMQP: "amqp://127.0.0.1:1", Pool: "epu-web", Sensors: []Sensor{{Name: "jobs", Queues: []string{"jobs"}}}, Count: CountReady, Every: 15 * time.Second,
		Nodes: []string{"http://a", "http://b"}, User: "me", Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now, After: time.After, Transport: n,
	})
}

func TestTheNextNodeIsTriedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, status: map[string]int{"b": 200}}
		a := agent(t, n, io.Discard)
		for range 2 {
			a.deliver(t.Context(), []reading{{sensor: "jobs", value: 7, taken: time.Now(), source: "mq"}}, time.Now().Add(time.Second))
		}
		if got := strings.Join(n.asked, ""); got != "abb" {
			t.Errorf("asked %q, want a, b, b", got)
		}
		if v := n.took[0].GetValues()[0]; v.GetValue() != 7 || v.GetUnknown() || v.GetSensor() != "jobs" || v.GetSource() != "mq" || n.took[0].GetPool() != "epu-web" {
			t.Errorf("got %v", n.took[0])
		}
	})
}

func TestAReadingThatWaitsGrowsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, status: map[string]int{"a": 404}}
		var log bytes.Buffer
		a := agent(t, n, &log)
		time.AfterFunc(3*time.Second, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.status["b"] = 200
		})
		a.deliver(t.Context(), []reading{{sensor: "jobs", err: errors.New("no such queue"), taken: time.Now(), late: 5 * time.Second}}, time.Now().Add(15*time.Second))
		// Tried after 0, 0.5, 1.5 and 3.5 s.
		if len(n.took) != 1 {
			t.Fatalf("got %d pushes after %v", len(n.took), n.asked)
		}
		if v := n.took[0].GetValues()[0]; !v.GetUnknown() || v.GetAge().AsDuration() != 8500*time.Millisecond || v.GetError() != "no such queue" {
			t.Errorf("got %v, want unknown, 8.5 s old, and why", v)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "no such pool") {
			t.Errorf("a failure that lasts is logged once; got:\n%s", text)
		}
	})
}

// Goal: who starts the agent before the pool is applied, or mistypes its name, reads what to do, also when the
// first warning has long scrolled away; and the agent goes on. Method: twelve minutes with a node that knows no
// such pool until the eleventh.
func TestAPoolThatIsNotThereIsWarnedOfNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, status: map[string]int{"a": 404, "b": 404}}
		var log bytes.Buffer
		a, began := agent(t, n, &log), time.Now()
		for time.Since(began) < 12*time.Minute {
			if time.Since(began) > 11*time.Minute {
				n.status["a"] = 200
			}
			next := time.Now().Add(15 * time.Second)
			a.deliver(t.Context(), []reading{{sensor: "jobs", taken: time.Now()}}, next)
			<-time.After(time.Until(next))
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 3 { // at once, after 5 and after 10 minutes
			t.Errorf("got %d warnings, want 3:\n%s", got, log.String())
		}
		if !strings.Contains(log.String(), "apply the pool epu-web with its sensors, or name another") || len(n.took) == 0 {
			t.Errorf("took %d readings; got:\n%s", len(n.took), log.String())
		}
	})
}

func TestNewerReadingsTakeThePlaceOfOlderOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, status: map[string]int{}}
		a, began := agent(t, n, io.Discard), time.Now()
		a.deliver(t.Context(), []reading{{sensor: "jobs", taken: began}}, began.Add(15*time.Second))
		if waited := time.Since(began); waited > 15*time.Second || waited < 5*time.Second {
			t.Errorf("gave up after %v", waited)
		}
	})
}

// Goal: no answer of the management API is taken for 0 that does not say 0.
// Method: a table of answers.
func TestManagement(t *testing.T) {
	for _, c := range []struct {
		name   string
		count  Count
		status int
		body   string
		want   int64
		kind   epu.Kind
		bad    bool
	}{
		{"total", CountTotal, 200, `{"state":"running","messages_ready":990,"messages_unacknowledged":10}`, 1000, 0, false},
		{"unacked", CountUnacked, 200, `{"messages_ready":990,"messages_unacknowledged":10}`, 10, 0, false},
		{"empty", CountTotal, 200, `{"messages_ready":0,"messages_unacknowledged":0}`, 0, 0, false},
		{"not reported yet", CountTotal, 200, `{"state":"running","name":"jobs"}`, 0, epu.Unavailable, true},
		{"half", CountTotal, 200, `{"messages_ready":5}`, 0, epu.Unavailable, true},
		{"down", CountTotal, 200, `{"state":"down","messages_ready":0,"messages_unacknowledged":0}`, 0, epu.Unavailable, true},
		{"missing", CountTotal, 404, `{}`, 0, epu.NotFound, true},
		{"denied", CountTotal, 401, `{}`, 0, epu.Denied, true},
		{"broken", CountTotal, 500, `{}`, 0, epu.Unavailable, true},
		{"redirected", CountTotal, 302, ``, 0, epu.Unavailable, true},
		{"a page", CountTotal, 200, `<html>`, 0, epu.Invalid, true},
	} {
		transport := transportFunc(func(r *http.Request) (*http.Response, error) {
			user, password, _ := r.BasicAuth()
			if r.URL.EscapedPath() != "/mq/api/queues/my%2Fhost/a%2Fb" || user != "u" || password != "s3cret" {
				t.Errorf("asked %s as %s", r.URL, user)
			}
			return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(c.body)), Header: http.Header{}}, nil
		})
		m := newManaged(Config{AMQP: "amqp://u:s3cret@h/my%2Fhost", Management: "http://h:15672/mq/", Count: c.count, BrokerHTTP: transport})
		got, err := m.depth(t.Context(), "a/b")
		if got != c.want || (err != nil) != c.bad || err != nil && epu.KindOf(err) != c.kind {
			t.Errorf("%s: got %d, %v of kind %v", c.name, got, err, epu.KindOf(err))
		}
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Goal: a broker that can't be reached makes the sensor unknown, in the very first push too, whichever messages
// and queues it counts, and nothing of the address that is secret goes out.
func TestABrokerThatIsAwayIsUnknown(t *testing.T) {
	n := &nodes{t: t, status: map[string]int{"a": 200}}
	a := agent(t, n, io.Discard)
	a.conf.Sensors = append(a.conf.Sensors, Sensor{Name: "all", Queues: []string{"jobs", "mails"}})
	a.broker = newBroker(Config{AMQP: "amqp://u:s3cret@127.0.0.1:1/v", Count: CountReady, Now: time.Now, Log: a.conf.Log})
	for count, late := range map[Count]time.Duration{CountReady: 0, CountUnacked: 5 * time.Second, CountTotal: 5 * time.Second} {
		a.conf.Count = count
		all := a.measure(t.Context())
		if len(all) != 2 {
			t.Fatalf("got %+v", all)
		}
		for i, r := range all {
			if r.err == nil || strings.Contains(r.err.Error()+r.source, "s3cret") || epu.KindOf(r.err) != epu.Unavailable || r.late != late {
				t.Errorf("%s: got %+v", count, r)
			}
			if v := a.push(all).GetValues()[i]; !v.GetUnknown() || v.Value != nil || v.GetError() == "" || v.GetSource() != "amqp://127.0.0.1:1/v" {
				t.Errorf("%s: got %v", count, v)
			}
		}
	}
}

// Goal: a broker that is away is not dialled for each queue and each reading, and not forgotten either.
// Method: a port that hangs up on everybody and counts them, and a clock that stands still in between.
func TestAttemptsToConnectAreSpacedOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{}, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialled <- struct{}{}
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	now := time.Unix(1000, 0)
	b := newBroker(Config{
		AMQP: "amqp://" + l.Addr().String(), Count: CountReady, Every: time.Minute, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	ask := func() int {
		for range 3 {
			if _, err := b.depth(t.Context(), "jobs"); epu.KindOf(err) != epu.Unavailable {
				t.Errorf("got %v", err)
			}
		}
		return len(dialled)
	}
	for i, step := range []time.Duration{0, 499 * time.Millisecond, time.Millisecond, 999 * time.Millisecond, time.Millisecond} {
		now = now.Add(step)
		if got, want := ask(), []int{1, 1, 2, 2, 3}[i]; got != want {
			t.Errorf("step %d: got %d attempts, want %d", i, got, want)
		}
	}
	for range 20 {
		now = now.Add(retryDelayMax)
		if before := len(dialled); ask() != before+1 {
			t.Errorf("no attempt after %v", retryDelayMax)
		}
	}
}
