package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/nimbus-epu/epu"
)

// A token is "epu1." payload "." signature, both in unpadded base64url. The payload is the kind's byte
// and then owner, pool, launch and, of a worker, its slot, each behind its length. A launch that begins
// with its pool's name, as all do today, leaves it out. The installation is signed and not sent: who
// verifies knows its own, and the room is needed for names.
const (
	prefix = "epu1."
	// TokenMax is the length of the longest token that Verify looks at. Names as long as files may give
	// them fit.
	TokenMax = 256
	// domain keeps a signature from meaning anything in another place where the key might be used.
	domain = "epu token 1"
	// pooled marks a launch whose pool's name is left out.
	pooled = 0x80
)

// errToken is the one reason that strangers are told.
var errToken = errors.New("the token is not one of this installation")

func refused() error {
	return &epu.Error{Kind: epu.Denied, Op: "verify a token", Err: errToken, Try: "look whether the worker was launched from this store, and with its signing key"}
}

func (s *Signer) sign(c Claims) string {
	p := payload(c)
	signature := ed25519.Sign(s.private, signed(c.Installation, p))
	return prefix + base64.RawURLEncoding.EncodeToString(p) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Verify reads a token of an installation; one of any other is refused, whatever its key. The error, of
// kind Denied, is the same for whatever is wrong, and does not repeat the token. A token has one spelling
// only, so it may be compared or counted as text.
func (s *Signer) Verify(installation epu.InstallationID, token string) (Claims, error) {
	if installation == "" || len(token) > TokenMax {
		return Claims{}, refused()
	}
	rest, ok := strings.CutPrefix(token, prefix)
	first, second, both := strings.Cut(rest, ".")
	if !ok || !both || strings.ContainsAny(rest, "\r\n") { // the decoder skips line ends
		return Claims{}, refused()
	}
	p, err1 := base64.RawURLEncoding.Strict().DecodeString(first)
	signature, err2 := base64.RawURLEncoding.Strict().DecodeString(second)
	if err1 != nil || err2 != nil || len(signature) != ed25519.SignatureSize {
		return Claims{}, refused()
	}
	// The signature stands before any look at the payload. Nothing here is secret but the key, and
	// ed25519 takes care of that; so there is no comparison whose time could tell anything.
	if !ed25519.Verify(s.public, signed(installation, p), signature) {
		return Claims{}, refused()
	}
	c, err := parse(p)
	if err != nil {
		return Claims{}, refused()
	}
	c.Installation = installation
	return c, nil
}

// signed is what the signature is over.
func signed(installation epu.InstallationID, payload []byte) []byte {
	b := appendField([]byte(domain), string(installation))
	return append(b, payload...)
}

func payload(c Claims) []byte {
	kind, launch := byte(c.Kind), string(c.Launch)
	if short, ok := strings.CutPrefix(launch, string(c.Pool)+"-"); ok {
		kind, launch = kind|pooled, short
	}
	b := appendField([]byte{kind}, string(c.Owner))
	b = appendField(b, string(c.Pool))
	b = appendField(b, launch)
	if c.Kind == Worker {
		_, slot, _ := strings.Cut(string(c.Worker), "/")
		b = appendField(b, slot)
	}
	return b
}

func appendField(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parse is the reverse of payload. What this program signed is still checked: an older or newer one with
// the same key may have meant something else.
func parse(p []byte) (c Claims, err error) {
	if len(p) == 0 {
		return c, errToken
	}
	c.Kind = Kind(p[0] &^ pooled)
	fields := make([]string, 0, 4)
	for rest := p[1:]; len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) || len(fields) == cap(fields) {
			return c, errToken
		}
		fields = append(fields, string(rest[size:size+int(n)]))
		rest = rest[size+int(n):]
	}
	want := map[Kind]int{Bootstrap: 3, Worker: 4}[c.Kind]
	if want == 0 || len(fields) != want {
		return c, errToken
	}
	c.Owner, c.Pool, c.Launch = epu.Owner(fields[0]), epu.PoolID(fields[1]), epu.LaunchID(fields[2])
	if p[0]&pooled != 0 {
		c.Launch = epu.LaunchID(fields[1] + "-" + fields[2])
	}
	if c.Kind == Worker {
		c.Worker = epu.WorkerID(string(c.Launch) + "/" + fields[3])
	}
	return c, c.valid()
}

// valid checks what every token of ours has.
func (c Claims) valid() error {
	if c.Owner == "" || c.Pool == "" || c.Launch == "" || strings.Contains(string(c.Launch), "/") {
		return fmt.Errorf("%w: a name is missing", errToken)
	}
	if c.Kind != Worker {
		return nil
	}
	launch, slot, ok := c.Worker.Parse()
	if !ok || launch != c.Launch || c.Worker != epu.NewWorkerID(launch, slot) {
		return fmt.Errorf("%w: the worker is not <launch>/<slot>", errToken)
	}
	return nil
}
