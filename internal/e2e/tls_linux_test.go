//go:build system

package e2e_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
)

// authority signs certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.sign(name, x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: name},
	})
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, like x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	like.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	like.NotBefore, like.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = &like, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &like, parent, &key.PublicKey, signer)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		must(os.WriteFile(filepath.Join(a.dir, name+file), pem.EncodeToMemory(block), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert, key
}

// secure gives a node certificates of an authority of its own, and says which one agents trust.
func (n *node) secure(agentCA string) {
	n.t.Helper()
	a := newAuthority(n.t, n.dir, "ca")
	newAuthority(n.t, n.dir, "stranger")
	a.sign("both", x509.Certificate{ // the node and epumgmt read the same environment here
		Subject:     pkix.Name{CommonName: "anna", OrganizationalUnit: []string{"operator"}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	file := func(name string) string { return filepath.Join(n.dir, name) }
	n.environ = append(n.environ,
		"EPU_TLS_CERT="+file("both.pem"), "EPU_TLS_KEY="+file("both.key"), // of both
		"EPU_TLS_CLIENT_CA="+file("ca.pem"), "EPU_TLS_AGENT_CA="+file(agentCA), // of epud
		"EPU_TLS_CA="+file("ca.pem")) // of epumgmt
}

// Goal: with TLS everything works as without: agents check in, beat and drain over HTTPS against an
// authority of the node's own, operators show certificates, workers outlive the node, and a node with
// agents that poll stops soon. Method: the life of the sample pool with the real programs.
func TestSystemTLS(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.secure("ca.pem")
	n.start()
	before := n.settle(2)
	for _, w := range before {
		if w.Health != "OK" || w.LastBeat.IsZero() {
			t.Errorf("got worker %+v, want its agent heard", w)
		}
	}
	n.must("scale", pool, "1")
	n.settle(1)

	told := time.Now()
	if err := n.signal(syscall.SIGTERM, true); err != nil {
		t.Errorf("epud ended with %v", err)
	}
	if took := time.Since(told); took > 5*time.Second { // polls last half a minute, their questions ten seconds
		t.Errorf("epud took %v to stop with an agent connected", took)
	}
	n.start()
	n.settle(1)

	n.environ = append(n.environ, "EPU_TLS_CERT=", "EPU_TLS_KEY=")
	if out, errs, code := n.run("epumgmt", "status"); code != 13 || out != "" || !strings.Contains(errs, "it wants a certificate, and none is configured") {
		t.Errorf("without a certificate: exit status %d\n%s%s, want what is missing", code, out, errs)
	}
}

// Goal: an agent that does not trust the node's authority tells it nothing, not even its token. Method:
// agents with the same user data but for the authority, started by hand, and what they log.
func TestSystemTLSAgentOfAStranger(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.secure("ca.pem")
	n.start()
	for authority, want := range map[string]string{"stranger.pem": "certificate signed by unknown authority", "ca.pem": "401 Unauthorized"} {
		data := filepath.Join(n.dir, authority+".json")
		user, err := json.Marshal(msg.UserData{
			Nodes: []string{"https://" + n.http}, Bootstrap: "made-up", Launch: "epu-sleeper-1-1", Heartbeat: 1,
			Run: []string{"/bin/true"}, CAFile: filepath.Join(n.dir, authority),
		})
		if err == nil {
			err = os.WriteFile(data, user, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), factMax)
		agent := exec.CommandContext(ctx, filepath.Join(programs, "epud"), "agent", "worker", "--user-data", data, "--instance", "i-1")
		agent.Env = n.environ
		log, err := agent.StderrPipe()
		if err == nil {
			err = agent.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for lines := bufio.NewScanner(log); !strings.Contains(said, want) && lines.Scan(); {
			said += lines.Text() + "\n"
		}
		cancel()
		_ = agent.Wait() // it was killed
		if !strings.Contains(said, want) {
			t.Errorf("an agent that trusts %s said\n%swant %q", authority, said, want)
		}
	}
}
