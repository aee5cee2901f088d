package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
)

// Files of TLS are read, or the one that is wrong is named. Where a node is found is told by the script
// discovery.txtar, with the real program.

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := TLSFiles{CA: write("ca.pem", "CERTIFICATE", cert), Cert: write("me.pem", "CERTIFICATE", cert), Key: write("me.key", "PRIVATE KEY", der)}
	c, err := good.Config()
	if err != nil || c.RootCAs == nil || len(c.Certificates) != 1 {
		t.Errorf("got %v, %v, want an authority and a certificate", c, err)
	}
	if c, err := (TLSFiles{}).Config(); c != nil || err != nil {
		t.Errorf("without files: got %v, %v, want plain text", c, err)
	}
	for name, bad := range map[string]TLSFiles{
		"no authority":    {CA: filepath.Join(dir, "nowhere.pem")},
		"a key is no CA":  {CA: good.Key},
		"key without it":  {Key: good.Key},
		"swapped":         {Cert: good.Key, Key: good.Cert},
		"cert is missing": {Cert: filepath.Join(dir, "nowhere.pem"), Key: good.Key},
	} {
		_, err := bad.Config()
		if err == nil || epu.TryOf(err) == "" || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: got %v with advice %q", name, err, epu.TryOf(err))
		}
	}
}
