package relay

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Goal: a client and a node that do not agree on TLS say what is missing and where to put it, never only
// that a pipe broke. Method: real connections with each kind of disagreement, some of them often, because
// in TLS 1.3 a refusal crosses with what the client sends.
func TestDisagreementAboutTLSIsExplained(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	serve := func(o Options) string {
		l, err := Listen(t.Context(), "127.0.0.1:0", Protection{TLS: true})
		if err != nil {
			t.Fatal(err)
		}
		s, served := NewServer(userRouter{}, o), make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		t.Cleanup(func() {
			s.Stop(t.Context())
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		return l.Addr().String()
	}
	secure := serve(Options{TLS: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{ca.issue(t, "n1", RoleNode)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	plain := serve(Options{})
	for _, c := range []struct {
		name, at string
		conf     *tls.Config
		why, try string
	}{
		{"no certificate", secure, &tls.Config{RootCAs: ca.pool}, "it wants a certificate, and none is configured", "EPU_TLS_CERT"},
		{
			"a stranger's certificate", secure, &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{stranger.issue(t, "eve", RoleOperator)}},
			"certificate", "tls.client_ca must have signed it", // which of both authorities is called ca does not tell them apart
		},
		{"another authority", secure, &tls.Config{RootCAs: stranger.pool}, "its certificate is not trusted", "tls.ca"},
		{"plain text to TLS", secure, nil, "it speaks TLS", "tls.ca"},
		{"TLS to plain text", plain, &tls.Config{RootCAs: ca.pool}, "it does not speak TLS", "leave out"},
	} {
		for range 20 {
			client, err := Dial(c.at, ClientOptions{NewID: func() string { return "1" }, TLS: c.conf})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Ask[*msg.Done](t.Context(), client, &msg.StatusQuery{})
			_ = client.Close()
			if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(epu.TryOf(err), c.try) {
				t.Errorf("%s: got %v, try %q, want %q, try %q", c.name, err, epu.TryOf(err), c.why, c.try)
				break
			}
		}
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	client, err := Dial(gone.Addr().String(), ClientOptions{NewID: func() string { return "1" }, TLS: &tls.Config{RootCAs: ca.pool}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err = Ask[*msg.Done](t.Context(), client, &msg.StatusQuery{}); epu.KindOf(err) != epu.Unavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a node that does not run: got %v", err)
	}
}

// Goal: a node without TLS that goes away is not said to have TLS, whether it ends the connection before it
// says anything or in the middle of an answer. Method: a listener that takes connections and ends them, as
// the kernel does for a killed node.
func TestANodeThatGoesAwayIsNotTakenForOneWithTLS(t *testing.T) {
	for name, preface := range map[string]string{"at once": "", "in the middle": "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				first := make([]byte, 256)
				if n, err := conn.Read(first); err == nil && preface != "" && n > 0 {
					_, _ = conn.Write([]byte(preface))
					_, _ = conn.Read(first)
				}
				_ = conn.Close()
			}
		}()
		client, err := Dial(l.Addr().String(), ClientOptions{NewID: func() string { return "1" }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Ask[*msg.Done](t.Context(), client, &msg.StatusQuery{})
		if epu.KindOf(err) != epu.Unavailable || strings.Contains(err.Error(), "TLS") ||
			!strings.Contains(err.Error(), "it may just have stopped") || !strings.Contains(epu.TryOf(err), "try again") {
			t.Errorf("%s: got %v, try %q", name, err, epu.TryOf(err))
		}
		_ = client.Close()
		_ = l.Close()
		<-ended
	}
}
