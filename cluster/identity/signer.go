package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"

	"github.com/nimbus-epu/epu"
)

// Kind says what a token is good for.
type Kind int

// The kinds of tokens.
const (
	Bootstrap Kind = iota + 1 // speaks for a launch, at check-in only
	Worker                    // speaks for one slot of a launch
)

// String is the kind's word.
func (k Kind) String() string {
	switch k {
	case Bootstrap:
		return "bootstrap"
	case Worker:
		return "worker"
	}
	return "unknown"
}

// Claims are what a verified token says.
type Claims struct {
	Kind         Kind
	Installation epu.InstallationID
	Owner        epu.Owner
	Pool         epu.PoolID
	Launch       epu.LaunchID // of both kinds
	Worker       epu.WorkerID // empty in a bootstrap token
}

// Signer signs and verifies tokens with one key. It is immutable and safe for concurrent use.
type Signer struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
}

// newSigner makes a signer of a key's 32 secret bytes.
func newSigner(seed []byte) *Signer {
	private := ed25519.NewKeyFromSeed(seed)
	return &Signer{private: private, public: private.Public().(ed25519.PublicKey)}
}

// Bootstrap makes the token of a launch. It is a function of its arguments and the key, because the
// launch's request, which holds it, must come out the same when it is made again.
func (s *Signer) Bootstrap(installation epu.InstallationID, owner epu.Owner, pool epu.PoolID, launch epu.LaunchID) string {
	return s.sign(Claims{Kind: Bootstrap, Installation: installation, Owner: owner, Pool: pool, Launch: launch})
}

// Worker makes the token of one worker, likewise a function of its arguments and the key. A worker ID
// that is not <launch>/<slot> gives a token that Verify refuses.
func (s *Signer) Worker(installation epu.InstallationID, owner epu.Owner, pool epu.PoolID, worker epu.WorkerID) string {
	launch, _, _ := worker.Parse()
	return s.sign(Claims{Kind: Worker, Installation: installation, Owner: owner, Pool: pool, Launch: launch, Worker: worker})
}

// Fingerprint tells keys apart without showing anything secret: nodes of one installation have the same.
func (s *Signer) Fingerprint() string {
	sum := sha256.Sum256(s.public)
	return hex.EncodeToString(sum[:8])
}

// String keeps the key out of whatever prints a Signer.
func (s *Signer) String() string { return "signing key " + s.Fingerprint() }

// GoString is String: %#v would otherwise show the key.
func (s *Signer) GoString() string { return s.String() }

// LogValue is String.
func (s *Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }
