package httpclient_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/httpclient"
)

// Goal: a client asks the server that it was given and nobody else, and is not drowned. Method: real servers on
// loopback.

func TestNoRedirectIsFollowed(t *testing.T) {
	asked := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer server.Close()
	transport := httpclient.Direct(nil)
	defer transport.CloseIdleConnections()
	resp, err := httpclient.New(transport).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusFound || len(asked) != 0 {
		t.Errorf("the answer is %s, and the other server was asked %d times", resp.Status, len(asked))
	}
	if transport.Proxy != nil {
		t.Error("a proxy may come between")
	}
}

func TestAnAuthorityIsTrustedAndItsConfigurationLeftAlone(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	conf := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.NextProtos = nil
	transport := httpclient.Direct(conf)
	defer transport.CloseIdleConnections()
	resp, err := httpclient.New(transport).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS.Version < tls.VersionTLS12 || conf.NextProtos != nil {
		t.Errorf("%s over %s, and the configuration has got %v", resp.Proto, tls.VersionName(resp.TLS.Version), conf.NextProtos)
	}
	stranger := httpclient.Direct(nil)
	defer stranger.CloseIdleConnections()
	if resp, err := httpclient.New(stranger).Get(server.URL); err == nil {
		_ = resp.Body.Close()
		t.Error("without the authority the server is trusted too")
	}
}

func TestHeadersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
	}))
	defer server.Close()
	transport := httpclient.Direct(nil)
	defer transport.CloseIdleConnections()
	if resp, err := httpclient.New(transport).Get(server.URL); err == nil {
		_ = resp.Body.Close()
		t.Error("a header of 128 KiB is taken in")
	}
}
