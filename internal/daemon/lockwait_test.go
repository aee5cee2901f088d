package daemon_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/config"
	"github.com/nimbus-epu/epu/internal/daemon"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// The goal is that a node waits for the store of one that was just killed, and only for a moment. Method: the test has the
// store open instead, in real time and in virtual time.

func lockedOptions(t *testing.T) (daemon.Options, *badger.Journal) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	conf, _, err := config.LoadNode(config.NodeOptions{Dev: true, Environ: []string{
		"EPU_DATA_DIR=" + dir, "EPU_LISTEN=127.0.0.1:0", "EPU_HTTP=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := badger.Open(filepath.Join(dir, "journal"), badger.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return daemon.Options{
		Conf: conf, Dev: true, Clock: actors.WallClock{}, Getenv: func(string) string { return "" },
		Log: slog.New(slog.DiscardHandler), Version: &msg.Version{Version: "test"},
	}, j
}

func TestStoreIsWaitedFor(t *testing.T) {
	opts, held := lockedOptions(t)
	said, out := io.Pipe()
	go func() { // once the wait is said, the process that was killed is gone
		buf := make([]byte, 1<<10)
		n, _ := said.Read(buf)
		if text := string(buf[:n]); !strings.Contains(text, "in use by another process") || !strings.Contains(text, "waiting up to 3s") {
			t.Errorf("got %q, want the wait said", text)
		}
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	}()
	node, err := daemon.NewPatiently(t.Context(), opts, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStoreIsNotWaitedForForever(t *testing.T) {
	opts, _ := lockedOptions(t)
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			cancel, took time.Duration
			said         int
		}{
			"to the end":       {time.Hour, 3 * time.Second, 1},
			"cancelled":        {time.Second, time.Second, 1},
			"cancelled before": {100 * time.Millisecond, 100 * time.Millisecond, 0},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), c.cancel)
			var out strings.Builder
			began := time.Now()
			_, err := daemon.NewPatiently(ctx, opts, &out)
			cancel()
			if took := time.Since(began); took != c.took || !errors.Is(err, badger.ErrLocked) || strings.Count(out.String(), "\n") != c.said {
				t.Errorf("%s: got %v after %v, and said %q; want it locked after %v", name, err, took, out.String(), c.took)
			}
		}
	})
}
