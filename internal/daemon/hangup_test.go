package daemon_test

import (
	"bufio"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nimbus-epu/epu/internal/config"
)

// Goal: SIGHUP, as programs that rotate logs send it, ends no node that has no event log. Method: the signal goes to
// this very process, which would be dead, and the node's log says that it came.
func TestHangupWithoutEventLog(t *testing.T) {
	conf, _, err := config.LoadNode(config.NodeOptions{Dev: true, Environ: []string{
		"EPU_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "EPU_LISTEN=127.0.0.1:0", "EPU_HTTP=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	lines, log := io.Pipe()
	said := make(chan bool, 1)
	go func() {
		for s := bufio.NewScanner(lines); s.Scan(); {
			if strings.Contains(s.Text(), "there is no event log") {
				said <- true
			}
		}
		close(said)
	}()
	node, err := startAs(t, conf, false, slog.NewTextHandler(log, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if !<-said {
		t.Error("the node did not say that SIGHUP came")
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	_ = log.Close()
}
