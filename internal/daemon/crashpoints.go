//go:build crashpoints

package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// crashVariable chooses the moment: before:7 or after:7 kills this process with SIGKILL before or after
// its 7th append; after:hook-settled:2 after the 2nd append that has an event of that type.
const crashVariable = "EPU_CRASH_AT"

// crashPoints is a journal whose process dies at a chosen append. Every append is logged, so that a
// test learns how many there are and which one it chose.
type crashPoints struct {
	persistence.Journal
	log           *slog.Logger
	before, after int64
	event         string // only appends with it are counted; empty: all
	appends       atomic.Int64
	counted       atomic.Int64
}

func withCrashPoints(j persistence.Journal, getenv func(string) string, log *slog.Logger) (persistence.Journal, error) {
	c := &crashPoints{Journal: j, log: log}
	at := getenv(crashVariable)
	if at == "" {
		return c, nil
	}
	side, number, _ := strings.Cut(at, ":")
	if i := strings.LastIndexByte(number, ':'); i >= 0 {
		c.event, number = number[:i], number[i+1:]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err == nil && side == "before":
		c.before = n
	case err == nil && side == "after":
		c.after = n
	default:
		return nil, epu.E(epu.Invalid, "read", crashVariable, fmt.Errorf("%q is neither before:[EVENT:]N nor after:[EVENT:]N", at))
	}
	return c, nil
}

// Append implements persistence.Journal.
func (c *crashPoints) Append(ctx context.Context, epoch epu.Epoch, stream epu.StreamID, expected epu.Revision, events ...persistence.Event) (epu.Revision, error) {
	n := c.appends.Add(1)
	types := make([]string, len(events))
	for i, e := range events {
		types[i] = e.Type
	}
	c.log.Info("append", "n", n, "stream", stream, "events", strings.Join(types, ","))
	if c.event == "" || slices.Contains(types, c.event) {
		n = c.counted.Add(1)
	} else {
		n = 0
	}
	if n > 0 && n == c.before {
		die()
	}
	rev, err := c.Journal.Append(ctx, epoch, stream, expected, events...)
	if n > 0 && n == c.after {
		die()
	}
	return rev, err
}

// die ends the process as a power cut would: nothing is closed, flushed or said.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may need a moment; nothing happens after it
}
