//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/examples"
)

// install puts the example's files into the demo's folder, with its program beside them as they want it.
func (q *queue) install() error {
	if err := os.CopyFS(q.dir, examples.SleeperQueue); err != nil {
		return fmt.Errorf("write the example's files: %w", err)
	}
	return os.Symlink(filepath.Join(q.bin, q.program), filepath.Join(q.dir, filesFolder, q.program))
}

// produce puts jobs into the queue, as a user would.
func (q *queue) produce(ctx context.Context, n int) error {
	args := []string{"produce", "--burst", fmt.Sprint(n)}
	if n > 0 {
		q.bursts++
		args = append(args, "--length", jobLength.String(), "--name", fmt.Sprintf("burst-%d", q.bursts))
	}
	q.say("sleeper-queue %s", strings.Join(args, " "))
	ctx, cancel := context.WithTimeout(ctx, factMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(q.bin, q.program), args...)
	cmd.Env = q.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return failure{"jobs can be put into the queue", "exit status 0", err.Error() + ": " + string(bytes.TrimSpace(out))}
	}
	if n > 0 {
		q.sent += n
		q.ok("%s", bytes.TrimSpace(out))
	}
	return nil
}

// done reads from the workers' logs how often each job was done.
func (q *queue) done() (map[string]int, error) {
	logs, err := filepath.Glob(filepath.Join(q.data, "sites", "*", "launches", "*", "*", "stdout.log*"))
	if err != nil {
		return nil, err
	}
	times := map[string]int{}
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			if job, rest, ok := strings.Cut(lines.Text(), ": slept "); ok && rest != "" {
				times[job]++
			}
		}
	}
	return times, nil
}

// counted checks that every job was done, and none more than once but those that were done before the
// broker was back: it did not know, and gave them out again.
func (q *queue) counted() error {
	times, err := q.done()
	if err != nil {
		return err
	}
	if err := q.check(fmt.Sprintf("all %d jobs are done", q.sent), len(times) == q.sent, fmt.Sprint(q.sent), fmt.Sprint(len(times))); err != nil {
		return err
	}
	again := slices.Sorted(maps.Keys(times))
	again = slices.DeleteFunc(again, func(job string) bool { return times[job] == 1 })
	wrong := slices.DeleteFunc(slices.Clone(again), func(job string) bool { return q.taken[job] > 0 && times[job] == 2 })
	return q.check(fmt.Sprintf("%d of them were done twice: the broker died before it had noted that they were done", len(again)),
		len(wrong) == 0, "no other job is done twice", strings.Join(wrong, ", "))
}

// startAgent starts epu-agent queue.
func (q *queue) startAgent() error {
	http := ""
	for _, kv := range q.environ {
		if v, ok := strings.CutPrefix(kv, "EPU_HTTP="); ok {
			http = v
		}
	}
	args := []string{"queue", "--amqp", "env:AMQP_URL", "--pool", q.pool, "--queue", "sleep", "--every", "1s", "--node", "http://" + http}
	q.say("epu-agent %s", strings.Join(args, " "))
	q.agent = exec.Command(filepath.Join(q.bin, "epu-agent"), args...)
	q.agent.Env, q.agent.Dir, q.agent.Stderr = q.environ, q.dir, q.agentLog
	q.agent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return q.agent.Start()
}

// stopAgent asks epu-agent queue to stop, and kills it when it does not.
func (q *queue) stopAgent() error {
	if q.agent == nil {
		return nil
	}
	agent := q.agent
	q.agent = nil
	ctx, cancel := context.WithTimeout(context.Background(), agentEndMax)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = agent.Process.Kill() })()
	if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := agent.Wait(); err != nil {
		return failure{"epu-agent queue stops when told to", "exit status 0", fmt.Sprintf("%v: %s", err, q.agentLog)}
	}
	return nil
}

const agentEndMax = 5 * time.Second
