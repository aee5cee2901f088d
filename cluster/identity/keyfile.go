package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nimbus-epu/epu"
)

const (
	keyMode     = 0o600
	othersMode  = 0o077
	keyBytesMax = 4 << 10
	pemType     = "PRIVATE KEY"
)

// Open reads the signing key in a file (PKCS #8, PEM) and makes one when there is no file. A file that
// others may read, or that holds anything but a key, is refused: a new key would disown every worker.
func Open(path string) (*Signer, error) {
	seed, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path); err != nil {
			return nil, &epu.Error{
				Kind: epu.Unavailable, Op: "make a signing key", On: path, Err: err,
				Try: "make the folder writable for the node's user, and look for room on the disk",
			}
		}
		seed, err = read(path) // of whoever was first
	}
	if err != nil {
		return nil, err
	}
	return newSigner(seed), nil
}

// read gives the secret bytes of a key file. The file is looked at through one descriptor, so what is
// checked is what is read.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, epu.E(kindOf(err), "open the signing key", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, epu.E(epu.Internal, "open the signing key", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, damaged(path, "it is no regular file")
	}
	if others := info.Mode().Perm() & othersMode; others != 0 {
		return nil, &epu.Error{
			Kind: epu.Denied, Op: "open the signing key", On: path,
			Err: fmt.Errorf("other users can reach it (mode %04o): who reads it can pose as any worker", info.Mode().Perm()),
			Try: "chmod 600 " + path + " if nobody has read it; otherwise remove it, and workers launched before are replaced",
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, keyBytesMax+1))
	if err != nil {
		return nil, epu.E(epu.Unavailable, "read the signing key", path, err)
	}
	return decode(path, text)
}

func decode(path string, text []byte) ([]byte, error) {
	if len(text) > keyBytesMax {
		return nil, damaged(path, "it is too long for a key")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemType || len(rest) > 0 {
		return nil, damaged(path, "it is not one PEM block "+pemType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, damaged(path, "its block is no key")
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, damaged(path, "its key is not of the kind Ed25519")
	}
	return private.Seed(), nil
}

func damaged(path, why string) error {
	return &epu.Error{
		Kind: epu.Invalid, Op: "read the signing key", On: path, Err: errors.New(why),
		Try: "bring the file back from a backup; without it, remove it, and workers launched before are replaced",
	}
}

func kindOf(err error) epu.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return epu.NotFound
	case errors.Is(err, fs.ErrPermission):
		return epu.Denied
	}
	return epu.Unavailable
}

// create makes a key and puts it into place whole: written and synced under another name, then linked.
// A link never replaces a file, so of two nodes that start at once both read the first one's key.
func create(path string) (err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); err == nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}()
	err = f.Chmod(keyMode)
	if err == nil {
		err = pem.Encode(f, &pem.Block{Type: pemType, Bytes: der})
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(dir)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
