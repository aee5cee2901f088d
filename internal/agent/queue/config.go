package queue

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/httpclient"
	"github.com/nimbus-epu/epu/internal/secret"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// envPrefix begins the environment variables that configure the agent: EPU_QUEUE_POOL is --pool.
const envPrefix = "EPU_QUEUE_"

// Bounds and defaults of the configuration.
const (
	everyMin      = time.Second
	everyMax      = 24 * time.Hour
	everyDefault  = 15 * time.Second
	queuesMax     = 256
	nodesMax      = 32
	nameMax       = 128
	sensorDefault = "queue-length"
	configMax     = 256 << 10
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Settings are the words of the command line. What is empty comes from the environment, then from the
// file, then from the defaults.
type Settings struct {
	File       string
	AMQP       string
	AMQPCA     string
	Management string
	Pool       string
	Queues     []string
	Sensor     string
	Count      string
	Every      string
	Nodes      []string
	NodeCA     string
	NodeCert   string
	NodeKey    string
	LogLevel   string
}

// key is one setting: its name in files, and with dashes its flag.
type key struct {
	name string
	text *string
	list *[]string
}

func (s *Settings) keys() []key {
	return []key{
		{name: "amqp", text: &s.AMQP},
		{name: "amqp_ca", text: &s.AMQPCA},
		{name: "management", text: &s.Management},
		{name: "pool", text: &s.Pool},
		{name: "queue", list: &s.Queues},
		{name: "sensor", text: &s.Sensor},
		{name: "count", text: &s.Count},
		{name: "every", text: &s.Every},
		{name: "node", list: &s.Nodes},
		{name: "node_ca", text: &s.NodeCA},
		{name: "node_cert", text: &s.NodeCert},
		{name: "node_key", text: &s.NodeKey},
		{name: "log_level", text: &s.LogLevel},
	}
}

// loader collects the settings and every problem with them.
type loader struct {
	log    *strictyaml.Log
	getenv func(string) string
	from   map[string]string // key -> where its value came from: "--pool", "EPU_QUEUE_POOL", "FILE:3"
}

// Load makes the configuration, apart from clock and log. All problems are reported at once.
func Load(s Settings, getenv func(string) string) (Config, slog.Level, error) {
	l := &loader{log: &strictyaml.Log{}, getenv: getenv, from: map[string]string{}}
	l.fill(&s)
	var c Config
	c.AMQP = l.amqp(s.AMQP)
	c.AMQPTLS = l.tls("amqp_ca", s.AMQPCA, "", "")
	c.Management = l.web("management", s.Management)
	c.Pool = epu.PoolID(l.name("pool", s.Pool, "--pool epu-web"))
	c.Sensors = l.sensors(s)
	c.Count = Count(l.word("count", s.Count, string(CountReady), string(CountReady), string(CountUnacked), string(CountTotal)))
	if c.Count != CountReady && c.Management == "" && s.Management == "" {
		l.fail("count", fmt.Sprintf("only the management API knows how many messages are %s", c.Count), "--management http://127.0.0.1:15672, with the broker's management plugin")
	}
	c.Every = everyDefault
	if s.Every != "" {
		every, fault := strictyaml.ParseDuration(s.Every, everyMin, everyMax)
		if fault != nil {
			l.fail("every", fault.Text, fault.Try)
		}
		c.Every = every
	}
	c.Nodes = l.nodes(s.Nodes)
	if t := l.tls("node_ca", s.NodeCA, s.NodeCert, s.NodeKey); t != nil {
		c.Transport = httpclient.Direct(t)
	}
	var level slog.Level
	if s.LogLevel != "" && level.UnmarshalText([]byte(s.LogLevel)) != nil {
		l.fail("log_level", fmt.Sprintf("log level %q is not known", s.LogLevel), "one of debug, info, warn, error")
	}
	if l.log.Len() > 0 {
		return c, level, strictyaml.NewError(l.log.Sorted())
	}
	return c, level, nil
}

// fill takes from environment and file what no flag gave.
func (l *loader) fill(s *Settings) {
	if s.File == "" {
		s.File = l.getenv(envPrefix + "CONFIG")
	}
	file := l.file(s.File)
	for _, k := range s.keys() {
		flag, env := "--"+strings.ReplaceAll(k.name, "_", "-"), envPrefix+strings.ToUpper(k.name)
		given := k.text != nil && *k.text != "" || k.list != nil && len(*k.list) > 0
		value := l.getenv(env)
		inFile := file != nil && file.Has(k.name)
		switch {
		case given:
			l.from[k.name] = flag
		case value != "" && k.list != nil:
			*k.list, l.from[k.name] = strings.Split(value, ","), env
		case value != "":
			*k.text, l.from[k.name] = value, env
		case inFile && k.list != nil:
			*k.list, l.from[k.name] = file.Get(k.name).Texts(), file.Get(k.name).Where()
		case inFile:
			*k.text, l.from[k.name] = file.Get(k.name).Text(""), file.Get(k.name).Where()
		default:
			l.from[k.name] = flag
		}
		if inFile {
			file.Get(k.name) // known, even where something else wins
		}
	}
	if file != nil {
		file.Done()
	}
}

func (l *loader) file(path string) *strictyaml.Map {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		l.log.Add(strictyaml.Problem{File: path, Text: err.Error(), Try: "name the file with --config"})
		return nil
	}
	if len(text) > configMax {
		l.log.Add(strictyaml.Problem{File: path, Text: fmt.Sprintf("larger than %d bytes", configMax)})
		return nil
	}
	documents := strictyaml.Documents(path, text, l.log)
	if len(documents) != 1 {
		if l.log.Len() == 0 {
			l.log.Add(strictyaml.Problem{File: path, Text: "it has to hold one document"})
		}
		return nil
	}
	return documents[0]
}

