//go:build system

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
	"github.com/nimbus-epu/epu/internal/systest"
)

// Goal: make demo's story is true. Method: it is told without keys.
func TestSystemDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(deadlineOf(t, time.Minute), programs+"/demo", programs)
	cmd.Env = append(cmd.Environ(), "DEMO=auto")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all as they should be") {
		t.Errorf("got %v, want every fact to be so:\n%s", err, out)
	}
}

// Goal: make demo-queue's story is true. Method: it is told without keys, with a real RabbitMQ. Not beside
// other tests: it has its 90 seconds for a machine that does nothing else.
func TestSystemDemoQueue(t *testing.T) {
	needRabbitMQ(t)
	cmd := exec.CommandContext(deadlineOf(t, 2*time.Minute), programs+"/demo", programs, "queue")
	cmd.Env = append(cmd.Environ(), "DEMO=auto")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all as they should be") {
		t.Errorf("got %v, want every fact to be so:\n%s", err, out)
	}
	drawing, err := os.ReadFile(programs + "/demo-queue.svg")
	if err != nil || !bytes.Contains(drawing, []byte("<svg")) {
		t.Errorf("got %v and %d bytes, want a drawing", err, len(drawing))
	}
}

func needRabbitMQ(t *testing.T) {
	t.Helper()
	systest.Need(t, "rabbitmqctl", "rabbitmq-server")
	systest.Need(t, "epmd", "rabbitmq-server")
}

// Goal: without RabbitMQ the demo says what to install, and CI does not take that for a success. Method: a
// PATH without the programs.
func TestSystemDemoQueueMissing(t *testing.T) {
	for _, ci := range []string{"", "true"} {
		cmd := exec.CommandContext(deadlineOf(t, time.Minute), programs+"/demo", programs, "queue")
		cmd.Env = []string{"PATH=" + t.TempDir(), "CI=" + ci}
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), "sudo apt-get install") || (err != nil) != (ci == "true") {
			t.Errorf("CI=%q: got %v and %q, want the package's name, and a failure in CI only", ci, err, out)
		}
	}
}

// Goal: however the demo ends, it leaves no process and no file. Method: it is interrupted at once and in
// the middle, told to end, left by its reader, and fails at a step; the machine is counted after each.
func TestSystemDemoClearsAway(t *testing.T) {
	t.Parallel()
	send := func(sig syscall.Signal) func(*exec.Cmd, io.Closer) error {
		return func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Signal(sig) }
	}
	for _, tt := range []struct {
		name  string
		after string // what it has said when it is ended
		end   func(demo *exec.Cmd, reader io.Closer) error
		fails string // the command of epumgmt that fails; empty = none
		says  string
		story string // which one; empty = the first
	}{
		{"interrupted at once", "epud dev", send(syscall.SIGINT), "", "interrupted", ""},
		{"interrupted in the middle", "gives ", send(syscall.SIGINT), "", "interrupted", ""},
		{"told to end", "epumgmt scale", send(syscall.SIGTERM), "", "interrupted", ""},
		{"its reader has gone", "epud answers", func(_ *exec.Cmd, reader io.Closer) error { return reader.Close() }, "", "interrupted", ""},
		{"a step fails", "epumgmt scale", nil, "scale", "the story ended early", ""},
		{"the broker starts", "rabbitmq-server", send(syscall.SIGINT), "", "interrupted", "queue"},
		{"the queue's reader has gone", "pool wants 4", func(_ *exec.Cmd, reader io.Closer) error { return reader.Close() }, "", "interrupted", "queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := workerProgram
			if tt.story == "queue" {
				needRabbitMQ(t)
				program = "sleeper-queue"
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			said, errs, code := tell(t, dir, tt.story, tt.after, tt.end, tt.fails)
			if code == 0 || !strings.Contains(errs, tt.says) {
				t.Errorf("the demo ended with %d and %q, want a failure with %q; it said\n%s", code, errs, tt.says, said)
			}
			left, err := census.Look(dir, program)
			if err != nil || len(left.Processes()) > 0 {
				t.Errorf("got the processes %v and %v, want none", left.Processes(), err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), factMax)
			defer cancel()
			if err := census.End(ctx, dir, program); err != nil {
				t.Error(err)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "epu-demo-*")); err != nil || len(files) > 0 {
				t.Errorf("got the files %v and %v, want none", files, err)
			}
		})
	}
}

// tell runs the demo with its files in a folder and ends it when it has said something.
func tell(t *testing.T, dir, story, after string, end func(*exec.Cmd, io.Closer) error, fails string) (said, errs string, code int) {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = %q ]; then echo 'error: made to fail' >&2; exit 1; fi\nexec %s/epumgmt \"$@\"\n", fails, programs)
	for _, err := range []error{
		os.Mkdir(bin, 0o700), os.Symlink(programs+"/epud", bin+"/epud"),
		os.Symlink(programs+"/epu-agent", bin+"/epu-agent"), os.Symlink(programs+"/sleeper-queue", bin+"/sleeper-queue"), os.WriteFile(bin+"/epumgmt", []byte(script), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	args := []string{bin}
	if story != "" {
		args = append(args, story)
	}
	demo := exec.CommandContext(deadlineOf(t, time.Minute), programs+"/demo", args...)
	demo.Env = append(demo.Environ(), "DEMO=auto", "TMPDIR="+dir)
	var stderr bytes.Buffer
	demo.Stderr = &stderr
	out, err := demo.StdoutPipe()
	if err == nil {
		err = demo.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines, ended := bufio.NewScanner(out), false; lines.Scan(); {
		said += lines.Text() + "\n"
		if end != nil && !ended && strings.Contains(lines.Text(), after) {
			ended = true
			if err := end(demo, out); err != nil {
				t.Error(err)
			}
		}
	}
	_ = demo.Wait() // its exit code says how it ended
	return said, stderr.String(), demo.ProcessState.ExitCode()
}
