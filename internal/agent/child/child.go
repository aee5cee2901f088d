package child

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu/internal/process"
)

// TailMax is how many bytes of a program's standard error are kept for its Exit.
const TailMax = 8 << 10

// Spec says what to start.
type Spec struct {
	Args   []string // the program and its arguments; without a slash it is looked up in PATH
	Env    []string // its whole environment as KEY=value; the last of equal keys counts
	Stdout *Output  // where its lines go
	Stderr *Output
}

// Exit is how a program ended.
type Exit struct {
	Status int    // exit status; -1 when a signal ended it
	Signal string // name of the signal that ended it, such as SIGKILL; else empty
	Stderr string // tail of its standard error as UTF-8, at most TailMax bytes
	Err    error  // its end could not be observed: Status and Signal mean nothing then
}

// Set is all direct children that one process has. It tells them from adopted orphans.
type Set struct {
	mu  sync.Mutex // held while a child is born, so that the reaper never takes it for an orphan
	own map[int]bool
}

// NewSet gives an empty set.
func NewSet() *Set { return &Set{own: map[int]bool{}} }

// Process is one started program.
type Process struct {
	cmd   *exec.Cmd
	group *process.Group
	tail  *process.Tail
	lines []*lines
	done  chan struct{}
	exit  Exit // valid once done is closed
}

// Start starts a program in its own process group. The error wraps the system's reason; see Ours.
func (s *Set) Start(spec Spec) (*Process, error) {
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return nil, errors.New("start: no program named")
	}
	p := &Process{tail: process.NewTail(TailMax), done: make(chan struct{})}
	p.cmd = exec.Command(spec.Args[0], spec.Args[1:]...)
	p.cmd.Env = spec.Env
	out, errs := spec.Stdout.lines(), spec.Stderr.lines()
	p.lines = []*lines{out, errs}
	p.cmd.Stdout, p.cmd.Stderr = out, io.MultiWriter(errs, p.tail)

	// This goroutine keeps its thread from the child's birth to its end, which process.StartBound needs.
	born := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := s.bear(p); err != nil {
			born <- err
			return
		}
		born <- nil
		p.await()
		s.mu.Lock()
		delete(s.own, p.Pid())
		s.mu.Unlock()
		close(p.done)
	}()
	if err := <-born; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	return p, nil
}

func (s *Set) bear(p *Process) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.group, err = process.StartBound(p.cmd); err != nil {
		return err
	}
	s.own[p.Pid()] = true
	return nil
}

// await sees the program's end and keeps how it ended.
func (p *Process) await() {
	err := p.group.Wait()
	for _, l := range p.lines {
		l.flush()
	}
	// Programs may write anything; JSON makes three bytes of each that is no UTF-8, and nodes refuse that length.
	p.exit = Exit{Status: -1, Stderr: strings.ToValidUTF8(p.tail.String(), "?")}
	state := p.cmd.ProcessState
	if state == nil {
		p.exit.Err = fmt.Errorf("wait for pid %d: %w", p.Pid(), err)
		return
	}
	p.exit.Status = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.exit.Signal = signalName(ws.Signal())
	}
}

// Pid is the program's process number, which is also its group's.
func (p *Process) Pid() int { return p.group.Pid() }

// Signal sends a signal to the program's whole group. After the program's end it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.group.Signal(sig); err != nil {
		return fmt.Errorf("send %s to group %d: %w", signalName(sig), p.Pid(), err)
	}
	return nil
}

// Wait gives the program's end once it has ended, reaped and with all its output passed on. Any number
// of callers may wait.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Ours reports that a start failed for want of something on our side (processes, memory, files), so
// that it says nothing about the program.
func Ours(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func signalName(sig syscall.Signal) string {
	if n := unix.SignalName(sig); n != "" {
		return n
	}
	return fmt.Sprintf("signal %d", int(sig))
}
