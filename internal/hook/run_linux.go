package hook

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
)

// pipesMax is how long output that somebody outside the group holds open is waited for.
const pipesMax = time.Second

// Do runs the program, without a shell, until it exits or the context is over. An exit status other than
// 0 is an error, with the last line that the program wrote. The program does not outlive this process, also
// when that is killed: the next one runs it again, and what it says of a worker must not come afterwards.
func (p Program) Do(ctx context.Context) error {
	if len(p.Run) == 0 {
		return epu.E(epu.Invalid, "run", "", errNoProgram)
	}
	on := p.Run[0] // arguments may hold secrets
	said := &tail{}
	cmd := exec.Command(p.Run[0], p.Run[1:]...)
	cmd.Dir = "/"
	cmd.Env = p.environment(cmd.Environ())
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = pipesMax
	runtime.LockOSThread() // the kernel tells of the end of the thread that started the program
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return &epu.Error{
			Kind: epu.Unavailable, Op: "run", On: on, Err: err, Try: "check that the program is there and may be run by the node's user",
		}
	}
	exited := make(chan struct{})
	go func() { // until the program has exited, which it does at the latest when its group is killed
		defer close(exited)
		for {
			if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	var late error
	select {
	case <-exited:
	case <-ctx.Done():
		late = errors.New("it had not ended in time")
	}
	// The program is not reaped yet, so nobody else can have its number.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-exited
	err := cmd.Wait()
	switch {
	case late != nil:
		return failed(on, late, said.String())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return failed(on, err, said.String())
	}
	return nil
}
