package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// controller tells a node how many workers a pool needs.
type controller struct {
	client           *http.Client
	node, user, pool string
	per              float64
	said             int // the number of workers that the node has; -1 = not known
	out, log         io.Writer
}

// follow carries out one line after the other. What can't be said is said again with the next line: both requests say
// how things are to be, so repeating one is harmless.
func (c *controller) follow(ctx context.Context, in io.Reader) error {
	if c.per <= 0 {
		return errors.New("--per must be positive")
	}
	lines := linesOf(in)
	for {
		var line string
		select {
		case <-ctx.Done():
			return nil
		case next, more := <-lines:
			if !more {
				return nil
			}
			line = next
		}
		demand, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil || demand < 0 || math.IsInf(demand, 0) || math.IsNaN(demand) {
			// No demand is known: say nothing, and let the policy find that out by itself.
			fmt.Fprintf(c.log, "%q is no demand\n", line)
			continue
		}
		err = c.round(ctx, int(math.Ceil(demand/c.per)))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errRefused):
			return err
		case err != nil:
			fmt.Fprintln(c.log, err)
		}
	}
}

// linesOf reads lines aside, because a read can't be interrupted.
func linesOf(in io.Reader) <-chan string {
	lines := make(chan string)
	go func() { // ends with its input, or with the program
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// round says that n workers are wanted, and that somebody is there who wants them.
func (c *controller) round(ctx context.Context, n int) error {
	if n != c.said {
		if err := c.send(ctx, "Reconfigure", map[string]any{"pool": c.pool, "conf": map[string]any{"preserve_n": n}}); err != nil {
			return err
		}
		c.said = n
	}
	return c.send(ctx, "SensorPush", map[string]any{"pool": c.pool, "values": []any{map[string]any{"sensor": "outside", "value": n}}})
}

// errRefused says that it makes no sense to try again.
var errRefused = errors.New("the node refuses it")

const (
	tries    = 5
	pauseMin = time.Second // it doubles
	textMax  = 64 << 10
)

// send gives one command, and repeats it under the same ID while the node can't answer.
func (c *controller) send(ctx context.Context, kind string, body any) error {
	text, err := json.Marshal(map[string]any{"id": rand.Text(), "type": kind, "body": body})
	if err != nil {
		return err
	}
	for try, pause := 1, pauseMin; ; try, pause = try+1, 2*pause {
		again, err := c.once(ctx, text)
		if err == nil || !again || try == tries || ctx.Err() != nil {
			return err
		}
		rest, over := context.WithTimeout(ctx, pause)
		<-rest.Done() // the pause is over, or an interrupt came
		if over(); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// once sends a command, and reports whether another try may do better.
func (c *controller) once(ctx context.Context, text []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.node+"/v1/command", bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-EPU-User", c.user)
	resp, err := c.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	var answer struct {
		Text  string                     // of what was done
		Error struct{ Text, Try string } // of what was not
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, textMax)).Decode(&answer); err != nil {
		return true, fmt.Errorf("%s: %w", resp.Status, err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		fmt.Fprintln(c.out, answer.Text)
		return false, nil
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return true, errors.New(answer.Error.Text)
	}
	return false, fmt.Errorf("%w: %s (%s)", errRefused, answer.Error.Text, answer.Error.Try)
}
