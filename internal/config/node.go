package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// nodeFileDefault is read by `epud run` when no file is named and this one exists.
const nodeFileDefault = "/etc/epu/epud.yaml"

// Node is the settings of one epud. It holds no reference to anything shared, so a copy never changes.
// The meaning, default and unit of each field stand in docs/reference/epud-config.md.
type Node struct {
	Node            Identity      `mapstructure:"node"`
	DataDir         string        `mapstructure:"data_dir"`
	Listen          string        `mapstructure:"listen"`    // host:port or unix:PATH
	HTTP            string        `mapstructure:"http"`      // host:port or unix:PATH
	AgentURL        string        `mapstructure:"agent_url"` // empty only where the port of HTTP is 0
	Insecure        bool          `mapstructure:"insecure"`
	TLS             NodeTLS       `mapstructure:"tls"`
	PoliciesDir     string        `mapstructure:"policies_dir"`
	Tick            time.Duration `mapstructure:"tick"` // at least 100 ms
	Log             Log           `mapstructure:"log"`
	Events          Events        `mapstructure:"events"`
	History         History       `mapstructure:"history"`
	Journal         Journal       `mapstructure:"journal"`
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"` // at least 1 s
}

// Identity is who a node is.
type Identity struct {
	Name string `mapstructure:"name"` // never empty
}

// NodeTLS names the files of a node's TLS. Cert and Key are given together, the others only with them.
type NodeTLS struct {
	Cert     string `mapstructure:"cert"`
	Key      string `mapstructure:"key"`
	ClientCA string `mapstructure:"client_ca"`
	AgentCA  string `mapstructure:"agent_ca"` // on the machines of workers
}

// Enabled reports that there is TLS at all.
func (t NodeTLS) Enabled() bool { return t.Cert != "" }

// Log says what is logged and how.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Format string `mapstructure:"format"` // auto, text or json
}

// Events says where events are written beside the history.
type Events struct {
	File       string `mapstructure:"file"` // empty = nowhere
	Cloudyvent bool   `mapstructure:"cloudyvent"`
}

// History bounds what is kept.
type History struct {
	Days     int   `mapstructure:"days"`      // at least 1
	MaxBytes int64 `mapstructure:"max_bytes"` // at least 16 MiB
}

// MaxAge is Days as a duration.
func (h History) MaxAge() time.Duration { return time.Duration(h.Days) * 24 * time.Hour }

// Journal tunes the store.
type Journal struct {
	Memory string `mapstructure:"memory"` // small or default
}

// NodeOptions are what LoadNode works with.
type NodeOptions struct {
	Path     string         // of the file; empty = the flag --config, or /etc/epu/epud.yaml where that exists
	Dev      bool           // epud dev: its own defaults, and no file unless one is named
	Flags    *pflag.FlagSet // with the flags of AddNodeFlags; nil = none
	Environ  []string       // as of os.Environ
	Hostname string         // default of node.name
}

// AddNodeFlags makes a flag of every setting of a node, and --config (-c) for the file.
func AddNodeFlags(set *pflag.FlagSet) {
	set.StringP("config", "c", "", "`FILE` of settings (default "+nodeFileDefault+" where it exists)")
	addFlags(set, nodeKeys())
}

// LoadNode reads a node's settings from all layers and checks them. The origins are in the order of the
// reference, also when there is an error; problems are one *Error.
func LoadNode(opts NodeOptions) (Node, []Origin, error) {
	name := opts.Hostname
	if name == "" {
		name = "localhost"
	}
	l := newLayers(nodeKeys(), opts.Dev, map[string]string{"node.name": name})
	file := opts.file()
	if file != "" {
		l.nodeFile(file)
	}
	l.misspelt(opts.Environ)
	l.environment(lookup(opts.Environ))
	l.flags(opts.Flags)
	var n Node
	if err := l.decode(&n); err != nil {
		return Node{}, nil, err
	}
	l.checkNode(n)
	if n.AgentURL == "" {
		n.AgentURL, _ = agentURL(n)
		l.won["agent_url"] = setting{value: n.AgentURL, source: FromDefault}
	}
	return n, l.origins(), strictyaml.NewError(l.log.Sorted(file))
}

// file is the path of the settings file; empty when there is none.
func (o NodeOptions) file() string {
	if o.Path != "" {
		return o.Path
	}
	if o.Flags != nil {
		if f := o.Flags.Lookup("config"); f != nil && f.Value.String() != "" {
			return f.Value.String()
		}
	}
	if _, err := os.Stat(nodeFileDefault); !o.Dev && !errors.Is(err, fs.ErrNotExist) {
		return nodeFileDefault
	}
	return ""
}

