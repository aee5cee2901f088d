package httpclient

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout    = 5 * time.Second
	headerBytesMax = 64 << 10
	idleConnMax    = 2 * time.Minute // longer than the polls and beats of agents are apart
)

// New gives a client that follows no redirect: a token is for the server that it was meant for, not for whomever that
// one points to, and a login page is no answer.
func New(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Direct makes connections that go to the server itself. Conf may be nil and is not kept.
func Direct(conf *tls.Config) *http.Transport {
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        conf.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a bounded read is then also a bounded size
		MaxResponseHeaderBytes: headerBytesMax,
		IdleConnTimeout:        idleConnMax,
	}
}
