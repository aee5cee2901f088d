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

	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu"
)

// DefaultNode is where a node listens unless it is told otherwise.
const DefaultNode = "127.0.0.1:7420"

// ClientSettings is what a configuration file says to a client.
type ClientSettings struct {
	Node string   // host:port or unix:PATH; empty = not said
	TLS  TLSFiles // of connections to a node
}

// TLSFiles name a client's certificate, its key and the authority it trusts. All empty = plain text.
type TLSFiles struct {
	CA   string
	Cert string
	Key  string
}

// Target is the node that a client talks to and where that was said.
type Target struct {
	Address string
	Origin  string // "--node", "EPU_NODE", a file's path, or "default"
	Config  string // the configuration file that was read; empty = none
	TLS     TLSFiles
}

// Finder looks for the node a client should talk to.
type Finder struct {
	Env  Env
	Load func(path string) (ClientSettings, error) // reads a configuration file
	Node string                                    // --node
	File string                                    // --config
}

// Find looks at --node, EPU_NODE, the key node of the configuration file, the file .epu/node in the
// current folder and those above it (epud dev writes it), and takes the default address otherwise.
func (f Finder) Find() (Target, error) {
	t := Target{Address: DefaultNode, Origin: "default"}
	path, err := f.configFile()
	if err != nil {
		return t, err
	}
	var settings ClientSettings
	if path != "" {
		if settings, err = f.Load(path); err != nil {
			return t, err
		}
		t.Config, t.TLS = path, settings.TLS
	}
	dev, devPath, err := f.devNode()
	switch {
	case f.Node != "":
		t.Address, t.Origin = f.Node, "--node"
	case f.Env.Getenv("EPU_NODE") != "":
		t.Address, t.Origin = f.Env.Getenv("EPU_NODE"), "EPU_NODE"
	case settings.Node != "":
		t.Address, t.Origin = settings.Node, path
	case err != nil:
		return t, err
	case dev != "":
		t.Address, t.Origin = dev, devPath
	}
	return t, nil
}

// configFile is the first configuration file there is. One that was asked for by name must exist.
func (f Finder) configFile() (string, error) {
	for _, named := range []string{f.File, f.Env.Getenv("EPU_CONFIG")} {
		if named == "" {
			continue
		}
		path := f.abs(named)
		if _, err := os.Stat(path); err != nil {
			return "", fileError("read the configuration", named, err, "name an existing file with --config or EPU_CONFIG")
		}
		return path, nil
	}
	var usual []string
	if xdg := f.Env.Getenv("XDG_CONFIG_HOME"); xdg != "" {
		usual = append(usual, filepath.Join(xdg, "epu", "config.yaml"))
	} else if home := f.Env.Getenv("HOME"); home != "" {
		usual = append(usual, filepath.Join(home, ".config", "epu", "config.yaml"))
	}
	for _, path := range append(usual, "/etc/epu/config.yaml") {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", nil
}

func (f Finder) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.Env.Dir, path)
}

// devNode reads .epu/node in the current folder or the nearest one above that has it.
func (f Finder) devNode() (address, path string, err error) {
	for dir := f.Env.Dir; dir != ""; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".epu", "node")
		raw, err := os.ReadFile(path)
		switch {
		case err == nil:
			address := strings.TrimSpace(string(raw))
			if _, _, perr := net.SplitHostPort(address); perr != nil {
				return "", path, fileError("find the node in", path, errors.New("it holds no host:port"), "remove the file, or name the node with --node")
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
			return nil, fileError("read the authority's certificate", t.CA, errors.New("it holds no certificate in PEM form"), "epud ca makes a working set")
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fileError("read the certificate", fmt.Sprintf("%s with key %s", t.Cert, t.Key), err, "check tls.cert and tls.key of the configuration; epud ca makes a working set")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// LoadSettings reads the keys node and tls of a configuration file. The file may be a node's own, so
// other keys are not for this program to judge.
func LoadSettings(path string) (ClientSettings, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ClientSettings{}, fileError("read the configuration", path, err, "name another file with --config")
	}
	var f struct {
		Node string `yaml:"node"`
		TLS  struct {
			CA   string `yaml:"ca"`
			Cert string `yaml:"cert"`
			Key  string `yaml:"key"`
		} `yaml:"tls"`
	}
	if err := yaml.Unmarshal(raw, &f); err != nil {
		return ClientSettings{}, fileError("read the configuration", path, err, "correct the file, or name another with --config")
	}
	return ClientSettings{Node: f.Node, TLS: TLSFiles(f.TLS)}, nil
}
