//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nimbus-epu/epu/policies/simulate/chart"
)

const (
	brokerMax = 45 * time.Second // for RabbitMQ to start
	drawing   = "demo-queue.svg" // beside the programs
	columns   = 78               // of the drawing on a terminal
	historic  = 1000             // decisions that are looked at
)

// startBroker starts RabbitMQ on the data that it has.
func (q *queue) startBroker(ctx context.Context) error {
	q.say("rabbitmq-server")
	began := q.now()
	ctx, cancel := context.WithTimeout(ctx, brokerMax)
	defer cancel()
	if err := q.broker.Start(ctx); err != nil {
		return err
	}
	q.ok("RabbitMQ serves %s after its start", seconds(q.now().Sub(began)))
	return nil
}

// busy sees to it that enough jobs wait, however long the reader took, and that all workers are there.
func (q *queue) busy(ctx context.Context, enough int) error {
	if now, _ := q.record.last(); now.waiting < float64(enough) {
		if err := q.produce(ctx, burst); err != nil {
			return err
		}
		if _, err := q.record.await(ctx, factMax, "the new jobs to be seen", func(m moment) bool { return m.known && m.waiting >= float64(enough) }); err != nil {
			return err
		}
	}
	return q.led(ctx, "the pool to grow to its limit", func(m moment) bool { return m.want == most && m.have == most })
}

// led shows each change of what the pool wants until something is so.
func (q *queue) led(ctx context.Context, what string, so func(moment) bool) error {
	last, _ := q.record.last()
	for {
		m, err := q.record.await(ctx, followMax, what, func(m moment) bool { return so(m) || m.want != last.want })
		if err != nil {
			return err
		}
		if m.want != last.want {
			q.ok("the pool wants %d: %s", m.want, m.why)
		}
		if so(m) {
			return nil
		}
		last = m
	}
}

// promised checks that nobody left while there was work: by what was told, and by what each decision saw.
func (q *queue) promised(ctx context.Context) error {
	var before, left moment
	for _, m := range q.record.from(time.Time{}) {
		if m.known && m.waiting > 0 && before.want > 0 && (m.want == 0 || before.have > 0 && m.have == 0) {
			left = m
		}
		before = m
	}
	if err := q.check("while jobs waited the pool never dropped to zero", left.at.IsZero(), "at least one worker", left.String()); err != nil {
		return err
	}
	var all struct {
		Decisions []struct {
			ID            string
			Before, After int
		}
	}
	if err := q.ask(ctx, &all, "decisions", q.pool, "--limit", fmt.Sprint(historic)); err != nil {
		return err
	}
	none := 0
	for _, d := range all.Decisions {
		if d.After > 0 || d.Before == 0 {
			continue
		}
		none++
		saw, err := q.saw(ctx, d.ID)
		if err != nil {
			return err
		}
		if saw != "ok 0" {
			return failure{"only an empty queue lets the last worker go", "decision " + d.ID + " saw ok 0", saw}
		}
	}
	return q.check(fmt.Sprintf("of %d decisions %d let the last worker go, and saw an empty queue", len(all.Decisions), none), none > 0, "at least 1", "none")
}

// saw is what a decision knew of the queue: the reading's quality and value.
func (q *queue) saw(ctx context.Context, decision string) (string, error) {
	var answer struct {
		Decision struct {
			Inputs []struct {
				Name  string
				Value any
			}
		}
	}
	if err := q.ask(ctx, &answer, "explain", q.pool, "--decision", decision); err != nil {
		return "", err
	}
	for _, in := range answer.Decision.Inputs {
		if reading, ok := in.Value.(map[string]any); ok && in.Name == "sensor queue-length" {
			return fmt.Sprintf("%v %v", reading["quality"], reading["value"]), nil
		}
	}
	return "nothing", nil
}

// draw shows the timeline on the terminal, and writes it for a browser.
func (q *queue) draw() error {
	r := q.record.result(q.now())
	title := fmt.Sprintf("epu-queue: %d jobs of %v; length of the queue unknown at %s", q.sent, jobLength, q.record.unknown())
	fmt.Fprintf(q.out, "\n%s\n\n%s\n", title, chart.Text(chart.TextOptions{Width: columns, Color: q.color}, r))
	var svg bytes.Buffer
	if err := chart.SVG(&svg, title, r); err != nil {
		return err
	}
	file := filepath.Join(q.bin, drawing)
	if err := os.WriteFile(file, svg.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the drawing: %w", err)
	}
	fmt.Fprintf(q.out, "The same for a browser: %s\n", file)
	return nil
}
