//go:build unix

package process

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGraceMax is how long output is still read after a program's end. Only a descendant that left the process
// group and kept the pipe can make it matter.
const outputGraceMax = time.Second

// Group is a started program and what it starts in its process group.
type Group struct {
	cmd    *exec.Cmd
	mu     sync.Mutex // guards reaping against Signal: a reaped number may already belong to a stranger
	reaped bool
}

// Start starts a program as the leader of a new process group. Wait must follow.
func Start(cmd *exec.Cmd) (*Group, error) { return start(cmd, &syscall.SysProcAttr{Setpgid: true}) }

// StartBound is Start of a program that on Linux is killed by the kernel when this process dies, however that ends.
// The kernel looks at the thread that starts the program: the caller's goroutine keeps its thread
// (runtime.LockOSThread) until Wait has returned.
func StartBound(cmd *exec.Cmd) (*Group, error) { return start(cmd, bound()) }

func start(cmd *exec.Cmd, attributes *syscall.SysProcAttr) (*Group, error) {
	cmd.SysProcAttr, cmd.WaitDelay = attributes, outputGraceMax
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Group{cmd: cmd}, nil
}

// Pid is the leader's process number, which is also its group's.
func (g *Group) Pid() int { return g.cmd.Process.Pid }

// Signal sends a signal to the whole group. After its end it does nothing.
func (g *Group) Signal(sig syscall.Signal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reaped {
		return nil
	}
	if err := unix.Kill(-g.Pid(), sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Wait waits until the program has ended, kills what is left of its group while the dead leader still holds the number,
// and only then reaps it. It is called once. The error is as of exec.Cmd.Wait; output that somebody outside the group
// holds open is none.
func (g *Group) Wait() error {
	peekErr := awaitExit(g.Pid())
	g.mu.Lock()
	if peekErr == nil {
		_ = unix.Kill(-g.Pid(), unix.SIGKILL) // ESRCH: nobody is left
		g.reaped = true
	}
	g.mu.Unlock()
	err := g.cmd.Wait()
	g.mu.Lock()
	g.reaped = true
	g.mu.Unlock()
	if g.cmd.ProcessState == nil {
		return errors.Join(peekErr, err)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// WaitOrKill is Wait that kills the group when the context is over first, and says so. A program that ended well just
// then has done what it was to do, and was not killed.
func (g *Group) WaitOrKill(ctx context.Context) (killed bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = g.Signal(syscall.SIGKILL) })
	err = g.Wait()
	return !stop() && err != nil, err
}
