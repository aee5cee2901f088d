package sensor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/process"
)

const (
	stdoutBytesMax = 4 << 10
	stderrBytesMax = 1 << 10
)

// command runs a program, without a shell, and reads the number that it prints. The program has a
// process group of its own, which is ended when the program is done or its time is over.
func command(ctx context.Context, words []string) (float64, error) {
	if len(words) == 0 {
		return 0, epu.E(epu.Invalid, "run", "", errors.New("the sensor names no program"))
	}
	on := words[0] // arguments may hold secrets
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	stdout, stderr := process.NewHead(stdoutBytesMax, cut), process.NewHead(stderrBytesMax, nil)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	group, err := process.Start(cmd)
	if err != nil {
		return 0, notStarted(on, err)
	}
	late, err := group.WaitOrKill(ctx)
	switch {
	case stdout.Cut():
		return 0, epu.E(epu.Invalid, "run", on, fmt.Errorf("it prints more than %d bytes", stdoutBytesMax))
	case late:
		return 0, epu.E(epu.Unavailable, "run", on, ctx.Err())
	case err != nil:
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
