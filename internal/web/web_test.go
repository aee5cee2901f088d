package web

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
	"github.com/nimbus-epu/epu/internal/metrics"
)

const (
	installation epu.InstallationID = "01JD8Z5X9WQK2V7R3M4N5P6Q7R"
	launch       epu.LaunchID       = "epu-web-1-7"
	worker       epu.WorkerID       = "epu-web-1-7/3"
)

var at = time.Date(2026, 11, 21, 14, 32, 5, 0, time.UTC)

// world is what stands behind a handler in tests. Functions that are nil give the usual answer.
type world struct {
	checkIn  func(context.Context, identity.Claims, msg.CheckIn) (msg.CheckedIn, error)
	beats    func(context.Context, identity.Claims, msg.Beat) (msg.BeatReply, error)
	commands func(context.Context, identity.Claims, string) (msg.BeatReply, error)
	ask      func(context.Context, *msg.Request, proto.Message) (proto.Message, error)
	watch    func(context.Context, *msg.EventsQuery, func(proto.Message) error) error
	ready    []Condition

	mu    sync.Mutex
	asked []*msg.Request
}

func (w *world) CheckIn(ctx context.Context, c identity.Claims, in msg.CheckIn) (msg.CheckedIn, error) {
	if w.checkIn != nil {
		return w.checkIn(ctx, c, in)
	}
	return msg.CheckedIn{Worker: worker, Token: "epu1.worker", HeartbeatSeconds: 10, DrainSeconds: 3600}, nil
}

func (w *world) Beat(ctx context.Context, c identity.Claims, b msg.Beat) (msg.BeatReply, error) {
	if w.beats != nil {
		return w.beats(ctx, c, b)
	}
	return msg.BeatReply{Commands: []msg.AgentCommand{{ID: "c1", Kind: "drain"}}}, nil
}

func (w *world) Commands(ctx context.Context, c identity.Claims, after string) (msg.BeatReply, error) {
	if w.commands != nil {
		return w.commands(ctx, c, after)
	}
	return msg.BeatReply{Commands: []msg.AgentCommand{{ID: "c2", Kind: "stop"}}}, nil
}

func (w *world) Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	w.mu.Lock()
	w.asked = append(w.asked, req)
	w.mu.Unlock()
	if w.ask != nil {
		return w.ask(ctx, req, body)
	}
	switch m := body.(type) {
	case *msg.StatusQuery:
		return &msg.Status{Pools: []*msg.PoolStatus{{Name: "epu-web", Owner: "default", Converged: "yes", Health: "ok", Want: 5, Have: 5, Engine: "STABLE", Policy: "npreserving"}}}, nil
	case *msg.InstancesQuery:
		return &msg.Instances{Instances: []*msg.Instance{{Worker: string(worker), Pool: m.GetPool(), Instance: "i-07", Site: "local", State: "600-RUNNING", Health: "OK"}}}, nil
	case *msg.ExplainQuery:
		return &msg.Explanation{Doing: []string{"launch 2 at local"}, WouldChange: []string{"preserve_n other than 5"}}, nil
	case *msg.DecisionsQuery:
		return &msg.Decisions{Decisions: []*msg.DecisionSummary{{Id: "01JD8Z5X9WQK2V7R3M4N5P6Q7S", Time: timestamppb.New(at), Direction: "up", Before: 3, After: 5, Text: "up 3->5: preserve_n = 5"}}}, nil
	case *msg.EventsQuery:
		return &msg.Events{Events: []*msg.EventRecord{event("01JD8Z5X9WQK2V7R3M4N5P6Q7T", "worker_running")}}, nil
	case *msg.DoctorQuery:
		return &msg.Doctor{Checks: []*msg.Check{{Code: "store", Name: "the store can be written", Result: "ok"}}}, nil
	case *msg.VersionQuery:
		return &msg.Version{Version: "1.0.0", Commit: "4857e55", Go: "go1.26.8"}, nil
	case *msg.Scale:
		if m.GetPool() == "epu-web" {
			return &msg.Done{Changed: true, Text: fmt.Sprintf("%s now wants %d workers", m.GetPool(), m.GetN())}, nil
		}
		return nil, &epu.Error{Kind: epu.NotFound, Op: "scale", On: m.GetPool(), Err: errors.New("no such pool"), Try: "epumgmt status"}
	}
	return nil, epu.E(epu.Invalid, "ask", fmt.Sprintf("%T", body), nil)
}

func (w *world) Watch(ctx context.Context, _ *msg.Request, body proto.Message, send func(proto.Message) error) error {
	if w.watch != nil {
		return w.watch(ctx, body.(*msg.EventsQuery), send)
	}
	return send(event("01JD8Z5X9WQK2V7R3M4N5P6Q7T", "worker_running"))
}

