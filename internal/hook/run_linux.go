package hook

import (
	"context"
	"errors"
	"os/exec"
	"runtime"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/process"
)

// Do runs the program, without a shell, until it exits or the context is over. An exit status other than
// 0 is an error, with the last line that the program wrote. The program does not outlive this process, also
// when that is killed: the next one runs it again, and what it says of a worker must not come afterwards.
func (p Program) Do(ctx context.Context) error {
	if len(p.Run) == 0 {
		return epu.E(epu.Invalid, "run", "", errNoProgram)
	}
	on := p.Run[0] // arguments may hold secrets
	said := process.NewTail(saidBytesMax)
	cmd := exec.Command(p.Run[0], p.Run[1:]...)
	cmd.Dir = "/"
	cmd.Env = p.environment(cmd.Environ())
	cmd.Stdout, cmd.Stderr = said, said
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	group, err := process.StartBound(cmd)
	if err != nil {
		return &epu.Error{
			Kind: epu.Unavailable, Op: "run", On: on, Err: err, Try: "check that the program is there and may be run by the node's user",
		}
	}
	late, err := group.WaitOrKill(ctx)
	switch {
	case late:
		return failed(on, errors.New("it had not ended in time"), said.String())
	case err != nil:
		return failed(on, err, said.String())
	}
	return nil
}
