package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/config"
)

// TLSFiles name a client's certificate, its key and the authority it trusts. All empty = plain text.
type TLSFiles struct {
	CA   string
	Cert string
	Key  string
}

// Target is the node that a client talks to, where that was said, and how to talk to it.
type Target struct {
	Address string
	Origin  string        // "--node", "EPU_NODE", a file with its line, or "default"
	Config  string        // the configuration file that was read; empty = none
	User    string        // for the audit record
	Timeout time.Duration // of each question
	TLS     TLSFiles
}

// Finder looks for the node a client should talk to.
type Finder struct {
	Env     Env
	Node    string // --node
	File    string // --config
	Profile string // --profile
}

// Find looks at --node, then the settings (EPU_NODE, a profile, the configuration file), then the file
// .epu/node in the current folder and those above it (epud dev writes it), and takes the default address
// otherwise. The target is as complete as it could be made when there is an error.
func (f Finder) Find() (Target, error) {
	c, origins, err := config.LoadClient(config.ClientOptions{Path: f.File, Profile: f.Profile, Getenv: f.Env.Getenv, Login: f.Env.User})
	t := Target{Address: c.Node, Origin: "default", Config: c.File, User: c.User, Timeout: c.Timeout, TLS: TLSFiles(c.TLS)}
	if err != nil {
		return t, err
	}
	if f.Node != "" {
		t.Address, t.Origin = f.Node, "--node"
		return t, nil
	}
	for _, o := range origins {
		if o.Key == "node" && o.Source != config.FromDefault {
			t.Origin = o.Where
			return t, nil
		}
	}
	dev, path, err := f.devNode()
	if dev != "" {
		t.Address, t.Origin = dev, path
	}
	return t, err
}

// devNode reads .epu/node in the current folder or the nearest one above that has it.
func (f Finder) devNode() (address, path string, err error) {
	for dir := f.Env.Dir; dir != ""; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".epu", "node")
		raw, err := os.ReadFile(path)
		switch {
		case err == nil:
			address := strings.TrimSpace(string(raw))
			if _, _, perr := net.SplitHostPort(address); perr != nil && !strings.HasPrefix(address, "unix:") {
				return "", path, fileError("find the node in", path, errors.New("it holds no address"), "remove the file, or name the node with --node")
			}
			return address, path, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return "", path, fileError("find the node in", path, err, "name the node with --node")
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return "", "", nil
}

func fileError(op, path string, err error, try string) error {
	kind := epu.Invalid
	if errors.Is(err, fs.ErrNotExist) {
		kind = epu.NotFound
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err // the path stands in the error around it
	}
	return &epu.Error{Kind: kind, Op: op, On: path, Err: err, Try: try}
}

// Config reads the files into TLS settings, or gives nil when there are none.
func (t TLSFiles) Config() (*tls.Config, error) {
	if t == (TLSFiles{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fileError("read the authority's certificate", t.CA, err, "check the key tls.ca of the configuration")
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fileError("read the authority's certificate", t.CA, errors.New("it holds no certificate in PEM form"), "name the PEM file of the authority that signed the node's certificate")
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fileError("read the certificate", fmt.Sprintf("%s with key %s", t.Cert, t.Key), err, "check tls.cert and tls.key of the configuration")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
