package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// What comes from outside is decoded without trust, and a certificate decides who may send what.

func FuzzRequest(f *testing.F) {
	for _, m := range []proto.Message{&msg.Scale{Pool: "p", N: 3}, &msg.StatusQuery{}, &msg.Done{}} {
		body, err := anypb.New(m)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := proto.Marshal(&msg.Request{Id: "1", Body: body, User: "anna"})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("\x12\x02\x0a\x00"))
	f.Add([]byte("\x12\x1d\x0a\x1btype.googleapis.com/epu.v1/"))
	s := NewServer(nil, Options{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := &msg.Request{}
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		body, err := s.open(context.Background(), req)
		if err != nil {
			if epu.KindOf(err) != epu.Invalid {
				t.Errorf("refused with kind %v, want invalid: %v", epu.KindOf(err), err)
			}
			if _, merr := proto.Marshal(reply(nil, err)); merr != nil {
				t.Errorf("the refusal %q can't be sent: %v", err, merr)
			}
			return
		}
		if body.ProtoReflect().Descriptor().ParentFile().Package() != "epu.v1" {
			t.Errorf("let %s through", body.ProtoReflect().Descriptor().FullName())
		}
		if len(req.GetId()) > idBytesMax || len(req.GetUser()) > nameBytesMax {
			t.Error("let too long a name through")
		}
	})
}

func TestFaultKeepsWrappingText(t *testing.T) {
	inner := &epu.Error{Kind: epu.Capacity, Op: "launch", On: "epu-web-1-7", Err: errors.New("no room"), Try: "another zone"}
	for _, c := range []struct {
		err        error
		text, kind string
		try        string
	}{
		{fmt.Errorf("tick: %w", inner), "tick: launch epu-web-1-7: no room", "capacity", "another zone"},
		{epu.E(epu.Denied, "scale", "epu-web", inner), "scale epu-web: launch epu-web-1-7: no room", "denied", "another zone"},
		{errors.New("plain"), "plain", "internal", ""},
		{context.DeadlineExceeded, "context deadline exceeded", "unknown outcome", ""},
		{epu.E(epu.NotFound, "show", "epu-x", nil), "show epu-x: not found", "not found", ""},
	} {
		f := FaultOf(c.err)
		back := ErrorOf(f)
		if f.GetKind() != c.kind || f.GetTry() != c.try || epu.KindOf(back).String() != c.kind {
			t.Errorf("%v: got fault %v, want kind %q, try %q", c.err, f, c.kind, c.try)
		}
		if back.Error() != c.text {
			t.Errorf("%v: got back %q, want %q", c.err, back, c.text)
		}
	}
	if FaultOf(nil) != nil || ErrorOf(nil) != nil {
		t.Error("no error made a fault, or the other way round")
	}
	if e := ErrorOf(&msg.Fault{Kind: "of the future", Why: "x"}); epu.KindOf(e) != epu.Internal {
		t.Errorf("an unknown kind became %v", epu.KindOf(e))
	}
}

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) issue(t *testing.T, name, role string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{role}},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// userRouter answers with the user that the server saw.
type userRouter struct{}

func (userRouter) Ask(_ context.Context, req *msg.Request, _ proto.Message) (proto.Message, error) {
	return &msg.Done{Text: req.GetUser()}, nil
}

func (userRouter) Watch(context.Context, *msg.Request, proto.Message, func(proto.Message) error) error {
	return nil
}

func TestCertificatesNameTheUserAndLimitRoles(t *testing.T) {
	ca := newAuthority(t)
	l, err := Listen(t.Context(), "127.0.0.1:0", Protection{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(userRouter{}, Options{TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "n1", RoleNode)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		s.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	ask := func(certs []tls.Certificate, body proto.Message) (string, error) {
		c, err := Dial(l.Addr().String(), ClientOptions{
			User: "root", NewID: func() string { return "1" }, TLS: &tls.Config{RootCAs: ca.pool, Certificates: certs},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		done, err := Ask[*msg.Done](t.Context(), c, body)
		return done.GetText(), err
	}
	for _, c := range []struct {
		role string
		body proto.Message
		ok   bool
	}{
		{RoleOperator, &msg.Scale{}, true},
		{RoleNode, &msg.Scale{}, true},
		{RoleViewer, &msg.StatusQuery{}, true},
		{RoleViewer, &msg.Scale{}, false},
		{"", &msg.StatusQuery{}, false},
	} {
		user, err := ask([]tls.Certificate{ca.issue(t, "bob", c.role)}, c.body)
		if c.ok && (err != nil || user != "bob") || !c.ok && epu.KindOf(err) != epu.Denied {
			t.Errorf("%s sends %s: got user %q, %v, want allowed %v as bob", c.role, NameOf(c.body), user, err, c.ok)
		}
	}
	if _, err := ask(nil, &msg.StatusQuery{}); err == nil {
		t.Error("a client without a certificate was served")
	}
}
