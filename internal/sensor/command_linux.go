package sensor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
)

const (
	stdoutBytesMax = 4 << 10
	stderrBytesMax = 1 << 10
	pipesMax       = time.Second // for output that somebody outside the group holds open
)

// command runs a program, without a shell, and reads the number that it prints. The program has a
// process group of its own, which is ended when the program is done or its time is over.
func command(ctx context.Context, words []string) (float64, error) {
	if len(words) == 0 {
		return 0, epu.E(epu.Invalid, "run", "", errors.New("the sensor names no program"))
	}
	on := words[0] // arguments may hold secrets
	over := make(chan struct{})
	stdout, stderr := &limited{most: stdoutBytesMax, over: over}, &limited{most: stderrBytesMax}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipesMax
	if err := cmd.Start(); err != nil {
		return 0, notStarted(on, err)
	}
	exited := make(chan struct{})
	go func() { // until the program has exited, which it does at the latest when its group is killed
		defer close(exited)
		waitExit(cmd.Process.Pid)
	}()
	var cut error
	select {
	case <-exited:
	case <-over:
		cut = epu.E(epu.Invalid, "run", on, fmt.Errorf("it prints more than %d bytes", stdoutBytesMax))
	case <-ctx.Done():
		cut = epu.E(epu.Unavailable, "run", on, ctx.Err())
	}
	// The program is not reaped yet, so nobody else can have its number.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-exited
	err := cmd.Wait()
	if cut == nil && stdout.isCut() {
		cut = epu.E(epu.Invalid, "run", on, fmt.Errorf("it prints more than %d bytes", stdoutBytesMax))
	}
	if cut != nil {
		return 0, cut
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		why := err.Error()
		if said := oneLine(stderr.String(), 200); said != "" {
			why += ": " + said
		}
		return 0, epu.E(epu.Unavailable, "run", on, errors.New(why))
	}
	text := stdout.String()
	if strings.TrimSpace(text) == "unknown" {
		return 0, epu.E(epu.Unavailable, "run", on, errors.New("it says that it does not know"))
	}
	value, err := number(text)
	if err != nil {
		return 0, epu.E(epu.Invalid, "read the output of", on, err)
	}
	return value, nil
}

// waitExit waits until a child has exited and leaves it to be reaped.
func waitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func notStarted(on string, err error) error {
	var path *exec.Error
	if errors.As(err, &path) {
		err = path.Err
	}
	kind := epu.Unavailable
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, exec.ErrNotFound):
		kind = epu.NotFound
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		kind = epu.Denied
	}
	return &epu.Error{Kind: kind, Op: "run", On: on, Err: err, Try: "check that the program is there and may be run by the node's user"}
}

// limited keeps the beginning of what is written to it, and says when there is more.
type limited struct {
	mu   sync.Mutex // guards text and cut: the copying of exec and who looks
	text strings.Builder
	most int
	cut  bool
	over chan struct{} // closed when there is more; may be nil
}

func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.most - l.text.Len()
	l.text.Write(b[:min(room, len(b))])
	if len(b) > room && !l.cut {
		l.cut = true
		if l.over != nil {
			close(l.over)
		}
	}
	return len(b), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *limited) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}
