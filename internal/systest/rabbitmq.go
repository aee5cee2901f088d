package systest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startMax is when a program that does not serve is ended, and its test fails with its output.
const startMax = 2 * time.Minute

// rabbitServer is the program itself. The wrapper in sbin changes the user and drops the environment.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// RabbitMQ is a broker of the test's own: its node name, ports, folders, cookie and port mapper are
// nobody else's, and it ends with the test.
type RabbitMQ struct {
	AMQP       string // amqp://guest:guest@127.0.0.1:PORT
	Management string // http://127.0.0.1:PORT

	t      testing.TB
	folder string
	env    []string
	stop   func() // nil: not running
	output *bytes.Buffer
}

// StartRabbitMQ starts a broker with the management plugin and waits until it serves, some 10 s.
func StartRabbitMQ(t testing.TB) *RabbitMQ {
	t.Helper()
	Need(t, "rabbitmqctl", "rabbitmq-server")
	epmd := Need(t, "epmd", "rabbitmq-server")
	b := &RabbitMQ{t: t, folder: t.TempDir()}
	ports := freePorts(t, 4)
	b.AMQP = fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d", ports[0])
	b.Management = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	b.write(".erlang.cookie", "epusystemtest", 0o400)
	b.write("env.conf", "", 0o600)
	b.write("plugins", "[rabbitmq_management].\n", 0o600)
	b.write("rabbitmq.conf", fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 1MB
collect_statistics_interval = 1000
`, ports[0], ports[1]), 0o600)
	b.env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "RABBITMQ_") || strings.HasPrefix(kv, "ERL_") || strings.HasPrefix(kv, "HOME=")
	})
	b.env = append(b.env,
		"HOME="+b.folder,
		fmt.Sprintf("RABBITMQ_NODENAME=epu%d@localhost", ports[2]),
		"RABBITMQ_CONFIG_FILE="+b.path("rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE="+b.path("env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+b.path("plugins"),
		"RABBITMQ_MNESIA_BASE="+b.path("mnesia"),
		"RABBITMQ_LOG_BASE="+b.path("log"),
		"RABBITMQ_PID_FILE="+b.path("pid"),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[2]),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[3]),
		"ERL_EPMD_ADDRESS=127.0.0.1",
	)
	// Without one that we started, the broker would start a port mapper that stays behind.
	mapper := b.command(epmd, "-d", "-d", "-port", fmt.Sprint(ports[3]), "-address", "127.0.0.1")
	serving, stop := b.run(mapper, "entering the main select() loop")
	t.Cleanup(stop)
	if !serving {
		t.Fatalf("epmd does not start:\n%s", b.output)
	}
	b.Start()
	t.Cleanup(b.Kill)
	return b
}

// Start starts the broker on the data that it has, and waits until it serves.
func (b *RabbitMQ) Start() {
	b.t.Helper()
	b.Kill()
	serving, stop := b.run(b.command(rabbitServer), "Server startup complete")
	b.stop = stop
	if !serving {
		b.t.Fatalf("rabbitmq-server does not start:\n%s", b.output)
	}
}

// Kill ends the broker without a word and waits until it is gone. Its data stays for Start.
func (b *RabbitMQ) Kill() {
	if b.stop != nil {
		b.stop()
	}
	b.stop = nil
}

func (b *RabbitMQ) path(name string) string { return filepath.Join(b.folder, name) }

func (b *RabbitMQ) write(name, text string, mode os.FileMode) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *RabbitMQ) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = b.env, b.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run starts a program and reads its output up to the line that says that it serves, then the rest.
// stop ends its process group and returns when its output has ended, which everything of it holds.
func (b *RabbitMQ) run(cmd *exec.Cmd, ready string) (serving bool, stop func()) {
	b.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		b.t.Fatalf("start %s: %v", cmd.Path, err)
	}
	limit, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	late := context.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer late()
	b.output = &bytes.Buffer{}
	lines := bufio.NewReader(io.TeeReader(r, b.output))
	for !serving {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		serving = strings.Contains(line, ready)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}()
	return serving, sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // not reaped yet, so the number is its own
		_ = cmd.Wait()
		<-drained
	})
}

// freePorts finds ports that nobody listens on now.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