// nodeFile adds the settings of a file.
func (l *layers) nodeFile(file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		l.log.Add(readProblem(file, err, "name another file with --config"))
		return
	}
	l.nodeContent(file, content)
}

// nodeContent adds the settings in a file's content.
func (l *layers) nodeContent(file string, content []byte) {
	doc := l.document(file, content)
	if doc == nil {
		return
	}
	layer := l.file(doc, folderOf(file))
	doc.Done()
	l.merge(layer)
}

// misspelt refuses environment variables that are almost a setting. Other EPU_ variables belong to
// clients, agents and whoever started the node.
func (l *layers) misspelt(environ []string) {
	known := map[string]bool{"EPU_CONFIG": true, "EPU_PROFILE": true, "EPU_NODE": true}
	var names []string
	for _, keys := range [][]key{l.keys, clientKeys()} {
		for i := range keys {
			known[keys[i].env()] = true
		}
	}
	for i := range l.keys {
		names = append(names, l.keys[i].env())
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "EPU_") || known[name] {
			continue
		}
		// Compared without the prefix, which everyone spells right and which would allow more slips.
		short := make([]string, len(names))
		for i, n := range names {
			short[i] = strings.TrimPrefix(n, "EPU_")
		}
		if c := strictyaml.Closest(strings.TrimPrefix(name, "EPU_"), short); c != "" {
			l.log.Add(Problem{File: name, Text: "is no setting", Try: "did you mean EPU_" + c + "?"})
		}
	}
}

// lookup finds variables in an environment; of doubled ones the last counts, as for child processes.
func lookup(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return func(name string) string { return values[name] }
}

// checkNode checks what spans several settings.
func (l *layers) checkNode(n Node) {
	if n.Node.Name == "" || strings.ContainsAny(n.Node.Name, " \t\n/") {
		l.fail("node.name", "a name has no spaces or slashes and is not empty", "letters, digits, dots and hyphens")
	}
	if n.DataDir == "" {
		l.fail("data_dir", "is empty", "the folder of the store")
	}
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		have, lack := "tls.cert", "tls.key"
		if n.TLS.Cert == "" {
			have, lack = lack, have
		}
		l.fail(have, "stands without "+lack, "give both")
	}
	for key, file := range map[string]string{"tls.client_ca": n.TLS.ClientCA, "tls.agent_ca": n.TLS.AgentCA} {
		if file != "" && !n.TLS.Enabled() {
			l.fail(key, "stands without tls.cert", "give tls.cert and tls.key too")
		}
	}
	if n.TLS.AgentCA != "" && !filepath.IsAbs(n.TLS.AgentCA) {
		l.fail("tls.agent_ca", "is not absolute, and agents run in folders of their own", "/etc/epu/ca.pem")
	}
	if !n.Insecure {
		safe := "127.0.0.1 for this machine only, TLS with tls.cert, tls.key and tls.client_ca, or insecure: true in full view"
		if isExposed(n.Listen) && (!n.TLS.Enabled() || n.TLS.ClientCA == "") {
			l.fail("listen", n.Listen+" can be reached from other machines, and nobody would have to show who they are (tls.cert, tls.key, tls.client_ca)", safe)
		}
		if isExposed(n.HTTP) && !n.TLS.Enabled() {
			l.fail("http", n.HTTP+" can be reached from other machines without TLS (tls.cert, tls.key)", safe)
		}
	}
	if n.Listen == n.HTTP && !strings.HasSuffix(n.Listen, ":0") {
		l.fail("http", "is the same address as listen", "two ports, such as 7420 and 7421")
	}
	if _, ok := agentURL(n); n.AgentURL == "" && !ok {
		l.fail("http", "agents can't be told how to reach "+n.HTTP, "agent_url: http://<this machine's name>:<port>")
	}
	if n.Events.Cloudyvent && n.Events.File == "" {
		l.fail("events.cloudyvent", "has no file to write to", "events.file: <path>")
	}
}

// agentURL is the base URL that follows from the HTTP address. It is empty where the port is 0, and
// known once the node listens; ok is false where none follows: for sockets and for all interfaces.
func agentURL(n Node) (base string, ok bool) {
	host, port, err := net.SplitHostPort(n.HTTP)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return "", false
	}
	if port == "0" {
		return "", true
	}
	scheme := "http"
	if n.TLS.Enabled() {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), true
}
