package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
	"github.com/nimbus-epu/epu/internal/relay"
)

func person(role string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: "bob", OrganizationalUnit: []string{role}}}
}

func verified(cert *x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
}

// Goal: only a launch's own token checks in, and only a worker's own token beats and polls; statuses are
// those of the contract. Method: tokens of every kind at every endpoint.
func TestAgentTokens(t *testing.T) {
	s := serve(t, New(options(t, &world{})))
	sign := signer(t)
	boot := sign.Bootstrap(installation, "default", "epu-web", launch)
	own := sign.Worker(installation, "default", "epu-web", worker)
	other := sign.Worker(installation, "default", "epu-web", "epu-web-1-7/4")
	house := sign.Worker("another", "default", "epu-web", worker)
	in := func(token string) string {
		text, err := json.Marshal(msg.CheckIn{Bootstrap: token, Launch: launch, Instance: "i-07"})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	beat := `{"worker":"epu-web-1-7/3","instance":"i-07","seq":1,"state":"OK"}`
	for _, c := range []struct {
		what, method, path, token, body string
		want                            int
	}{
		{"check-in", "POST", msg.AgentCheckInPath, "", in(boot), 200},
		{"check-in with a worker's token", "POST", msg.AgentCheckInPath, "", in(own), 401},
		{"check-in with another launch's", "POST", msg.AgentCheckInPath, "", in(sign.Bootstrap(installation, "default", "epu-web", "epu-web-1-8")), 401},
		{"check-in without", "POST", msg.AgentCheckInPath, "", in(""), 401},
		{"check-in without an instance", "POST", msg.AgentCheckInPath, "", strings.Replace(in(boot), "i-07", "", 1), 400},
		{"check-in with nonsense", "POST", msg.AgentCheckInPath, "", "[]", 400},
		{"beat", "POST", msg.AgentBeatPath, own, beat, 200},
		{"beat of another worker", "POST", msg.AgentBeatPath, other, beat, 401},
		{"beat of another installation", "POST", msg.AgentBeatPath, house, beat, 401},
		{"beat with a bootstrap token", "POST", msg.AgentBeatPath, boot, beat, 401},
		{"beat without", "POST", msg.AgentBeatPath, "", beat, 401},
		{"beat with nonsense", "POST", msg.AgentBeatPath, own, "x", 400},
		{"beat in an unknown state", "POST", msg.AgentBeatPath, own, strings.Replace(beat, "OK", "FINE", 1), 400},
		{"huge beat", "POST", msg.AgentBeatPath, own, strings.Repeat(" ", msg.AgentBodyMax+1), 413},
		{"poll", "GET", msg.AgentCommandsPath + "?wait=1s&after=c1", own, "", 200},
		{"poll without", "GET", msg.AgentCommandsPath, "", "", 401},
		{"poll with a bootstrap token", "GET", msg.AgentCommandsPath, boot, "", 401},
		{"poll for nonsense", "GET", msg.AgentCommandsPath + "?wait=soon", own, "", 400},
		{"get a beat", "GET", msg.AgentBeatPath, own, "", 405},
	} {
		r := request{method: c.method, path: c.path, body: c.body, host: "any.name.example"}
		if c.token != "" {
			r.header = map[string]string{"Authorization": "Bearer " + c.token}
		}
		got, text, head := send(t, s.URL, r)
		if got != c.want {
			t.Errorf("%s: got %d %s, want %d", c.what, got, text, c.want)
		}
		if strings.Contains(text, "epu1.g") {
			t.Errorf("%s: the answer has a token: %s", c.what, text)
		}
		if got == 401 && head.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: 401 without a challenge", c.what)
		}
	}
}

// Goal: kinds of errors become the statuses of the contract; the bootstrap token goes no further.
func TestAgentStatuses(t *testing.T) {
	var fail error
	w := &world{
		checkIn: func(_ context.Context, c identity.Claims, in msg.CheckIn) (msg.CheckedIn, error) {
			if in.Bootstrap != "" || c.Pool != "epu-web" {
				t.Errorf("got %+v and %+v", in, c)
			}
			return msg.CheckedIn{}, fail
		},
		beats: func(context.Context, identity.Claims, msg.Beat) (msg.BeatReply, error) { return msg.BeatReply{}, fail },
	}
	s := serve(t, New(options(t, w)))
	sign := signer(t)
	in := `{"bootstrap":"` + sign.Bootstrap(installation, "default", "epu-web", launch) + `","launch":"epu-web-1-7","instance":"i-07"}`
	auth := map[string]string{"Authorization": "Bearer " + sign.Worker(installation, "default", "epu-web", worker)}
	for _, c := range []struct {
		err            error
		checkIn, beats int
	}{
		{epu.E(epu.NotFound, "", "", nil), 410, 410},
		{epu.E(epu.Denied, "", "", nil), 401, 401},
		{epu.E(epu.Invalid, "", "", nil), 400, 400},
		{relay.ErrorOf(relay.FaultOf(epu.E(epu.Transient, "check in", "i-07", errors.New("not yet")))), 425, 503},        // from another node too
		{epu.E(epu.Unavailable, "check in", "i-07", errors.New("the machine is not yet known to its launch")), 503, 503}, // text decides nothing
		{epu.E(epu.Unavailable, "", "", errors.New("the store is down")), 503, 503},
		{epu.E(epu.Internal, "", "", nil), 503, 503},
		{context.DeadlineExceeded, 503, 503},
	} {
		fail = c.err
		if got, text, _ := send(t, s.URL, request{method: "POST", path: msg.AgentCheckInPath, body: in}); got != c.checkIn {
			t.Errorf("check-in, %v: got %d %s, want %d", c.err, got, text, c.checkIn)
		}
		if got, text, _ := send(t, s.URL, request{method: "POST", path: msg.AgentBeatPath, header: auth, body: `{"worker":"epu-web-1-7/3","state":"OK"}`}); got != c.beats {
			t.Errorf("beat, %v: got %d %s, want %d", c.err, got, text, c.beats)
		}
	}
}

