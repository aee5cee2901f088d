package rabbitmqtest

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

	"github.com/nimbus-epu/epu/internal/process"
)

// program is one of the broker's programs.
type program struct {
	group *process.Group
	ended chan struct{} // closed when its output has ended, which everything of it holds
}

// start starts a program and reads its output up to the line that says that it serves. When that does not
// come before the context ends, the program is ended and the error has its output.
func (b *Broker) start(ctx context.Context, ready, name string, args ...string) (*program, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &program{ended: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = b.environ, b.folder
	cmd.Stdout, cmd.Stderr = w, w
	p.group, err = process.Start(cmd)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	late := context.AfterFunc(ctx, p.end)
	var output bytes.Buffer
	lines, serving := bufio.NewReader(io.TeeReader(r, &output)), false
	for !serving {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		serving = strings.Contains(line, ready)
	}
	late()
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}()
	if !serving || ctx.Err() != nil {
		p.kill()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("start %s: %w; it said\n%s", filepath.Base(name), context.Cause(ctx), output.String())
		}
		return nil, fmt.Errorf("start %s: it ended; it said\n%s", filepath.Base(name), output.String())
	}
	return p, nil
}

func (p *program) end() { _ = p.group.Signal(syscall.SIGKILL) }

// kill ends the process group and waits until nothing of it is left. None is nothing to do.
func (p *program) kill() {
	if p == nil {
		return
	}
	p.end()
	_ = p.group.Wait()
	<-p.ended
}
