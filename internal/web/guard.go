package web

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

// admit decides whether a request from people's tools may ask or command what its body says, and fills
// in who asks. A proven name takes the place of a claimed one.
func (h *Handler) admit(r *http.Request, req *msg.Request, body proto.Message) error {
	req.From = r.RemoteAddr
	if err := h.checkHost(r); err != nil {
		return err
	}
	if cert := certificate(r); cert != nil {
		req.User = cert.Subject.CommonName
		return h.o.Authorize(cert, body)
	}
	if h.o.Insecure || onLoopback(r) {
		return nil
	}
	return &epu.Error{
		Kind: epu.Denied, Op: "answer", On: relay.NameOf(body),
		Err: errors.New("others can reach this address, and the request shows no client certificate"),
		Try: "ask on the node's machine, or with a certificate of an operator or viewer over https",
	}
}

// certificate is the client's, if it was verified.
func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// onLoopback reports that the request came to a listener which only this machine's users reach. A
// request without a listener, which no server of ours makes, did not.
func onLoopback(r *http.Request) bool {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	}
	return false
}

// checkHost refuses plain HTTP under a name that is not ours: a page of another site may have its name
// point to this machine, and its visitor's browser would ask us then as if it were that site. With TLS
// the certificate's name does this.
func (h *Handler) checkHost(r *http.Request) error {
	if r.TLS != nil {
		return nil
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	_, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	if err == nil || unix || strings.EqualFold(host, "localhost") ||
		slices.ContainsFunc(h.o.Hosts, func(ours string) bool { return strings.EqualFold(host, ours) }) {
		return nil
	}
	return &epu.Error{
		Kind: epu.Denied, Op: "answer", On: fmt.Sprintf("a request for the host %q", clip(host)), Err: errors.New("that is no name of this node"),
		Try: "use the node's address, such as http://127.0.0.1:7421",
	}
}

// checkName bounds a name from outside that goes into the audit.
func checkName(what, name string) error {
	if len(name) > nameBytesMax || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return epu.E(epu.Invalid, "read the request", "", fmt.Errorf("%s is too long or has control characters", what))
	}
	return nil
}

// clip shortens text from outside before it is repeated in an error.
func clip(s string) string {
	const clipBytesMax = 100
	s = strings.ToValidUTF8(s, "?")
	if len(s) > clipBytesMax {
		s = strings.ToValidUTF8(s[:clipBytesMax], "") + "..."
	}
	return s
}
