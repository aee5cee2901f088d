package rabbitmqtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu/internal/loopback"
)

// The programs. The wrapper of the server in sbin would change the user and drop the environment.
const (
	server = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	mapper = "epmd" // of Erlang: tells nodes each other's ports
)

// ErrMissing says that RabbitMQ is not installed, and how to install it.
var ErrMissing = errors.New("RabbitMQ is not installed; install it with: sudo apt-get install -y --no-install-recommends rabbitmq-server (or sudo make ci-deps)")

// Missing gives ErrMissing where RabbitMQ is not installed.
func Missing() error {
	if _, err := exec.LookPath(server); err != nil {
		return ErrMissing
	}
	if _, err := exec.LookPath(mapper); err != nil {
		return ErrMissing
	}
	return nil
}

// Options say where a broker lives.
type Options struct {
	Folder     string   // for all its files; its owner removes it
	Environ    []string // settings of other brokers in it are left out
	Management bool     // with the HTTP API that knows of unacknowledged messages; takes longer to start
}

// Broker is one private broker. It is used by one goroutine.
type Broker struct {
	AMQP       string // amqp://guest:guest@127.0.0.1:PORT
	Management string // http://127.0.0.1:PORT; empty without

	folder  string
	environ []string
	mapper  *program
	server  *program // nil: not running
}

// New writes the broker's settings and starts its port mapper. Close ends both.
func New(ctx context.Context, o Options) (*Broker, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	addresses, err := loopback.Addresses(4)
	if err != nil {
		return nil, err
	}
	ports := make([]string, len(addresses))
	for i, a := range addresses {
		if _, ports[i], err = net.SplitHostPort(a); err != nil {
			return nil, err
		}
	}
	b := &Broker{AMQP: "amqp://guest:guest@" + addresses[0], folder: o.Folder}
	plugins, management := "[].\n", ""
	if o.Management {
		b.Management = "http://" + addresses[1]
		plugins = "[rabbitmq_management].\n"
		management = "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + ports[1] + "\ncollect_statistics_interval = 1000\n"
	}
	err = errors.Join(
		b.write(".erlang.cookie", "epuprivatebroker", 0o400),
		b.write("env.conf", "", 0o600),
		b.write("plugins", plugins, 0o600),
		b.write("rabbitmq.conf", `listeners.tcp.1 = `+addresses[0]+`
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 1MB
`+management, 0o600),
	)
	if err != nil {
		return nil, err
	}
	b.environ = slices.DeleteFunc(slices.Clone(o.Environ), func(kv string) bool {
		return strings.HasPrefix(kv, "RABBITMQ_") || strings.HasPrefix(kv, "ERL_") || strings.HasPrefix(kv, "HOME=")
	})
	b.environ = append(b.environ,
		"HOME="+o.Folder,
		"RABBITMQ_NODENAME=epu"+ports[2]+"@localhost",
		"RABBITMQ_CONFIG_FILE="+b.path("rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE="+b.path("env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+b.path("plugins"),
		"RABBITMQ_MNESIA_BASE="+b.path("mnesia"),
		"RABBITMQ_LOG_BASE="+b.path("log"),
		"RABBITMQ_PID_FILE="+b.path("pid"),
		"RABBITMQ_DIST_PORT="+ports[2],
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"ERL_EPMD_PORT="+ports[3],
		"ERL_EPMD_ADDRESS=127.0.0.1",
	)
	// Without one that we started, the broker would start a port mapper that stays behind.
	b.mapper, err = b.start(ctx, "entering the main select() loop", mapper, "-d", "-d", "-port", ports[3], "-address", "127.0.0.1")
	return b, err
}

// Start starts the broker on the data that it has, and waits until it serves, some 5 s.
func (b *Broker) Start(ctx context.Context) (err error) {
	b.Kill()
	b.server, err = b.start(ctx, "Server startup complete", server)
	return err
}

// PID is the number of the broker's process group while it runs, else 0.
func (b *Broker) PID() int {
	if b.server == nil {
		return 0
	}
	return b.server.group.Pid()
}

// Kill ends the broker without a word and waits until it is gone. Its data stays for Start.
func (b *Broker) Kill() {
	b.server.kill()
	b.server = nil
}

// Close ends the broker and its port mapper.
func (b *Broker) Close() {
	b.Kill()
	b.mapper.kill()
	b.mapper = nil
}

func (b *Broker) path(name string) string { return filepath.Join(b.folder, name) }

func (b *Broker) write(name, text string, mode os.FileMode) error {
	if err := os.WriteFile(b.path(name), []byte(text), mode); err != nil {
		return fmt.Errorf("write a broker's settings: %w", err)
	}
	return nil
}
