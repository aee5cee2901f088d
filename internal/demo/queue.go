//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nimbus-epu/epu/internal/census"
	"github.com/nimbus-epu/epu/internal/process"
	"github.com/nimbus-epu/epu/internal/rabbitmqtest"
)

const (
	filesFolder = "sleeper-queue" // of the example, in the demo's folder
	most        = 8               // workers, as the example's pool says
	jobLength   = time.Second
	burst       = 80               // jobs
	enough      = 40               // jobs that must wait for the story to go on
	plenty      = 60               // the same where more must come in any case
	followMax   = 40 * time.Second // for the pool to follow its queue
)

// queue is the story of a pool that follows a queue.
type queue struct {
	*stage
	surroundings []string
	broker       *rabbitmqtest.Broker
	agent        *exec.Cmd // epu-agent queue; nil: not running
	agentLog     *process.Tail
	record       *record
	unwatch      func()
	bursts       int
	sent         int            // jobs
	taken        map[string]int // how often each job was done, by the workers' account, when the broker was back
}

func follows(s *stage, environ []string) story {
	q := &queue{stage: s, surroundings: environ, record: newRecord(s.now()), agentLog: process.NewTail(tailBytesMax)}
	return story{pool: "epu-queue", program: "sleeper-queue", longest: 90 * time.Second, end: q.end, hint: "Do it yourself: docs/how-to/queue-workers.md.", chapters: []chapter{
		{"An empty queue", "A private RabbitMQ, a node, and a pool whose policy looks at the length of a queue.", q.quiet},
		{"A burst of work", "Many jobs at once. Workers take them from the queue one at a time.", q.grows},
		{"The broker dies", "RabbitMQ is killed with SIGKILL. What nobody knows is not zero: the pool stays as it is.", q.blind},
		{"The daemon dies", "epud is killed with SIGKILL while there is work, and more comes. It finds its workers again.", q.survives},
		{"The queue runs dry", "The pool follows it down. As long as there is work, somebody stays to do it.", q.dry},
		{"The end", "terminate-all, and everything that was started stops.", q.ends},
	}}
}

// quiet has everything started, and no work.
func (q *queue) quiet(ctx context.Context, s *stage) error {
	folder := filepath.Join(s.dir, "broker")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, brokerMax)
	defer cancel()
	var err error
	if q.broker, err = rabbitmqtest.New(limited, rabbitmqtest.Options{Folder: folder, Environ: q.surroundings}); err != nil {
		return err
	}
	s.environ = append(s.environ, "AMQP_URL="+q.broker.AMQP)
	if err := q.startBroker(ctx); err != nil {
		return err
	}
	if err := s.startNode(ctx); err != nil {
		return err
	}
	if err := q.install(); err != nil {
		return err
	}
	s.say("epumgmt apply -f %s", filesFolder)
	if _, err := s.run(ctx, "apply", "-f", filesFolder); err != nil {
		return err
	}
	if q.unwatch, err = q.record.watch(context.WithoutCancel(ctx), s); err != nil {
		return err
	}
	if err := q.produce(ctx, 0); err != nil {
		return err
	}
	if err := q.startAgent(); err != nil {
		return err
	}
	m, err := q.record.await(ctx, factMax, "a decision about an empty queue", func(m moment) bool {
		return m.known && m.waiting == 0 && strings.Contains(m.why, "queue 0 ")
	})
	if err != nil {
		return err
	}
	s.ok("the queue is empty, and the pool decides: %s", m.why)
	if err := s.converged(ctx, 0); err != nil {
		return err
	}
	return s.show(ctx, "sensor", "list", s.pool)
}

// grows has the pool follow the queue up.
func (q *queue) grows(ctx context.Context, s *stage) error {
	began := s.now()
	if err := q.busy(ctx, enough); err != nil {
		return err
	}
	s.ok("the pool has grown from 0 to %d, %s after the burst", most, seconds(s.now().Sub(began)))
	if err := s.converged(ctx, most); err != nil {
		return err
	}
	if err := s.show(ctx, "instances", s.pool); err != nil {
		return err
	}
	return s.show(ctx, "explain", s.pool)
}

