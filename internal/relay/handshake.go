package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nimbus-epu/epu"
)

// probeMax bounds the look whether a node speaks TLS.
const probeMax = 2 * time.Second

// handshake is what a client learns while it and a node agree on TLS. In TLS 1.3 a node refuses a client's
// certificate after the client took the handshake for done: the refusal may be lost, and what is left is a
// broken pipe. That the node asked for a certificate is known before.
type handshake struct {
	asked, shown atomic.Bool // for a certificate; one that the node's authorities may have signed
	answered     atomic.Bool // the node did what it was asked: the connection is good
}

// watch has the handshake noted in settings of the connection's own.
func (h *handshake) watch(conf *tls.Config) *tls.Config {
	if conf == nil || conf.GetClientCertificate != nil {
		return conf
	}
	conf = conf.Clone()
	own := conf.Certificates
	conf.GetClientCertificate = func(wanted *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		h.asked.Store(true)
		h.shown.Store(false)
		for i := range own {
			if wanted.SupportsCertificate(&own[i]) == nil {
				h.shown.Store(true)
				return &own[i], nil
			}
		}
		return &tls.Certificate{}, nil
	}
	return conf
}

// speaksTLS asks a node that ended a connection in plain text for a TLS handshake of no consequence: Go's
// servers leave without a word when they are not spoken to in TLS, and so does one that is just stopping. A
// node that refuses the handshake, such as one that wants a certificate, has answered in TLS too.
func speaksTLS(ctx context.Context, target string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	network, address := "tcp", target
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(address)
	// Nothing is sent through this connection: whom it leads to does not matter.
	shake := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: cmp.Or(host, "node"), NextProtos: []string{"h2"}})
	err = shake.HandshakeContext(ctx)
	var refused tls.AlertError
	return err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "remote error: tls")
}

// explain says what a connection that failed with this text lacks; nil when that is nothing of TLS. probe
// finds out whether the node speaks TLS.
func (h *handshake) explain(conf *tls.Config, text string, probe func() bool) *epu.Error {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	cut := cutOff(text)
	no := func(why, try string) *epu.Error {
		return &epu.Error{Kind: epu.Denied, Err: errors.New(why), Try: try}
	}
	perhaps := func(why, try string) *epu.Error { // a node that is just stopping looks the same
		return &epu.Error{Kind: epu.Unavailable, Err: errors.New(why), Try: try}
	}
	switch {
	case h.answered.Load():
		return nil
	case conf == nil && has("error reading server preface") && cut && probe():
		return no("it speaks TLS, and none is configured here", "give the authority of its certificate: tls.ca in the configuration, or EPU_TLS_CA")
	case conf == nil:
		return nil
	case has("does not look like a TLS handshake"):
		return no("it does not speak TLS, and tls is configured here", "leave out tls.ca, tls.cert and tls.key for this node, or name another with: --node HOST:PORT")
	case has("failed to verify certificate"):
		_, why, _ := strings.Cut(text, "failed to verify certificate: ")
		return no("its certificate is not trusted: "+strings.TrimPrefix(why, "x509: "), "check tls.ca, the authority that signed it, and that --node names the node as its certificate does")
	case !h.asked.Load() || !cut && !has("remote error: tls"):
		return nil
	case h.shown.Load() && cut:
		return perhaps("it ended the connection when it had seen our certificate", "look whether it runs; if it does, check tls.cert: its tls.client_ca must have signed it, and it must be valid now")
	case h.shown.Load():
		return no("it does not accept our certificate", "check tls.cert: the node's tls.client_ca must have signed it, and it must be valid now")
	case conf != nil && len(conf.Certificates) > 0:
		return no("it wants a certificate of an authority that did not sign ours", "check tls.cert: the node's tls.client_ca must have signed it")
	}
	return no("it wants a certificate, and none is configured", "name one that its authority signed: tls.cert and tls.key in the configuration, or EPU_TLS_CERT and EPU_TLS_KEY")
}