// Goal: a program's last words never keep its worker's beats away: of too long ones the end counts.
// Method: a beat with more than a node keeps, in characters of more than one byte.
func TestLongWordsAreShortened(t *testing.T) {
	const state = `{"worker":"epu-web-1-7/3","state":"PROCESS_ERROR","failed":[{"program":"p","stderr":"`
	b, err := decodeBeat([]byte(state + strings.Repeat("\ufffd", stderrMax) + `boom"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := b.Failed[0].Stderr
	if len(got) > stderrMax || len(got) < stderrMax-3 || !strings.HasSuffix(got, "\ufffdboom") || !utf8.ValidString(got) {
		t.Errorf("got %d bytes that begin with %q", len(got), got[:8])
	}
}

// poll makes a poll's request for a handler without a server.
func poll(t *testing.T, query string) *http.Request {
	r := httptest.NewRequest("GET", msg.AgentCommandsPath+query, nil)
	r.Header.Set("Authorization", "Bearer "+signer(t).Worker(installation, "default", "epu-web", worker))
	return r
}

// Goal: a poll waits as long as it says, at most a minute, and then says that nothing is new; Drain ends
// it at once. Method: a bubble's time.
func TestPollWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(options(t, &world{commands: func(ctx context.Context, _ identity.Claims, _ string) (msg.BeatReply, error) {
			<-ctx.Done()
			return msg.BeatReply{}, ctx.Err()
		}}))
		for query, want := range map[string]time.Duration{"": waitDefault, "?wait=7s": 7 * time.Second, "?wait=3h": waitMax, "?wait=0s": time.Millisecond} {
			began := time.Now()
			out := httptest.NewRecorder()
			h.ServeHTTP(out, poll(t, query))
			if took := time.Since(began); took != want || out.Code != 200 || out.Body.String() != "{}\n" {
				t.Errorf("%q: got %d %q after %v, want 200 after %v", query, out.Code, out.Body, took, want)
			}
		}
		began := time.Now()
		time.AfterFunc(time.Second, h.Drain)
		out := httptest.NewRecorder()
		h.ServeHTTP(out, poll(t, ""))
		if took := time.Since(began); took != time.Second || out.Code != 503 {
			t.Errorf("at the end: got %d after %v, want 503 after 1 s", out.Code, took)
		}
	})
}

// Goal: polls beyond the bound are told to come again. Method: a bound of one.
func TestPollsAreBounded(t *testing.T) {
	waits := make(chan struct{})
	o := options(t, &world{commands: func(ctx context.Context, _ identity.Claims, _ string) (msg.BeatReply, error) {
		close(waits)
		<-ctx.Done()
		return msg.BeatReply{}, ctx.Err()
	}})
	o.PollsMax = 1
	h := New(o)
	done := make(chan int)
	go func() {
		out := httptest.NewRecorder()
		h.ServeHTTP(out, poll(t, ""))
		done <- out.Code
	}()
	<-waits
	out := httptest.NewRecorder()
	h.ServeHTTP(out, poll(t, ""))
	if out.Code != 503 || out.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, want 503 with a time", out.Code)
	}
	h.Drain()
	if code := <-done; code != 503 {
		t.Errorf("the first got %d, want 503", code)
	}
}

// Goal: whatever agents send, what is let through is within bounds. Method: fuzz the decoders.
func FuzzAgentBodies(f *testing.F) {
	f.Add([]byte(`{"bootstrap":"epu1.a.b","launch":"epu-web-1-7","instance":"i-07"}`))
	f.Add([]byte(`{"worker":"epu-web-1-7/3","instance":"i-07","seq":1,"state":"PROCESS_ERROR","failed":[{"program":"p","age_seconds":1e3,"stderr":"x"}],"acked":["c1"],"idle_seconds":5}`))
	f.Add([]byte(`{"worker":"a/0","state":"OK","busy_until_seconds":1e308}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if in, err := decodeCheckIn(body); err == nil && (in.Instance == "" || len(in.Instance) > idBytesMax) {
			t.Errorf("%q: let through as %+v", body, in)
		}
		if b, err := decodeBeat(body); err == nil {
			for _, s := range []float64{b.BusyUntilSeconds, b.IdleSeconds} {
				if d := time.Duration(s * float64(time.Second)); d < 0 {
					t.Errorf("%q: %g seconds are let through", body, s)
				}
			}
		}
	})
}

// Goal: whatever is sent as a command, what is let through is one of our messages. Method: fuzz.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(scale))
	f.Add([]byte(`{"type":"Reconfigure","id":"x","body":{"pool":"p","conf":{"a":[1,{}]}}}`))
	f.Add([]byte(`{"type":"Apply","body":{"files":[{"path":"a","content":"AAAA"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, m, err := decodeCommand(text); err == nil && (len(id) > requestIDMax || !m.ProtoReflect().IsValid()) {
			t.Errorf("%q: let through as %q %v", text, id, m)
		}
	})
}
