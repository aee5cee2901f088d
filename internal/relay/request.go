package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// The roles a certificate may name as organizational units of its subject.
const (
	RoleNode     = "node"
	RoleOperator = "operator"
	RoleViewer   = "viewer"
)

// ByRole lets nodes and operators send anything and viewers ask questions.
func ByRole(cert *x509.Certificate, body proto.Message) error {
	roles := cert.Subject.OrganizationalUnit
	switch {
	case slices.Contains(roles, RoleOperator), slices.Contains(roles, RoleNode):
		return nil
	case slices.Contains(roles, RoleViewer) && IsQuestion(body):
		return nil
	}
	return &epu.Error{
		Kind: epu.Denied, Op: "send", On: NameOf(body),
		Err: fmt.Errorf("the certificate of %q has the roles [%s]", cert.Subject.CommonName, strings.Join(roles, " ")),
		Try: "use a certificate that the node's authority signed for an operator",
	}
}

// NameOf is the short name of a message, such as StatusQuery.
func NameOf(m proto.Message) string { return string(m.ProtoReflect().Descriptor().Name()) }

// IsQuestion reports that a message changes nothing: its name ends in Query.
func IsQuestion(m proto.Message) bool { return strings.HasSuffix(NameOf(m), "Query") }

// open checks a request from outside, decodes its body and fills in what only the server knows.
func (s *Server) open(ctx context.Context, req *msg.Request) (proto.Message, error) {
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	body, err := decode(req.GetBody())
	if err != nil {
		return nil, err
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		req.From = ""
		return body, nil
	}
	req.From = p.Addr.String()
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return body, nil
	}
	cert := info.State.VerifiedChains[0][0]
	req.User = cert.Subject.CommonName
	return body, s.opts.Authorize(cert, body)
}

// checkRequest looks at everything but the body.
func checkRequest(req *msg.Request) error {
	for _, f := range []struct {
		name, text string
		max        int
	}{
		{"id", req.GetId(), idBytesMax}, {"user", req.GetUser(), nameBytesMax}, {"client", req.GetClient(), nameBytesMax},
	} {
		if len(f.text) > f.max {
			return epu.E(epu.Invalid, "read the request", "", fmt.Errorf("%s is longer than %d bytes", f.name, f.max))
		}
		if !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, unicode.IsControl) {
			return epu.E(epu.Invalid, "read the request", "", fmt.Errorf("%s has control characters", f.name))
		}
	}
	if d := req.GetDeadline(); d != nil && d.CheckValid() != nil {
		return epu.E(epu.Invalid, "read the request", "", errors.New("the deadline is not a duration"))
	}
	return nil
}

// decode opens the body. Only messages of our own package are looked at: any other type that happens
// to be linked into the program is as unknown as one that is not.
func decode(body *anypb.Any) (proto.Message, error) {
	if body.GetTypeUrl() == "" {
		return nil, epu.E(epu.Invalid, "read the request", "", errors.New("it has no body"))
	}
	name := body.MessageName()
	ours := (&msg.Request{}).ProtoReflect().Descriptor().ParentFile().Messages().ByName(name.Name())
	if ours == nil || ours.FullName() != name {
		return nil, &epu.Error{
			Kind: epu.Invalid, Op: "read the request", Err: fmt.Errorf("this node does not know %q; the client may be newer", clip(body.GetTypeUrl())),
			Try: "upgrade the node, or use the client that came with it",
		}
	}
	m, err := body.UnmarshalNew()
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the request", string(name.Name()), errors.New("its body is damaged"))
	}
	return m, nil
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