func event(id, name string) *msg.EventRecord {
	return &msg.EventRecord{Id: id, Kind: "event", Name: name, Pool: "epu-web", Time: timestamppb.New(at)}
}

// signer has a known key, so that documented tokens stay as they are.
func signer(t testing.TB) *identity.Signer {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := identity.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func options(t testing.TB, w *world) Options {
	m := metrics.New(metrics.Options{Version: &msg.Version{Version: "1.0.0", Commit: "4857e55", Go: "go1.26.8"}})
	return Options{
		Agents: w, Router: w, Tokens: signer(t), Installation: installation, Now: time.Now,
		Ready: func(context.Context) []Condition { return w.ready },
		NewID: func() string { return "01JD8Z5X9WQK2V7R3M4N5P6Q7Z" }, Metrics: m.Handler(), Meter: m,
	}
}

// serve runs a real server on loopback.
func serve(t *testing.T, h *Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// request is one request to a test server.
type request struct {
	method, path string
	header       map[string]string
	host, body   string
}

func send(t *testing.T, base string, r request) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, base+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if r.host != "" {
		req.Host = r.host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func fromAnna() map[string]string {
	return map[string]string{"Content-Type": "application/json", "X-EPU-User": "anna"}
}

const scale = `{"type":"Scale","body":{"pool":"epu-web","n":5}}`

// Goal: nobody commands or asks who may not: other sites' pages, other names of this machine, programs
// that don't say who they are. Method: one wrong thing each, on a loopback listener.
func TestWhoMayCommand(t *testing.T) {
	w := &world{}
	s := serve(t, New(options(t, w)))
	with := func(k, v string) map[string]string { m := fromAnna(); m[k] = v; return m }
	for _, c := range []struct {
		what string
		r    request
		want int
	}{
		{"good", request{header: fromAnna()}, 200},
		{"good, with charset", request{header: with("Content-Type", "application/json; charset=utf-8")}, 200},
		{"same origin", request{header: with("Origin", s.URL)}, 200},
		{"another site", request{header: with("Origin", "https://evil.example")}, 403},
		{"null origin", request{header: with("Origin", "null")}, 403},
		{"cross-site", request{header: with("Sec-Fetch-Site", "cross-site")}, 403},
		{"another port's page", request{header: with("Sec-Fetch-Site", "same-site")}, 403},
		{"rebound name", request{header: fromAnna(), host: "evil.example"}, 403},
		{"rebound name with port", request{header: fromAnna(), host: "evil.example:7421"}, 403},
		{"localhost", request{header: fromAnna(), host: "localhost:7421"}, 200},
		{"no user", request{header: with("X-EPU-User", "")}, 403},
		{"long user", request{header: with("X-EPU-User", strings.Repeat("a", 300))}, 400},
		{"a form", request{header: with("Content-Type", "application/x-www-form-urlencoded")}, 415},
		{"plain text", request{header: with("Content-Type", "text/plain")}, 415},
	} {
		c.r.method, c.r.path, c.r.body = "POST", "/v1/command", scale
		before := len(w.asked)
		got, text, _ := send(t, s.URL, c.r)
		if got != c.want || (len(w.asked) > before) != (c.want == 200) {
			t.Errorf("%s: got %d %s, asked %d times, want %d", c.what, got, text, len(w.asked)-before, c.want)
		}
	}
	last := w.asked[len(w.asked)-1]
	if last.GetUser() != "anna" || !strings.HasPrefix(last.GetFrom(), "127.0.0.1:") || last.GetId() == "" || last.GetBody().MessageName() != "epu.v1.Scale" {
		t.Errorf("got request %v", last)
	}
	if got, _, _ := send(t, s.URL, request{method: "GET", path: "/v1/status", host: "evil.example"}); got != 403 {
		t.Errorf("a question under another name: got %d, want 403", got)
	}
	if got, _, _ := send(t, s.URL, request{method: "GET", path: "/v1/status", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}); got != 403 {
		t.Errorf("a question from another site: got %d, want 403", got)
	}
}

// Goal: whoever can't be seen to be on this machine, and shows no certificate, is refused; a certificate
// counts by its role, and its name is the user. Method: requests with and without both.
func TestBeyondLoopback(t *testing.T) {
	w := &world{}
	o := options(t, w)
	for _, c := range []struct {
		what     string
		insecure bool
		cert     *x509.Certificate
		question bool
		want     int
	}{
		{"plain", false, nil, false, 403},
		{"plain question", false, nil, true, 403},
		{"insecure", true, nil, false, 200},
		{"operator", false, person("operator"), false, 200},
		{"viewer commands", false, person("viewer"), false, 403},
		{"viewer asks", false, person("viewer"), true, 200},
		{"viewer, insecure node", true, person("viewer"), false, 403},
		{"no role", false, person("guest"), true, 403},
	} {
		o.Insecure = c.insecure
		r := httptest.NewRequest("POST", "/v1/command", strings.NewReader(scale)) // came to no listener of ours
		if c.question {
			r = httptest.NewRequest("GET", "/v1/status", nil)
		}
		r.Host = "127.0.0.1"
		for k, v := range fromAnna() {
			r.Header.Set(k, v)
		}
		if c.cert != nil {
			r.TLS = verified(c.cert)
		}
		out := httptest.NewRecorder()
		New(o).ServeHTTP(out, r)
		if out.Code != c.want {
			t.Errorf("%s: got %d %s, want %d", c.what, out.Code, out.Body, c.want)
		}
		if user := w.asked; out.Code == 200 && c.cert != nil && user[len(user)-1].GetUser() != "bob" {
			t.Errorf("%s: got user %q, want the certificate's", c.what, user[len(user)-1].GetUser())
		}
	}
}

// Goal: every kind of error has its status, and the error's four parts arrive. Method: one each.
func TestStatuses(t *testing.T) {
	var kind epu.Kind
	s := serve(t, New(options(t, &world{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		return nil, &epu.Error{Kind: kind, Op: "show", On: "epu-web", Err: errors.New("why"), Try: "this"}
	}})))
	want := map[epu.Kind]int{
		epu.Internal: 500, epu.NotFound: 404, epu.Conflict: 409, epu.Capacity: 503, epu.Quota: 503, epu.Throttled: 429, epu.Denied: 403,
		epu.Invalid: 400, epu.Transient: 503, epu.UnknownOutcome: 504, epu.Unavailable: 503,
	}
	for k, status := range want {
		kind = k
		got, text, head := send(t, s.URL, request{method: "GET", path: "/v1/status"})
		doc := fmt.Sprintf(`{"schema":"epu/v1","type":"error","error":{"kind":%q,"text":"show epu-web: why","op":"show","on":"epu-web","why":"why","try":"this"}}`, k.String())
		if got != status || text != doc+"\n" || head.Get("Content-Type") != "application/json" {
			t.Errorf("%v: got %d %s, want %d %s", k, got, text, status, doc)
		}
	}
}

// Goal: what is wrong with a request is said, and nothing is asked. Method: wrong requests.
func TestWrongRequests(t *testing.T) {
	w := &world{}
	s := serve(t, New(options(t, w)))
	for _, c := range []struct {
		path, body string
		want       int
		text       string
	}{
		{"/v1/instances?pol=x", "", 400, `unknown parameter \"pol\"`},
		{"/v1/instances?pool=a&pool=b", "", 400, "given twice"},
		{"/v1/instances?all=perhaps", "", 400, "true or false"},
		{"/v1/decisions?limit=-1", "", 400, "a number from 0"},
		{"/v1/decisions?since=yesterday", "", 400, "a time such as"},
		{"/v1/events?pool=%00", "", 400, "control characters"},
		{"/v1/explain?pool=a&at=now", "", 400, "a time such as"},
		{"/v1/explain?pool=a&at=2026-11-21T14:00:00Z&decision=x", "", 400, "not by both"},
		{"/v1/status?%zz", "", 400, "not encoded"},
		{"/v1/nothing", "", 404, ""},
		{"/v1/command", "", 405, ""},
		{"/v1/command", `{"type":"Scale","body":{"pool":"p","m":1}}`, 400, "unknown field"},
		{"/v1/command", `{"type":"Scale","bdy":{}}`, 400, "one JSON object"},
		{"/v1/command", `{"type":"Scale"}{}`, 400, "one JSON object"},
		{"/v1/command", `{"type":"Explode"}`, 400, `message \"Explode\"`},
		{"/v1/command", `{"type":"google.protobuf.Any"}`, 400, "does not know"},
		{"/v1/command", `{"type":"Scale","id":"a b"}`, 400, `\"id\"`},
		{"/v1/command", strings.Repeat(" ", apiBodyMax+1), 413, "too large"},
	} {
		r := request{method: "GET", path: c.path}
		if c.body != "" {
			r.method, r.body, r.header = "POST", c.body, fromAnna()
		}
		if got, text, _ := send(t, s.URL, r); got != c.want || !strings.Contains(text, c.text) {
			t.Errorf("%s %.80s: got %d %s, want %d with %q", c.path, c.body, got, text, c.want, c.text)
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the router was asked %v", w.asked)
	}
}

// Goal: a panic is one failed request, counted, and says nothing about the program. Method: a router
// that panics.
func TestPanic(t *testing.T) {
	o := options(t, &world{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) { panic("secret") }})
	s := serve(t, New(o))
	if got, text, _ := send(t, s.URL, request{method: "GET", path: "/v1/status"}); got != 500 || strings.Contains(text, "secret") {
		t.Errorf("got %d %s", got, text)
	}
	_, text, _ := send(t, s.URL, request{method: "GET", path: "/metrics"})
	for _, want := range []string{"epu_http_panics_total 1", `epu_http_requests_total{code="500",route="/v1/status"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s", text, want)
		}
	}
}

// Goal: readiness names each failing condition on a line. Method: one that holds and two that don't.
func TestReady(t *testing.T) {
	w := &world{ready: []Condition{{Name: "registry", OK: true}}}
	h := New(options(t, w))
	s := serve(t, h)
	if got, text, _ := send(t, s.URL, request{method: "GET", path: "/readyz"}); got != 200 || text != "ready\n" {
		t.Errorf("got %d %q", got, text)
	}
	w.ready = append(w.ready, Condition{Name: "site east", Text: "has not been listed:\ntimeout", Try: "epumgmt doctor"}, Condition{Name: "store", Text: "degraded"})
	if got, text, _ := send(t, s.URL, request{method: "GET", path: "/readyz"}); got != 503 || text != "site east: has not been listed: timeout; try: epumgmt doctor\nstore: degraded\n" {
		t.Errorf("got %d %q", got, text)
	}
	if got, text, _ := send(t, s.URL, request{method: "GET", path: "/readyz?format=json"}); got != 503 || !strings.Contains(text, `"type":"ready","ready":false,"conditions":[{"name":"registry","ok":true},`) {
		t.Errorf("got %d %q", got, text)
	}
	w.ready = nil
	h.Drain()
	if got, text, _ := send(t, s.URL, request{method: "GET", path: "/readyz"}); got != 503 || text != "node: is stopping\n" {
		t.Errorf("got %d %q", got, text)
	}
	if got, _, _ := send(t, s.URL, request{method: "GET", path: "/healthz"}); got != 200 {
		t.Errorf("healthz: got %d", got)
	}
}

// Goal: an ID stands for one command. Method: the same again, other bodies and other types with the ID, and questions,
// which no audit knows of; then so many others that the first is forgotten.
func TestIDOfAnotherCommand(t *testing.T) {
	w := &world{ask: func(_ context.Context, _ *msg.Request, body proto.Message) (proto.Message, error) {
		return &msg.Done{Text: msg.NameOf(body)}, nil
	}}
	h := New(options(t, w))
	s := serve(t, h)
	for _, c := range []struct {
		body string
		want int
	}{
		{`{"type":"Scale","id":"a","body":{"pool":"epu-web","n":5}}`, 200},
		{`{"id":"a","body":{"n":5,"pool":"epu-web"},"type":"Scale"}`, 200},
		{`{"type":"Scale","id":"a","body":{"pool":"epu-web","n":6}}`, 409},
		{`{"type":"Thaw","id":"a","body":{"pool":"epu-web"}}`, 409},
		{`{"type":"PlanQuery","id":"a"}`, 200},
		{`{"type":"Scale","id":"b","body":{"pool":"epu-web","n":6}}`, 200},
		{`{"type":"Scale","body":{"pool":"epu-web","n":7}}`, 200}, // with an ID that the node makes
		{`{"type":"Scale","body":{"pool":"epu-web","n":8}}`, 200},
	} {
		got, text, _ := send(t, s.URL, request{method: "POST", path: "/v1/command", body: c.body, header: fromAnna()})
		if got != c.want || got == 409 && (!strings.Contains(text, "used for another command: a") || !strings.Contains(text, `"try"`)) {
			t.Errorf("%s: got %d %s, want %d", c.body, got, text, c.want)
		}
	}
	if len(w.asked) != 6 {
		t.Errorf("the router was asked %d times, want 6", len(w.asked))
	}
	anonymous := map[string]string{"Content-Type": "application/json", "X-EPU-User": "x", "Origin": "http://elsewhere.example"}
	send(t, s.URL, request{method: "POST", path: "/v1/command", body: `{"type":"Thaw","id":"c","body":{"pool":"epu-web"}}`, header: anonymous})
	if err := h.repeats.claim("c", &msg.Scale{}); err != nil {
		t.Errorf("a command that was not admitted has its ID: %v", err)
	}
	for i := range repeatsMax {
		if err := h.repeats.claim(fmt.Sprint(i), &msg.Scale{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.repeats.claim("a", &msg.Thaw{}); err != nil || len(h.repeats.known) != repeatsMax || len(h.repeats.newest) != repeatsMax {
		t.Errorf("after many others: %v, and %d are known", err, len(h.repeats.known))
	}
}
