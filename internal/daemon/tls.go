package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/nimbus-epu/epu"
)

// serverTLS makes the relay's TLS, which asks every client for a certificate; nil without TLS. Whoever
// answers agents uses the same certificate, and asks for none: agents have tokens.
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

// agentTLS is the TLS of the node's HTTP: the relay's without certificates of clients.
func agentTLS(relay *tls.Config) *tls.Config {
	if relay == nil {
		return nil
	}
	conf := relay.Clone()
	conf.ClientAuth, conf.ClientCAs = tls.NoClientCert, nil
	return conf
}
