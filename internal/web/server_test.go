package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
	"github.com/nimbus-epu/epu/internal/relay"
)

// start serves on a listener of the node's own kind until the test ends.
func start(t *testing.T, o Options, address string, t12 *tls.Config) (*Server, net.Listener, chan error) {
	t.Helper()
	l, err := relay.Listen(t.Context(), address, relay.Protection{TLS: t12 != nil})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(New(o), t12)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s, l, served
}

// Goal: Stop does not wait for polls, which would wait half a minute, and Serve then returns nil.
// Method: stop a server while an agent polls.
func TestStopEndsPolls(t *testing.T) {
	waits := make(chan struct{})
	s, l, served := start(t, options(t, &world{commands: func(ctx context.Context, _ identity.Claims, _ string) (msg.BeatReply, error) {
		close(waits)
		<-ctx.Done()
		return msg.BeatReply{}, ctx.Err()
	}}), "127.0.0.1:0", nil)
	status := make(chan int)
	go func() {
		r := poll(t, "")
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+l.Addr().String()+msg.AgentCommandsPath, nil)
		if err != nil {
			t.Error(err)
		}
		req.Header = r.Header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-waits
	s.Stop(t.Context())
	if got := <-status; got != 503 {
		t.Errorf("the poll got %d, want 503", got)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
}

// Goal: on a unix socket, which only its user reaches, commands are taken whatever the host is called.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start(t, options(t, &world{}), "unix:"+path, nil)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://node/v1/command", strings.NewReader(scale))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range fromAnna() {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
}

// Goal: with TLS, on HTTP/2, agents without a certificate are served and commands work on loopback.
func TestTLS(t *testing.T) {
	lend := httptest.NewTLSServer(nil) // for its certificate and a client that trusts it
	defer lend.Close()
	_, l, _ := start(t, options(t, &world{}), "127.0.0.1:0", &tls.Config{Certificates: lend.TLS.Certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	client := lend.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	defer client.CloseIdleConnections()
	for _, path := range []string{"/healthz", msg.AgentCommandsPath, "/v1/status"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = poll(t, "").Header
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
			t.Errorf("%s: got %s %d %s, want HTTP/2 and 200", path, resp.Proto, resp.StatusCode, text)
		}
	}
}

// pipes is a listener whose connections are in memory, so that a bubble's time holds for them.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// inBubble runs a server and one connection to it in a bubble.
func inBubble(t *testing.T, w *world, f func(t *testing.T, conn net.Conn, in *bufio.Reader)) {
	o := options(t, w)
	o.Insecure = true // a pipe is no loopback
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := NewServer(New(o), nil)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		f(t, ours, bufio.NewReader(ours))
		_ = ours.Close()
		s.Stop(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// Goal: neither a head nor a body that does not come holds a connection for long. Method: begin each and
// fall silent.
func TestSlowClients(t *testing.T) {
	for begin, want := range map[string]time.Duration{
		"POST " + msg.AgentBeatPath + " HTTP/1.1\r\nHost":                                        headerTimeout,
		"POST " + msg.AgentCheckInPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{": readTimeout,
	} {
		inBubble(t, &world{}, func(t *testing.T, conn net.Conn, in *bufio.Reader) {
			began := time.Now()
			if _, err := conn.Write([]byte(begin)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, in) // until the server hangs up
			if took := time.Since(began); took < want || took > want+5*time.Second {
				t.Errorf("%q: the connection was held for %v, want about %v", begin, took, want)
			}
		})
	}
}

// Goal: a client that does not take its answer is cut off. Method: ask and never read.
func TestClientThatDoesNotRead(t *testing.T) {
	inBubble(t, &world{}, func(t *testing.T, conn net.Conn, in *bufio.Reader) {
		if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeTimeout + time.Second)
		if got, err := io.ReadAll(in); len(got) > 0 && err == nil && strings.HasSuffix(string(got), "ok\n") {
			t.Errorf("got %q, want a cut connection", got)
		}
	})
}

// Goal: deadlines of one request don't reach into the next on the same connection. Method: a beat, a
// long pause, and a poll that lasts longer than any body or answer may take.
func TestPollAfterBeatOnOneConnection(t *testing.T) {
	w := &world{commands: func(ctx context.Context, _ identity.Claims, _ string) (msg.BeatReply, error) {
		select {
		case <-time.After(50 * time.Second):
			return msg.BeatReply{Commands: []msg.AgentCommand{{ID: "late", Kind: "stop"}}}, nil
		case <-ctx.Done():
			return msg.BeatReply{}, ctx.Err()
		}
	}}
	inBubble(t, w, func(t *testing.T, conn net.Conn, in *bufio.Reader) {
		auth := poll(t, "").Header.Get("Authorization")
		body := `{"worker":"epu-web-1-7/3","state":"OK"}`
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", msg.AgentBeatPath, auth, len(body), body)
		if got := answerOn(t, in); !strings.Contains(got, "drain") {
			t.Fatalf("beat: got %s", got)
		}
		time.Sleep(time.Minute)
		fmt.Fprintf(conn, "GET %s?wait=60s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", msg.AgentCommandsPath, auth)
		if got := answerOn(t, in); !strings.Contains(got, "late") {
			t.Errorf("poll: got %s", got)
		}
	})
}

// Goal: a command may take longer than its body may take to arrive. Method: a router that is slow.
func TestSlowCommand(t *testing.T) {
	w := &world{ask: func(ctx context.Context, _ *msg.Request, _ proto.Message) (proto.Message, error) {
		select {
		case <-time.After(askTimeout - time.Second):
			return &msg.Done{Text: "at last"}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	inBubble(t, w, func(t *testing.T, conn net.Conn, in *bufio.Reader) {
		fmt.Fprintf(conn, "POST /v1/command HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-EPU-User: anna\r\nContent-Length: %d\r\n\r\n%s", len(scale), scale)
		if got := answerOn(t, in); !strings.Contains(got, "at last") {
			t.Errorf("got %s", got)
		}
	})
}

func answerOn(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(text))
}

// Goal: Stop does not wait for clients that are connected and ask nothing: agents keep such connections.
// Method: stop a server with one silent connection and count virtual time.
func TestStopHangsUpOnTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t, &world{})
		o.Insecure = true
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := NewServer(New(o), nil)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		synctest.Wait()
		began := time.Now()
		s.Stop(context.Background())
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("Stop took %v, want it not to wait", took)
		}
		if n, err := ours.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %d bytes and %v, want the end of the connection", n, err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
