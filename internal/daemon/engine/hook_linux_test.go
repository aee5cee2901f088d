package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
)

// Goal: a hook's program is told of its worker what docs/how-to/hooks.md lists, and is ended when its time is
// over. Method: calls of a controller, carried out with shell programs.
func TestHookCall(t *testing.T) {
	e := engine.New(engine.Options{Pool: "epu-web", Now: time.Now})
	out := filepath.Join(t.TempDir(), "out")
	call := actors.HookCall{
		Pool: "epu-web", Event: "ending", Worker: "epu-web-1-3/0", Name: "head", Instance: "i-7", Address: "10.0.0.7", Site: "east",
		Run: []string{"sh", "-c", `env | grep ^EPU_ >"$0"`, out}, Timeout: time.Minute,
	}
	if _, err := e.Do(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(out)
	got := strings.Fields(string(said))
	slices.Sort(got)
	want := []string{
		"EPU_ADDRESS=10.0.0.7", "EPU_EVENT=ending", "EPU_INSTANCE=i-7", "EPU_NAME=head", "EPU_POOL=epu-web", "EPU_SITE=east",
		"EPU_WORKER=epu-web-1-3/0",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call.Run, call.Timeout = []string{"sleep", "1000"}, 50*time.Millisecond
	if _, err := e.Do(ctx, call); err == nil || !strings.Contains(err.Error(), "had not ended in time") || ctx.Err() != nil {
		t.Errorf("got %v, and %v of what was asked around it", err, ctx.Err())
	}
}