// blind takes the broker away and brings it back.
func (q *queue) blind(ctx context.Context, s *stage) error {
	if err := q.busy(ctx, enough); err != nil {
		return err
	}
	before, err := s.workers(ctx)
	if err != nil {
		return err
	}
	s.say("kill -KILL -%d   (RabbitMQ and what belongs to it)", q.broker.PID())
	killed := s.now()
	q.broker.Kill()
	if _, err := q.record.await(ctx, factMax, "the reading to be unknown", func(m moment) bool { return !m.known }); err != nil {
		return err
	}
	s.ok("%s after the kill the length of the queue is unknown, and not 0", seconds(s.now().Sub(killed)))
	if err := s.show(ctx, "sensor", "list", s.pool); err != nil {
		return err
	}
	if err := q.startBroker(ctx); err != nil {
		return err
	}
	if q.taken, err = q.done(); err != nil {
		return err
	}
	back, err := q.record.await(ctx, followMax, "the reading to be known again", func(m moment) bool { return m.known })
	if err != nil {
		return err
	}
	s.ok("the queue is known again, and %g jobs wait on it", back.waiting)
	moments, least := q.record.from(killed), most
	for _, m := range moments {
		least = min(least, m.want, m.have)
	}
	if err := s.check(fmt.Sprintf("in the %s without it the pool never wanted or had fewer than %d", seconds(s.now().Sub(killed)), least),
		least == most, fmt.Sprint(most), fmt.Sprint(least)); err != nil {
		return err
	}
	after, err := s.workers(ctx)
	if err != nil {
		return err
	}
	if err := s.check("they are the same workers with the same processes", list(after) == list(before), list(before), list(after)); err != nil {
		return err
	}
	m, err := q.record.await(ctx, factMax, "the queue to become shorter", func(m moment) bool { return m.known && m.waiting < back.waiting })
	if err != nil {
		return err
	}
	s.ok("they go on: %g jobs wait", m.waiting)
	return nil
}

// survives kills the daemon while there is work.
func (q *queue) survives(ctx context.Context, s *stage) error {
	if err := q.busy(ctx, plenty); err != nil {
		return err
	}
	q.unwatch()
	q.record.note(s.now(), func(m *moment) { m.known = false }) // until the new daemon tells
	if err := survives(ctx, s); err != nil {
		return err
	}
	var err error
	if q.unwatch, err = q.record.watch(context.WithoutCancel(ctx), s); err != nil {
		return err
	}
	m, err := q.record.await(ctx, factMax, "a reading after the restart", func(m moment) bool { return m.known })
	if err != nil {
		return err
	}
	return s.check(fmt.Sprintf("the queue is known to the new daemon, and %g jobs wait on it", m.waiting), m.waiting > 0, "work", "none")
}

// dry has the pool follow the queue down to nothing.
func (q *queue) dry(ctx context.Context, s *stage) error {
	if err := q.led(ctx, "the queue to run dry", func(m moment) bool { return m.known && m.waiting == 0 }); err != nil {
		return err
	}
	s.ok("no job waits any more")
	if err := q.led(ctx, "the pool to shrink to nothing", func(m moment) bool { return m.want == 0 && m.have == 0 }); err != nil {
		return err
	}
	if err := s.converged(ctx, 0); err != nil {
		return err
	}
	if err := q.counted(); err != nil {
		return err
	}
	return q.promised(ctx)
}

func (q *queue) ends(ctx context.Context, s *stage) error {
	q.unwatch()
	if err := s.show(ctx, "terminate-all", "--confirm=ALL", "--timeout=30s"); err != nil {
		return err
	}
	if err := s.converged(ctx, 0); err != nil {
		return err
	}
	if err := q.stopAgent(); err != nil {
		return err
	}
	if err := s.stopNode(ctx); err != nil {
		return err
	}
	q.broker.Close()
	q.broker = nil
	left, err := census.Look(s.dir, s.program)
	if err != nil {
		return err
	}
	if err := s.check("no process of it all is left: no worker, no agent, no broker", len(left.Processes()) == 0, "none", fmt.Sprint(left.Processes())); err != nil {
		return err
	}
	if err := s.inTime(); err != nil {
		return err
	}
	return q.draw()
}

// end takes away what the stage does not know of.
func (q *queue) end() {
	if q.unwatch != nil {
		q.unwatch()
	}
	_ = q.stopAgent() // killed at the latest
	if q.broker != nil {
		q.broker.Close()
	}
}
