//go:build system

package e2e_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/systest"
)

// commandsOf gives the commands of a page's console blocks, in their order.
func commandsOf(t *testing.T, page string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if command, ok := strings.CutPrefix(lines.Text(), "$ "); ok {
			all = append(all, command)
		}
	}
	return all
}

// Goal: who follows docs/how-to/queue-workers.md from top to bottom gets a pool that follows its queue.
// Method: the page's own commands in their order, in an empty folder. Only where they are built, the
// package is installed, and which addresses the broker and the node have is the test's.
func TestSystemQueueHowTo(t *testing.T) {
	needRabbitMQ(t)
	t.Parallel()
	broker := systest.StartRabbitMQ(t)
	n := newNode(t)
	home := n.dir
	checkout := filepath.Join(home, "checkout")
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Mkdir(checkout, 0o700), os.Symlink(examples, checkout+"/examples"), os.Symlink(programs, checkout+"/bin")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n.environ = append(n.environ, "HOME="+home, "PATH="+programs+":"+os.Getenv("PATH"), "AMQP_URL="+broker.AMQP)
	shell := func(dir, script string) {
		t.Helper()
		cmd := exec.CommandContext(deadline(t), "bash", "-ec", script)
		cmd.Dir, cmd.Env = dir, n.environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	var setup []string
	for _, command := range commandsOf(t, "how-to/queue-workers.md") {
		switch program, _, _ := strings.Cut(command, " "); {
		case strings.HasPrefix(command, "sudo ") || strings.HasPrefix(command, "export ") || program == "make" || program == "go":
		case command == "epud dev":
			shell(checkout, strings.Join(setup, "\n"))
			n.dir = filepath.Join(home, "epu-queue")
			n.data = filepath.Join(n.dir, ".epu")
			n.start()
		case n.life() == nil:
			setup = append(setup, command)
		case strings.HasPrefix(command, "epu-agent queue"):
			ctx, stop := context.WithCancel(context.Background())
			agent := exec.CommandContext(ctx, "bash", "-c", "exec "+strings.ReplaceAll(command, "127.0.0.1:7421", n.http))
			agent.Dir, agent.Env = n.dir, n.environ
			if err := agent.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(); _ = agent.Wait() })
		case command == "epumgmt status -w":
			n.upAndDown(t)
		default:
			shell(n.dir, command)
		}
	}
	if there := n.look().Alive(); len(there) > 0 {
		t.Errorf("got %v at the end, want nothing", there)
	}
}

// upAndDown looks at the page's pool until it has grown to its limit, and then until it has shrunk to nothing.
func (n *node) upAndDown(t *testing.T) {
	t.Helper()
	at := func(n int) func(poolLine) bool {
		return func(p poolLine) bool { return p.Type == "pool-status" && p.Want == n && p.Have == n }
	}
	shrinks := func(p poolLine) bool { return p.Type == "pool-status" && p.Want < 8 }
	for _, so := range []func(poolLine) bool{at(8), shrinks, at(0)} {
		if err := follow(n, so, "status", "epu-queue", "-w"); err != nil {
			t.Fatalf("%v\n%s", err, n.must("explain", "epu-queue"))
		}
	}
}