func (l *loader) fail(name, text, try string) {
	l.log.Add(strictyaml.Problem{File: l.from[name], Text: text, Try: try})
}

// amqp reads the broker's address. A password may come by reference or in the environment, where other
// users can't see it, but not in an argument.
func (l *loader) amqp(s string) string {
	const name, try = "amqp", "amqps://user@host/vhost with the password by reference: --amqp file:/etc/epu/amqp-url, which holds the whole address"
	if s == "" {
		l.fail(name, "no broker is named", try)
		return ""
	}
	open := l.from[name] != envPrefix+"AMQP"
	if strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "file:") {
		value, err := secret.Read(epu.Var{From: s}, l.getenv)
		if err != nil {
			l.fail(name, err.Error(), epu.TryOf(err))
			return ""
		}
		s, open = strings.TrimSpace(value), false
	}
	u, err := url.Parse(s)
	if err == nil {
		_, err = amqp.ParseURI(s)
	}
	if err != nil || u.Host == "" { // the reason may repeat the password
		l.fail(name, "it is no address of a broker", try)
		return ""
	}
	if _, has := u.User.Password(); has && open {
		l.fail(name, "a password in an argument or a file of settings can be read by others", try)
		return ""
	}
	return s
}

func (l *loader) web(name, s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		l.fail(name, "it is no base address such as http://host:port, without user and password", "")
		return ""
	}
	return s
}

func (l *loader) name(name, s, try string) string {
	switch {
	case s == "":
		l.fail(name, "is missing", try)
	case !nameForm.MatchString(s) || len(s) > nameMax:
		l.fail(name, fmt.Sprintf("%q is no name", s), "letters, digits, dots, dashes and underscores")
	}
	return s
}

func (l *loader) word(name, s, def string, words ...string) string {
	if s == "" {
		return def
	}
	word, fault := strictyaml.ParseWord(s, words)
	if fault != nil {
		l.fail(name, fault.Text, fault.Try)
		return def
	}
	return word
}

// sensors sorts queues to sensors: NAME belongs to the sensor of --sensor, SENSOR=NAME to its own.
func (l *loader) sensors(s Settings) []Sensor {
	def := s.Sensor
	if def == "" {
		def = sensorDefault
	}
	l.name("sensor", def, "")
	if len(s.Queues) == 0 {
		l.fail("queue", "no queue is named", "--queue jobs")
	}
	if len(s.Queues) > queuesMax {
		l.fail("queue", fmt.Sprintf("%d queues are named, at most %d are allowed", len(s.Queues), queuesMax), "")
	}
	var all []Sensor
	for _, text := range s.Queues {
		sensor, queue, pair := strings.Cut(text, "=")
		if !pair || !nameForm.MatchString(sensor) {
			sensor, queue = def, text
		}
		if queue == "" || len(queue) > 255 {
			l.fail("queue", fmt.Sprintf("%q names no queue", text), "--queue jobs, or --queue SENSOR=jobs")
			continue
		}
		at := slices.IndexFunc(all, func(o Sensor) bool { return o.Name == sensor })
		if at < 0 {
			all, at = append(all, Sensor{Name: sensor}), len(all)
		}
		if slices.Contains(all[at].Queues, queue) {
			l.fail("queue", fmt.Sprintf("%q is named twice", text), "")
		}
		all[at].Queues = append(all[at].Queues, queue)
	}
	return all
}

func (l *loader) nodes(nodes []string) []string {
	if len(nodes) == 0 {
		l.fail("node", "no node is named", "--node http://127.0.0.1:7421")
	}
	if len(nodes) > nodesMax {
		l.fail("node", fmt.Sprintf("%d nodes are named, at most %d are allowed", len(nodes), nodesMax), "")
	}
	for _, n := range nodes {
		l.web("node", n)
	}
	return nodes
}

// tls reads certificates; nil when there are none.
func (l *loader) tls(name, ca, cert, key string) *tls.Config {
	if ca == "" && cert == "" && key == "" {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		c.RootCAs = x509.NewCertPool()
		if err != nil {
			l.fail(name, err.Error(), "")
		} else if !c.RootCAs.AppendCertsFromPEM(text) {
			l.fail(name, ca+" holds no certificate in PEM form", "")
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			l.fail("node_cert", err.Error(), "give both --node-cert and --node-key")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
