package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/nimbus-epu/epu"
)

// serverTLS makes the relay's TLS, which asks every client for a certificate; nil without TLS. The HTTP
// side uses it too, and serves agents without one: they have tokens.
func (n *Node) serverTLS() (*tls.Config, error) {
	c := n.conf.TLS
	if !c.Enabled() {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the certificate", c.Cert, err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if c.ClientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the clients' authority", c.ClientCA, err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, epu.E(epu.Invalid, "read the clients' authority", c.ClientCA, errors.New("it holds no certificate"))
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	return conf, nil
}
